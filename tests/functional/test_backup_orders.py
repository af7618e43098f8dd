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

"""Orders that concern stored backups, carried out by real workers."""

import dataclasses
import pathlib
import subprocess
import typing
import uuid

from ekko_nova.backup import naming
from ekko_nova.backup import process
from ekko_nova.backup import record as records
from ekko_nova.compute import child as children
from ekko_nova.compute import order as orders
from ekko_nova import exception
from tests.functional import test_domain_backup
from tests.functional import test_worker

setUpModule = test_domain_backup.setUpModule
tearDownModule = test_domain_backup.tearDownModule


class _Uploads(children.Events):
    """Keeps what is to be uploaded, or refuses it."""

    def __init__(self, error: str | None = None) -> None:
        self._error = error
        self.data = b''

    def upload(self, path: str) -> None:
        if self._error is not None:
            raise exception.TargetFailed('image', self._error)
        self.data = pathlib.Path(path).read_bytes()


class _Begins(children.Events):
    """Counts how often it is told to have begun."""

    def __init__(self) -> None:
        self.times = 0

    def begun(self) -> None:
        self.times += 1


class OrdersCase(test_worker.WorkerCase):
    def setUp(self) -> None:
        super().setUp()
        self.record = self.taken()

    def carry_out(
        self, order: orders.Order, events: children.Events | None = None
    ) -> dict[str, typing.Any]:
        return children.Child(order, 20).run(events or children.Events())

    def note(self, kind: str) -> dict[str, typing.Any]:
        note = self.catalog.notes.get(self.record.server, self.record.id, kind)
        assert note is not None
        return note

    @property
    def other_site(self) -> orders.Site:
        return dataclasses.replace(self.site, project='another-project')


class DeleteTest(OrdersCase):
    def test_delete(self) -> None:
        self.carry_out(orders.DeleteOrder(self.site, self.record.id, 'req-1'))
        self.assertEqual((), self.catalog.line(self.record.server))
        self.assertEqual([], [each.name for each in self.catalog.notes.list()])

    def test_another_project_has_no_such_backup(self) -> None:
        for order in (
            orders.DeleteOrder(self.other_site, self.record.id, 'req-1'),
            orders.VerifyOrder(self.other_site, self.record.id, 'req-1', True),
            orders.ExportOrder(
                self.other_site, self.record.id, 'req-1', 'vda', 'an-image'
            ),
            orders.FailOrder(self.other_site, self.record.id, 'req-1'),
        ):
            error = self.assertRaises(
                exception.WorkerFailed, self.carry_out, order
            )
            self.assertIn(f'no backup {self.record.id}', str(error))
            self.assertEqual('BackupNotFound', error.kind)
        self.assertEqual(self.record, self.catalog.get(self.record.id))

    def test_a_failure_is_noted(self) -> None:
        """A backup is being built on it, on another host."""
        elsewhere = dataclasses.replace(process.current(), host='elsewhere')
        child = dataclasses.replace(
            self.record,
            id=str(uuid.uuid4()),
            parent=self.record.id,
            status=records.Status.CREATING,
            process=elsewhere,
            finished_at=None,
        )
        self.catalog.announce(child)
        order = orders.DeleteOrder(self.site, self.record.id, 'req-1')
        self.assertRaises(exception.WorkerFailed, self.carry_out, order)
        note = self.note('delete')
        self.assertEqual(
            ('failed', 'req-1'), (note['status'], note['request_id'])
        )
        self.assertIn(child.id, note['error'])
        self.assertEqual(self.record, self.catalog.get(self.record.id))


class GiveUpTest(OrdersCase):
    def begun(self, host: str, **changes: typing.Any) -> records.Record:
        begun = dataclasses.replace(
            self.record,
            id=str(uuid.uuid4()),
            status=records.Status.CREATING,
            process=dataclasses.replace(process.current(), host=host),
            finished_at=None,
            **changes,
        )
        self.catalog.announce(begun)
        return begun

    def test_one_whose_host_is_lost(self) -> None:
        begun = self.begun('elsewhere')
        order = orders.FailOrder(self.site, begun.id, 'req-1')
        error = self.assertRaises(
            exception.WorkerFailed, self.carry_out, order
        )
        self.assertIn('in progress', str(error))
        self.assertEqual('InProgress', error.kind)
        # It has not been heard of for a while.
        past = begun.updated_at.replace(year=2000)
        self.catalog.put(dataclasses.replace(begun, updated_at=past))
        events = _Begins()
        self.carry_out(order, events)
        self.assertEqual(1, events.times)
        self.assertIs(records.Status.ERROR, self.catalog.get(begun.id).status)

    def test_not_one_that_is_available(self) -> None:
        order = orders.FailOrder(self.site, self.record.id, 'req-1')
        events = _Begins()
        error = self.assertRaises(
            exception.WorkerFailed, self.carry_out, order, events
        )
        self.assertEqual('IllegalState', error.kind)
        self.assertEqual(0, events.times)
        self.assertEqual(self.record, self.catalog.get(self.record.id))


class VerifyTest(OrdersCase):
    def verify(self, *, deep: bool) -> dict[str, typing.Any]:
        self.carry_out(
            orders.VerifyOrder(self.site, self.record.id, 'req-1', deep)
        )
        return self.note('verify')

    def test_a_sound_one(self) -> None:
        for deep in (False, True):
            note = self.verify(deep=deep)
            self.assertEqual(
                ('done', deep, 100, []),
                (
                    note['status'],
                    note['deep'],
                    note['percent'],
                    note['findings'],
                ),
            )

    def flip(self) -> str:
        """Change a bit of an object."""
        [disk] = self.record.disks
        name = naming.object_name(disk.set, self.record.id, 0)
        data = bytearray(self.catalog.store.get(name))
        data[len(data) // 2] ^= 1
        self.catalog.store.put(name, bytes(data))
        return name

    def test_a_damaged_one(self) -> None:
        name = self.flip()
        self.assertEqual([], self.verify(deep=False)['findings'])
        findings = self.verify(deep=True)['findings']
        self.assertEqual({name}, {found['object'] for found in findings})

    def test_what_was_found_stays_until_it_is_mended(self) -> None:
        self.flip()
        found = self.verify(deep=True)['findings']
        # Which does not look for it.
        self.assertEqual(found, self.verify(deep=False)['findings'])
        [disk] = self.record.disks
        lost = naming.manifest_part_name(disk.set, self.record.id, 0)
        manifest = self.catalog.store.get(lost)
        self.catalog.store.delete(lost)
        both = self.verify(deep=False)['findings']
        self.assertEqual(found, both[:-1])
        self.assertEqual(lost, both[-1]['object'])
        self.catalog.store.put(lost, manifest)
        self.flip()
        self.assertEqual([], self.verify(deep=True)['findings'])

    def test_one_that_does_not_end_forgets_nothing(self) -> None:
        self.flip()
        found = self.verify(deep=True)['findings']
        order = orders.VerifyOrder(self.site, self.record.id, 'req-1', True)
        nowhere = {'temporary_directory': '/proc/nowhere'}
        self.assertRaises(
            exception.WorkerFailed,
            self.carry_out,
            dataclasses.replace(
                order,
                site=dataclasses.replace(
                    self.site, options={**self.site.options, **nowhere}
                ),
            ),
        )
        self.assertNotEqual('done', self.note('verify')['status'])
        self.assertEqual(found, self.note('verify')['findings'])


class ExportTest(OrdersCase):
    def export(self, events: children.Events) -> None:
        [disk] = self.record.disks
        self.carry_out(
            orders.ExportOrder(
                self.site, self.record.id, 'req-1', disk.name, 'an-image'
            ),
            events,
        )

    def test_the_file_holds_the_disk(self) -> None:
        uploads = _Uploads()
        self.export(uploads)
        path = self.root / 'exported.qcow2'
        path.write_bytes(uploads.data)
        subprocess.run(
            [
                'qemu-img',
                'compare',
                str(path),
                self.restored(self.record, 'vda'),
            ],
            check=True,
            capture_output=True,
        )
        note = self.note('export')
        self.assertEqual(('done', 'an-image'), (note['status'], note['image']))
        self.assertEqual([], list(self.places.scratch.iterdir()))

    def test_an_upload_that_fails(self) -> None:
        error = self.assertRaises(
            exception.WorkerFailed, self.export, _Uploads('no room')
        )
        self.assertIn('no room', str(error))
        self.assertEqual(
            exception.TargetFailed.told, self.note('export')['error']
        )
        self.assertEqual([], list(self.places.scratch.iterdir()))


class NewInstanceTest(OrdersCase):
    def restore(self, size: int) -> pathlib.Path:
        directory = self.root / 'new'
        directory.mkdir()
        subprocess.run(
            [
                *('qemu-img', 'create', '-q', '-f', 'qcow2'),
                *(str(directory / 'disk'), str(size)),
            ],
            check=True,
        )
        order = orders.RestoreOrder(
            site=self.site,
            instance=str(uuid.uuid4()),
            backup=self.record.id,
            directory=str(directory),
            format='qcow2',
            root_size=0,
            new=True,
        )
        [restored] = self.carry_out(order)['files'].values()
        return pathlib.Path(restored)

    def test_a_larger_disk(self) -> None:
        [disk] = self.record.disks
        path = self.restore(2 * disk.size)
        # Equal as far as the smaller one goes, and zeros behind.
        subprocess.run(
            [
                'qemu-img',
                'compare',
                str(path),
                self.restored(self.record, 'vda'),
            ],
            check=True,
            capture_output=True,
        )

    def test_a_disk_that_is_too_small(self) -> None:
        [disk] = self.record.disks
        error = self.assertRaises(
            exception.WorkerFailed, self.restore, disk.size // 2
        )
        self.assertIn('choose a flavor', str(error))
