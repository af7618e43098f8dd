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

"""The words the engine and the hypervisor side share.

A disk is an array of bytes. Offsets and lengths are integers, in bytes, and
every offset and length given here is a multiple of 512 except where it ends
with the disk.
"""

from collections.abc import Iterator
import dataclasses
import typing

__all__ = ('BlockSource', 'BlockTarget', 'Buffer', 'Extent')

Buffer: typing.TypeAlias = bytes | bytearray | memoryview


@dataclasses.dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes of a disk with one property throughout.

    :ivar offset: first byte
    :ivar length: number of bytes, at least 1
    :ivar dirty: may differ from the parent backup; always true where there
        is no parent to differ from
    :ivar zero: *guaranteed* to read as zeros; false is always a safe answer
    """

    offset: int
    length: int
    dirty: bool
    zero: bool

    @property
    def end(self) -> int:
        """The first byte after the extent."""
        return self.offset + self.length


class BlockSource(typing.Protocol):
    """A disk at one instant, readable by several threads at once."""

    @property
    def size(self) -> int:
        """Virtual size of the disk, a multiple of 512."""
        ...

    def extents(self) -> Iterator[Extent]:
        """Cover the disk from 0 to ``size``: ascending, no gap, no overlap.

        :raises exception.SourceLost: the cover would not be complete
        """
        ...

    def read(self, offset: int, length: int) -> Buffer:
        """Read exactly ``length`` bytes; safe to call from many threads.

        :raises exception.SourceLost: the disk cannot be read any more
        """
        ...

    def check(self) -> None:
        """Confirm, after the last read, that all reads saw one instant.

        :raises exception.SourceLost: they may not have
        """
        ...


class BlockTarget(typing.Protocol):
    """A disk that is being written; starts with undefined content."""

    @property
    def size(self) -> int:
        """Capacity in bytes."""
        ...

    def write(self, offset: int, data: Buffer) -> None:
        """Write all of ``data``; safe to call from many threads.

        :raises exception.TargetFailed: the bytes could not be written
        """
        ...

    def zero(self, offset: int, length: int) -> None:
        """Make the range read as zeros, without allocating if it can.

        :raises exception.TargetFailed: the range could not be zeroed
        """
        ...

    def flush(self) -> None:
        """Return once everything written is durable.

        :raises exception.TargetFailed: it is not
        """
        ...
