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

"""What an adversarial reader of the engine found, one by one."""

import dataclasses
import os
import typing

import hypothesis
from hypothesis import strategies
from oslo_utils import units

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import prune
from ekko_nova.backup import record as records
from ekko_nova.backup.store import memory
from ekko_nova.backup import transaction
from ekko_nova import exception
from tests import base
from tests import disks
from tests import engine

#: Of the segments of these tests.
BLOCK: typing.Final = engine.SETTINGS.segment_size // 64


class GrownTest(base.TestCase):
    """A disk of any size grows to any size, again and again."""

    @hypothesis.settings(max_examples=25, deadline=None)
    @hypothesis.given(
        sizes=strategies.lists(
            strategies.integers(1, 3 * 64 * BLOCK // 512),
            min_size=2,
            max_size=4,
            unique=True,
        ),
        full=strategies.lists(strategies.booleans(), min_size=4, max_size=4),
        seed=strategies.integers(0, 255),
    )
    @hypothesis.example(
        sizes=[60 * BLOCK // 512 + 1, 64 * BLOCK // 512],
        full=[False] * 4,
        seed=1,
    )
    def test_every_backup_restores(
        self, sizes: list[int], full: list[bool], seed: int
    ) -> None:
        sizes.sort()
        disk = disks.MemoryDisk(0)
        line = engine.Line(memory.MemoryStore(), disk)
        for number, sectors in enumerate(sizes):
            disk.resize(sectors * 512)
            at = (seed * 977 + number * 31) % sectors * 512
            disk.write(at, os.urandom(512))
            line.backup(full=full[number])
            # A change within what is there.
            disk.write(0, os.urandom(512))
            line.backup()
        for backup, content in line.contents.items():
            self.assertEqual([], line.findings(backup))
            self.assertEqual(content, line.restore(backup))


class LineCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = memory.MemoryStore()
        self.disk = disks.MemoryDisk(4 * units.Mi)
        self.line = engine.Line(self.store, self.disk)

    def backup(self, **options: bool) -> records.Record:
        """Of a disk of which a part has changed."""
        self.disk.write(len(self.line.contents) * BLOCK, os.urandom(BLOCK))
        return self.line.backup(**options)

    def assert_restores(self, *wanted: records.Record) -> None:
        for record in wanted:
            self.assertEqual(
                self.line.contents[record.id], self.line.restore(record.id)
            )


class DeletionsThatMeetTest(LineCase):
    """One has read a record before another gave it a new parent."""

    def setUp(self) -> None:
        super().setUp()
        self.disk.write(0, os.urandom(4 * units.Mi))
        self.first, self.second, self.third = (
            self.line.backup(),
            self.backup(),
            self.backup(),
        )

    def stale(self) -> None:
        """The third is written as it was, when the second is gone."""
        before = self.line.catalog.get(self.third.id)
        self.line.delete(self.second.id)
        self.line.catalog.put(before)

    def test_the_one_that_was_read(self) -> None:
        self.stale()
        self.line.delete(self.third.id)
        self.assert_restores(self.first)

    def test_the_one_it_builds_on(self) -> None:
        self.stale()
        self.line.delete(self.first.id)
        self.assert_restores(self.third)


class DiscardedTest(LineCase):
    """Its maker was silent for too long, and goes on after all."""

    def make(self, when: records.Status) -> records.Record | None:
        """Discard one at the moment that its record is being written."""
        settings = dataclasses.replace(
            engine.SETTINGS, heartbeat=0.0, stale_after=0.0
        )
        line = self.line.catalog
        struck: list[bool] = []

        class Stalled(catalogs.Catalog):
            puts = 0

            def put(self, record: records.Record) -> None:
                self.puts += 1
                if not struck and self.puts > 3 and record.status is when:
                    struck.append(True)
                    prune.delete(line, settings, record.id)
                super().put(record)

        self.disk.write(0, os.urandom(4 * units.Mi))
        planned = records.DiskRecord(
            name='vda',
            identity='root',
            set='server.root',
            size=4 * units.Mi,
            segment_size=units.Mi,
            full_reason='test',
        )
        job = transaction.Transaction(
            Stalled(self.store),
            settings,
            records.begun(
                engine.SERVER, records.Request('slow'), disks=(planned,)
            ),
            parent=None,
        )

        def go_on() -> None:
            with job:
                job.write_disk(planned, self.disk.snapshot(full=True))
                job.commit()

        self.assertRaises(exception.InProgress, go_on)
        self.assertTrue(struck)
        return line.find(engine.SERVER, 'slow')

    def test_while_it_writes(self) -> None:
        self.assertIsNone(self.make(records.Status.CREATING))
        self.assertEqual([], list(self.store.list()))

    def test_while_it_commits(self) -> None:
        self.assertIsNone(self.make(records.Status.AVAILABLE))
        self.assertEqual([], list(self.store.list()))


class DamagedParentTest(LineCase):
    def setUp(self) -> None:
        super().setUp()
        self.disk.write(0, os.urandom(4 * units.Mi))
        self.parent = self.line.backup()
        [disk] = self.parent.disks
        self.lost = f'sets/{disk.set}/{self.parent.id}/00000002'
        self.store.delete(self.lost)

    def test_a_full_does_not_build_on_what_is_missing(self) -> None:
        self.line.tracked = None
        full = self.backup()
        self.assertIn(self.lost, full.note or '')
        self.assert_restores(full)

    def test_nor_an_incremental_on_what_a_verification_found(self) -> None:
        findings = self.line.findings(self.parent.id)
        self.line.catalog.notes.put(
            self.parent.server,
            self.parent.id,
            'verify',
            {'findings': [dataclasses.asdict(each) for each in findings]},
        )
        healed = self.backup()
        self.assertEqual('parent_damaged', healed.disks[0].full_reason)
        self.assert_restores(healed)


class LostPlaceTest(LineCase):
    def test_a_deletion_beside_a_backup_leaves_its_place(self) -> None:
        first, _ = self.backup(), self.backup()
        catalog = self.line.catalog
        begun: list[records.Record] = []

        class Slow(catalogs.Catalog):
            def _line(self, server: str) -> frozenset[str]:
                named = super()._line(server)
                if not begun:
                    # Between what is read and what is written of it.
                    new = dataclasses.replace(first, id='new', parent=None)
                    begun.append(new)
                    catalog.announce(new)
                return named

        Slow(self.store).remove(first)
        self.assertIn('new', catalog._line(engine.SERVER))
