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

"""Segments, blocks and masks: the arithmetic of a disk. Pure functions.

A disk is cut into segments, a segment into :data:`BLOCKS` blocks, so that a
set of blocks of one segment is a 64-bit mask (bit *i* is block *i*). The last
segment may be short, and so may its last block.

::

    disk     0                                              size
             ├────────────┬────────────┬────────────┬───────┤
    segment        0            1            2          3     (short)
    block    ├┬┬┬┬ … ┬┬┬┬─┤  64 of them, segment_size / 64 bytes each
"""

from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import itertools
import typing

from ekko_nova import block

__all__ = ('BLOCKS', 'Change', 'Geometry', 'changes', 'grown', 'runs')

#: Blocks in a segment, and bits in a mask.
BLOCKS: typing.Final = 64


def runs(mask: int) -> Iterator[tuple[int, int]]:
    """The runs of set bits in a mask, as (first bit, number of bits)."""
    first = 0
    while mask:
        gap = (mask & -mask).bit_length() - 1
        mask >>= gap
        first += gap
        # The run ends where the inverted mask has its lowest set bit.
        count = (~mask & (mask + 1)).bit_length() - 1
        yield first, count
        mask >>= count
        first += count


@dataclasses.dataclass(frozen=True, slots=True)
class Geometry:
    """How a disk of ``size`` bytes falls into segments and blocks.

    :ivar size: bytes
    :ivar segment_size: bytes, a multiple of 64 times 512
    """

    size: int
    segment_size: int

    @property
    def block_size(self) -> int:
        """Bytes in a block."""
        return self.segment_size // BLOCKS

    @property
    def segments(self) -> int:
        """Number of segments, the last of which may be short."""
        return -(-self.size // self.segment_size)

    def segment_length(self, segment: int) -> int:
        """Bytes in this segment."""
        return min(self.segment_size, self.size - segment * self.segment_size)

    def full_mask(self, segment: int) -> int:
        """The mask of all blocks this segment has."""
        blocks = -(-self.segment_length(segment) // self.block_size)
        return (1 << blocks) - 1

    def plain_length(self, segment: int, mask: int) -> int:
        """Bytes in the blocks of a mask."""
        return sum(length for _, length in self.spans(segment, mask))

    def spans(self, segment: int, mask: int) -> Iterator[tuple[int, int]]:
        """The runs of a mask as (offset in the segment, length), in bytes."""
        end = self.segment_length(segment)
        for first, count in runs(mask):
            offset = first * self.block_size
            yield offset, min(count * self.block_size, end - offset)

    def touched(self, segment: int, offset: int, end: int) -> int:
        """The mask of this segment's blocks that a range of the disk meets."""
        start = segment * self.segment_size
        offset = max(offset - start, 0)
        end = min(end - start, self.segment_length(segment))
        if end <= offset:
            return 0
        first = offset // self.block_size
        last = -(-end // self.block_size)
        return (1 << last) - (1 << first)


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What a source says of ``count`` consecutive segments, all alike.

    :ivar dirty: blocks that may differ from the parent; never empty
    :ivar zero: blocks that are wholly zero, dirty or not
    """

    segment: int
    count: int
    dirty: int
    zero: int


def grown(
    extents: Iterable[block.Extent], offset: int
) -> Iterator[block.Extent]:
    """The same extents, with everything from ``offset`` on made dirty.

    QEMU reports the area by which a disk has grown as clean (seen on 7.2),
    though no parent has ever stored it.
    """
    for extent in extents:
        if extent.dirty or extent.end <= offset:
            yield extent
        elif extent.offset >= offset:
            yield dataclasses.replace(extent, dirty=True)
        else:
            head = offset - extent.offset
            yield dataclasses.replace(extent, length=head)
            yield block.Extent(
                offset, extent.length - head, dirty=True, zero=extent.zero
            )


def changes(
    extents: Iterable[block.Extent], geometry: Geometry
) -> Iterator[Change]:
    """Gather extents into what changed in each segment; clean ones are not.

    A block is dirty if any dirty extent meets it, and zero if every extent
    that meets it is::

        extents  ┃ dirty, data  ┃ dirty, zero              ┃ clean, data ┃
        blocks   ┃       ┃       ┃       ┃       ┃       ┃       ┃
        dirty        1       1       1       1       1       1       0
        zero         0       0       1       1       1       0       0

    :param extents: cover the disk, ascending (:class:`block.BlockSource`)
    """
    gathered: _Gathered | None = None
    for extent in extents:
        for part in _at_segment_bounds(extent, geometry):
            segment = part.offset // geometry.segment_size
            if gathered and gathered.segment != segment:
                yield from gathered.changes(geometry)
                gathered = None
            if gathered is None and _is_whole(part, geometry):
                yield from _whole(part, geometry)
            else:
                if gathered is None:
                    gathered = _Gathered(segment)
                gathered.add(part, geometry)
    if gathered:
        yield from gathered.changes(geometry)


def _at_segment_bounds(
    extent: block.Extent, geometry: Geometry
) -> Iterator[block.Extent]:
    """Cut an extent into head, whole segments in one piece, and tail."""
    size = geometry.segment_size
    middle = -(-extent.offset // size) * size
    tail = extent.end // size * size
    if extent.end == geometry.size:
        # A short last segment has a mask of its own: it is not of the middle.
        tail = (geometry.segments - 1) * size
    cuts = sorted({extent.offset, extent.end, middle, tail})
    bounds = [cut for cut in cuts if extent.offset <= cut <= extent.end]
    for offset, end in itertools.pairwise(bounds):
        yield dataclasses.replace(extent, offset=offset, length=end - offset)


def _is_whole(part: block.Extent, geometry: Geometry) -> bool:
    segment = part.offset // geometry.segment_size
    start = segment * geometry.segment_size
    return part.offset == start and part.length >= geometry.segment_length(
        segment
    )


def _whole(part: block.Extent, geometry: Geometry) -> Iterator[Change]:
    if not part.dirty:
        return
    segment = part.offset // geometry.segment_size
    count = -(-part.length // geometry.segment_size)
    full = geometry.full_mask(segment)
    yield Change(segment, count, dirty=full, zero=full if part.zero else 0)


class _Gathered:
    """The masks of a segment that more than one extent meets."""

    def __init__(self, segment: int) -> None:
        self.segment = segment
        self._dirty = 0
        self._data = 0

    def add(self, part: block.Extent, geometry: Geometry) -> None:
        touched = geometry.touched(self.segment, part.offset, part.end)
        if part.dirty:
            self._dirty |= touched
        if not part.zero:
            self._data |= touched

    def changes(self, geometry: Geometry) -> Iterator[Change]:
        if self._dirty:
            zero = geometry.full_mask(self.segment) & ~self._data
            yield Change(self.segment, 1, self._dirty, zero)
