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
import typing

import openstack

from tests.cloud import backups
from tests.cloud import during
from tests.cloud import onebox


class RefusalTest(during.BackupCase):
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
        worker.signal('CONT')
        self.server.wait_until_gone()
        self.assert_error(backup, 'deleted')
        self.assertFalse(worker.has_directory())
        self.assertEqual(
            ['available', 'error'],
            [each['status'] for each in self.backups.listed()],
        )

    def test_cancelled(self) -> None:
        backup, worker = self.begun()
        self.backups.cancel(backup)
        worker.signal('CONT')
        self.assert_recovers(backup, worker, 'cancelled')


class LossTest(during.BackupCase):
    def test_the_worker_is_killed(self) -> None:
        backup, worker = self.begun()
        worker.signal('KILL')
        self.assert_recovers(backup, worker, 'died')

    def test_the_guest_is_killed(self) -> None:
        backup, worker = self.begun()
        self.server.kill()
        worker.signal('CONT')
        self.assert_error(backup, 'lost')
        self.assert_free()
        self.demo.compute.reboot_server(self.server.id, 'HARD')
        self.server.wait()
        self.server.wait_for_agent()
        self.assert_goes_on('full')


class RestoreTest(during.BackupCase):
    def test_the_worker_is_killed(self) -> None:
        worker = self.begun_restore()
        worker.signal('KILL')
        self.server.wait()
        self.assertEqual(26, self.server.check_data())
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
        self.assertIn('no such backup', str(error))
        self.server.wait()
        self.assertEqual(26, self.server.check_data())
