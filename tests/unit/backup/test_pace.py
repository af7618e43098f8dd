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

"""No faster than allowed, by a clock of the test's own."""

from unittest import mock

import hypothesis
from hypothesis import strategies

from ekko_nova.backup import pace
from tests import base
from tests import disks


class Clock:
    """Time passes only in sleep."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class PaceTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        patch = mock.patch.object(pace, 'time', autospec=True)
        time = patch.start()
        self.addCleanup(patch.stop)
        time.monotonic.side_effect = self.clock.monotonic
        time.sleep.side_effect = self.clock.sleep

    @hypothesis.given(
        strategies.lists(strategies.integers(1, 1 << 22), min_size=2),
        strategies.integers(1, 1 << 30),
    )
    def test_the_rate(self, lengths: list[int], rate: int) -> None:
        """All but the last have had their time."""
        began = self.clock.now
        limit = pace.Pace(rate)
        for length in lengths:
            limit.take(length)
        spent = self.clock.now - began
        self.assertAlmostEqual(sum(lengths[:-1]) / rate, spent, places=3)

    def test_what_was_not_used_is_not_saved_up(self) -> None:
        limit = pace.Pace(100)
        limit.take(100)
        self.clock.now += 60
        limit.take(100)
        before = self.clock.now
        limit.take(100)
        self.assertEqual(1.0, self.clock.now - before)

    def test_disks(self) -> None:
        content = bytes(range(256)) * 4
        source = pace.source(disks.Snapshot(content, None), 512)
        self.assertEqual(1024, source.size)
        self.assertTrue(list(source.extents()))
        target = disks.MemoryTarget(1024)
        paced = pace.target(target, 512)
        for offset in (0, 512):
            paced.write(offset, source.read(offset, 512))
        paced.flush()
        self.assertEqual((content, True), (target.content, target.flushed))
        self.assertEqual(1001.0, self.clock.now)
        paced.zero(0, 1024)
        source.check()
        self.assertEqual(1001.0, self.clock.now)

    def test_no_limit(self) -> None:
        source, target = disks.Snapshot(b'', None), disks.MemoryTarget(0)
        self.assertIs(source, pace.source(source, None))
        self.assertIs(target, pace.target(target, None))
