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


import itertools

from hypothesis import given
from hypothesis import strategies as st
import testtools

from ekko_nova.backup import geometry
from ekko_nova import block

_SEGMENT = 64 * 512

_masks = st.integers(0, (1 << 64) - 1)
_sizes = st.integers(1, 5 * _SEGMENT // 512).map(lambda n: n * 512)


@st.composite
def _disks(draw: st.DrawFn) -> tuple[geometry.Geometry, list[block.Extent]]:
    """A disk, and extents that cover it."""
    size = draw(_sizes)
    cuts = draw(st.sets(st.integers(1, max(1, size // 512 - 1)), max_size=12))
    bounds = sorted(
        {0, size, *(cut * 512 for cut in cuts if cut * 512 < size)}
    )
    extents = [
        block.Extent(a, b - a, draw(st.booleans()), draw(st.booleans()))
        for a, b in itertools.pairwise(bounds)
    ]
    return geometry.Geometry(size, _SEGMENT), extents


class RunsTest(testtools.TestCase):
    @given(_masks)
    def test_runs_are_the_mask(self, mask: int) -> None:
        bits: set[int] = set()
        end = -2
        for first, count in geometry.runs(mask):
            # Two runs that touch would be one.
            self.assertGreater(first, end)
            self.assertGreater(count, 0)
            bits.update(range(first, first + count))
            end = first + count
        self.assertEqual(bits, {bit for bit in range(64) if mask >> bit & 1})


class GeometryTest(testtools.TestCase):
    @given(_sizes)
    def test_segments_cover_the_disk(self, size: int) -> None:
        disk = geometry.Geometry(size, _SEGMENT)
        lengths = [disk.segment_length(n) for n in range(disk.segments)]
        self.assertEqual(size, sum(lengths))
        self.assertGreater(min(lengths), 0)
        for segment, length in enumerate(lengths):
            full = disk.full_mask(segment)
            self.assertEqual(length, disk.plain_length(segment, full))

    @given(_sizes, _masks)
    def test_spans_stay_in_the_segment(self, size: int, mask: int) -> None:
        disk = geometry.Geometry(size, _SEGMENT)
        last = disk.segments - 1
        mask &= disk.full_mask(last)
        covered: set[int] = set()
        for offset, length in disk.spans(last, mask):
            self.assertLessEqual(offset + length, disk.segment_length(last))
            covered.update(range(offset // 512, (offset + length) // 512))
        self.assertEqual(
            covered, {bit for bit in range(64) if mask >> bit & 1}
        )


class ChangesTest(testtools.TestCase):
    @given(_disks())
    def test_every_block_is_what_its_extents_are(
        self, disk: tuple[geometry.Geometry, list[block.Extent]]
    ) -> None:
        shape, extents = disk
        dirty = [0] * shape.segments
        data = [0] * shape.segments
        for extent in extents:
            for sector in range(extent.offset // 512, extent.end // 512):
                segment, bit = divmod(sector, 64)
                dirty[segment] |= extent.dirty << bit
                data[segment] |= (not extent.zero) << bit
        expected = {
            segment: (
                dirty[segment],
                shape.full_mask(segment) & ~data[segment],
            )
            for segment in range(shape.segments)
            if dirty[segment]
        }

        found: dict[int, tuple[int, int]] = {}
        last = -1
        for change in geometry.changes(extents, shape):
            self.assertGreater(change.segment, last)
            for segment in range(
                change.segment, change.segment + change.count
            ):
                found[segment] = (change.dirty, change.zero)
                last = segment
        self.assertEqual(expected, found)

    def test_a_hole_of_64_tib_is_one_change(self) -> None:
        shape = geometry.Geometry(1 << 46, 1 << 22)
        extents = [block.Extent(0, shape.size, True, True)]

        found = list(geometry.changes(extents, shape))

        self.assertEqual(
            [shape.segments - 1, 1], [change.count for change in found]
        )

    @given(_disks(), st.integers(0, 6 * 64))
    def test_grown_area_is_dirty(
        self,
        disk: tuple[geometry.Geometry, list[block.Extent]],
        sector: int,
    ) -> None:
        shape, extents = disk
        found = list(geometry.grown(extents, sector * 512))

        position = 0
        was = {
            n: extent
            for extent in extents
            for n in range(extent.offset // 512, extent.end // 512)
        }
        for extent in found:
            self.assertEqual(position, extent.offset)
            position = extent.end
            for n in range(extent.offset // 512, extent.end // 512):
                self.assertEqual(was[n].dirty or n >= sector, extent.dirty)
                self.assertEqual(was[n].zero, extent.zero)
        self.assertEqual(shape.size, position)
