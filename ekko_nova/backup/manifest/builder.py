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

"""Build a backup's manifest: the parent's, with some segments replaced."""

from ekko_nova.backup import geometry as geometry_
from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import stripe

__all__ = ('Builder', 'ParentSegments')


class ParentSegments:
    """A manifest's segments by number; all zero where there is none.

    Holds one decoded stripe, the one used last.
    """

    def __init__(
        self, parent: base.Reader | None, geometry: geometry_.Geometry
    ) -> None:
        self._parent = parent
        self._geometry = geometry
        self._number: int | None = None
        self._segments: list[base.Segment] = []

    def segment(self, segment: int) -> base.Segment:
        """One segment."""
        number, index = divmod(segment, base.STRIPE)
        if number != self._number:
            self._segments = self.stripe(number)
            self._number = number
        return self._segments[index]

    def stripe(self, number: int) -> list[base.Segment]:
        """All segments of a stripe."""
        columns = self._parent.stripe(number) if self._parent else None
        if columns is not None:
            return stripe.decode(columns)
        first = number * base.STRIPE
        end = min(first + base.STRIPE, self._geometry.segments)
        present = [
            base.Segment(self._geometry.full_mask(segment))
            for segment in range(first, end)
        ]
        return present + [base.Segment(0)] * (base.STRIPE - len(present))


class Builder:
    """Segments in, ascending; out goes a manifest for the whole disk.

    Stripes that nobody touches are copied in their encoded form. Without a
    parent everything untouched is zero. Memory: two decoded stripes.
    """

    def __init__(
        self,
        writer: base.Writer,
        parent: base.Reader | None,
        geometry: geometry_.Geometry,
    ) -> None:
        self._writer = writer
        self._parent = parent
        self._geometry = geometry
        self._next = 0
        self._number: int | None = None
        self._segments: list[base.Segment] = []
        self._base = ParentSegments(parent, geometry)
        #: Indexes of the owners that the manifest refers to so far.
        self.owners: set[int] = set()

    def parent_segment(self, segment: int) -> base.Segment:
        """What the parent says of a segment; all zero without a parent.

        May run ahead of :meth:`replace`.
        """
        return self._base.segment(segment)

    def replace(self, segment: int, value: base.Segment) -> None:
        """Say what one segment is now; segments ascend."""
        number, index = divmod(segment, base.STRIPE)
        if number != self._number:
            self._advance(number)
            self._number = number
            self._next = number + 1
            self._segments = self._base.stripe(number)
        self._segments[index] = value

    def clear(self, segment: int, count: int) -> None:
        """Say that ``count`` segments are all zero now."""
        end = segment + count
        last = self._geometry.segments
        while segment < end:
            number, index = divmod(segment, base.STRIPE)
            stop = min(end, (number + 1) * base.STRIPE)
            if index == 0 and (stop - segment == base.STRIPE or stop == last):
                self._advance(number)
                self._next = number + 1
            else:
                for each in range(segment, stop):
                    full = self._geometry.full_mask(each)
                    self.replace(each, base.Segment(full))
            segment = stop

    def finish(self) -> None:
        """Copy what is left and complete the manifest."""
        self._advance(-(-self._geometry.segments // base.STRIPE))
        self._writer.finish()

    def _advance(self, number: int) -> None:
        """Write all stripes before ``number`` that are not written yet."""
        if self._number is not None:
            if any(segment.layers for segment in self._segments):
                self._add(self._number, stripe.encode(self._segments))
            self._number = None
        while self._parent and self._next < number:
            columns = self._parent.stripe(self._next)
            if columns is not None:
                self._add(self._next, columns)
            self._next += 1
        self._next = number

    def _add(self, number: int, columns: base.Columns) -> None:
        self.owners |= stripe.owners(columns)
        self._writer.add(number, columns)
