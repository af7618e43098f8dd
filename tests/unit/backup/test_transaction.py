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


"""What may start during what, and who is taken for dead."""

import dataclasses
import datetime
import subprocess
import sys

from oslo_utils import units

from ekko_nova.backup import discard
from ekko_nova.backup import process
from ekko_nova.backup import prune
from ekko_nova.backup import record as records
from ekko_nova.backup import transaction
from ekko_nova import exception
from tests import engine
from tests.unit.backup import test_engine

noise = test_engine.noise


class TransactionTest(test_engine.EngineCase):
    def setUp(self) -> None:
        super().setUp()
        self.disk.write(0, noise(units.Mi))
        self.parent = self.line.backup()

    def begin(
        self,
        backup: str,
        parent: records.Record | None = None,
        *,
        requested: bool = False,
    ) -> transaction.Transaction:
        self.planned = records.DiskRecord(
            name='vda',
            identity='root',
            set='server.root',
            size=0,
            segment_size=0,
        )
        return transaction.Transaction(
            self.line.catalog,
            self.line.settings,
            records.begun(
                engine.SERVER,
                records.Request(backup, requested),
                disks=(self.planned,),
            ),
            parent=parent,
        )

    def test_one_that_nobody_has_begun_is_no_rival(self) -> None:
        """nova-api announces a backup before its host has agreed."""
        request = records.Request('announced', known=True)
        self.line.catalog.announce(
            records.begun(engine.SERVER, request, maker=process.NOBODY)
        )
        with self.begin('first'):
            other = self.begin('second')
            self.assertRaises(exception.InProgress, other.__enter__)

    def test_one_at_a_time(self) -> None:
        with self.begin('first'):
            error = self.assertRaises(
                exception.InProgress, self.begin('second').__enter__
            )
            self.assertEqual('first', error.backup)
        self.assert_nothing_spare()

    def test_a_parent_in_use_is_not_deleted(self) -> None:
        with self.begin('child', self.parent) as job:
            self.assertRaises(
                exception.InProgress, self.line.delete, self.parent.id
            )
            job.write_disk(self.planned, self.disk.snapshot(full=True))
            job.commit()
        self.line.contents['child'] = bytes(self.disk.content)
        self.assert_all_restore()

    def test_another_may_be_deleted_meanwhile(self) -> None:
        newer = self.line.backup()
        with self.begin('child', newer) as job:
            self.line.delete(self.parent.id)
            job.write_disk(self.planned, self.disk.snapshot(full=True))
            job.commit()
        self.line.contents['child'] = bytes(self.disk.content)
        self.assert_all_restore()
        self.assert_nothing_spare()

    def test_nothing_is_built_on_what_is_being_deleted(self) -> None:
        self.line.catalog.put(
            dataclasses.replace(self.parent, status=records.Status.DELETING)
        )
        self.assertRaises(
            exception.InProgress, self.begin('child', self.parent).__enter__
        )

    def test_one_that_was_taken_for_dead_does_not_commit(self) -> None:
        with self.begin('slow') as job:
            job.write_disk(self.planned, self.disk.snapshot(full=True))
            discard.unfinished(self.line.catalog, job.record)
            self.assertRaises(exception.InProgress, job.commit)
        self.assertEqual(
            [self.parent.id], [record.id for record in self.line.available()]
        )
        self.assert_nothing_spare()

    def test_a_sign_of_life(self) -> None:
        line = self.line.with_settings(heartbeat=0.0)
        self.line.settings = line.settings
        with self.begin('alive') as job:
            before = self.line.catalog.get('alive').updated_at
            job.write_disk(self.planned, self.disk.snapshot(full=True))
            now = self.line.catalog.get('alive')
            self.assertGreater(now.updated_at, before)
            progress = now.progress
            assert progress is not None
            self.assertTrue(0 <= progress.percent <= 100, progress)
            self.assertLessEqual(progress.read_bytes, len(self.disk.content))
            job.commit()
        self.assertIsNone(self.line.catalog.get('alive').progress)
        self.line.contents['alive'] = bytes(self.disk.content)

    def _left_by(self, found: process.Process, age: float) -> records.Record:
        """A backup in the making that a process left some time ago."""
        with self.begin('left') as job:
            record = job.record
        moment = record.updated_at - datetime.timedelta(seconds=age)
        left = dataclasses.replace(record, process=found, updated_at=moment)
        self.line.catalog.announce(left)
        self.line.store.put('sets/server.root/left/00000000', b'some')
        return left

    def _collected(self) -> int:
        collected = prune.collect(
            self.line.catalog, self.line.settings, engine.SERVER
        )
        return len(collected.removed)

    def _fail(self, error: BaseException) -> records.Record:
        def fail() -> None:
            with self.begin('asked-for', requested=True) as job:
                job.write_disk(self.planned, self.disk.snapshot(full=True))
                raise error

        self.assertRaises(type(error), fail)
        return self.line.catalog.get('asked-for')

    def test_one_that_was_requested_stays_as_an_error(self) -> None:
        record = self._fail(exception.SourceLost('vda', 'of a test'))
        self.assertEqual(records.Status.ERROR, record.status)
        self.assertEqual(exception.SourceLost.told, record.error)
        self.assertEqual(0, self._collected())
        self.line.backup()
        self.assert_all_restore()
        self.line.delete('asked-for')
        self.assert_nothing_spare()

    def test_tenants_are_not_told_what_nobody_foresaw(self) -> None:
        record = self._fail(OSError('/srv/x is not there'))
        self.assertEqual(exception.WorkerFailed.told, record.error)

    def test_what_is_wrong_with_the_parent(self) -> None:
        """Only who may be a tenant is not told where the store is."""
        for name in self.line.names():
            if name.startswith(f'sets/server.root/{self.parent.id}/'):
                self.line.store.delete(name)
        for requested in (True, False):
            name = f'requested-{requested}'
            with self.begin(name, self.parent, requested=requested) as job:
                job.write_disk(self.planned, self.disk.snapshot(full=True))
                note = job.commit().note or ''
            told = str(exception.ObjectMissing.told)
            self.assertEqual(requested, told in note, note)
            self.assertNotEqual(requested, self.line.store.url in note, note)

    def test_whoever_cancels_it_says_why(self) -> None:
        self.assertEqual(
            'it was cancelled: by me',
            self._fail(exception.Cancelled('by me')).error,
        )
        self.line.delete('asked-for')
        self.assertEqual(
            'it was cancelled', self._fail(KeyboardInterrupt()).error
        )

    def test_one_that_was_requested_and_whose_process_died(self) -> None:
        earlier = dataclasses.replace(process.current(), boot='earlier')
        left = self._left_by(earlier, 0)
        self.line.catalog.put(dataclasses.replace(left, requested=True))
        self.assertEqual(1, self._collected())
        record = self.line.catalog.get('left')
        self.assertEqual(records.Status.ERROR, record.status)
        self.assertIn('process', record.error or '')
        self.line.delete('left')
        self.assert_nothing_spare()

    def _settled(self, backup: str) -> records.Record:
        return discard.settle(
            self.line.catalog,
            engine.SERVER,
            records.Request(backup, True),
            'of a test',
        )

    def test_settling(self) -> None:
        elsewhere = dataclasses.replace(process.current(), host='elsewhere')
        left = self._left_by(elsewhere, 0)
        self.assertEqual(records.Status.ERROR, self._settled('left').status)
        # It may live and just be slow.
        self.assertTrue(self.line.catalog.is_fenced(left))
        self.line.catalog.unfence(engine.SERVER, 'left')
        self.assertEqual('of a test', self._settled('left').error)
        self.assertEqual('of a test', self._settled('never-announced').error)
        self.assertEqual(self.parent, self._settled(self.parent.id))
        self.line.delete('left')
        self.line.delete('never-announced')
        self.assert_nothing_spare()

    def test_settling_leaves_what_lives_here(self) -> None:
        alive = subprocess.Popen(['sleep', '60'])
        self.addCleanup(alive.wait)
        self.addCleanup(alive.kill)
        here = dataclasses.replace(
            process.current(),
            pid=alive.pid,
            started=process._started(alive.pid) or 0,
        )
        self._left_by(here, 0)
        self.assertRaises(exception.InProgress, self._settled, 'left')

    def test_a_dead_process_leaves_nothing(self) -> None:
        dead = subprocess.Popen([sys.executable, '-c', ''])
        dead.wait()
        gone = dataclasses.replace(process.current(), pid=dead.pid)
        self._left_by(gone, 0)
        self.assertEqual(1, self._collected())
        self.assert_nothing_spare()

    def test_a_process_of_another_host_has_time(self) -> None:
        elsewhere = dataclasses.replace(process.current(), host='elsewhere')
        self._left_by(elsewhere, 0)
        self.assertEqual(0, self._collected())
        left = self._left_by(elsewhere, self.line.settings.stale_after + 1)
        self.assertEqual(1, self._collected())
        # It may live and just be slow.
        self.assertTrue(self.line.catalog.is_fenced(left))
        self.line.catalog.unfence(engine.SERVER, 'left')
        self.assert_nothing_spare()

    def test_a_process_of_an_earlier_boot_is_gone(self) -> None:
        earlier = dataclasses.replace(process.current(), boot='earlier')
        self._left_by(earlier, 0)
        self.assertEqual(1, self._collected())

    def test_this_process_is_alive(self) -> None:
        self.assertFalse(process.is_gone(process.current()))
