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

"""How the layers of a segment follow from one backup to the next. Pure.

A block reads as zero if the segment's zero mask has it, else from the newest
layer whose mask has it::

    block       0   1   2   3   4   5
    zero        ·   ·   ·   ·   ■   ■
    layer 1     ·   B   ·   B   ·   B      newest
    layer 0     A   A   A   A   A   ·
    reads as    A   B   A   B   0   0
"""

import typing

from ekko_nova.backup.manifest import base

__all__ = (
    'MAX_LAYERS',
    'comparable',
    'effective',
    'needs_whole',
    'succeed',
)

#: No segment has more layers, so no restore reads more objects for one.
MAX_LAYERS: typing.Final = 8


def effective(segment: base.Segment) -> tuple[int, ...]:
    """For each layer, the blocks that are read from it."""
    covered = segment.zero
    result = []
    for layer in reversed(segment.layers):
        result.append(layer.mask & ~covered)
        covered |= layer.mask
    return tuple(reversed(result))


def needs_whole(parent: base.Segment, dirty: int, full: int) -> bool:
    """Whether to read the whole segment rather than its dirty blocks.

    True if at least half of its blocks are dirty, or if one more layer would
    be one too many.
    """
    if 2 * dirty.bit_count() >= full.bit_count():
        return True
    staying = sum(bool(mask & ~dirty) for mask in effective(parent))
    return staying + 1 > MAX_LAYERS


def comparable(parent: base.Segment, blocks: int) -> tuple[base.Layer, ...]:
    """The layers whose digest tells whether these blocks have changed.

    Only a layer that nothing overrides has a digest of what is read from it
    now; and all of its blocks must be at hand.
    """
    return tuple(
        layer
        for layer, mask in zip(parent.layers, effective(parent), strict=True)
        if mask == layer.mask and not mask & ~blocks
    )


def succeed(
    parent: base.Segment, zero: int, piece: base.Layer | None
) -> base.Segment:
    """The segment after blocks became zero and a piece was laid on top.

    A layer that is wholly overridden is dropped.

    :param zero: blocks that are zero now, whatever they were
    """
    layers = parent.layers if piece is None else (*parent.layers, piece)
    mask = piece.mask if piece else 0
    result = base.Segment((parent.zero | zero) & ~mask, layers)
    live = tuple(
        layer
        for layer, mask in zip(layers, effective(result), strict=True)
        if mask
    )
    return base.Segment(result.zero, live)
