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
import signal
import threading
import time
import types
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

    A request to cancel becomes a ``KeyboardInterrupt`` in the main thread,
    with the reason as its text.
    """

    def __init__(self, link: links.Link) -> None:
        self._link = link
        self._proceed = threading.Event()
        self._reason = ''
        self._error: str | None = None
        self._ended = False
        self._reported = -math.inf
        #: Whether a backup that failed is listed as such.
        self.settled = False

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Hear what nova-compute says, in the context."""
        before = signal.signal(signal.SIGINT, self._interrupt)
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            yield
        finally:
            # Too late: whatever was to be cancelled has happened.
            self._ended = True
            signal.signal(signal.SIGINT, before)

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Others are kept off the instance, in the context."""
        self._link.send({'say': 'quiet'})
        self._proceed.wait()
        try:
            yield
        finally:
            self.say('begun')

    def upload(
        self,
        path: pathlib.Path,
        beat: Callable[[], None],
        interval: float,
    ) -> None:
        """Have nova-compute upload a file, with the user's own token.

        :param beat: called at every interval, in seconds, meanwhile
        :raises exception.WorkerFailed: it could not
        """
        self._link.send({'say': 'upload', 'path': str(path)})
        while not self._proceed.wait(interval):
            beat()
        if self._error is not None:
            raise exception.WorkerFailed(self._error)

    def report(self, now: progress.Progress) -> None:
        """Tell of progress, now and then."""
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
        while True:
            message = self._link.receive()
            if message is not None and message['say'] == 'proceed':
                self._error = message.get('error')
                self._proceed.set()
                continue
            self._reason = 'nova-compute has ended'
            if message is not None:
                self._reason = message['reason']
            if not self._ended:
                signal.pthread_kill(
                    threading.main_thread().ident or 0, signal.SIGINT
                )
            return

    def _interrupt(
        self, _number: int, _frame: types.FrameType | None
    ) -> typing.NoReturn:
        raise KeyboardInterrupt(f'it was cancelled: {self._reason}')
