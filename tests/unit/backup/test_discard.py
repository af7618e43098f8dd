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

"""Makers that were only slow, and those who took them for dead.

Whatever the moment at which one strikes: no backup is available that does not
restore, and none is removed that was completed before.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import functools
import os
import typing

from oslo_utils import timeutils
from oslo_utils import units

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import discard
from ekko_nova.backup import document
from ekko_nova.backup import process
from ekko_nova.backup import prune
from ekko_nova.backup import record as records
from ekko_nova.backup.store import base as store_base
from ekko_nova.backup.store import memory
from ekko_nova.backup import transaction
from ekko_nova import exception
from tests import base
from tests import disks
from tests import engine

PLANNED: typing.Final = records.DiskRecord(
    name='vda',
    identity='root',
    set='server.root',
    size=4 * units.Mi,
    segment_size=units.Mi,
    full_reason='test',
)

IMPATIENT: typing.Final = dataclasses.replace(
    engine.SETTINGS, heartbeat=0.0, stale_after=0.0
)


def elsewhere() -> process.Process:
    """A process of which nobody here can tell whether it lives."""
    return dataclasses.replace(process.current(), host='elsewhere')


class Store(memory.MemoryStore):
    """Strikes before a request for which ``when`` holds, once."""

    def __init__(self) -> None:
        super().__init__()
        self.when: Callable[[str, str, bytes], bool] | None = None
        self.strike: Callable[[], object] = lambda: None

    def _look(self, method: str, name: str, data: bytes = b'') -> None:
        if self.when is not None and self.when(method, name, data):
            self.when = None
            self.strike()

    def put(self, name: str, data: typing.Any, **options: bool) -> None:
        self._look('put', name, bytes(data))
        super().put(name, data, **options)

    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        self._look('get', name)
        return super().get(name, offset=offset, length=length)

    def stat(self, name: str) -> store_base.ObjectStat:
        self._look('stat', name)
        return super().stat(name)

    def delete(self, name: str) -> None:
        self._look('delete', name)
        super().delete(name)


class DiscardCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.renew()

    def renew(self) -> None:
        """Begin anew, with an empty store."""
        self.store = Store()
        self.disk = disks.MemoryDisk(4 * units.Mi)
        self.disk.write(0, os.urandom(4 * units.Mi))
        self.line = engine.Line(self.store, self.disk)
        self.catalog = catalogs.Catalog(self.store)

    def begin(
        self,
        backup: str = 'slow',
        *,
        parent: records.Record | None = None,
        settings: typing.Any = engine.SETTINGS,
        maker: process.Process | None = None,
    ) -> transaction.Transaction:
        planned = PLANNED
        if parent is not None:
            planned = dataclasses.replace(
                PLANNED, type=records.Type.INCREMENTAL, full_reason=None
            )
        return transaction.Transaction(
            catalogs.Catalog(self.store),
            settings,
            records.begun(
                engine.SERVER,
                records.Request(backup),
                disks=(planned,),
                maker=maker or elsewhere(),
            ),
            parent=parent,
        )

    def write(self, job: transaction.Transaction) -> None:
        """Do all of it that comes before its commit."""
        [planned] = job.record.disks
        source = self.disk.snapshot(full=planned.type is records.Type.FULL)
        job.write_disk(planned, source)
        self.line.contents[job.record.id] = source.content

    def die_at_the_fence(self, job: transaction.Transaction) -> None:
        """Complete it, just looked for one, and come to no other look."""
        job._check_own = lambda: None  # type: ignore[method-assign]
        job._is_fenced_after_all = (  # type: ignore[method-assign]
            lambda: False
        )
        job.commit()

    def make(self, **options: typing.Any) -> None:
        """Make one, to its end or until it is kept from it."""
        with (
            contextlib.suppress(exception.EkkoError),
            self.begin(**options) as job,
        ):
            self.write(job)
            job.commit()

    def delete(self, backup: str = 'slow') -> None:
        """As one who takes its maker for dead."""
        with contextlib.suppress(exception.RetryLater):
            prune.delete(self.catalog, IMPATIENT, backup)

    def strike(
        self,
        act: Callable[[], object],
        when: Callable[[str, str, bytes], bool],
    ) -> None:
        self.store.when = when
        self.store.strike = act

    def assert_sound(self) -> list[str]:
        """All that is available restores; returns what that is."""
        self.assertIsNone(self.store.when, 'it never came to that')
        available = [record.id for record in self.line.available()]
        for backup in available:
            self.assertEqual(
                self.line.contents[backup], self.line.restore(backup)
            )
        return available


class MakerAndDiscarderTest(DiscardCase):
    """Each strikes between any two requests of the other."""

    def _at_every_moment(
        self, first: Callable[[], object], second: Callable[[], object]
    ) -> None:
        moment = 0
        while True:
            self.renew()
            left = iter(range(moment, -1, -1))
            self.strike(second, lambda *_request: next(left) == 0)  # noqa: B023
            first()
            if self.store.when is not None:
                break
            self.assert_sound()
            moment += 1
        self.assertGreater(moment, 5)

    @contextlib.contextmanager
    def _written(self) -> Iterator[transaction.Transaction]:
        """One before its commit; nobody has struck until then."""
        when, self.store.when = self.store.when, None
        with self.begin() as job:
            self.write(job)
            self.store.when = when
            yield job

    def _delete_if_known(self) -> None:
        with contextlib.suppress(exception.BackupNotFound):
            self.delete()

    def test_it_is_deleted_while_it_is_made(self) -> None:
        one = dataclasses.replace(engine.SETTINGS, workers=1, puts=1)
        self._at_every_moment(
            lambda: self.make(settings=one), self._delete_if_known
        )

    def test_it_is_completed_while_it_is_deleted(self) -> None:
        jobs: list[transaction.Transaction] = []

        def commit() -> None:
            with contextlib.suppress(exception.InProgress):
                jobs[-1].commit()

        def make_and_delete() -> None:
            with self._written() as job:
                jobs.append(job)
                self.delete()

        self._at_every_moment(make_and_delete, commit)

    def test_another_builds_on_it_while_it_is_deleted(self) -> None:
        """Its maker has completed it, and died before it looked again."""
        jobs: list[transaction.Transaction] = []

        def commit() -> None:
            self.die_at_the_fence(jobs[-1])
            self.disk.write(0, os.urandom(units.Ki))
            self.make(backup='child', parent=self.catalog.get('slow'))

        def make_and_delete() -> None:
            with self._written() as job:
                jobs.append(job)
                self.delete()
                when, self.store.when = self.store.when, None
            prune.collect(self.catalog, engine.SETTINGS, engine.SERVER)
            self.store.when = when

        self._at_every_moment(make_and_delete, commit)

    def test_what_is_available_is_not_discarded(self) -> None:
        with self.begin() as job:
            self.write(job)
            self.strike(
                job.commit, lambda _, name, __: name.startswith('fences/')
            )
            self.assertRaises(
                exception.InProgress,
                prune.delete,
                self.catalog,
                IMPATIENT,
                'slow',
            )
        self.assertEqual(['slow'], self.assert_sound())
        self.assertEqual([], list(self.store.list('fences/')))

    def test_a_collection_that_takes_long(self) -> None:
        """What it has read at its beginning is not true any more."""
        first = self.line.backup(full=True)
        gone = dataclasses.replace(process.current(), boot='earlier')
        self.catalog.put(
            dataclasses.replace(
                first, status=records.Status.DELETING, process=gone
            )
        )
        with self.begin() as job:
            self.write(job)
            self.strike(
                job.commit,
                lambda method, name, _: (
                    method == 'delete' and name.startswith('sets/')
                ),
            )
            prune.collect(self.catalog, IMPATIENT, engine.SERVER)
        self.assertEqual(['slow'], self.assert_sound())

    def test_a_sign_of_life_while_others_are_collected(self) -> None:
        gone = dataclasses.replace(process.current(), boot='earlier')
        first = records.begun(
            engine.SERVER, records.Request('first'), maker=gone
        )
        self.catalog.announce(first)
        with self.begin() as job:
            alive = job.record
            before = alive.updated_at - datetime.timedelta(days=1)
            self.catalog.put(dataclasses.replace(alive, updated_at=before))
            self.strike(
                lambda: self.catalog.put(alive),
                lambda method, name, _: (
                    method == 'delete' and name == 'backups/server/first.json'
                ),
            )
            prune.collect(self.catalog, engine.SETTINGS, engine.SERVER)
            self.write(job)
            job.commit()
        self.assertEqual(['slow'], self.assert_sound())

    def test_what_has_met_a_fence_is_never_called_available(self) -> None:
        with self.begin() as job:
            job.write_disk(PLANNED, self.disk.snapshot(full=True))
            self.catalog.fence(job.record)
            self.strike(
                self.fail,
                lambda method, _, data: (
                    method == 'put' and b'"status": "available"' in data
                ),
            )
            self.assertRaises(exception.InProgress, job.commit)
            self.store.when = None
        self.assertEqual([], self.assert_sound())


class SilentChildTest(DiscardCase):
    def test_its_parent_is_deleted(self) -> None:
        parent = self.line.backup(full=True)
        self.disk.write(0, os.urandom(units.Ki))
        self.strike(
            lambda: self.delete(parent.id),
            lambda method, _, data: (
                method == 'put' and b'"status": "available"' in data
            ),
        )
        self.make(parent=parent)
        self.assertEqual([], self.assert_sound())

    def test_its_parent_was_being_deleted_and_is_collected(self) -> None:
        parent = self.line.backup(full=True)
        self.disk.write(0, os.urandom(units.Ki))
        gone = dataclasses.replace(process.current(), boot='earlier')

        def collect() -> None:
            self.catalog.put(
                dataclasses.replace(
                    parent, status=records.Status.DELETING, process=gone
                )
            )
            prune.collect(self.catalog, IMPATIENT, engine.SERVER)

        self.strike(
            collect,
            lambda method, _, data: (
                method == 'put' and b'"status": "available"' in data
            ),
        )
        self.make(parent=parent)
        self.assertEqual([], self.assert_sound())


class SettledElsewhereTest(DiscardCase):
    """Another host says that it is dead, and it is not."""

    def _settle(self) -> None:
        settled = discard.settle(
            self.catalog,
            engine.SERVER,
            records.Request('slow', True),
            'it was evacuated',
        )
        self.assertEqual(records.Status.ERROR, settled.status)

    def test_a_sign_of_life_that_came_late(self) -> None:
        puts = iter(range(100))
        self.strike(
            self._settle,
            lambda method, name, _: (
                method == 'put'
                and name.startswith('backups/')
                and next(puts) == 2
            ),
        )
        self.make(settings=dataclasses.replace(engine.SETTINGS, heartbeat=0.0))
        self.assertEqual([], self.assert_sound())
        self.assertEqual([], list(self.store.list('sets/')))

    def test_nothing_lives_on_that_has_just_been_completed(self) -> None:
        with self.begin() as job:
            self.write(job)
            self.strike(
                job.commit, lambda _, name, __: name.startswith('fences/')
            )
            settled = discard.settle(
                self.catalog, engine.SERVER, records.Request('slow', True), ''
            )
        self.assertEqual(records.Status.AVAILABLE, settled.status)
        self.assertEqual(['slow'], self.assert_sound())


class DiedAtTheFenceTest(DiscardCase):
    """It was discarded, wrote that it is available, and came no further."""

    def _die(self) -> None:
        with self.begin() as job:
            self.write(job)
            self.catalog.fence(job.record)
            self.die_at_the_fence(job)

    def test_nothing_refers_to_its_objects(self) -> None:
        self._die()
        self.make(backup='child', parent=self.catalog.get('slow'))
        [disk] = self.catalog.get('child').disks
        self.assertEqual(records.Type.FULL, disk.type)
        self.assertEqual('parent_discarded', disk.full_reason)
        self.assertEqual((), disk.owners)
        self.assertEqual(['slow', 'child'], self.assert_sound())

    def test_it_is_removed_if_it_does_not_restore(self) -> None:
        self._die()
        self.store.delete('sets/server.root/slow/00000001')
        self.line.backup(full=True)
        self.assertNotIn('slow', self.assert_sound())
        self.assertEqual([], list(self.store.list('sets/server.root/slow/')))

    def test_what_others_need_of_it_stays(self) -> None:
        self.make()
        slow = self.catalog.get('slow')
        # All of it but the segment that is missing is what the child needs.
        self.disk.write(units.Mi, os.urandom(units.Mi))
        self.make(backup='child', parent=slow)
        self.catalog.fence(slow)
        self.assertEqual(['slow', 'child'], self.assert_sound())
        self.store.delete('sets/server.root/slow/00000001')
        prune.collect(self.catalog, engine.SETTINGS, engine.SERVER)
        self.assertEqual(['child'], self.assert_sound())
        self.assertIsNone(self.catalog.get('child').parent)

    def test_it_stays_if_it_does(self) -> None:
        self._die()
        self.line.backup(full=True)
        self.assertIn('slow', self.assert_sound())
        self.assertEqual(1, len(list(self.store.list('fences/'))))

    def test_a_fence_does_not_stand_for_ever(self) -> None:
        self._die()
        before = timeutils.utcnow(with_timezone=True) - datetime.timedelta(8)
        self.store.put(
            'fences/server/slow.json',
            document.seal({'format': 1, 'at': before.isoformat()}),
        )
        prune.collect(self.catalog, engine.SETTINGS, engine.SERVER)
        self.assertIn('slow', self.assert_sound())
        self.assertEqual([], list(self.store.list('fences/')))


class LastLookTest(DiscardCase):
    """For a fence, when the record says that it is available."""

    def _commit(self, job: transaction.Transaction) -> None:
        self.write(job)
        job.commit()

    def test_the_store_does_not_answer(self) -> None:
        """Others may have built on it by now."""

        def fail() -> None:
            raise exception.StoreUnavailable(self.store.url, 'of a test')

        looks = iter(range(2))
        self.strike(
            fail,
            lambda method, name, _: (
                method == 'stat'
                and name.startswith('fences/')
                and next(looks) == 1
            ),
        )
        with self.begin() as job:
            self._commit(job)
        self.assertEqual(['slow'], self.assert_sound())

    def test_what_was_built_on_it_meanwhile_stays(self) -> None:
        def build() -> None:
            self.disk.write(0, os.urandom(units.Ki))
            self.make(backup='child', parent=self.catalog.get('slow'))
            self.catalog.fence(self.catalog.get('slow'))

        looks = iter(range(2))
        self.strike(
            build,
            lambda method, name, _: (
                method == 'stat'
                and name == 'fences/server/slow.json'
                and next(looks) == 1
            ),
        )
        with self.begin() as job:
            self.assertRaises(exception.InProgress, self._commit, job)
        self.assertEqual(['child'], self.assert_sound())
        self.assertEqual([], list(self.store.list('fences/')))


class TwoDiscardersTest(DiscardCase):
    def test_one_does_not_take_the_others_fence_away(self) -> None:
        """One has read that it is being made, the other that it is not."""
        with self.begin() as job:
            self.write(job)
            begun = self.catalog.get('slow')
            self.catalog.fence(begun)
            completed = dataclasses.replace(
                begun,
                status=records.Status.AVAILABLE,
                finished_at=begun.updated_at,
            )
            self.catalog.put(completed)
            self.assertFalse(discard.unfinished(self.catalog, begun))
            self.assertTrue(self.catalog.is_fenced(begun))
            self.assertRaises(exception.InProgress, job.commit)

    def test_what_another_has_deleted_does_not_come_back(self) -> None:
        requested = dataclasses.replace(
            records.begun(
                engine.SERVER,
                records.Request('slow', True),
                maker=elsewhere(),
            )
        )
        self.catalog.announce(requested)
        self.delete()
        self.assertTrue(discard.unfinished(self.catalog, requested))
        self.assertIsNone(self.catalog.find(engine.SERVER, 'slow'))


class TwoDeletionsTest(DiscardCase):
    def test_one_that_fails_leaves_the_other_alone(self) -> None:
        found = self.line.backup(full=True)

        class Second(catalogs.Catalog):
            looks = 0

            def get(self, backup: str) -> records.Record:
                return found

            def line(self, server: str) -> tuple[records.Record, ...]:
                self.looks += 1
                if self.looks == 2:
                    raise exception.StoreUnavailable('memory:', 'of a test')
                return (found,)

        def delete() -> None:
            self.assertRaises(
                exception.StoreUnavailable,
                prune.delete,
                Second(self.store),
                engine.SETTINGS,
                found.id,
            )
            raise KeyboardInterrupt

        self.strike(
            delete,
            lambda method, name, _: (
                method == 'delete' and name.startswith('sets/')
            ),
        )
        self.assertRaises(KeyboardInterrupt, self.line.delete, found.id)
        self.assertEqual([], self.assert_sound())


class GiveUpTest(DiscardCase):
    def test_it_is_told_before_anything_goes(self) -> None:
        job = self.begin()
        job.__enter__()
        self.write(job)
        stored = len(list(self.store.list('sets/')))
        seen = []

        def beat() -> None:
            status = self.catalog.get('slow').status
            seen.append((status, len(list(self.store.list('sets/')))))

        discard.give_up(self.catalog, IMPATIENT, 'slow', beat)
        self.assertEqual(
            [
                (records.Status.DELETING, left)
                for left in range(stored, -1, -1)
            ],
            seen,
        )
        self.assertGreater(stored, 3)
        self.assertIs(records.Status.ERROR, self.catalog.get('slow').status)

    def test_nothing_is_told_of_what_is_refused(self) -> None:
        def beat() -> None:
            self.fail('it was not to be begun')

        with self.begin() as job:
            self.assertRaises(
                exception.InProgress,
                discard.give_up,
                *(self.catalog, engine.SETTINGS, 'slow', beat),
            )
            self.write(job)
            job.commit()
        self.assertRaises(
            exception.IllegalState,
            discard.give_up,
            *(self.catalog, IMPATIENT, 'slow', beat),
        )
        self.assertEqual(['slow'], self.assert_sound())


class HangsTest(DiscardCase):
    def test_only_an_administrator_ends_what_runs_here(self) -> None:
        patient = dataclasses.replace(engine.SETTINGS, heartbeat=1.0)
        with self.begin(maker=process.current()) as job:
            job.write_disk(PLANNED, self.disk.snapshot(full=True))
            before = job.record.updated_at - datetime.timedelta(days=1)
            silent = dataclasses.replace(job.record, updated_at=before)
            self.catalog.put(silent)
            found = prune.collect(self.catalog, patient, engine.SERVER)
            self.assertEqual((), found.removed)
            self.assertRaises(
                exception.InProgress,
                prune.delete,
                *(self.catalog, patient, 'slow'),
            )
            prune.delete(self.catalog, patient, 'slow', force=True)
            self.assertRaises(exception.InProgress, job.commit)
        self.assertEqual([], self.assert_sound())


class WaitedTest(DiscardCase):
    def test_for_more_than_a_day(self) -> None:
        asked = records.begun(
            engine.SERVER, records.Request('slow', True), maker=process.NOBODY
        )
        before = timeutils.utcnow(with_timezone=True) - datetime.timedelta(2)
        self.catalog.announce(
            dataclasses.replace(asked, created_at=before, updated_at=before)
        )
        prune.collect(self.catalog, engine.SETTINGS, engine.SERVER, 'slow')
        self.make()
        self.assertEqual(['slow'], self.assert_sound())


class LaggingStore(Store):
    """Its listings leave something out."""

    properties = dataclasses.replace(
        memory.MemoryStore.properties, consistent_list=False
    )

    def list(self, prefix: str = '') -> Iterator[store_base.ObjectStat]:
        return (
            found
            for found in super().list(prefix)
            if not found.name.endswith(('2', '3', '4'))
        )


class LaggingListTest(DiscardCase):
    def test_nothing_is_left_by_one_that_was_interrupted(self) -> None:
        self.store = LaggingStore()
        self.catalog = catalogs.Catalog(self.store)
        record = records.begun(
            engine.SERVER,
            records.Request('slow'),
            disks=(PLANNED,),
            maker=dataclasses.replace(process.current(), boot='earlier'),
        )
        self.catalog.announce(record)
        for number in range(200):
            self.store.put(f'sets/server.root/slow/{number:08x}', b'some')

        def die() -> None:
            raise KeyboardInterrupt

        left = iter(range(200))
        self.strike(
            die, lambda method, *_: method == 'delete' and next(left) == 90
        )
        collect = functools.partial(
            prune.collect, self.catalog, engine.SETTINGS, engine.SERVER
        )
        self.assertRaises(KeyboardInterrupt, collect)
        collect()
        self.assertEqual([], list(super(Store, self.store).list()))

    def test_nothing_is_left(self) -> None:
        self.store = LaggingStore()
        self.catalog = catalogs.Catalog(self.store)
        with self.begin() as job:
            job.write_disk(PLANNED, self.disk.snapshot(full=True))
        self.assertEqual([], list(super(Store, self.store).list()))


class FullStore(Store):
    """Takes nothing any more, but gives things away."""

    full = False

    def put(self, name: str, data: typing.Any, **options: bool) -> None:
        if self.full:
            raise exception.StoreFull(self.url, 'of a test')
        super().put(name, data, **options)


class FullStoreTest(DiscardCase):
    def setUp(self) -> None:
        super().setUp()
        self.store: FullStore = FullStore()
        self.line = engine.Line(self.store, self.disk)
        self.catalog = self.line.catalog
        self.first = self.line.backup(full=True)
        self.disk.write(0, os.urandom(units.Ki))
        self.second = self.line.backup()
        self.disk.write(units.Mi, os.urandom(units.Ki))
        self.third = self.line.backup()

    def test_any_backup_can_be_deleted(self) -> None:
        self.store.full = True
        for gone in (self.second, self.first, self.third):
            self.line.delete(gone.id)
            self.assertNotIn(gone.id, self.assert_sound())
        self.assertEqual([], list(self.store.list('sets/')))

    def test_one_stays_if_it_is_not_known_what_goes(self) -> None:
        self.store.full = True

        def fail() -> None:
            raise exception.StoreUnavailable(self.store.url, 'of a test')

        self.strike(fail, lambda _, name, __: 'manifest-' in name)
        self.assertRaises(
            exception.StoreUnavailable, self.line.delete, self.second.id
        )
        self.assertEqual(3, len(self.assert_sound()))

    def test_one_that_is_built_on_stays(self) -> None:
        with self.begin('child', parent=self.third):
            self.store.full = True
            self.assertRaises(
                exception.InProgress, self.line.delete, self.third.id
            )
            self.store.full = False
        self.assertIn(self.third.id, self.assert_sound())

    def test_leftovers_are_collected(self) -> None:
        gone = dataclasses.replace(process.current(), boot='earlier')
        left = records.begun(
            engine.SERVER,
            records.Request('left'),
            disks=(PLANNED,),
            maker=gone,
        )
        self.catalog.announce(left)
        self.store.put('sets/server.root/left/00000000', b'some')
        self.store.full = True
        prune.collect(self.catalog, engine.SETTINGS, engine.SERVER)
        self.assertEqual([], list(self.store.list('sets/server.root/left/')))
        self.assertEqual(3, len(self.assert_sound()))
