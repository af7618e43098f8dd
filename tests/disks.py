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


"""Disks in memory, with dirty bitmaps, for tests of the engine."""

from collections.abc import Iterator

from ekko_nova import block
from ekko_nova import exception

GRANULE = 4096


class MemoryDisk:
    """A disk whose writes are tracked since the last :meth:`snapshot`."""

    def __init__(self, size: int) -> None:
        self.content = bytearray(size)
        self._dirty: set[int] = set()

    def write(self, offset: int, data: bytes) -> None:
        self.content[offset : offset + len(data)] = data
        end = -(-(offset + len(data)) // GRANULE)
        self._dirty.update(range(offset // GRANULE, end))

    def write_behind(self, offset: int, data: bytes) -> None:
        """Write as something would that the bitmap does not see."""
        self.content[offset : offset + len(data)] = data

    def resize(self, size: int) -> None:
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))

    def snapshot(self, *, full: bool) -> 'Snapshot':
        """The disk as it is now; changes are tracked anew from here."""
        dirty, self._dirty = self._dirty, set()
        return Snapshot(bytes(self.content), None if full else dirty)


class Snapshot:
    """A :class:`ekko_nova.block.BlockSource` of a disk in memory."""

    def __init__(self, content: bytes, dirty: set[int] | None) -> None:
        self.content = content
        self._dirty = dirty
        self.reads: list[tuple[int, int]] = []
        self.lost = False

    @property
    def size(self) -> int:
        return len(self.content)

    def extents(self) -> Iterator[block.Extent]:
        # One extent a granule, zero or not, as an unhelpful server would.
        for offset in range(0, self.size, GRANULE):
            data = self.content[offset : offset + GRANULE]
            dirty = self._dirty is None or offset // GRANULE in self._dirty
            yield block.Extent(
                offset, len(data), dirty, data == bytes(len(data))
            )

    def read(self, offset: int, length: int) -> bytes:
        if self.lost:
            raise exception.SourceLost('memory', 'the test said so')
        self.reads.append((offset, length))
        data = self.content[offset : offset + length]
        assert len(data) == length
        return data

    def check(self) -> None:
        if self.lost:
            raise exception.SourceLost('memory', 'the test said so')


class MemoryTarget:
    """A :class:`ekko_nova.block.BlockTarget` that begins with rubbish."""

    def __init__(self, size: int) -> None:
        self.content = bytearray(b'\xee' * size)
        self.flushed = False

    @property
    def size(self) -> int:
        return len(self.content)

    def write(self, offset: int, data: block.Buffer) -> None:
        assert offset + len(data) <= self.size
        self.content[offset : offset + len(data)] = data

    def zero(self, offset: int, length: int) -> None:
        assert offset + length <= self.size
        self.content[offset : offset + length] = bytes(length)

    def flush(self) -> None:
        self.flushed = True
