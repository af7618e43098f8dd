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


"""Workers: processes that back up, restore and clean up, as nova-compute does.

The guest and its libvirt are real; what is not here is Nova.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import threading
import typing
import uuid

import libvirt
from oslo_utils import units
import psutil

from ekko_nova.backup import record as records
from ekko_nova.compute import child as children
from ekko_nova.compute import link as links
from ekko_nova.compute import order as orders
from ekko_nova import exception
from ekko_nova.virt import domain as domains
from ekko_nova.virt import image
from tests.functional import libvirtd
from tests.functional import test_domain_backup

FIRST = (0, 8 * units.Mi, 0x11)
SECOND = (0, units.Mi, 0x22)

setUpModule = test_domain_backup.setUpModule
tearDownModule = test_domain_backup.tearDownModule


class Events(children.Events):
    """Does something as soon as the first progress is told."""

    def __init__(self, event: Callable[[], None] | None = None) -> None:
        self._event = event
        self.progressed: list[links.Message] = []
        self.was_local = False

    def progress(self, message: links.Message) -> None:
        self.progressed.append(message)
        if self._event is not None:
            event, self._event = self._event, None
            event()

    def local(self) -> None:
        self.was_local = True


@contextlib.contextmanager
def _asked_to_end(child: children.Child) -> Iterator[psutil.Process]:
    """A worker that gets the signals when the context ends."""
    assert child._process is not None
    process = psutil.Process(child._process.pid)
    process.suspend()
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    try:
        yield process
    finally:
        process.resume()


class WorkerCase(test_domain_backup.DomainCase):
    def setUp(self) -> None:
        super().setUp()
        #: Of the configuration, besides those that all have.
        self.options: dict[str, int] = {}

    def make_guest(self) -> libvirtd.Guest:
        # As Nova calls the root disk.
        self.disk = self.root / 'disk'
        self.image('disk.qcow2').rename(self.disk)
        return libvirtd.Guest(
            test_domain_backup._libvirtd,
            self.root.name,
            [('vda', self.disk, 'qcow2')],
        )

    @property
    def site(self) -> orders.Site:
        return orders.Site(
            options={
                'store': f'file://{self.root}/store',
                'segment_size_mib': 1,
                'audit_segments': 0,
                'socket_directory': str(self.places.sockets),
                'scratch_directory': str(self.places.scratch),
                'scratch_limit_mib': 64,
                'store_attempts': 1,
                **self.options,
            },
            environment={},
            project='a-project',
            uri=test_domain_backup._libvirtd.uri,
        )

    def child(
        self,
        backup: str | None = None,
        timeout: float = 20,
        begin_timeout: float = 20,
    ) -> children.Child:
        self.id_ = backup or str(uuid.uuid4())
        order = orders.BackupOrder(
            site=self.site,
            instance=self.domain.uuid,
            backup=self.id_,
            facts={'project_id': 'a-project'},
            directory=str(self.root),
            full=False,
            freeze=False,
        )
        return children.Child(order, timeout, begin_timeout)

    def settle(self, backup: str) -> tuple[typing.Any, Events]:
        order = orders.SettleOrder(
            self.site, self.domain.uuid, backup, 'it was lost'
        )
        events = Events()
        return children.Child(order, 20).run(events), events

    def taken(self) -> records.Record:
        self.child().run(children.Events())
        return self.catalog.get(self.id_)

    def assert_nothing_left(self, *kept: records.Record) -> None:
        self.assertFalse(self.domain.has_job())
        self.assertEqual((), self.domain.checkpoints())
        for place in (self.places.sockets, self.places.scratch):
            self.assertEqual([], list(place.glob('*')))
        wanted = {disk.bitmap for record in kept for disk in record.disks}
        [disk] = self.domain.disks()
        found = {bitmap.name for bitmap in self.domain.bitmaps(disk)}
        self.assertEqual(wanted, found)

    def assert_error(self, backup: str, reason: str) -> None:
        record = self.catalog.get(backup)
        self.assertEqual(records.Status.ERROR, record.status)
        self.assertIn(reason, record.error or '')
        objects = self.catalog.store.list('sets/')
        self.assertEqual([], [x for x in objects if backup in x.name])

    def assert_goes_on(self, one: records.Record) -> None:
        """The next backup is incremental, and both are right."""
        two = self.taken()
        self.assert_is(two, None)
        self.assert_holds(one, [FIRST])
        self.assert_holds(two, [FIRST, SECOND])
        self.assert_nothing_left(two)


class BackupTest(WorkerCase):
    def test_it_is_available(self) -> None:
        result = self.child().run(events := Events())
        record = self.catalog.get(self.id_)
        self.assertEqual(records.Status.AVAILABLE, record.status)
        self.assertEqual(('full', 'root'), (result['type'], self._identity()))
        self.assertEqual({'project_id': 'a-project'}, record.instance)
        self.assertIsNone(record.progress)
        self.assertTrue(record.requested)
        self.assertTrue(events.progressed)
        self.assert_holds(record, [FIRST])
        self.assert_nothing_left(record)

    def _identity(self) -> str:
        [disk] = self.catalog.get(self.id_).disks
        return disk.identity

    def test_it_is_quiet_while_it_begins(self) -> None:
        jobs = []
        has_job = self.domain.has_job

        class Quiet(children.Events):
            @contextlib.contextmanager
            def quiet(self, cancelled: threading.Event) -> Iterator[None]:
                jobs.append(has_job())
                yield
                jobs.append(has_job())

        self.child().run(Quiet())
        self.assertEqual([False, True], jobs)

    def test_it_stands_back(self) -> None:
        found = []
        child = self.child()

        def look() -> None:
            assert child._process is not None
            process = psutil.Process(child._process.pid)
            found.append((process.nice(), process.ionice()))

        child.run(Events(look))
        lowest = (psutil.IOPRIO_CLASS_BE, 7)
        self.assertEqual([(10, lowest)], found)

    def test_cancelled(self) -> None:
        one = self.taken()
        self.guest.write('vda', *SECOND)
        child = self.child()
        events = Events(lambda: child.cancel('of a whim'))
        error = self.assertRaises(exception.WorkerFailed, child.run, events)
        self.assertTrue(error.settled)
        self.assert_error(self.id_, 'of a whim')
        self.assert_nothing_left(one)
        self.assert_goes_on(one)

    def test_cancelled_before_it_began(self) -> None:
        child = self.child()
        child.cancel('of a whim')
        self.assertTrue(child.ended.is_set())
        self.assertRaises(exception.Cancelled, child.run, Events())

    def test_killed(self) -> None:
        one = self.taken()
        self.guest.write('vda', *SECOND)
        child = self.child()
        error = self.assertRaises(
            exception.WorkerFailed, child.run, Events(self._killer(child))
        )
        self.assertFalse(error.settled)
        self.assertTrue(self.domain.has_job())
        result, events = self.settle(self.id_)
        self.assertEqual({'status': 'error'}, result)
        self.assertTrue(events.was_local)
        self.assert_error(self.id_, 'it was lost')
        self.assert_nothing_left(one)
        self.assert_goes_on(one)

    def _killer(self, child: children.Child) -> Callable[[], None]:
        def kill() -> None:
            assert child._process is not None
            os.kill(child._process.pid, signal.SIGKILL)

        return kill

    def test_asked_to_end_by_a_signal(self) -> None:
        """As systemd asks all processes of a service that it stops."""
        child = self.child()

        def ask() -> None:
            with _asked_to_end(child):
                pass

        child.run(Events(ask))
        record = self.catalog.get(self.id_)
        self.assertEqual(records.Status.AVAILABLE, record.status)
        self.assert_holds(record, [FIRST])
        self.assert_nothing_left(record)

    def test_the_signals_reach_what_it_starts(self) -> None:
        self.guest.stop()
        child = self.child()
        ignored = []

        def look() -> None:
            with _asked_to_end(child) as process:
                [server] = process.children()
                status = pathlib.Path(f'/proc/{server.pid}/status').read_text()
                [mask] = re.findall(r'SigIgn:\s*(\w+)', status)
                ignored.append(int(mask, 16) >> (signal.SIGTERM - 1) & 1)

        child.run(Events(look))
        record = self.catalog.get(self.id_)
        self.assertEqual(records.Status.AVAILABLE, record.status)
        self.assertEqual([0], ignored)

    def test_nova_compute_is_stopped_with_all_its_group(self) -> None:
        one = self.taken()
        self.guest.write('vda', *SECOND)
        child = self.child()

        def die() -> None:
            assert child._link is not None
            with _asked_to_end(child):
                child._link._socket.shutdown(2)

        self.assertRaises(exception.WorkerFailed, child.run, Events(die))
        assert child._process is not None
        self.assertEqual(0, child._process.returncode)
        self.assert_error(self.id_, 'nova-compute has ended')
        self.assert_goes_on(one)

    def test_killed_because_it_does_not_listen(self) -> None:
        child = self.child(timeout=0.5)

        def stop() -> None:
            assert child._process is not None
            os.kill(child._process.pid, signal.SIGSTOP)
            child.cancel('of a whim')

        error = self.assertRaises(
            exception.WorkerFailed, child.run, Events(stop)
        )
        self.assertFalse(error.settled)
        self.settle(self.id_)
        self.assert_nothing_left()

    def test_killed_because_it_does_not_begin(self) -> None:
        child = self.child(timeout=0.5, begin_timeout=0.5)

        class Stopped(children.Events):
            let_go = False

            @contextlib.contextmanager
            def quiet(self, cancelled: threading.Event) -> Iterator[None]:
                assert child._process is not None
                os.kill(child._process.pid, signal.SIGSTOP)
                try:
                    yield
                finally:
                    self.let_go = cancelled.is_set()

        events = Stopped()
        error = self.assertRaises(exception.WorkerFailed, child.run, events)
        self.assertIn('it had not begun after 0.5 s', str(error))
        self.assertTrue(events.let_go)
        self.settle(self.id_)
        self.assert_nothing_left()

    def test_nova_compute_dies(self) -> None:
        one = self.taken()
        self.guest.write('vda', *SECOND)
        child = self.child()

        def die() -> None:
            assert child._link is not None
            # What the kernel does to the sockets of a process that dies.
            child._link._socket.shutdown(2)

        self.assertRaises(exception.WorkerFailed, child.run, Events(die))
        self.assert_error(self.id_, 'nova-compute has ended')
        self.assert_goes_on(one)

    def test_libvirtd_is_restarted(self) -> None:
        one = self.taken()
        self.guest.write('vda', *SECOND)
        child = self.child()
        restart = test_domain_backup._libvirtd.restart
        error = self.assertRaises(
            exception.WorkerFailed, child.run, Events(restart)
        )
        if not error.settled:
            self.settle(self.id_)
        self.assert_error(self.id_, '')
        self._reconnect()
        self.assert_nothing_left(one)
        self.assert_goes_on(one)

    def _reconnect(self) -> None:
        """The connections from before a restart are of no use."""
        connection = test_domain_backup._libvirtd.connection
        self.guest.domain = connection.lookupByName(self.guest.name)
        hypervisor = domains.Hypervisor(test_domain_backup._libvirtd.uri)
        self.addCleanup(hypervisor.__exit__, None, None, None)
        self.domain = hypervisor.__enter__().lookup(self.guest.name)

    def test_the_scratch_fills_after_a_restart_of_libvirtd(self) -> None:
        # It reads for long enough.
        self.options = {'scratch_limit_mib': 16, 'bandwidth_limit_mib': 1}
        self.guest.write('vda', 8 * units.Mi, 16 * units.Mi, 0x11)

        def event() -> None:
            test_domain_backup._libvirtd.restart()
            self._reconnect()
            for offset in range(24):
                self.guest.write('vda', offset * units.Mi, units.Mi, 0x99)

        error = self.assertRaises(
            exception.WorkerFailed, self.child().run, Events(event)
        )
        self.assertTrue(error.settled, error.reason)
        self.assertIn('not enough scratch space', error.reason)
        self.assert_error(self.id_, str(exception.ScratchFull.told))
        self.assert_nothing_left()
        self.options = {}
        self.assert_holds(self.taken(), [(0, 24 * units.Mi, 0x99)])

    def test_a_job_of_another_program(self) -> None:
        """It is left alone, and nothing waits for its end."""
        one = self.taken()
        self.guest.write('vda', *SECOND)
        theirs = self.root / 'theirs'
        theirs.mkdir()
        theirs.chmod(0o777)
        self.guest.domain.backupBegin(
            '<domainbackup mode="pull"><server transport="unix" '
            f'socket="{theirs}/nbd"/></domainbackup>',
            None,
        )
        error = self.assertRaises(
            exception.WorkerFailed, self.child().run, Events()
        )
        self.assertIn(f'a backup job at {theirs}/nbd', error.reason)
        self.assertTrue(error.settled)
        self.assert_error(self.id_, str(exception.JobRunning.told))
        _, events = self.settle(str(uuid.uuid4()))
        self.assertTrue(events.was_local)
        self.assertTrue(self.domain.has_job())
        self.guest.domain.abortJob()
        while self.domain.has_job():
            pass
        self.assert_goes_on(one)

    def test_settling_what_was_never_announced(self) -> None:
        backup = str(uuid.uuid4())
        result, _ = self.settle(backup)
        self.assertEqual({'status': 'error'}, result)
        self.assert_error(backup, 'it was lost')

    def test_settling_what_is_available(self) -> None:
        one = self.taken()
        self.guest.write('vda', *SECOND)
        result, _ = self.settle(one.id)
        self.assertEqual({'status': 'available'}, result)
        self.assert_goes_on(one)

    def test_the_store_is_away(self) -> None:
        one = self.taken()
        self.guest.write('vda', *SECOND)
        store = self.root / 'store'
        away = store.rename(self.root / 'away')
        store.touch()
        error = self.assertRaises(
            exception.WorkerFailed, self.child().run, Events()
        )
        self.assertFalse(error.settled)
        self.assert_nothing_left(one)
        store.unlink()
        away.rename(store)
        self.settle(self.id_)
        self.assert_error(self.id_, 'it was lost')
        self.assert_goes_on(one)


class RestoreTest(WorkerCase):
    def restored_files(self, backup: str, **more: int) -> dict[str, str]:
        order = orders.RestoreOrder(
            site=self.site,
            instance=self.domain.uuid,
            backup=backup,
            directory=str(self.root),
            format='qcow2',
            root_size=more.get('root_size', 0),
        )
        result = children.Child(order, 20).run(Events())
        files: dict[str, str] = result['files']
        return files

    def swap(self, files: dict[str, str]) -> None:
        for path, restored in files.items():
            pathlib.Path(restored).replace(path)

    def test_the_next_backup_is_incremental_on_it(self) -> None:
        one = self.taken()
        self.guest.write('vda', 0, 8 * units.Mi, 0x99)
        self.taken()
        files = self.restored_files(one.id)
        self.assertEqual([str(self.disk)], list(files))
        self.guest.stop()
        self.swap(files)
        self.guest.start()
        self.guest.write('vda', *SECOND)
        two = self.taken()
        self.assert_is(two, None)
        self.assertEqual(one.id, two.parent)
        self.assert_holds(two, [FIRST, SECOND])

    def test_the_disk_is_gone(self) -> None:
        one = self.taken()
        self.guest.kill()
        self.disk.unlink()
        self.swap(self.restored_files(one.id))
        self.guest.start()
        self.assert_holds(self.taken(), [FIRST])

    def test_the_flavor_grew_meanwhile(self) -> None:
        one = self.taken()
        files = self.restored_files(one.id, root_size=96 * units.Mi)
        self.guest.stop()
        self.swap(files)
        self.guest.start()
        self.guest.write('vda', 80 * units.Mi, units.Mi, 0x33)
        two = self.taken()
        self.assert_is(two, None)
        [disk] = two.disks
        self.assertEqual(96 * units.Mi, disk.size)
        self.assert_holds(two, [FIRST, (80 * units.Mi, units.Mi, 0x33)])

    def test_the_disk_grew_meanwhile(self) -> None:
        """As an ephemeral disk does, whose size is not in the order."""
        one = self.taken()
        self.guest.domain.blockResize(
            'vda', 96 * units.Mi, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES
        )
        [restored] = self.restored_files(one.id).values()
        info = image.info(restored)
        self.assertEqual(96 * units.Mi, info.size)
        self.assertEqual([one.disks[0].bitmap], [b.name for b in info.bitmaps])

    def test_the_disk_is_damaged(self) -> None:
        one = self.taken()
        self.guest.kill()
        self.disk.write_bytes(b'')
        [restored] = self.restored_files(one.id).values()
        self.assertEqual(64 * units.Mi, image.info(restored).size)

    def test_of_another_instance(self) -> None:
        one = self.taken()
        order = orders.RestoreOrder(
            self.site, str(uuid.uuid4()), one.id, str(self.root), 'qcow2', 0
        )
        error = self.assertRaises(
            exception.WorkerFailed, children.Child(order, 20).run, Events()
        )
        self.assertIn('another instance', str(error))

    def test_there_is_no_room(self) -> None:
        one = self.taken()
        small = self.root / 'small'
        small.mkdir()
        mount = ('mount', '-t', 'tmpfs', '-o', 'size=96m', 'none', small)
        subprocess.run(mount, check=True)
        self.addCleanup(subprocess.check_call, ['umount', small])
        self.image('small/new.qcow2').rename(small / 'disk')
        order = orders.RestoreOrder(
            self.site,
            str(uuid.uuid4()),
            one.id,
            str(small),
            'qcow2',
            0,
            new=True,
        )
        error = self.assertRaises(
            exception.WorkerFailed, children.Child(order, 20).run, Events()
        )
        self.assertIn(f'{small} (', error.reason)
        # What it holds, and a margin of 1 GiB.
        self.assertIn('1032 MiB must be', error.reason)
        self.assertEqual(['disk'], os.listdir(small))
