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

"""Threads with bounded memory between them.

Hashing, compression, encryption and every kind of I/O release the GIL, so
threads are enough to keep all cores and several requests busy.
"""

import collections
from collections.abc import Callable
from collections.abc import Generator
from concurrent import futures
import threading
import typing

__all__ = ('Sink', 'ordered')

_Item = typing.TypeVar('_Item')
_Result = typing.TypeVar('_Result')


def ordered(
    function: Callable[[_Item], _Result],
    items: Generator[_Item, None, None],
    workers: int,
) -> Generator[_Result, None, None]:
    """Map over items in threads; results come in the order of the items.

    At most ``workers + 1`` results exist at once. Closing the iterator drops
    what is not begun, waits for what is, and closes ``items``.
    """
    pool = futures.ThreadPoolExecutor(workers, 'ekko-worker')
    pending: collections.deque[futures.Future[_Result]] = collections.deque()
    try:
        for item in items:
            if len(pending) == workers + 1:
                yield pending.popleft().result()
            pending.append(pool.submit(function, item))
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        items.close()


class Sink(typing.Generic[_Item]):
    """Call a function in threads, for its effect.

    :meth:`put` waits while one call is queued behind the ``workers`` that
    run. The first error is raised by the next :meth:`put`,
    or by :meth:`finish`.
    """

    def __init__(
        self, function: Callable[[_Item], None], workers: int
    ) -> None:
        self._function = function
        self._pool = futures.ThreadPoolExecutor(workers, 'ekko-sink')
        self._slots = threading.Semaphore(workers + 1)
        self._failed: BaseException | None = None

    def put(self, item: _Item) -> None:
        """Hand over an item, if nothing has failed so far."""
        self._slots.acquire()
        if self._failed:
            self._slots.release()
            raise self._failed
        self._pool.submit(self._call, item)

    def finish(self) -> None:
        """Wait for all calls, and raise the first error."""
        self._pool.shutdown()
        if self._failed:
            raise self._failed

    def _call(self, item: _Item) -> None:
        try:
            if not self._failed:
                self._function(item)
        except BaseException as e:  # noqa: BLE001  finish() raises it
            self._failed = self._failed or e
        finally:
            self._slots.release()

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self._pool.shutdown(cancel_futures=True)
