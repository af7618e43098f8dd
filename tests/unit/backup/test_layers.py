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


import typing

from hypothesis import given
from hypothesis import strategies as st
import testtools

from ekko_nova.backup import layers
from ekko_nova.backup.manifest import base

_BLOCKS = 10
_FULL = (1 << _BLOCKS) - 1
_masks = st.integers(0, _FULL)


def _layer(mask: int, number: int) -> base.Layer:
    return base.Layer(mask, 0, number, 0, 1, 0, bytes(20))


def _contents(segment: base.Segment) -> list[int | str]:
    """What each block reads as: 'zero', or the object it comes from."""
    result: list[int | str] = []
    for bit in range(_BLOCKS):
        if segment.zero >> bit & 1:
            result.append('zero')
            continue
        result.append(
            next(
                layer.object
                for layer in reversed(segment.layers)
                if layer.mask >> bit & 1
            )
        )
    return result


@st.composite
def _histories(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Backups as (blocks that became zero, blocks that got data)."""
    return [
        (zero, data & ~zero)
        for zero, data in draw(
            st.lists(st.tuples(_masks, _masks), max_size=12)
        )
    ]


class LayersTest(testtools.TestCase):
    def _play(
        self, history: list[tuple[int, int]]
    ) -> typing.Iterator[tuple[base.Segment, list[int | str]]]:
        segment = base.Segment(_FULL)
        expected: list[int | str] = ['zero'] * _BLOCKS
        for number, (zero, data) in enumerate(history):
            piece = _layer(data, number) if data else None
            segment = layers.succeed(segment, zero, piece)
            for bit in range(_BLOCKS):
                if zero >> bit & 1:
                    expected[bit] = 'zero'
                elif data >> bit & 1:
                    expected[bit] = number
            yield segment, expected

    @given(_histories())
    def test_every_block_reads_as_last_written(
        self, history: list[tuple[int, int]]
    ) -> None:
        for segment, expected in self._play(history):
            self.assertEqual(expected, _contents(segment))

    @given(_histories())
    def test_effective_masks_say_where_blocks_come_from(
        self, history: list[tuple[int, int]]
    ) -> None:
        for segment, expected in self._play(history):
            masks = layers.effective(segment)
            for layer, mask in zip(segment.layers, masks, strict=True):
                self.assertNotEqual(0, mask, 'a dead layer was kept')
                self.assertEqual(
                    mask,
                    sum(
                        1 << bit
                        for bit in range(_BLOCKS)
                        if expected[bit] == layer.object
                    ),
                )

    @given(_histories(), _masks)
    def test_only_layers_read_whole_are_comparable(
        self, history: list[tuple[int, int]], blocks: int
    ) -> None:
        for segment, expected in self._play(history):
            found = layers.comparable(segment, blocks)
            for layer in segment.layers:
                whole = all(
                    expected[bit] == layer.object and blocks >> bit & 1
                    for bit in range(_BLOCKS)
                    if layer.mask >> bit & 1
                )
                self.assertEqual(whole, layer in found)

    @given(_histories(), _masks.filter(bool))
    def test_there_is_always_room_for_one_more(
        self, history: list[tuple[int, int]], dirty: int
    ) -> None:
        segment = base.Segment(_FULL)
        for number, (zero, changed) in enumerate(history):
            whole = layers.needs_whole(segment, zero | changed, _FULL)
            data = _FULL & ~zero if whole else changed
            piece = _layer(data, number) if data else None
            segment = layers.succeed(segment, zero, piece)
            self.assertLessEqual(len(segment.layers), layers.MAX_LAYERS)

    def test_half_the_blocks_need_the_whole_segment(self) -> None:
        untouched = base.Segment(_FULL)
        self.assertFalse(layers.needs_whole(untouched, 0b1111, _FULL))
        self.assertTrue(layers.needs_whole(untouched, 0b11111, _FULL))

    def test_a_ninth_layer_needs_the_whole_segment(self) -> None:
        eight = base.Segment(
            _FULL & ~0xFF, tuple(_layer(1 << n, n) for n in range(8))
        )
        self.assertTrue(layers.needs_whole(eight, 1 << 9, _FULL))
        # Overriding one of the eight makes room.
        self.assertFalse(layers.needs_whole(eight, 1 << 3, _FULL))
