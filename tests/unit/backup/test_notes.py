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

"""Notes on backups, looking through them, and deletions that meet."""

import dataclasses

from oslo_utils import units

from ekko_nova.backup import browse
from ekko_nova.backup import naming
from ekko_nova.backup import process
from ekko_nova.backup import prune
from ekko_nova.backup import record as records
from ekko_nova.backup.store import memory
from ekko_nova import exception
from tests import base
from tests import disks
from tests import engine


class CountingStore(memory.MemoryStore):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        self.reads.append(name)
        return super().get(name, offset=offset, length=length)


class NotesCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = CountingStore()
        self.line = engine.Line(self.store, disks.MemoryDisk(units.Mi))
        self.catalog = self.line.catalog
        self.notes = self.catalog.notes


class NotesTest(NotesCase):
    def test_they_go_with_their_backup(self) -> None:
        one, other = self.line.backup(), self.line.backup()
        for record in (one, other):
            self.notes.put(record.server, record.id, 'labels', {'name': 'x'})
        self.assertEqual(
            {'labels': {'name': 'x'}}, self.notes.of(one.server, one.id)
        )
        self.line.delete(one.id)
        self.assertEqual({}, self.notes.of(one.server, one.id))
        self.assertEqual(
            [naming.note_name(other.server, other.id, 'labels')],
            [found.name for found in self.notes.list()],
        )

    def test_a_damaged_one_harms_nobody(self) -> None:
        record = self.line.backup()
        name = naming.note_name(record.server, record.id, 'labels')
        self.store.put(name, b'{}')
        [seen] = browse.Browser(self.catalog).all()
        self.assertEqual(({}, record), (seen.notes, seen.record))
        self.line.restore(record.id)


class BrowserTest(NotesCase):
    def test_only_what_changed_is_read_again(self) -> None:
        one, other = self.line.backup(), self.line.backup()
        self.notes.put(one.server, one.id, 'labels', {'name': 'x'})
        browser = browse.Browser(self.catalog)
        first = browser.all()
        self.assertEqual([one, other], [seen.record for seen in first])
        self.store.reads.clear()
        self.assertEqual(first, browser.all())
        self.assertEqual([], self.store.reads)
        self.notes.put(one.server, one.id, 'labels', {'name': 'y'})
        self.line.delete(other.id)
        self.store.reads.clear()
        [seen] = browser.all()
        self.assertEqual({'labels': {'name': 'y'}}, seen.notes)
        self.assertEqual(
            [naming.note_name(one.server, one.id, 'labels')], self.store.reads
        )

    def test_a_damaged_record_does_not_hide_the_others(self) -> None:
        one, other = self.line.backup(), self.line.backup()
        self.store.put(naming.record_name(one.server, one.id), b'{}')
        browser = browse.Browser(self.catalog)
        self.assertEqual([other], [seen.record for seen in browser.all()])
        self.assertEqual(
            [other], [seen.record for seen in browser.of(other.server)]
        )


class MeetingDeletionsTest(NotesCase):
    def setUp(self) -> None:
        super().setUp()
        self.records = [self.line.backup() for _ in range(4)]

    def begin(self, record: records.Record, maker: process.Process) -> None:
        """A deletion that another process has begun."""
        self.catalog.put(
            dataclasses.replace(
                record, status=records.Status.DELETING, process=maker
            )
        )

    def test_one_waits_for_another_of_its_line(self) -> None:
        self.begin(self.records[1], process.current())
        for record in self.records[1:3]:
            error = self.assertRaises(
                exception.InProgress, self.line.delete, record.id
            )
            self.assertEqual(self.records[1].id, error.backup)
        # It gave up without a trace.
        self.assertEqual(
            records.Status.AVAILABLE,
            self.catalog.get(self.records[2].id).status,
        )
        self.assertEqual(
            (),
            prune.collect(
                self.catalog, self.line.settings, engine.SERVER
            ).removed,
        )

    def test_it_does_not_wait_for_the_dead(self) -> None:
        gone = dataclasses.replace(process.current(), started=1)
        self.begin(self.records[1], gone)
        self.line.delete(self.records[2].id)
        prune.collect(self.catalog, self.line.settings, engine.SERVER)
        left = self.catalog.line(engine.SERVER)
        self.assertEqual(
            [self.records[0].id, self.records[3].id],
            [record.id for record in left],
        )
        for record in left:
            self.assertEqual(
                self.line.contents[record.id], self.line.restore(record.id)
            )
