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

"""No faster than an operator allows."""

from collections.abc import Iterator
import threading
import time

from ekko_nova import block

__all__ = ('Pace', 'source', 'target')


class Pace:
    """Lets so many bytes pass in a second, whoever brings them.

    Each request waits until those before it have had their time, so that over
    any span no more passes than the rate allows, and one request.

    :param rate: bytes per second
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free = 0.0

    def take(self, length: int) -> None:
        """Wait until ``length`` bytes may pass."""
        with self._lock:
            begin = max(time.monotonic(), self._free)
            self._free = begin + length / self._rate
        time.sleep(max(0.0, begin - time.monotonic()))


class _PacedSource:
    """A source that is read at a pace."""

    def __init__(self, inner: block.BlockSource, pace: Pace) -> None:
        self._inner = inner
        self._pace = pace

    @property
    def size(self) -> int:
        return self._inner.size

    def extents(self) -> Iterator[block.Extent]:
        return self._inner.extents()

    def read(self, offset: int, length: int) -> block.Buffer:
        self._pace.take(length)
        return self._inner.read(offset, length)

    def check(self) -> None:
        self._inner.check()


class _PacedTarget:
    """A target that is written at a pace; zeros cost nothing."""

    def __init__(self, inner: block.BlockTarget, pace: Pace) -> None:
        self._inner = inner
        self._pace = pace

    @property
    def size(self) -> int:
        return self._inner.size

    def write(self, offset: int, data: block.Buffer) -> None:
        self._pace.take(len(data))
        self._inner.write(offset, data)

    def zero(self, offset: int, length: int) -> None:
        self._inner.zero(offset, length)

    def flush(self) -> None:
        self._inner.flush()


def source(
    inner: block.BlockSource, bandwidth: int | None
) -> block.BlockSource:
    """The same, read no faster than ``bandwidth`` bytes per second."""
    return _PacedSource(inner, Pace(bandwidth)) if bandwidth else inner


def target(
    inner: block.BlockTarget, bandwidth: int | None
) -> block.BlockTarget:
    """The same, written no faster than ``bandwidth`` bytes per second."""
    return _PacedTarget(inner, Pace(bandwidth)) if bandwidth else inner
