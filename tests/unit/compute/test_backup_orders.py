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

"""A deletion says that it goes on for as long as it does, and why it fails."""

import dataclasses
import os
import pathlib
import typing
import uuid

from oslo_utils import timeutils
from oslo_utils import units

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import naming
from ekko_nova.backup import process
from ekko_nova.backup import record as records
from ekko_nova.backup.store import memory
from ekko_nova.compute import backup_orders
from ekko_nova.compute import engine as engines
from ekko_nova.compute import order as orders
from ekko_nova import exception
from ekko_nova.virt import scratch
from tests import base
from tests import disks
from tests import engine

_SEGMENTS: typing.Final = 12
_SITE: typing.Final = orders.Site({}, {}, 'a-project', 'a-uri')
_NOWHERE: typing.Final = pathlib.Path('/nonexistent')


class _Store(memory.MemoryStore):
    """Keeps the order of what concerns the note and the objects."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.full = False
        self.denied = False

    def put(self, name: str, data: typing.Any, **options: bool) -> None:
        if name.startswith('notes/'):
            self.seen.append('note')
            if self.full:
                raise exception.StoreFull(self.url, 'of a test')
        super().put(name, data, **options)

    def delete(self, name: str) -> None:
        if name.startswith('sets/'):
            self.seen.append('object')
            if self.denied:
                raise exception.StoreDenied(self.url, 'of a test')
        super().delete(name)


class DeleteTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = _Store()
        disk = disks.MemoryDisk(_SEGMENTS * units.Mi)
        disk.write(0, os.urandom(_SEGMENTS * units.Mi))
        self.catalog = catalogs.Catalog(self.store)
        self.record = dataclasses.replace(
            engine.Line(self.store, disk).backup(),
            instance={'project_id': 'a-project'},
        )

    def delete(self, record: records.Record, heartbeat: float = 0.0) -> None:
        self.catalog.put(record)
        impatient = dataclasses.replace(
            engine.SETTINGS, heartbeat=heartbeat, stale_after=60.0
        )
        self.store.seen.clear()
        backup_orders.delete(
            orders.DeleteOrder(_SITE, record.id, 'req-1'),
            engines.Engine(
                self.catalog, impatient, scratch.Places(_NOWHERE, _NOWHERE, 0)
            ),
        )
        self.assertEqual(
            [], [name for name in self.store.list('') if 'sets/' in name.name]
        )

    def assert_noted(self) -> None:
        """Never did several objects go without a word."""
        seen = ' '.join(self.store.seen)
        self.assertGreaterEqual(seen.count('object'), _SEGMENTS)
        self.assertGreaterEqual(seen.count('note object'), _SEGMENTS)

    def test_of_an_available_one(self) -> None:
        self.delete(self.record)
        self.assert_noted()

    def test_of_one_whose_maker_has_died(self) -> None:
        self.delete(self._died(self.record))
        self.assert_noted()

    def test_of_one_that_another_was_built_on(self) -> None:
        """Its maker has died, and what it left goes first."""
        child = dataclasses.replace(
            self._died(self.record),
            id=str(uuid.uuid4()),
            parent=self.record.id,
        )
        self.catalog.announce(child)
        [disk] = child.disks
        for number in range(_SEGMENTS):
            name = naming.object_name(disk.set, child.id, number)
            self.store.put(name, b'x')
        self.delete(self.record)
        self.assert_noted()
        self.assertGreater(self.store.seen.count('object'), 2 * _SEGMENTS)

    def test_of_one_that_somebody_else_deletes(self) -> None:
        """Who is at it writes the note, not who is refused."""
        elsewhere = dataclasses.replace(process.current(), host='elsewhere')
        busy = dataclasses.replace(
            self.record,
            status=records.Status.DELETING,
            process=elsewhere,
            updated_at=timeutils.utcnow(with_timezone=True),
        )
        self.assertRaises(exception.InProgress, self.delete, busy)
        self.assertEqual([], self.store.seen)

    def test_of_many_objects_in_a_full_store(self) -> None:
        self.store.full = True
        self.delete(self.record, heartbeat=600.0)
        self.assertEqual(1, self.store.seen.count('note'))

    def test_why_it_fails(self) -> None:
        """Who carries it out hears it in full; the note is for tenants."""
        self.store.denied = True
        error = self.assertRaises(
            exception.StoreDenied, self.delete, self.record
        )
        self.assertIn(self.store.url, str(error))
        note = self.catalog.notes.get(
            self.record.server, self.record.id, 'delete'
        )
        assert note is not None
        self.assertEqual(
            ('failed', exception.StoreDenied.told),
            (note['status'], note['error']),
        )

    @staticmethod
    def _died(record: records.Record) -> records.Record:
        return dataclasses.replace(
            record,
            status=records.Status.CREATING,
            process=dataclasses.replace(process.current(), pid=1, started=1),
            finished_at=None,
        )
