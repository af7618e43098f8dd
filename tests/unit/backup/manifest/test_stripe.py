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

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import itertools
import struct

import hypothesis
from hypothesis import strategies
import testtools

from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import stripe
from tests import manifests

PROPERTY = hypothesis.settings(deadline=None)
PADDING = base.Segment(zero=0)

PLAIN, CONSTANT, COUNTING = range(3)
WIDTHS = {
    'count': 1,
    'zero': 8,
    'mask': 8,
    'owner': 4,
    'object': 4,
    'offset': 4,
    'length': 4,
    'codec': 1,
}


def pack(items: Sequence[int], width: int) -> bytes:
    return b''.join(item.to_bytes(width, 'little') for item in items)


def read(column: bytes, width: int, count: int) -> list[int]:
    """What the format says a column is, one item at a time."""
    kind, payload = column[0], column[1:]
    if kind == PLAIN:
        return [
            int.from_bytes(payload[start : start + width], 'little')
            for start in range(0, count * width, width)
        ]
    first = int.from_bytes(payload, 'little')
    step = 1 if kind == COUNTING else 0
    return [first + step * index for index in range(count)]


class TestRoundTrip(testtools.TestCase):
    @PROPERTY
    @hypothesis.given(manifests.SEGMENTS)
    def test_decode_inverts_encode(self, segments: list[base.Segment]) -> None:
        columns = stripe.encode(segments)
        padded = segments + [PADDING] * (base.STRIPE - len(segments))
        self.assertEqual(padded, stripe.decode(columns))
        self.assertEqual(columns, stripe.encode(padded))

    def test_a_full_stripe(self) -> None:
        segments = [
            base.Segment(0, (manifests.layer(number),))
            for number in range(base.STRIPE)
        ]
        columns = stripe.encode(segments)
        self.assertEqual(segments, stripe.decode(columns))
        self.assertEqual(b'\x01\x01', columns.count)
        self.assertEqual(bytes([CONSTANT]) + bytes(8), columns.zero)
        self.assertEqual(b'\x01' + b'\xff' * 8, columns.mask)
        self.assertEqual(bytes([COUNTING]) + bytes(4), columns.object)
        self.assertEqual(1 + 4 * base.STRIPE, len(columns.length))
        self.assertEqual(20 * base.STRIPE, len(columns.digest))

    def test_most_layers(self) -> None:
        layers = tuple(manifests.layer(number) for number in range(255))
        segments = [base.Segment(0, layers)] * base.STRIPE
        self.assertEqual(segments, stripe.decode(stripe.encode(segments)))

    @PROPERTY
    @hypothesis.given(manifests.SEGMENTS)
    def test_every_column_is_as_the_format_says(
        self, segments: list[base.Segment]
    ) -> None:
        columns = stripe.encode(segments)
        items = stripe.unpack(columns)
        layers = sum(len(segment.layers) for segment in segments)
        for name, width in WIDTHS.items():
            count = base.STRIPE if name in ('count', 'zero') else layers
            self.assertEqual(
                read(getattr(columns, name), width, count),
                list(getattr(items, name)),
            )
        self.assertEqual(columns.digest, b''.join(items.digest))

    @PROPERTY
    @hypothesis.given(manifests.SEGMENTS, manifests.U32)
    def test_record(self, segments: list[base.Segment], number: int) -> None:
        columns = stripe.encode(segments)
        record = stripe.record(number, columns)
        self.assertEqual((number, columns), stripe.from_record(record))
        lengths = [len(getattr(columns, name)) for name in stripe.COLUMNS]
        self.assertEqual(struct.pack('<10I', number, *lengths), record[:40])

    def test_summaries(self) -> None:
        segments = [
            base.Segment(0, (manifests.layer(1, owner=7),)),
            base.Segment(
                0, (manifests.layer(2), manifests.layer(3, owner=70000))
            ),
        ]
        columns = stripe.encode(segments)
        self.assertEqual({0, 7, 70000}, stripe.owners(columns))
        self.assertFalse(stripe.is_zero(columns))
        zero = stripe.encode([base.Segment(manifests.FULL)] * base.STRIPE)
        self.assertEqual(set(), stripe.owners(zero))
        self.assertTrue(stripe.is_zero(zero))

    def test_what_does_not_fit_is_refused(self) -> None:
        layer = manifests.layer(0)
        for wrong in (
            [PADDING] * (base.STRIPE + 1),
            [base.Segment(1 << 64)],
            [base.Segment(-1)],
            [base.Segment(0, (layer,) * 256)],
            [base.Segment(0, (dataclasses.replace(layer, owner=1 << 32),))],
            [base.Segment(0, (dataclasses.replace(layer, codec=256),))],
            [base.Segment(0, (dataclasses.replace(layer, digest=b'x'),))],
        ):
            self.assertRaises(ValueError, stripe.encode, wrong)


class TestKinds(testtools.TestCase):
    def test_the_shortest_and_of_equals_the_lowest(self) -> None:
        cases: list[tuple[list[int], int, int]] = [
            ([], 4, PLAIN),
            ([5], 4, PLAIN),
            ([5, 5], 4, CONSTANT),
            ([5, 6], 4, COUNTING),
            ([6, 5], 4, PLAIN),
            ([5, 6, 8], 4, PLAIN),
            ([5, 9, 7], 4, PLAIN),
            ([255, 0], 1, PLAIN),
            ([(1 << 64) - 2, (1 << 64) - 1], 8, COUNTING),
        ]
        for items, width, kind in cases:
            column = stripe.encode_column(pack(items, width), width)
            self.assertEqual(kind, column[0], str(items))

    @PROPERTY
    @hypothesis.given(
        strategies.sampled_from([1, 4, 8]),
        strategies.sampled_from([0, 1]),
        strategies.integers(0, 200),
        strategies.integers(2, 50),
        strategies.integers(0, 49),
        strategies.booleans(),
    )
    def test_one_item_makes_the_difference(
        self,
        width: int,
        step: int,
        first: int,
        count: int,
        position: int,
        spoil: bool,
    ) -> None:
        items = [first + step * index for index in range(count)]
        if spoil and position < count and count > 2:
            items[position] = 255 - items[position]
        column = stripe.encode_column(pack(items, width), width)
        self.assertEqual(items, read(column, width, count))
        steps = {b - a for a, b in itertools.pairwise(items)}
        self.assertEqual(steps in ({0}, {1}), column[0] != PLAIN)

    @PROPERTY
    @hypothesis.given(manifests.SEGMENTS)
    def test_a_reader_accepts_all_kinds(
        self, segments: list[base.Segment]
    ) -> None:
        columns = stripe.encode(segments)
        items = stripe.unpack(columns)
        plain = dataclasses.replace(
            columns,
            **{
                name: b'\0' + pack(getattr(items, name), width)
                for name, width in WIDTHS.items()
            },
        )
        self.assertEqual(stripe.decode(columns), stripe.decode(plain))


class TestDamage(testtools.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.columns = stripe.encode(
            [base.Segment(0, (manifests.layer(n),)) for n in range(100)]
        )

    def refuses(self, **changes: bytes) -> None:
        columns = dataclasses.replace(self.columns, **changes)
        self.assertRaises(ValueError, stripe.check, columns)
        self.assertRaises(ValueError, stripe.decode, columns)
        self.assertRaises(
            ValueError, stripe.from_record, stripe.record(0, columns)
        )

    def test_the_columns_are_fine_as_they_are(self) -> None:
        stripe.check(self.columns)
        self.assertEqual(base.STRIPE, len(stripe.decode(self.columns)))

    def test_kinds_and_lengths(self) -> None:
        for name, width in WIDTHS.items():
            item = bytes(width)
            for column in (
                b'',
                b'\x03' + item,
                b'\xff' + item,
                b'\x00' + item,
                b'\x00' + item * (base.STRIPE + 1),
                b'\x01',
                b'\x01' + item + b'\0',
                b'\x01' + item[1:],
                b'\x02' + item * 2,
            ):
                self.refuses(**{name: column})

    def test_counting_beyond_the_width(self) -> None:
        for name in ('mask', 'owner', 'object', 'offset', 'length'):
            width = WIDTHS[name]
            last = (1 << 8 * width) - 100
            fits = b'\x02' + pack([last], width)
            stripe.check(dataclasses.replace(self.columns, **{name: fits}))
            self.refuses(**{name: b'\x02' + pack([last + 1], width)})

    def test_digests_that_do_not_match_the_layers(self) -> None:
        digest = self.columns.digest
        for changed in (b'', digest[:-1], digest[20:], digest + digest[:20]):
            self.refuses(digest=changed)

    def test_more_layers_than_digests(self) -> None:
        self.refuses(count=b'\x01\xff')

    def test_records(self) -> None:
        record = stripe.record(5, self.columns)
        for wrong in (b'', record[:39], record[:-1], record + b'\0'):
            self.assertRaises(ValueError, stripe.from_record, wrong)

    @PROPERTY
    @hypothesis.given(strategies.data())
    def test_check_refuses_exactly_what_decode_does(
        self, data: strategies.DataObject
    ) -> None:
        name = data.draw(strategies.sampled_from(sorted(WIDTHS)))
        column = data.draw(strategies.binary(max_size=20))
        columns = dataclasses.replace(self.columns, **{name: column})
        self.assertEqual(
            self.accepts(stripe.check, columns),
            self.accepts(stripe.decode, columns),
        )

    def accepts(
        self,
        function: Callable[[base.Columns], object],
        columns: base.Columns,
    ) -> bool:
        try:
            function(columns)
        except ValueError:
            return False
        return True
