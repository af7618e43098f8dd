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

"""What the benchmark does with its figures; not the figures."""

import json
import pathlib
import subprocess
import sys

from defusedxml import ElementTree
import fixtures

from benchmarks import chart
from benchmarks import data
from benchmarks import goals
from benchmarks import measure
from benchmarks import report
from tests import base


def _sample(system: str, wall: float, rss: int = 0) -> report.Sample:
    return report.Sample('full', system, measure.Usage(wall, wall, 0, rss), 7)


class ReportTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.rows = report.collected(
            [
                *(_sample('ours', 3, 1), _sample('theirs', 9)),
                *(_sample('ours', 1, 5), _sample('ours', 2, 3)),
            ]
        )

    def test_medians_and_the_worst_memory(self) -> None:
        ours, theirs = self.rows
        self.assertEqual(
            ('ours', 3, 2, 1, 3, 5),
            (
                ours.system,
                ours.runs,
                ours.wall,
                ours.fastest,
                ours.slowest,
                ours.rss,
            ),
        )
        self.assertEqual(('theirs', 9), (theirs.system, theirs.wall))

    def test_table(self) -> None:
        rule, heads, _, *lines, end, _ = report.table(self.rows).split('\n')
        self.assertEqual(rule, end)
        self.assertEqual(2, len(lines))
        self.assertIn('wall s', heads)

    def test_json(self) -> None:
        report.write_json(self.path / 'json', {'cpus': 2}, self.rows)
        found = json.loads((self.path / 'json').read_text())
        self.assertEqual([2, 9], [row['wall'] for row in found['rows']])

    def test_runs_are_joined(self) -> None:
        report.write_json(self.path / 'json', {}, self.rows)
        again = report.collected([_sample('ours', 7)])
        rows = report.joined(report.read_json(self.path / 'json'), again)
        self.assertEqual(2, len(rows))
        self.assertEqual(
            {**{row.system: row.wall for row in self.rows}, 'ours': 7},
            {row.system: row.wall for row in rows},
        )

    def test_picture(self) -> None:
        chart.draw(self.path / 'svg', self.rows)
        root = ElementTree.parse(self.path / 'svg').getroot()
        bars = [each for each in root if each.get('height') == '16']
        self.assertEqual(2, len(bars))


class GoalsTest(base.TestCase):
    def test_ratios(self) -> None:
        rows = report.collected(
            [
                _sample('ekko-nova', 5, 300 << 20),
                _sample('borg', 9),
                _sample('zstd -1 -T2', 4),
            ]
        )
        said = goals.judged(rows).splitlines()
        self.assertEqual(
            ['NO', 'yes', 'NO'], [line.split()[0] for line in said]
        )
        self.assertIn('0.56', said[0])

    def test_less_what_is_not_ours(self) -> None:
        workload = 'live: 1,024 × 64 KiB'
        walls = {
            (workload, 'ekko-nova, Swift'): 3.0,
            (workload, 'ekko-nova, Swift, as its record says'): 2.0,
            (workload, 'virtnbdbackup'): 4.0,
            ('live: no change', 'libvirt, job alone'): 1.0,
        }
        rows = report.collected(
            report.Sample(*what, measure.Usage(wall, wall), 7)
            for what, wall in walls.items()
        )
        said = goals.judged(rows).splitlines()
        self.assertEqual(['0.75', '0.25'], [x.split()[1] for x in said[:2]])
        self.assertIn('less libvirt, job alone', said[1])


class MeasureTest(base.TestCase):
    def test_a_command(self) -> None:
        usage = measure.run(
            [sys.executable, '-c', 'x = b"x" * (1 << 26); print(len(x))']
        )
        self.assertEqual('67108864', usage.output.strip())
        self.assertGreater(usage.rss, 1 << 26)
        self.assertGreater(usage.wall, 0)

    def test_a_command_that_fails(self) -> None:
        self.assertRaises(
            subprocess.CalledProcessError, measure.run, ['false']
        )


class DataTest(base.TestCase):
    def test_the_image(self) -> None:
        directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        images = [directory / name for name in ('one', 'two')]
        for image in images:
            data.make_image(image, 2 << 20)
        one, two = (image.read_bytes() for image in images)
        self.assertEqual((2 << 20, one), (len(two), two))

    def test_writes(self) -> None:
        first, second = data.SCATTERED[:2]
        self.assertEqual(64 << 10, len(first.data('a')))
        self.assertEqual(first.data('a'), first.data('a'))
        self.assertNotEqual(first.data('a'), first.data('b'))
        self.assertNotEqual(first.data('a'), second.data('a'))
        self.assertEqual(1024, len({each.offset for each in data.SCATTERED}))
