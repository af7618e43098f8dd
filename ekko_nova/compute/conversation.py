# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What a worker says to nova-compute, and hears from it."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import math
import pathlib
import threading
import time
import typing

from ekko_nova.backup import progress
from ekko_nova.compute import link as links
from ekko_nova import exception

__all__ = ('Conversation',)

#: Seconds between two reports of progress: each costs nova-compute some of the
#: time in which it answers others.
_REPORT_INTERVAL: typing.Final = 5.0


class Conversation:
    """What a worker says and hears while it works.

    It is cancelled where it asks whether it is, at every report of progress
    among others. A signal would reach it sooner, but what its handler raises
    gets lost in a finalizer, becomes another error in a callback of libnbd's,
    and leaves a lock as it should not be (CPython 3.11, libnbd 1.14).
    """

    def __init__(self, link: links.Link) -> None:
        self._link = link
        self._answered = threading.Event()
        self._cancelled: str | None = None
        self._error: str | None = None
        self._begun = False
        self._reported = -math.inf
        #: Whether a backup that failed is listed as such.
        self.settled = False

    def listen(self) -> None:
        """Hear what nova-compute says, from now on."""
        threading.Thread(target=self._listen, daemon=True).start()

    def check(self) -> None:
        """Go on, or not.

        :raises exception.Cancelled: nova-compute wants it, or has ended
        """
        if self._cancelled is not None:
            raise exception.Cancelled(self._cancelled)

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Others are kept off the instance, in the context.

        :raises exception.Cancelled: as :meth:`check` does
        """
        self.say('quiet')
        self._answered.wait()
        self.check()
        try:
            yield
        finally:
            self.begun()

    def begun(self) -> None:
        """Nobody needs to wait for that, nor keep off, any longer."""
        if not self._begun:
            self._begun = True
            self.say('begun')

    def upload(
        self,
        path: pathlib.Path,
        beat: Callable[[], None],
        interval: float,
    ) -> None:
        """Have nova-compute upload a file, with the user's own token.

        :param beat: called at every interval, in seconds, meanwhile
        :raises exception.Cancelled: as :meth:`check` does
        :raises exception.WorkerFailed: it could not
        """
        self.say('upload', path=str(path))
        while not self._answered.wait(interval):
            beat()
        self.check()
        if self._error is not None:
            raise exception.WorkerFailed(
                self._error, kind=exception.TargetFailed.__name__
            )

    def report(self, now: progress.Progress) -> None:
        """Tell of progress, now and then.

        :raises exception.Cancelled: as :meth:`check` does
        """
        self.check()
        if time.monotonic() < self._reported + _REPORT_INTERVAL:
            return
        self._reported = time.monotonic()
        self.say(
            'progress',
            disk=now.disk,
            position=now.position,
            size=now.size,
            moved=now.moved,
        )

    def say(self, what: str, **more: typing.Any) -> None:
        """Say something that is not worth failing for."""
        with contextlib.suppress(OSError):
            self._link.send({'say': what, **more})

    def _listen(self) -> None:
        while (message := self._link.receive()) is not None:
            if message['say'] == 'cancel':
                break
            self._error = message.get('error')
            self._answered.set()
        self._cancelled = (
            message['reason'] if message else 'nova-compute has ended'
        )
        self._answered.set()
