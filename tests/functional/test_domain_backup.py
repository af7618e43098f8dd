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


"""Backups of real guests: whatever happens to them, every byte comes back."""

from collections.abc import Sequence
import pathlib
import subprocess
import time
import typing

import fixtures
import libvirt
from oslo_utils import units

from ekko_nova.backup import catalog
from ekko_nova.backup import progress
from ekko_nova.backup import record as records
from ekko_nova.backup import settings as settings_
from ekko_nova.backup.store import directory
from ekko_nova.compute import domain_backup
from ekko_nova.compute import file_backup
from ekko_nova.compute import restore
from ekko_nova.compute import selection
from ekko_nova import exception
from ekko_nova.virt import domain as domains
from ekko_nova.virt import image
from ekko_nova.virt import scratch
from tests import base
from tests.functional import libvirtd

#: Without the audit, so that what is read can be counted.
SETTINGS = settings_.Settings(segment_size=units.Mi, audit_segments=0)

_libvirtd = libvirtd.Libvirtd()


def setUpModule() -> None:
    _libvirtd.setUp()


def tearDownModule() -> None:
    _libvirtd.cleanUp()


class DomainCase(base.TestCase):
    """A running guest with one qcow2 disk that holds 8 MiB of data."""

    def setUp(self) -> None:
        super().setUp()
        self.root = _libvirtd.root / self.id().rpartition('.')[2]
        self.root.mkdir(mode=0o755)
        self.guest = self.useFixture(self.make_guest())
        self.guest.start()
        self.guest.write('vda', 0, 8 * units.Mi, 0x11)
        hypervisor = domains.Hypervisor(_libvirtd.uri)
        self.addCleanup(hypervisor.__exit__, None, None, None)
        self.domain = hypervisor.__enter__().lookup(self.guest.name)
        store = directory.DirectoryStore(str(self.root / 'store'))
        self.catalog = catalog.Catalog(store)
        self.places = scratch.Places(
            self.root / 's', self.root / 'scratch', margin=64 * units.Mi
        )

    def image(
        self, name: str, size: str = '64M', *options: str
    ) -> pathlib.Path:
        path = self.root / name
        format = path.suffix[1:]
        subprocess.run(
            ['qemu-img', 'create', '-q', '-f', format, *options, path, size],
            check=True,
        )
        return path

    def make_guest(self) -> libvirtd.Guest:
        self.disk = self.image('vda.qcow2')
        return libvirtd.Guest(
            _libvirtd, self.root.name, [('vda', self.disk, 'qcow2')]
        )

    def backup(self, **options: typing.Any) -> records.Record:
        return domain_backup.backup_domain(
            self.catalog,
            options.pop('settings', SETTINGS),
            self.domain,
            places=self.places,
            report=options.pop('report', progress.silent),
            options=domain_backup.Options(**options),
        )

    def restored(self, record: records.Record, name: str) -> pathlib.Path:
        output = self.root / f'{record.id}.{name}.raw'
        restore.restore_disk(
            self.catalog, SETTINGS, record.id, output=output, name=name
        )
        return output

    def assert_holds(
        self,
        record: records.Record,
        spans: Sequence[tuple[int, int, int]],
        name: str = 'vda',
    ) -> None:
        """The backup holds these (offset, length, pattern), and zeros."""
        path = self.restored(record, name)
        expected = bytearray(path.stat().st_size)
        for offset, length, pattern in spans:
            expected[offset : offset + length] = bytes([pattern]) * length
        self.assert_same_bytes(expected, path.read_bytes())

    def assert_is(
        self, record: records.Record, reason: str | None, name: str = 'vda'
    ) -> None:
        """The disk was full for this reason, or incremental."""
        [disk] = [disk for disk in record.disks if disk.name == name]
        self.assertEqual(reason, disk.full_reason)

    def assert_clean(self) -> None:
        """Nothing is left of a job: checkpoint, job, scratch, socket."""
        self.assertEqual((), self.domain.checkpoints())
        self.assertFalse(self.domain.has_job())
        for place in (self.places.sockets, self.places.scratch):
            self.assertEqual([], list(place.iterdir()))

    def bitmaps(self) -> list[str]:
        [disk, *_] = self.domain.disks()
        return [bitmap.name for bitmap in self.domain.bitmaps(disk)]


FIRST = (0, 8 * units.Mi, 0x11)


class LifeTest(DomainCase):
    """Between two backups: an event, and writes before and after it."""

    def _around(
        self,
        event: typing.Callable[[], object],
        reason: str | None,
        first: str = 'no_parent',
    ) -> None:
        one = self.backup()
        self.assert_is(one, first)
        self.assert_clean()
        self.guest.write('vda', units.Mi, 65536, 0x22)
        self.guest.flush('vda')
        event()
        self.guest.write('vda', 2 * units.Mi, 65536, 0x33)
        two = self.backup()
        self.assert_is(two, reason)
        if reason is None:
            self.assertEqual(2 * 65536, two.disks[0].read_bytes)
        self.assert_clean()
        self.assertEqual(1, len(self.bitmaps()))
        self.assert_holds(one, [FIRST])
        self.assert_holds(
            two,
            [
                FIRST,
                (units.Mi, 65536, 0x22),
                (2 * units.Mi, 65536, 0x33),
            ],
        )

    def test_nothing(self) -> None:
        self._around(lambda: None, None)

    def test_stop_and_start(self) -> None:
        def event() -> None:
            self.guest.stop()
            self.guest.start()

        self._around(event, None)

    def test_undefine_and_define(self) -> None:
        """As Nova's hard reboot does."""

        def event() -> None:
            self.guest.stop()
            self.guest.domain.undefine()
            self.guest.define()
            self.guest.start()

        uuid = f'<uuid>{self.domain.uuid}</uuid>'
        xml = self.guest.xml
        self.guest.xml = lambda: xml().replace('<memory', uuid + '<memory')  # type: ignore[method-assign]
        self._around(event, None)

    def test_managed_save(self) -> None:
        def event() -> None:
            self.guest.domain.managedSave()
            self.guest.start()

        self._around(event, None)

    def test_kill(self) -> None:
        def event() -> None:
            self.guest.kill()
            self.guest.start()

        # The bitmap of a process that was killed was never saved.
        self._around(event, 'bitmap_missing')

    def test_kill_of_a_later_process(self) -> None:
        def event() -> None:
            self.guest.stop()
            self.guest.start()
            self.guest.kill()
            self.guest.start()

        self._around(event, 'bitmap_inconsistent')

    def test_bitmap_removed_by_hand(self) -> None:
        def event() -> None:
            self.guest.stop()
            [name] = self._names_in_file()
            subprocess.run(
                ['qemu-img', 'bitmap', '--remove', self.disk, name],
                check=True,
            )
            self.guest.start()

        self._around(event, 'bitmap_missing')

    def test_bitmap_made_anew_by_hand(self) -> None:
        def event() -> None:
            self.guest.stop()
            [name] = self._names_in_file()
            for option in (['--remove'], ['--add', '-g', '4096']):
                subprocess.run(
                    ['qemu-img', 'bitmap', *option, self.disk, name],
                    check=True,
                )
            self.guest.start()

        self._around(event, 'granularity_changed')

    def test_bitmap_disabled_by_hand(self) -> None:
        def event() -> None:
            self.guest.stop()
            [name] = self._names_in_file()
            subprocess.run(
                ['qemu-img', 'bitmap', '--disable', self.disk, name],
                check=True,
            )
            self.guest.start()

        self._around(event, 'bitmap_not_recording')

    def test_checkpoint_of_somebody_else(self) -> None:
        def event() -> None:
            self.guest.domain.checkpointCreateXML(
                '<domaincheckpoint><name>theirs</name></domaincheckpoint>'
            )
            self.addCleanup(
                lambda: self.guest.domain.checkpointLookupByName(
                    'theirs'
                ).delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
            )

        one = self.backup()
        self.guest.write('vda', units.Mi, 65536, 0x22)
        event()
        two = self.backup()
        self.assert_is(two, None)
        self.assertEqual(('theirs',), self.domain.checkpoints())
        self.assertIn('theirs', self.bitmaps())
        self.assert_holds(one, [FIRST])
        self.assert_holds(two, [FIRST, (units.Mi, 65536, 0x22)])

    def _refuse_incrementals(self) -> None:
        begin = domains.Domain.begin_backup

        def refuse(
            domain: domains.Domain, xml: str, checkpoint: str | None
        ) -> None:
            if 'incremental' in xml:
                raise exception.HypervisorFailed('a test', 'it said so')
            begin(domain, xml, checkpoint)

        self.useFixture(
            fixtures.MonkeyPatch(
                'ekko_nova.virt.domain.Domain.begin_backup', refuse
            )
        )

    def test_a_bitmap_that_is_refused_in_the_end(self) -> None:
        self._around(self._refuse_incrementals, 'bitmap_refused')

    def test_a_bitmap_that_is_refused_where_no_full_will_do(self) -> None:
        one = self.backup()
        self._refuse_incrementals()
        error = self.assertRaises(
            exception.FullNeeded, self.backup, incremental=True
        )
        self.assertEqual('bitmap_refused', error.reason)
        self.assert_clean()
        # That of the backup that there is, for the next.
        self.assertEqual([one.disks[0].bitmap], self.bitmaps())

    def test_grown(self) -> None:
        one = self.backup()
        self.guest.domain.blockResize(
            'vda',
            96 * units.Mi,
            libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES,
        )
        self.guest.write('vda', 80 * units.Mi, units.Mi, 0x44)
        two = self.backup()
        self.assert_is(two, None)
        self.assertEqual(96 * units.Mi, two.disks[0].size)
        self.assert_holds(one, [FIRST])
        self.assert_holds(two, [FIRST, (80 * units.Mi, units.Mi, 0x44)])

    def test_discard(self) -> None:
        self.backup()
        self.guest.discard('vda', units.Mi, units.Mi)
        two = self.backup()
        self.assert_is(two, None)
        self.assertEqual(0, two.disks[0].changed_bytes)
        self.assert_holds(
            two,
            [(0, units.Mi, 0x11), (2 * units.Mi, 6 * units.Mi, 0x11)],
        )

    def _names_in_file(self) -> list[str]:
        info = image.info(str(self.disk))
        return [bitmap.name for bitmap in info.bitmaps]


class BrokenBitmapTest(DomainCase):
    """A broken bitmap of a backup that the line does not know."""

    def setUp(self) -> None:
        super().setUp()
        self.one = self.backup()
        self.guest.stop()
        self.guest.start()
        self.guest.kill()
        store = directory.DirectoryStore(str(self.root / 'other'))
        self.catalog = catalog.Catalog(store)

    def _assert_only_that_of(self, record: records.Record) -> None:
        found = image.info(str(self.disk)).bitmaps
        self.assertEqual(
            [(record.disks[0].bitmap, False)],
            [(bitmap.name, bitmap.inconsistent) for bitmap in found],
        )

    def test_running(self) -> None:
        self.guest.start()
        self.assertEqual([self.one.disks[0].bitmap], self.bitmaps())
        two = self.backup()
        self.assertEqual([two.disks[0].bitmap], self.bitmaps())
        self.assert_clean()
        self.guest.stop()
        self._assert_only_that_of(two)

    def test_shut_off(self) -> None:
        self._assert_only_that_of(self.backup())

    def test_a_file(self) -> None:
        two = file_backup.backup_file(self.catalog, SETTINGS, self.disk)
        self._assert_only_that_of(two)

    def test_one_that_is_sound_is_kept(self) -> None:
        """It is of another store, whose next backup needs it."""
        self.guest.start()
        two = self.backup()
        store = directory.DirectoryStore(str(self.root / 'third'))
        self.catalog = catalog.Catalog(store)
        three = self.backup()
        self.assertEqual(
            {two.disks[0].bitmap, three.disks[0].bitmap}, set(self.bitmaps())
        )


class ShutOffTest(DomainCase):
    def test_on_off_on(self) -> None:
        one = self.backup()
        self.guest.write('vda', units.Mi, 65536, 0x22)
        self.guest.stop()
        two = self.backup()
        three = self.backup()
        self.guest.start()
        self.guest.write('vda', 2 * units.Mi, 65536, 0x33)
        four = self.backup()
        for record in (two, three, four):
            self.assert_is(record, None)
        self.assertEqual(0, three.disks[0].read_bytes)
        self.assert_holds(one, [FIRST])
        second = [FIRST, (units.Mi, 65536, 0x22)]
        self.assert_holds(two, second)
        self.assert_holds(three, second)
        self.assert_holds(four, [*second, (2 * units.Mi, 65536, 0x33)])
        self.assertEqual(1, len(self.bitmaps()))

    def test_freezing_needs_a_guest(self) -> None:
        self.guest.stop()
        self.assertEqual('shut off', self.backup(freeze=True).quiesced)


class DisksTest(DomainCase):
    def make_guest(self) -> libvirtd.Guest:
        base_ = self.image('base.qcow2')
        subprocess.run(
            ['qemu-io', '-c', f'write -P 9 20M {units.Mi}', base_],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.overlay = self.root / 'overlay.qcow2'
        subprocess.run(
            [
                *('qemu-img', 'create', '-q', '-f', 'qcow2'),
                *('-F', 'qcow2', '-b', base_, self.overlay),
            ],
            check=True,
        )
        self.raw = self.image('data.raw')
        self.old = self.image('old.qcow2', '64M', '-o', 'compat=0.10')
        return libvirtd.Guest(
            _libvirtd,
            self.root.name,
            [
                ('vda', self.overlay, 'qcow2'),
                ('vdb', self.raw, 'raw'),
                ('vdc', self.old, 'qcow2'),
            ],
            cdrom=self.image('cd.raw', '1M'),
        )

    def test_of_every_kind(self) -> None:
        for target in ('vdb', 'vdc'):
            self.guest.write(target, 0, units.Mi, 0x11)
        one = self.backup()
        for target in ('vda', 'vdb', 'vdc'):
            self.guest.write(target, 2 * units.Mi, 65536, 0x22)
        two = self.backup()

        self.assertEqual(['hda'], [each.name for each in two.skipped])
        self.assert_is(two, None, 'vda')
        self.assert_is(two, 'not_qcow2', 'vdb')
        self.assert_is(two, 'old_qcow2', 'vdc')
        # All of it is read, and of that the one new segment stored.
        self.assertEqual(65536, two.disks[1].changed_bytes)
        second = (2 * units.Mi, 65536, 0x22)
        beneath = (20 * units.Mi, units.Mi, 9)
        self.assert_holds(one, [FIRST, beneath], 'vda')
        self.assert_holds(two, [FIRST, second, beneath], 'vda')
        first = (0, units.Mi, 0x11)
        for target in ('vdb', 'vdc'):
            self.assert_holds(one, [first], target)
            self.assert_holds(two, [first, second], target)

    def test_swapped(self) -> None:
        """Targets mean nothing: each disk goes on from its own past."""
        self.guest.write('vdc', 0, units.Mi, 3)
        self.backup()
        self.guest.stop()
        self.guest.domain.undefine()
        uuid = f'<uuid>{self.domain.uuid}</uuid>'
        self.guest.disks = [
            ('vda', self.old, 'qcow2'),
            ('vdb', self.raw, 'raw'),
            ('vdc', self.overlay, 'qcow2'),
        ]
        xml = self.guest.xml().replace('<memory', uuid + '<memory')
        self.guest.domain = _libvirtd.connection.defineXML(xml)
        self.guest.start()
        self.guest.write('vda', units.Mi, units.Mi, 5)
        two = self.backup()
        self.assert_is(two, 'old_qcow2', 'vda')
        self.assert_is(two, None, 'vdc')
        self.assert_holds(
            two, [(0, units.Mi, 3), (units.Mi, units.Mi, 5)], 'vda'
        )
        self.assert_holds(two, [FIRST, (20 * units.Mi, units.Mi, 9)], 'vdc')

    def test_only_some(self) -> None:
        record = self.backup(select=selection.by_target(['vda']))
        self.assertEqual(['vda'], [disk.name for disk in record.disks])
        self.assertEqual(
            {'vdb': 'not asked for', 'vdc': 'not asked for'},
            {
                each.name: each.reason
                for each in record.skipped
                if each.name != 'hda'
            },
        )
        error = self.assertRaises(
            exception.InvalidOption,
            self.backup,
            select=selection.by_target(['vdx']),
        )
        self.assertIn('vda', str(error))
        error = self.assertRaises(
            exception.InvalidOption,
            self.backup,
            select=selection.by_target(['hda']),
        )
        self.assertIn('cdrom', str(error))


class DuringTest(DomainCase):
    """Things that happen while a backup reads."""

    def _when_reading(
        self, event: typing.Callable[[], None]
    ) -> progress.Report:
        done: list[bool] = []

        def report(now: progress.Progress) -> None:
            if not done:
                done.append(True)
                event()

        return report

    def test_writes_wait_for_the_next_backup(self) -> None:
        def event() -> None:
            self.guest.write('vda', 0, 8 * units.Mi, 0x77)
            self.guest.write('vda', 20 * units.Mi, units.Mi, 0x78)

        one = self.backup(report=self._when_reading(event))
        two = self.backup()
        self.assert_holds(one, [FIRST])
        self.assert_is(two, None)
        self.assert_holds(
            two,
            [(0, 8 * units.Mi, 0x77), (20 * units.Mi, units.Mi, 0x78)],
        )

    def _lost(
        self, event: typing.Callable[[], None], next_: str | None
    ) -> None:
        one = self.backup()
        self.guest.write('vda', 0, units.Mi, 0x22)
        before = {found.name for found in self.catalog.store.list()}
        self.assertRaises(
            exception.SourceLost,
            self.backup,
            full=True,
            report=self._when_reading(event),
        )
        after = {found.name for found in self.catalog.store.list()}
        self.assertEqual(before, after)
        if not self.domain.is_active():
            self.guest.start()
        self.assert_clean()
        two = self.backup()
        self.assert_is(two, next_)
        self.assert_holds(one, [FIRST])
        self.assert_holds(two, [FIRST, (0, units.Mi, 0x22)])

    def test_an_aborted_job_is_no_backup(self) -> None:
        self._lost(self.guest.domain.abortJob, None)

    def test_a_guest_that_stops(self) -> None:
        self._lost(self.guest.stop, None)

    def test_a_guest_that_is_killed(self) -> None:
        self._lost(self.guest.kill, 'bitmap_missing')

    def test_a_full_scratch_does_not_fail_the_guest(self) -> None:
        self.places = scratch.Places(
            self.places.sockets,
            self.places.scratch,
            limit=2 * units.Mi,
            margin=units.Mi,
        )

        def event() -> None:
            for offset in range(8):
                self.guest.write('vda', offset * units.Mi, units.Mi, 0x99)
            deadline = time.monotonic() + 20
            while self.domain.has_job() and time.monotonic() < deadline:
                time.sleep(0.05)

        self.assertRaises(
            exception.ScratchFull,
            self.backup,
            report=self._when_reading(event),
        )
        self.assert_clean()
        two = self.backup()
        self.assert_holds(two, [(0, 8 * units.Mi, 0x99)])

    def test_a_job_that_a_dead_process_left(self) -> None:
        one = self.backup()
        self.guest.write('vda', 0, units.Mi, 0x22)
        left = self.places.sockets / 'ekko-0000001e'
        left.mkdir()
        left.chmod(0o777)
        self.guest.domain.backupBegin(
            f'<domainbackup mode="pull"><server transport="unix" '
            f'socket="{left}/nbd"/></domainbackup>',
            '<domaincheckpoint><name>ekko-dead</name></domaincheckpoint>',
        )
        two = self.backup()
        self.assert_is(two, None)
        self.assert_clean()
        self.assert_holds(one, [FIRST])
        self.assert_holds(two, [FIRST, (0, units.Mi, 0x22)])

    def test_a_job_of_somebody_else_is_left_alone(self) -> None:
        self.backup()
        theirs = self.root / 'theirs'
        theirs.mkdir()
        theirs.chmod(0o777)
        self.guest.domain.backupBegin(
            f'<domainbackup mode="pull"><server transport="unix" '
            f'socket="{theirs}/nbd"/></domainbackup>',
            None,
        )
        self.addCleanup(self.guest.domain.abortJob)
        self.assertRaises(exception.JobRunning, self.backup)
        self.assertTrue(self.domain.has_job())
