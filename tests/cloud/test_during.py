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


"""What may and may not happen to a server while it is backed up."""

from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
import contextlib
import os
import signal
import typing

import openstack

from tests.cloud import backups
from tests.cloud import onebox


class BackupCase(onebox.CloudTestCase):
    """A server with one backup, and data that is not in it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.create_server(host='c1')
        self.server.write_data('before', 2)
        self.backups = backups.Backups(self.server)
        self.first = self.backups.create()
        self.server.write_data('between', 48)

    def begun(self) -> tuple[str, str]:
        """A backup whose worker is stopped while it reads."""
        with futures.ThreadPoolExecutor() as pool:
            worker = pool.submit(backups.stopped_worker, self.server)
            backup = self.backups.begin()
            return backup, worker.result()

    @contextlib.contextmanager
    def reading(self) -> Iterator[str]:
        """A backup stays at reading, in the context."""
        backup, worker = self.begun()
        try:
            yield backup
        finally:
            self.signal('CONT', worker)

    def signal(self, name: str, worker: str) -> None:
        onebox.run('c1', 'kill', f'-{name}', worker)

    def assert_error(self, backup: str, reason: str) -> None:
        record = self.backups.wait(backup, 'error')
        self.assertIn(reason, record['error'])

    def assert_free(self) -> None:
        """Nova may do as it pleases with the server again."""
        onebox.wait_until(
            'the task state is clear',
            lambda: not self.server.details().task_state,
        )

    def assert_nothing_left(self) -> None:
        """No job, no file, and no bitmap but that of the first backup."""
        self.assertEqual('', onebox.run('c1', 'ls', backups.JOBS))
        with self.server.domain() as domain:
            self.assertEqual([], domain.listAllCheckpoints())
        self.owner_stops()
        info = onebox.run('c1', 'qemu-img', 'info', self.server.disks()['vda'])
        names = [
            line.split()[1]
            for line in info.splitlines()
            if line.strip().startswith('name: ekko-')
        ]
        self.assertEqual([f'ekko-{self.first}'], names)
        self.owner_starts()

    def owner_stops(self) -> None:
        self.demo.compute.stop_server(self.server.id)
        self.server.wait('SHUTOFF')

    def owner_starts(self) -> None:
        self.demo.compute.start_server(self.server.id)
        self.server.wait()
        self.server.wait_for_agent()

    def assert_goes_on(self, type: str = 'incremental') -> None:
        """The next backup holds what the disk held."""
        self.server.write_data('after', 1)
        self.demo.compute.pause_server(self.server.id)
        self.server.wait('PAUSED')
        held = self.server.digest()
        backup = self.backups.create()
        self.assertEqual(type, self.backups.show(backup)['type'])
        self.assertEqual(held, self.backups.digest(backup))


class RefusalTest(BackupCase):
    def test_nova_refuses_what_would_conflict(self) -> None:
        """With its own 409, whatever it is; and then the backup ends well."""
        with self.reading() as backup:
            for operation in self._operations():
                self.assertRaises(
                    openstack.exceptions.ConflictException, operation
                )
            self.assertRaises(backups.Failed, self.backups.begin)
            self.assertRaises(
                backups.Failed, self.backups.begin_restore, self.first
            )
        record = self.backups.wait(backup, 'available')
        self.assertEqual('incremental', record['type'])
        self.assert_free()
        self.assert_goes_on()

    def _operations(self) -> list[Callable[[], typing.Any]]:
        id = self.server.id
        mine, admin = self.demo.compute, self.admin.compute
        image = self.demo.image.find_image('ekko-guest').id
        flavor = mine.find_flavor('ekko.2')
        return [
            lambda: mine.reboot_server(id, 'SOFT'),
            lambda: mine.reboot_server(id, 'HARD'),
            lambda: mine.stop_server(id),
            lambda: mine.pause_server(id),
            lambda: mine.suspend_server(id),
            lambda: mine.create_server_image(id, 'refused'),
            lambda: mine.shelve_server(id),
            lambda: mine.rescue_server(id),
            lambda: mine.resize_server(id, flavor),
            lambda: mine.rebuild_server(id, image=image),
            lambda: admin.migrate_server(id),
            lambda: admin.live_migrate_server(
                id, host=None, block_migration='auto'
            ),
        ]

    def test_deletion_ends_it(self) -> None:
        backup, worker = self.begun()
        self.demo.compute.delete_server(self.server.id)
        onebox.wait_until(
            'Nova deletes it',
            lambda: self.server.details().task_state == 'deleting',
        )
        self.signal('CONT', worker)
        self.server.wait_until_gone()
        self.assert_error(backup, 'deleted')
        self.assertEqual('', onebox.run('c1', 'ls', backups.JOBS))
        self.assertEqual(
            ['available', 'error'],
            [each['status'] for each in self.backups.listed()],
        )

    def test_cancelled(self) -> None:
        backup, worker = self.begun()
        self.backups.cancel(backup)
        self.signal('CONT', worker)
        self.assert_error(backup, 'cancelled')
        self.assert_free()
        self.assert_nothing_left()
        self.assert_goes_on()


class CrashTest(BackupCase):
    def test_the_worker_is_killed(self) -> None:
        backup, worker = self.begun()
        self.signal('KILL', worker)
        self.assert_error(backup, 'died')
        self.assert_free()
        self.assert_nothing_left()
        self.assert_goes_on()

    def test_nova_compute_is_killed(self) -> None:
        backup, worker = self.begun()
        onebox.restart('nova-compute-c1', kill=True)
        self.signal('CONT', worker)
        self.assert_error(backup, 'ended')
        self.assert_free()
        self.assert_nothing_left()
        self.assert_goes_on()

    def test_nova_compute_and_the_worker_are_killed(self) -> None:
        backup, worker = self.begun()
        # It is not to see the worker go: it would clean up itself.
        onebox.run('c1', 'pkill', '-STOP', '-f', 'bin/nova-compute')
        self.signal('KILL', worker)
        onebox.restart('nova-compute-c1', kill=True)
        self.assert_error(backup, 'ended')
        self.assert_free()
        self.assert_nothing_left()
        self.assert_goes_on()

    def test_nova_compute_is_stopped(self) -> None:
        backup, worker = self.begun()
        self.signal('CONT', worker)
        onebox.restart('nova-compute-c1')
        onebox.wait_until(
            'it is one or the other',
            lambda: self.backups.show(backup)['status'] != 'creating',
        )
        self.assert_free()
        self.assert_goes_on()

    def test_the_guest_is_killed(self) -> None:
        backup, worker = self.begun()
        self.server.kill()
        self.signal('CONT', worker)
        self.assert_error(backup, 'lost')
        self.assert_free()
        self.demo.compute.reboot_server(self.server.id, 'HARD')
        self.server.wait()
        self.server.wait_for_agent()
        self.assert_goes_on('full')

    def test_libvirtd_is_restarted(self) -> None:
        backup, worker = self.begun()
        onebox.restart('libvirtd-c1', kill=True)
        self.signal('CONT', worker)
        self.assert_error(backup, '')
        self.assert_free()
        self.assert_nothing_left()
        self.assert_goes_on()

    def test_swift_is_away(self) -> None:
        backup, worker = self.begun()
        pid = (onebox.ROOT / 'run' / 'swift-proxy.pid').read_text()
        os.kill(int(pid.split()[0]), signal.SIGKILL)
        self.signal('CONT', worker)
        self.signal('KILL', worker)
        self.assert_free()
        self.owner_stops()
        self.owner_starts()
        onebox.restart('swift-proxy')
        self.assert_error(backup, 'died')
        self.assert_nothing_left()
        self.assert_goes_on()


class RestoreTest(BackupCase):
    def _stopped_restore(self) -> str:
        """A restore whose worker is stopped as soon as there is one."""
        with futures.ThreadPoolExecutor() as pool:
            worker = pool.submit(backups.stopped_worker, self.server, False)
            self.backups.begin_restore(self.first)
            return worker.result()

    def test_nova_compute_is_killed(self) -> None:
        """Before the disks were touched: everything is as it was."""
        worker = self._stopped_restore()
        onebox.restart('nova-compute-c1', kill=True)
        self.signal('KILL', worker)
        self.server.wait()
        self.assertEqual(50, self.server.check_data())
        directory = f'/var/lib/nova/instances/{self.server.id}'
        self.assertNotIn('ekko', onebox.run('c1', 'ls', '-A', directory))
        self.assert_goes_on()

    def test_the_worker_is_killed(self) -> None:
        worker = self._stopped_restore()
        self.signal('KILL', worker)
        self.server.wait()
        self.assertEqual(50, self.server.check_data())
        self.assert_goes_on()

    def test_the_image_is_gone(self) -> None:
        image = self.demo.compute.create_server_image(
            self.server.id, 'of-a-test', wait=True
        )
        self.server.wait()
        self.demo.compute.rebuild_server(self.server.id, image=image.id)
        self.server.wait()
        self.server.wait_for_agent()
        self.demo.image.delete_image(image.id)
        addresses = self.server.details().addresses
        self.backups.restore(self.first)
        self.server.wait()
        self.server.wait_for_agent()
        self.assertEqual(2, self.server.check_data())
        self.assertEqual(addresses, self.server.details().addresses)
        self.assertEqual(image.id, self.server.details().image['id'])

    def test_a_stopped_server_stays_stopped(self) -> None:
        self.owner_stops()
        self.backups.restore(self.first)
        self.server.wait('SHUTOFF')
        self.owner_starts()
        self.assertEqual(2, self.server.check_data())

    def test_of_no_such_backup(self) -> None:
        missing = 'bb0d2e1d-4a1e-4bb8-9a63-1c4b5e9d0a6f'
        error = self.assertRaises(
            backups.Failed, self.backups.restore, missing
        )
        self.assertIn(missing, str(error))
        self.server.wait()
        self.assertEqual(50, self.server.check_data())
