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
        self, backup: str, parent: records.Record | None = None
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
            server=engine.SERVER,
            request=records.Request(backup),
            parent=parent,
            disks=[self.planned],
        )

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
            prune.discard(self.line.catalog, job.record)
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
            self.assertGreater(
                self.line.catalog.get('alive').updated_at, before
            )

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
        return len(collected)

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
        self._left_by(elsewhere, self.line.settings.stale_after + 1)
        self.assertEqual(1, self._collected())
        self.assert_nothing_spare()

    def test_a_process_of_an_earlier_boot_is_gone(self) -> None:
        earlier = dataclasses.replace(process.current(), boot='earlier')
        self._left_by(earlier, 0)
        self.assertEqual(1, self._collected())

    def test_this_process_is_alive(self) -> None:
        self.assertFalse(process.is_gone(process.current()))
