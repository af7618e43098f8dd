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

from collections.abc import Iterable
import itertools

from hypothesis import given
from hypothesis import strategies
import testtools

from ekko_nova import block
from ekko_nova.virt import intervals

RUNS = strategies.lists(
    strategies.tuples(strategies.integers(1, 9), strategies.integers(0, 3)),
    max_size=12,
)


def spell_out(runs: Iterable[intervals.Run]) -> list[int]:
    """The flags of every single byte."""
    return [flags for length, flags in runs for _ in range(length)]


class ClipTest(testtools.TestCase):
    @given(RUNS, strategies.integers(0, 120))
    def test_is_a_prefix_of_what_was_said(
        self, runs: list[intervals.Run], length: int
    ) -> None:
        entries = [number for run in runs for number in run]

        clipped = spell_out(intervals.clip(entries, length))

        self.assertEqual(spell_out(runs)[:length], clipped)

    def test_refuses_a_run_of_no_bytes(self) -> None:
        self.assertRaises(ValueError, list, intervals.clip([4, 0, 0, 1], 9))

    def test_refuses_a_length_without_flags(self) -> None:
        self.assertRaises(ValueError, list, intervals.clip([4, 0, 4], 9))


class IntersectTest(testtools.TestCase):
    @given(RUNS, RUNS)
    def test_agrees_with_both_on_every_byte(
        self, first: list[intervals.Run], second: list[intervals.Run]
    ) -> None:
        result = list(intervals.intersect(first, second))

        pairs = [(a, b) for length, a, b in result for _ in range(length)]
        self.assertEqual(
            list(zip(spell_out(first), spell_out(second), strict=False)), pairs
        )

    @given(RUNS, RUNS)
    def test_yields_no_empty_run(
        self, first: list[intervals.Run], second: list[intervals.Run]
    ) -> None:
        for length, _, _ in intervals.intersect(first, second):
            self.assertGreater(length, 0)

    def test_cuts_at_the_boundaries_of_both(self) -> None:
        self.assertEqual(
            [(2, 1, 8), (1, 1, 9), (3, 2, 9)],
            list(intervals.intersect([(3, 1), (3, 2)], [(2, 8), (4, 9)])),
        )


class CoalesceTest(testtools.TestCase):
    @given(RUNS)
    def test_joins_all_that_can_be_joined_and_nothing_else(
        self, runs: list[intervals.Run]
    ) -> None:
        extents, offset = [], 0
        for length, flags in runs:
            extents.append(
                block.Extent(offset, length, bool(flags & 1), bool(flags & 2))
            )
            offset += length

        joined = list(intervals.coalesce(extents))

        self.assertEqual(
            spell_out(runs),
            spell_out((e.length, e.dirty + 2 * e.zero) for e in joined),
        )
        for left, right in itertools.pairwise(joined):
            self.assertEqual(left.end, right.offset)
            self.assertNotEqual(
                (left.dirty, left.zero), (right.dirty, right.zero)
            )


class SplitTest(testtools.TestCase):
    @given(
        strategies.integers(0, 99),
        strategies.integers(0, 99),
        strategies.integers(1, 30),
    )
    def test_covers_the_range_in_steps(
        self, offset: int, length: int, step: int
    ) -> None:
        pieces = list(intervals.split(offset, length, step))

        covered = [n for at, size in pieces for n in range(at, at + size)]
        self.assertEqual(list(range(offset, offset + length)), covered)
        self.assertTrue(all(size == step for _, size in pieces[:-1]))
        self.assertTrue(all(0 < size <= step for _, size in pieces))
