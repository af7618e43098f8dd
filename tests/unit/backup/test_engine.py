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


from collections.abc import Iterator
import dataclasses
import hashlib
import itertools
import pathlib
import random
from unittest import mock

import fixtures
import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st
from oslo_utils import units
import testtools

from ekko_nova.backup.codec import digest as digests
from ekko_nova.backup.codec import key_file
from ekko_nova.backup import document
from ekko_nova.backup import geometry
from ekko_nova.backup import layers
from ekko_nova.backup.manifest import builder as builders
from ekko_nova.backup import opened
from ekko_nova.backup import reader
from ekko_nova.backup import record as records
from ekko_nova.backup import references
from ekko_nova.backup.store import base as store_base
from ekko_nova.backup.store import memory
from ekko_nova import exception
from tests import base
from tests import disks
from tests import engine

BLOCK = 16 * units.Ki


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


class EngineCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.disk = disks.MemoryDisk(5 * units.Mi + 3 * 512)
        self.line = engine.Line(memory.MemoryStore(), self.disk)

    def assert_all_restore(self, line: engine.Line | None = None) -> None:
        line = line or self.line
        for record in line.available():
            self.assert_restores(record.id, line)
            self.assertEqual([], line.findings(record.id, deep=False))
            self.assertEqual([], line.findings(record.id, deep=True))

    def assert_restores(self, backup: str, line: engine.Line) -> None:
        self.assert_same_bytes(line.contents[backup], line.restore(backup))

    def assert_nothing_spare(self, line: engine.Line | None = None) -> None:
        """The store holds what the available backups need, and no more."""
        line = line or self.line
        needed = set()
        if line.available():
            needed.add(f'lines/{engine.SERVER}.json')
        for record in line.available():
            needed.add(f'backups/{engine.SERVER}/{record.id}.json')
            needed.add(f'index/{record.id}')
            for disk in record.disks:
                prefix = f'sets/{disk.set}'
                for part in range(len(disk.manifest)):
                    needed.add(f'{prefix}/{record.id}/manifest-{part:04x}')
                with opened.open_disk(
                    line.store, line.settings, record, disk
                ) as it:
                    for owner, number in references.of_manifest(it.manifest):
                        needed.add(f'{prefix}/{owner}/{number:08x}')
        self.assertEqual(needed, line.names())


class BackupTest(EngineCase):
    def test_an_empty_disk_stores_no_data(self) -> None:
        record = self.line.backup()
        [disk] = record.disks
        self.assertEqual(0, disk.read_bytes)
        self.assertEqual(len(disk.manifest), disk.objects)
        self.assert_all_restore()

    def test_an_incremental_reads_and_stores_what_changed(self) -> None:
        self.disk.write(0, noise(4 * units.Mi))
        self.line.backup()
        self.disk.write(units.Mi + 3 * BLOCK, noise(BLOCK, 2))
        self.disk.write(3 * units.Mi + 100, b'x')

        record = self.line.with_settings(audit_segments=0).backup()

        [disk] = record.disks
        self.assertIs(records.Type.INCREMENTAL, record.type)
        self.assertEqual(2 * BLOCK, disk.read_bytes)
        self.assertEqual(2 * BLOCK, disk.changed_bytes)
        self.assertEqual(1 + len(disk.manifest), disk.objects)
        self.assert_all_restore()

    def test_half_a_segment_is_read_whole(self) -> None:
        self.disk.write(0, noise(4 * units.Mi))
        self.line.backup()
        self.disk.write(units.Mi, noise(units.Mi // 2, 2))

        record = self.line.with_settings(audit_segments=0).backup()

        self.assertEqual(units.Mi, record.disks[0].read_bytes)
        self.assert_all_restore()

    def test_zeros_are_never_stored(self) -> None:
        self.disk.write(0, noise(4 * units.Mi))
        self.line.backup()
        self.disk.write(0, bytes(2 * units.Mi))
        self.disk.write(2 * units.Mi + BLOCK, bytes(BLOCK))

        record = self.line.backup()

        self.assertEqual(0, record.disks[0].changed_bytes)
        self.assert_all_restore()

    def test_a_full_stores_only_what_the_parent_lacks(self) -> None:
        self.disk.write(0, noise(4 * units.Mi))
        self.line.backup()
        self.disk.write(units.Mi, noise(BLOCK, 2))
        self.line.tracked = None  # as if the bitmap were lost

        record = self.line.backup()

        [disk] = record.disks
        self.assertIs(records.Type.FULL, record.type)
        self.assertEqual(4 * units.Mi, disk.read_bytes)
        self.assertEqual(units.Mi, disk.changed_bytes)
        self.assert_all_restore()

    def test_a_forced_full_refers_to_nothing_older(self) -> None:
        self.disk.write(0, noise(2 * units.Mi))
        first = self.line.backup()
        second = self.line.backup(full=True)
        self.assertEqual((), second.disks[0].owners)
        self.assertIsNone(second.parent)
        self.line.delete(first.id)
        self.assert_all_restore()
        self.assert_nothing_spare()

    def test_a_grown_disk(self) -> None:
        self.disk.write(4 * units.Mi, noise(units.Mi + 3 * 512))
        self.line.backup()
        self.disk.resize(9 * units.Mi + 512)
        # The bitmap does not see the grown area: QEMU calls it clean.
        self.disk.write_behind(8 * units.Mi, noise(units.Mi, 3))

        record = self.line.backup()

        self.assertIs(records.Type.INCREMENTAL, record.type)
        self.assert_all_restore()

    def test_a_shrunk_disk_is_read_whole(self) -> None:
        self.disk.write(0, noise(5 * units.Mi))
        self.line.backup()
        self.disk.resize(2 * units.Mi)

        record = self.line.backup()

        self.assertEqual('disk_shrunk', record.disks[0].full_reason)
        self.assert_all_restore()

    def test_layers_stay_few(self) -> None:
        self.disk.write(0, noise(units.Mi))
        self.line.backup()
        for number in range(20):
            self.disk.write(number % 11 * BLOCK, noise(BLOCK, number + 5))
            record = self.line.backup()
            [disk] = record.disks
            with opened.open_disk(
                self.line.store, self.line.settings, record, disk
            ) as it:
                shape = geometry.Geometry(disk.size, disk.segment_size)
                for _, _, entry in reader.segments(it.manifest, shape):
                    if entry is not None:
                        self.assertLessEqual(
                            len(entry.layers), layers.MAX_LAYERS
                        )
        self.assert_all_restore()

    def test_a_write_behind_the_bitmap_trips_the_audit(self) -> None:
        self.disk.write(0, noise(5 * units.Mi))
        self.line.backup()
        self.disk.write_behind(0, noise(5 * units.Mi, 2))

        record = self.line.backup()

        self.assertEqual('audit_mismatch', record.disks[0].full_reason)
        self.assertIn('behind the bitmap', record.note or '')
        self.assert_all_restore()

    def test_a_damaged_parent_leads_to_an_independent_full(self) -> None:
        self.disk.write(0, noise(2 * units.Mi))
        first = self.line.backup()
        name = f'sets/server.root/{first.id}/manifest-0000'
        self.line.store.put(name, b'rubbish')

        second = self.line.backup()

        self.assertEqual('parent_damaged', second.disks[0].full_reason)
        self.assertEqual((), second.disks[0].owners)
        self.assert_restores(second.id, self.line)
        self.line.delete(first.id)
        self.assert_all_restore()
        self.assert_nothing_spare()

    def test_only_an_incremental_will_do(self) -> None:
        """What the bitmap's rule does not see counts as well."""
        self.disk.write(0, noise(5 * units.Mi))
        self.line.backup()
        self.line.backup(only_incremental=True)
        self.disk.write_behind(0, noise(5 * units.Mi, 2))
        before = self.line.names()

        error = self.assertRaises(
            exception.FullNeeded, self.line.backup, only_incremental=True
        )

        self.assertEqual('audit_mismatch', error.reason)
        self.assertEqual(before, self.line.names())
        error = self.assertRaises(
            exception.FullNeeded, self.line.backup, only_incremental=True
        )
        self.assertEqual('test', error.reason)
        self.line.backup()
        self.assert_all_restore()

    def test_a_lost_source_leaves_nothing(self) -> None:
        self.disk.write(0, noise(2 * units.Mi))
        self.line.backup()
        before = self.line.names()
        snapshot = self.disk.snapshot

        def lost(*, full: bool) -> disks.Snapshot:
            found = snapshot(full=full)
            found.lost = True
            return found

        self.disk.snapshot = lost  # type: ignore[method-assign]

        self.assertRaises(exception.SourceLost, self.line.backup)

        self.assertEqual(before, self.line.names())
        self.assert_all_restore()


class AllocationTest(EngineCase):
    """What a restore takes of a file system, in clusters of 64 KiB."""

    def _of(self, *spans: tuple[int, int]) -> int:
        for offset, length in spans:
            self.line.disk.write(offset, noise(length))
        record = self.line.backup()
        with opened.open_disk(
            self.line.store, engine.SETTINGS, record, record.disks[0]
        ) as it:
            return reader.allocation(it.manifest)

    def test_nothing(self) -> None:
        self.assertEqual(0, self._of())

    def test_runs(self) -> None:
        found = self._of((0, 128 * units.Ki), (2 * units.Mi, units.Mi))
        self.assertEqual(128 * units.Ki + units.Mi, found)

    def test_a_block_takes_a_cluster(self) -> None:
        """Two blocks of 16 KiB on either side of where one ends."""
        self.assertEqual(64 * units.Ki, self._of((0, 512)))
        self.assertEqual(
            2 * 64 * units.Ki + 64 * units.Ki,
            self._of((3 * units.Mi + 48 * units.Ki, 32 * units.Ki)),
        )


class ObjectsTest(EngineCase):
    def test_small_pieces_share_objects(self) -> None:
        self.disk = disks.MemoryDisk(64 * units.Mi)
        self.line = engine.Line(memory.MemoryStore(), self.disk)
        for segment in range(64):
            self.disk.write(segment * units.Mi, noise(BLOCK, segment))
        record = self.line.backup()
        # 64 pieces of 16 KiB: one bundle of 1 MiB and one for the rest.
        [disk] = record.disks
        self.assertEqual(2 + len(disk.manifest), disk.objects)
        self.assert_all_restore()

    def test_flipping_any_byte_is_noticed_with_the_objects_name(self) -> None:
        """Whichever digest it was stored with, alone or in a bundle."""
        self.line = self.line.with_settings(digest='sha256')
        self.disk.write(0, noise(units.Mi))
        self.disk.write(2 * units.Mi, b'text ' * 5000)
        self.line.backup()
        self.line = self.line.with_settings(digest='blake3')
        self.disk.write(BLOCK, noise(BLOCK, 2))
        self.disk.write(3 * units.Mi, noise(3 * BLOCK, 3))
        self.disk.write(4 * units.Mi, noise(units.Mi, 4))
        record = self.line.backup()
        store = self.line.store
        names = {
            name
            for name in self.line.names()
            if name.startswith(('sets/', 'lines/')) or record.id in name
        }
        generator = random.Random(7)
        for name in sorted(names):
            data = store.get(name)
            # Heads are short and every byte counts; of bodies, a sample.
            positions = {*range(min(40, len(data))), len(data) - 1}
            positions |= {generator.randrange(len(data)) for _ in range(9)}
            for position in positions:
                damaged = bytearray(data)
                damaged[position] ^= 1 << generator.randrange(8)
                store.put(name, bytes(damaged))
                self._assert_noticed(record.id, name)
            store.put(name, data)
        self.assert_all_restore()

    def _assert_noticed(self, backup: str, name: str) -> None:
        try:
            restored = self.line.restore(backup)
        except (exception.DataDamaged, exception.BackupNotFound) as e:
            self.assertIn(name, str(e))
        else:
            # Only what this backup does not need may be damaged unseen.
            self.assert_same_bytes(self.line.contents[backup], restored)
            self.assertFalse(
                self._needs(backup, name), f'{name} damaged unseen'
            )

    def _needs(self, backup: str, name: str) -> bool:
        if name.startswith(('index/', 'lines/')):
            # The listing says the same.
            return False
        if backup in name:
            return True
        record = self.line.catalog.get(backup)
        with opened.open_disk(
            self.line.store, self.line.settings, record, record.disks[0]
        ) as it:
            return any(
                name == f'sets/server.root/{owner}/{number:08x}'
                for owner, number in references.of_manifest(it.manifest)
            )


class DigestTest(EngineCase):
    """Backups with another digest than their parent's."""

    def setUp(self) -> None:
        super().setUp()
        self.line = self.line.with_settings(
            digest='sha256', compression='none', manifest='osdk'
        )
        self.disk.write(0, noise(3 * units.Mi))
        self.disk.write(4 * units.Mi + BLOCK, noise(BLOCK))
        self.first = self.line.backup()

    def change_to(self, digest: str, **settings: object) -> None:
        self.line = self.line.with_settings(digest=digest, **settings)

    def codecs(self, record: records.Record) -> tuple[str, ...]:
        """The digest of each codec that a manifest has."""
        with opened.open_disk(
            self.line.store, self.line.settings, record, record.disks[0]
        ) as it:
            codecs = it.manifest.header.codecs
        return tuple(codec.digest for codec in codecs)

    def objects(self, record: records.Record) -> list[bytes]:
        prefix = f'sets/server.root/{record.id}/'
        return [
            self.line.store.get(found.name)
            for found in self.line.store.list(prefix)
        ]

    def assert_nothing_stored(self, record: records.Record) -> None:
        [disk] = record.disks
        self.assertEqual(0, disk.changed_bytes)
        self.assertEqual(len(disk.manifest), disk.objects)
        self.assertEqual(
            sum(part.size for part in disk.manifest), disk.stored_bytes
        )

    def test_sha256_alone_is_what_older_versions_read(self) -> None:
        self.assertEqual(('sha256',), self.codecs(self.first))
        self.disk.write(5 * units.Mi, b'x')
        for record in (self.first, self.line.backup()):
            *_, bundle, manifest = self.objects(record)
            self.assertEqual(b'EKB1', bundle[:4])
            self.assertIn(b'"format":1,', manifest)
            self.assertNotIn(b'"digest":', manifest)

    def test_what_has_not_changed_is_found_by_the_parents(self) -> None:
        for digest in ('blake3', 'sha256', 'blake3'):
            self.change_to(digest)
            self.line.tracked = None  # as if the bitmap were lost
            record = self.line.backup()
            [disk] = record.disks
            self.assertIs(records.Type.FULL, disk.type)
            self.assertEqual(3 * units.Mi + BLOCK, disk.read_bytes)
            self.assert_nothing_stored(record)
            self.assertEqual((self.first.id,), disk.owners)
            self.assertEqual(('sha256', 'blake3'), self.codecs(record))
        self.assert_all_restore()

    def test_what_has_changed_is_stored_with_the_new_one(self) -> None:
        self.change_to('blake3')
        self.disk.write(units.Mi, noise(BLOCK, 2))
        self.line.tracked = None
        record = self.line.backup()
        self.assertEqual(units.Mi, record.disks[0].changed_bytes)
        self.assert_all_restore()
        # Now some is of either.
        self.line.tracked = None
        self.assert_nothing_stored(self.line.backup())

    def test_the_audit_compares_by_the_parents(self) -> None:
        self.change_to('blake3', audit_segments=100)
        self.disk.write(units.Mi, noise(BLOCK, 2))
        second = self.line.backup(only_incremental=True)
        self.assertEqual(BLOCK, second.disks[0].changed_bytes)
        self.assertIsNone(second.note)
        self.assert_nothing_stored(self.line.backup(only_incremental=True))
        for behind in (2 * units.Mi, 4 * units.Mi + BLOCK):
            self.disk.write_behind(behind, noise(BLOCK, 3))
            record = self.line.backup()
            self.assertEqual('audit_mismatch', record.disks[0].full_reason)
        self.assert_all_restore()

    def test_a_chain_of_both(self) -> None:
        taken = [self.first]
        for number in range(4):
            self.change_to('sha256' if number % 2 else 'blake3')
            # A piece that is an object, and a bundle.
            self.disk.write(number * units.Mi, noise(units.Mi, number + 2))
            self.disk.write(
                4 * units.Mi + number * BLOCK, noise(99, 9 - number)
            )
            taken.append(self.line.backup(only_incremental=True))
            self.assert_all_restore()
        heads = [
            {each[:4] for each in self.objects(record)} & {b'EKB1', b'EKB2'}
            for record in taken
        ]
        self.assertEqual([{b'EKB1'}, {b'EKB2'}] * 2 + [{b'EKB1'}], heads)
        for record in taken:
            self.line.delete(record.id)
            self.assert_all_restore()
            self.assert_nothing_spare()

    def test_a_piece_that_is_read_without_its_bundle(self) -> None:
        """Nothing but its own digest tells that it is damaged."""
        for number, digest in enumerate(('sha256', 'blake3')):
            self.change_to(digest, cached_bundles=1)
            for segment in (3, 4):
                offset = segment * units.Mi + (5 + number) * BLOCK
                self.disk.write(offset, noise(BLOCK, number + 2))
            record = self.line.backup()
        for other, alone in ((0, 1), (1, 0)):
            with opened.open_disk(
                self.line.store, self.line.settings, record, record.disks[0]
            ) as it:
                shape = geometry.Geometry(len(self.disk.content), units.Mi)
                pieces = builders.ParentSegments(it.manifest, shape)
                both = pieces.segment(3).layers
                # There is more to come of it, so that it stays.
                it.fetcher.plain(both[other], BLOCK)
                name = it.fetcher.object_name(both[alone])
                data = self.line.store.get(name)
                damaged = bytearray(data)
                damaged[both[alone].offset] ^= 1
                self.line.store.put(name, bytes(damaged))
                error = self.assertRaises(
                    *(exception.ObjectDamaged, it.fetcher.plain),
                    *(both[alone], BLOCK),
                )
                self.assertIn('digest in the manifest', error.invariant)
                self.line.store.put(name, data)
        self.assert_all_restore()

    def test_one_of_a_later_version(self) -> None:
        """Refused by its name, and not built upon."""
        self.disk.write(0, noise(units.Mi, 2))
        with (
            mock.patch.dict(digests._ALGORITHMS, {'later': hashlib.sha1}),
            mock.patch.object(digests, 'NAMES', ('sha256', 'later')),
        ):
            self.change_to('later')
            second = self.line.backup()
            self.assert_all_restore()
        self.line = self.line.with_settings(digest='blake3')
        error = self.assertRaises(
            exception.UnknownFormat, self.line.restore, second.id
        )
        self.assertIn('digest later, this program reads', str(error))
        third = self.line.backup()
        self.assertEqual('parent_damaged', third.disks[0].full_reason)
        self.assertIn('digest later', third.note or '')
        self.assertEqual(('blake3',), self.codecs(third))
        self.assert_restores(third.id, self.line)
        self.assert_restores(self.first.id, self.line)

    def test_one_that_nobody_knows(self) -> None:
        error = self.assertRaises(
            exception.InvalidOption, self.line.with_settings, digest='md5'
        )
        self.assertIn('digest md5', str(error))
        self.assertIn('blake3 or sha256', str(error))


class DeleteTest(EngineCase):
    def _four(self) -> list[str]:
        self.disk.write(0, noise(4 * units.Mi))
        ids = [self.line.backup().id]
        for number in range(3):
            self.disk.write(number * units.Mi, noise(units.Mi, 9 + number))
            self.disk.write(
                3 * units.Mi + number * BLOCK, noise(BLOCK, number)
            )
            ids.append(self.line.backup().id)
        return ids

    def test_any_order_of_deletion(self) -> None:
        for order in itertools.permutations(range(4)):
            self.disk = disks.MemoryDisk(5 * units.Mi)
            self.line = engine.Line(memory.MemoryStore(), self.disk)
            ids = self._four()
            for index in order:
                self.line.delete(ids[index])
                self.assert_all_restore()
                self.assert_nothing_spare()
        self.assertEqual(set(), self.line.names())

    def test_deleting_the_full_reclaims_what_only_it_needed(self) -> None:
        self.disk.write(0, noise(4 * units.Mi))
        full = self.line.backup()
        self.disk.write(0, noise(units.Mi, 2))
        self.line.backup()
        self.assertEqual(1, self.line.delete(full.id))
        self.assert_all_restore()

    def test_unknown_backup(self) -> None:
        self.assertRaises(
            exception.BackupNotFound, self.line.delete, 'no-such'
        )


class LineMachine(stateful.RuleBasedStateMachine):
    """Backups, forks, deletions in any order: all others always restore."""

    def __init__(self) -> None:
        super().__init__()
        self.case = EngineCase('assert_nothing_spare')
        self.case.setUp()
        self.line = self.case.line

    @stateful.rule(
        segment=st.integers(0, 4),
        first=st.integers(0, 60),
        count=st.integers(1, 40),
        seed=st.integers(0, 3),
    )
    def write(self, segment: int, first: int, count: int, seed: int) -> None:
        offset = segment * units.Mi + first * BLOCK
        length = min(count * BLOCK, len(self.line.disk.content) - offset)
        data = noise(length, seed) if seed else bytes(length)
        self.line.disk.write(offset, data)

    @stateful.rule(forget=st.booleans(), digest=st.sampled_from(digests.NAMES))
    def backup(self, forget: bool, digest: str) -> None:
        if forget:
            self.line.tracked = None
        self.line.settings = dataclasses.replace(
            self.line.settings, digest=digest
        )
        self.line.backup()

    @stateful.precondition(lambda self: self.line.available())
    @stateful.rule(data=st.data())
    def restore_in_place(self, data: st.DataObject) -> None:
        """Go on from an older backup: the next one forks off there."""
        record = data.draw(st.sampled_from(self.line.available()))
        self.line.restore_in_place(record.id)

    @stateful.precondition(lambda self: self.line.available())
    @stateful.rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        record = data.draw(st.sampled_from(self.line.available()))
        self.line.delete(record.id)
        if self.line.tracked == record.id:
            self.line.tracked = None

    def teardown(self) -> None:
        self.case.doCleanups()

    @stateful.invariant()
    def everything_restores(self) -> None:
        self.case.assert_all_restore()
        self.case.assert_nothing_spare()


class LineTest(testtools.TestCase):
    def test_every_order_of_events(self) -> None:
        stateful.run_state_machine_as_test(
            LineMachine,
            settings=hypothesis.settings(
                max_examples=15, stateful_step_count=12
            ),
        )


class OwnersTest(EngineCase):
    def test_there_are_not_more_than_share_something(self) -> None:
        """However many there have been."""
        self.disk.write(0, noise(len(self.disk.content)))
        self.line.backup()
        for number in range(20):
            # Everything in turn, so that older backups are not needed.
            self.disk.write(number % 4 * units.Mi, noise(units.Mi, number))
            record = self.line.backup()
            if number % 3:
                self.line.delete(next(iter(self.line.contents)))
                del self.line.contents[next(iter(self.line.contents))]
        [disk] = record.disks
        with opened.open_disk(
            self.line.store, self.line.settings, record, disk
        ) as it:
            self.assertLessEqual(len(it.manifest.header.owners), 6)
        self.assert_all_restore()
        self.assert_nothing_spare()


class CatalogTest(EngineCase):
    def test_a_lost_index_is_only_slower(self) -> None:
        record = self.line.backup()
        self.line.store.delete(f'index/{record.id}')
        self.assertEqual(record, self.line.catalog.get(record.id))
        self.assertIn(f'index/{record.id}', self.line.names())

    def test_a_reader_finds_nothing_for_what_is_gone(self) -> None:
        """The listing lags, and says that it is there."""
        record = self.line.backup()
        self.line.backup()
        self.line.delete(record.id)
        listed = store_base.ObjectStat(
            f'backups/{engine.SERVER}/{record.id}.json', 1, None
        )
        with mock.patch.object(
            self.line.store, 'list', autospec=True, return_value=[listed]
        ):
            self.assertRaises(
                exception.BackupNotFound, self.line.catalog.get, record.id
            )
        self.assertNotIn(f'index/{record.id}', self.line.names())

    def test_what_only_repeats_the_listing_may_be_damaged(self) -> None:
        record = self.line.backup()
        for name in (f'index/{record.id}', f'lines/{engine.SERVER}.json'):
            self.line.store.put(name, b'{')
        self.assertEqual(record, self.line.catalog.get(record.id))
        self.line.backup()
        self.line.delete(record.id)
        self.assert_all_restore()
        self.assert_nothing_spare()
        for name in ('index/', 'lines/'):
            for found in self.line.store.list(name):
                self.assertNotEqual(b'{', self.line.store.get(found.name))

    def test_a_damaged_record_does_not_hide_the_others(self) -> None:
        first = self.line.backup()
        self.disk.write(0, noise(BLOCK))
        second = self.line.backup()
        name = f'backups/{engine.SERVER}/{first.id}.json'
        data = self.line.store.get(name)
        self.line.store.put(name, data.replace(b'available', b'deleting_'))

        survey = self.line.catalog.survey()

        self.assertEqual([second.id], [found.id for found in survey.records])
        self.assertIn(name, str(survey.damaged[0]))
        # Nothing is deleted while somebody's needs are unknown.
        before = self.line.names()
        self.assertRaises(exception.ObjectDamaged, self.line.delete, second.id)
        self.line.store.put(name, data)
        self.assertEqual(before, self.line.names())
        self.assertEqual(2, len(self.line.available()))

    def test_an_unknown_format_is_refused_by_name(self) -> None:
        record = self.line.backup()
        name = f'backups/{engine.SERVER}/{record.id}.json'
        value = document.unseal(name, self.line.store.get(name))
        self.line.store.put(name, document.seal({**value, 'format': 2}))
        error = self.assertRaises(
            exception.UnknownFormat, self.line.catalog.get, record.id
        )
        self.assertIn(name, str(error))


class LaggingStore(memory.MemoryStore):
    """Does not list objects that are newer than it lists."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: set[str] | None = None

    def list(self, prefix: str = '') -> Iterator[store_base.ObjectStat]:
        for found in super().list(prefix):
            if self.listed is None or found.name in self.listed:
                yield found


class LaggingTest(EngineCase):
    def test_a_listing_that_lags_loses_nothing(self) -> None:
        store = LaggingStore()
        self.line = engine.Line(store, self.disk)
        self.disk.write(0, noise(2 * units.Mi))
        first = self.line.backup()
        store.listed = {found.name for found in store.list()}
        self.disk.write(0, noise(BLOCK, 2))
        second = self.line.backup()
        self.assertIs(records.Type.INCREMENTAL, second.type)
        self.line.delete(first.id)
        self.assert_all_restore()
        self.assertEqual([second.id], [r.id for r in self.line.available()])


class SealedTest(EngineCase):
    """Encrypted backups."""

    def setUp(self) -> None:
        super().setUp()
        self.line = self.line.with_settings(
            encryption='aes-gcm', key_provider=self.provider('ab')
        )
        self.disk.write(0, noise(2 * units.Mi))
        self.first = self.line.backup()
        self.disk.write(BLOCK, noise(BLOCK, 2))
        self.second = self.line.backup()

    def provider(self, *keys: str) -> key_file.KeyFile:
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path, 'key')
        path.write_text('\n'.join(key * 32 for key in keys))
        path.chmod(0o600)
        return key_file.KeyFile(str(path))

    def test_restore(self) -> None:
        self.assert_all_restore()
        self.line.delete(self.first.id)
        self.assert_all_restore()
        self.assert_nothing_spare()

    def test_nothing_plain_is_stored(self) -> None:
        self.disk.write(4 * units.Mi, b'a secret of the tenant' * 3000)
        self.line.with_settings(compression='none').backup()
        for name in self.line.names():
            self.assertNotIn(b'a secret', self.line.store.get(name))

    def test_another_key(self) -> None:
        line = self.line.with_settings(key_provider=self.provider('cd'))
        self.assertRaises(exception.WrongKey, line.restore, self.first.id)
        before = line.names()
        self.assertRaises(exception.WrongKey, line.backup)
        self.assertRaises(exception.WrongKey, line.delete, self.first.id)
        self.assertEqual(before, line.names())
        self.assertEqual(self.first, line.catalog.get(self.first.id))

    def test_a_new_key_wraps_from_the_next_backup_on(self) -> None:
        line = self.line.with_settings(key_provider=self.provider('cd', 'ab'))
        third = line.backup()
        [old], [new] = self.second.disks, third.disks
        assert old.key is not None and new.key is not None
        self.assertNotEqual(old.key.key_id, new.key.key_id)
        self.assert_all_restore(line)
        only_new = line.with_settings(key_provider=self.provider('cd'))
        self.assert_restores(third.id, only_new)

    def test_nothing_in_the_clear_is_referred_to(self) -> None:
        line = self.line
        for encryption in ('none', 'aes-gcm', 'none'):
            line = line.with_settings(encryption=encryption)
            [disk] = line.backup().disks
            self.assertIs(records.Type.FULL, disk.type)
            self.assertEqual('encryption_changed', disk.full_reason)
            self.assertEqual((), disk.owners)
        self.disk.write(BLOCK, noise(BLOCK, 3))
        without_key = line.with_settings(key_provider=None)
        last = without_key.backup()
        self.assertIs(records.Type.INCREMENTAL, last.type)
        self.assert_restores(last.id, without_key)

    def test_settings_may_change_from_backup_to_backup(self) -> None:
        generator = random.Random(5)
        provider = self.provider('ab')
        line = self.line.with_settings(key_provider=provider)
        for changes in (
            {'segment_size': 2 * units.Mi, 'encryption': 'none'},
            {'compression': 'zlib'},
            {'digest': 'sha256'},
            {'compression': 'lzma', 'manifest': 'osdk', 'digest': 'blake3'},
            {'encryption': 'aes-gcm', 'digest': 'sha256'},
            {'compression': 'none'},
            {'digest': 'blake3'},
            {'encryption': 'none'},
        ):
            offset = generator.randrange(4 * units.Mi)
            self.disk.write(offset, generator.randbytes(700_000))
            line = line.with_settings(**changes)
            record = line.backup()
            [disk] = record.disks
            turned = 'encryption' in changes
            reason = 'encryption_changed' if turned else None
            self.assertEqual(reason, disk.full_reason)
            # What a line has begun with it keeps, until it begins anew.
            self.assertEqual(2 * units.Mi, disk.segment_size)
        for record in line.available():
            self.assert_all_restore(line)
            line.delete(record.id)
        self.assertEqual(set(), line.names())

    def test_objects_cannot_be_swapped(self) -> None:
        store = self.line.store
        names = [
            f'sets/server.root/{self.first.id}/{number:08x}'
            for number in range(2)
        ]
        one, two = (store.get(name) for name in names)
        self.assertEqual(len(one), len(two))
        store.put(names[0], two)
        store.put(names[1], one)
        error = self.assertRaises(
            exception.ObjectDamaged, self.line.restore, self.first.id
        )
        self.assertIn(error.name, names)
