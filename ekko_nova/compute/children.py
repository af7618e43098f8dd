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


"""The workers of this host: at most one for each instance."""

from collections.abc import Iterator
import contextlib
import dataclasses
import threading
import typing

from ekko_nova.compute import child as children
from ekko_nova import exception

__all__ = ('STOPPED', 'Children', 'Running')

#: Why all of them end at once.
STOPPED: typing.Final = 'nova-compute is being stopped'

#: Seconds beyond the time that a worker has to end, for its last words.
_MARGIN: typing.Final = 10.0
_POLL: typing.Final = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """A worker, or one that waits for its turn.

    :ivar activity: backup or restore
    """

    child: children.Child
    activity: str
    backup: str


class Children:
    """Who works on which instance."""

    def __init__(self, cancel_timeout: float) -> None:
        self._cancel_timeout = cancel_timeout
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}
        self._closed = False

    def add(self, instance: str, running: Running) -> None:
        """Take note of one; :meth:`remove` it whatever happens.

        :raises exception.InProgress: there is one already
        :raises exception.Cancelled: the service is about to end
        """
        with self._lock:
            if self._closed:
                raise exception.Cancelled(STOPPED)
            if (other := self._running.get(instance)) is not None:
                raise exception.InProgress(
                    instance, other.backup, other.activity
                )
            self._running[instance] = running

    def remove(self, instance: str) -> None:
        """It has ended."""
        with self._lock:
            self._running.pop(instance, None)

    @contextlib.contextmanager
    def adding(self, instance: str, running: Running) -> Iterator[None]:
        """:meth:`add` and :meth:`remove`."""
        self.add(instance, running)
        try:
            yield
        finally:
            self.remove(instance)

    def of(self, instance: str) -> Running | None:
        """The one of an instance, if there is one."""
        with self._lock:
            return self._running.get(instance)

    @contextlib.contextmanager
    def in_turn(
        self, running: Running, turns: threading.Semaphore
    ) -> Iterator[None]:
        """With one of the turns; without, once the worker was cancelled.

        It does not begin then, and says so by itself.
        """
        taken = False
        while not taken and not running.child.ended.is_set():
            taken = turns.acquire(timeout=_POLL)
        try:
            yield
        finally:
            if taken:
                turns.release()

    def cancel(self, instance: str, reason: str) -> None:
        """Have the one of an instance end, and wait until it has."""
        running = self.of(instance)
        if running is not None:
            running.child.cancel(reason)
            running.child.ended.wait(self._cancel_timeout + _MARGIN)

    def close(self, reason: str) -> None:
        """Have all end, and let none begin."""
        with self._lock:
            self._closed = True
            left = list(self._running.values())
        for running in left:
            running.child.cancel(reason)

    def wait(self) -> None:
        """Until all have ended, after :meth:`close`."""
        with self._lock:
            left = list(self._running.values())
        for running in left:
            running.child.ended.wait(self._cancel_timeout + _MARGIN)
