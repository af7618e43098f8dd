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

"""A look at what the bitmap calls clean: does the parent hold it as it is?

A dirty bitmap sees only what its QEMU writes. Something else that writes to
the file, or a bitmap made anew under the old name, would make an incremental
silently wrong. So each incremental reads a few random clean segments and
compares them with the parent's digests: no proof, but a tripwire for the
faults that are not rare.
"""

import random

from ekko_nova.backup import examine
from ekko_nova.backup import geometry as geometry_
from ekko_nova.backup import layers
from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import builder as builders
from ekko_nova.backup import pieces
from ekko_nova import block

__all__ = ('first_difference',)


def first_difference(
    source: block.BlockSource,
    parent: base.Reader,
    segments: int,
    generator: random.Random,
) -> int | None:
    """A segment that the source calls clean, but that differs; or ``None``.

    :param segments: how many to look at
    :param generator: chooses them
    :raises exception.SourceLost: the source cannot be read
    """
    geometry = geometry_.Geometry(
        parent.header.size, parent.header.segment_size
    )
    if not geometry.segments:
        return None
    chosen = sorted(
        {generator.randrange(geometry.segments) for _ in range(segments)}
    )
    dirty = _dirty(source, chosen, parent.header.segment_size)
    manifest = builders.ParentSegments(parent, geometry)
    codecs = parent.header.codecs
    for segment in chosen:
        entry = manifest.segment(segment)
        clean = geometry.full_mask(segment) & ~dirty.get(segment, 0)
        if not _same(source, geometry, segment, entry, codecs, clean):
            return segment
    return None


def _dirty(
    source: block.BlockSource, chosen: list[int], segment_size: int
) -> dict[int, int]:
    """The dirty masks of the chosen segments, where there are any."""
    geometry = geometry_.Geometry(source.size, segment_size)
    dirty = {}
    waiting = iter(chosen)
    segment = next(waiting, None)
    for change in geometry_.changes(source.extents(), geometry):
        while segment is not None and segment < change.segment:
            segment = next(waiting, None)
        while segment is not None and segment < change.segment + change.count:
            dirty[segment] = change.dirty
            segment = next(waiting, None)
        if segment is None:
            break
    return dirty


def _same(
    source: block.BlockSource,
    geometry: geometry_.Geometry,
    segment: int,
    entry: base.Segment,
    codecs: tuple[base.Codec, ...],
    clean: int,
) -> bool:
    zero = entry.zero & clean
    kept = layers.comparable(entry, clean)
    mask = zero
    for layer in kept:
        mask |= layer.mask
    blocks = examine.Blocks(source, geometry, segment, mask)
    if zero & ~blocks.zero_mask():
        return False
    return all(
        pieces.matches(layer, codecs, blocks.join(layer.mask))
        for layer in kept
    )
