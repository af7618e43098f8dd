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


"""A worker, as nova-compute sees it: started, listened to, cancelled."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import logging
import math
import socket
import subprocess
import sys
import threading
import typing

from ekko_nova.compute import link as links
from ekko_nova.compute import order as orders
from ekko_nova import exception

__all__ = ('Child', 'Events', 'require_worker')

LOG = logging.getLogger(__name__)

_NAME: typing.Final = 'ekko_nova.compute.worker'
#: All that it imports once it runs.
_WORK: typing.Final = 'ekko_nova.compute.work'
#: Seconds that a worker has to end after its last word.
_LAST_WORD: typing.Final = 5.0


def require_worker() -> None:
    """See that a worker could start here, with all that it imports.

    :raises exception.WorkerFailed: it could not; what it misses
    """
    done = subprocess.run(
        [sys.executable, '-P', '-c', f'import {_NAME}, {_WORK}'],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        cwd='/',
        text=True,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ['it says nothing']
        raise exception.WorkerFailed(f'no worker can start: {said[-1]}')


class Events:
    """What happens while a worker works. All of it in the thread that waits.

    Meant to be overridden where something is to happen.
    """

    @contextlib.contextmanager
    def quiet(self, cancelled: threading.Event) -> Iterator[None]:
        """Keep others off the instance, in the context.

        :param cancelled: do not wait for that any longer once this is set
        """
        yield

    def begun(self) -> None:
        """It is not refused, and goes on."""

    def progress(self, message: links.Message) -> None:
        """It has come this far."""

    def local(self) -> None:
        """Nothing is left on this host."""

    def upload(self, path: str) -> None:
        """There is a file to be uploaded.

        :raises exception.EkkoError: it was not
        """
        raise NotImplementedError

    def ended(self, error: Exception | None) -> None:
        """It has, or never began; nothing came of it if there is an error.

        Whoever has it run calls this.
        """


class Child:
    """One worker. Any thread may cancel it; one waits for it.

    :param cancel_timeout: seconds that it has to end once it is cancelled
    :param begin_timeout: seconds that it may keep others off the instance;
        whoever waits for that may be Nova, with a deletion
    """

    def __init__(
        self,
        order: orders.Order,
        cancel_timeout: float,
        begin_timeout: float = math.inf,
    ) -> None:
        self._order = order
        self._timeout = cancel_timeout
        self._begin_timeout = begin_timeout
        self._lock = threading.Lock()
        self._link: links.Link | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._reason: str | None = None
        self._cancelled = threading.Event()
        self.ended = threading.Event()

    def run(self, events: Events) -> dict[str, typing.Any]:
        """Start it, and wait for its result.

        :raises exception.Cancelled: it was, before it began
        :raises exception.WorkerFailed: it did, or died
        """
        try:
            with self._started() as link:
                return self._converse(link, events)
        finally:
            self.ended.set()

    def cancel(self, reason: str) -> None:
        """Have it end; it may take a moment, and is killed if it takes long.

        :attr:`ended` tells when it has.
        """
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            link, process = self._link, self._process
        self._cancelled.set()
        if link is None or process is None:
            # It has not begun, and will not.
            self.ended.set()
            return
        with contextlib.suppress(OSError):
            link.send({'say': 'cancel', 'reason': reason})
        timer = threading.Timer(self._timeout, process.kill)
        timer.daemon = True
        timer.start()

    @contextlib.contextmanager
    def _started(self) -> Iterator[links.Link]:
        ours, theirs = socket.socketpair()
        link = links.Link(ours)
        with contextlib.ExitStack() as stack:
            stack.callback(link.close)
            with self._lock, theirs:
                if self._reason is not None:
                    raise exception.Cancelled(self._reason)
                process = self._popen(theirs.fileno())
                self._link, self._process = link, process
            stack.callback(_end, process)
            yield link

    @contextlib.contextmanager
    def _beginning(self) -> Iterator[None]:
        seconds = self._begin_timeout
        if seconds == math.inf:
            yield
            return
        timer = threading.Timer(
            seconds, self.cancel, [f'it had not begun after {seconds:g} s']
        )
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _popen(self, descriptor: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                # -P: what lies in the current directory is none of its
                # modules.
                [
                    *(sys.executable, '-P', '-m', _NAME, str(descriptor)),
                    *orders.title(self._order),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[descriptor],
                cwd='/',
                # What ends nova-compute's group lets it clean up first.
                start_new_session=True,
            )
        except OSError as e:
            raise exception.WorkerFailed(
                f'no worker: {e}', settled=False
            ) from e

    def _converse(
        self, link: links.Link, events: Events
    ) -> dict[str, typing.Any]:
        handlers: dict[str, Callable[[links.Message], None]] = {
            'progress': events.progress,
            'local': lambda _: events.local(),
            'log': _log,
        }
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                link.send(orders.to_message(self._order))
            while (message := link.receive()) is not None:
                match message['say']:
                    case 'quiet':
                        stack.enter_context(events.quiet(self._cancelled))
                        stack.enter_context(self._beginning())
                        with contextlib.suppress(OSError):
                            link.send({'say': 'proceed'})
                    case 'upload':
                        answer = _uploaded(events, message['path'])
                        with contextlib.suppress(OSError):
                            link.send({'say': 'proceed', 'error': answer})
                    case 'begun':
                        stack.close()
                        events.begun()
                    case 'done':
                        result: dict[str, typing.Any] = message['result']
                        return result
                    case 'failed':
                        raise exception.WorkerFailed(
                            message['reason'],
                            kind=message['kind'],
                            settled=message['settled'],
                        )
                    case kind:
                        handlers[kind](message)
        if self._reason is not None:
            cancelled = exception.Cancelled(self._reason)
            raise exception.WorkerFailed(
                str(cancelled), kind=type(cancelled).__name__
            )
        raise exception.WorkerFailed('its process died without a word')


def _uploaded(events: Events, path: str) -> str | None:
    """Why a file was not uploaded, if it was not."""
    try:
        events.upload(path)
    except exception.EkkoError as e:
        return str(e)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_LAST_WORD)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _log(message: links.Message) -> None:
    logging.getLogger(message['name']).log(message['level'], message['text'])
