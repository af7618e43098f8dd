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

"""A backup's life."""

from tempest.lib.common.utils import data_utils
from tempest.lib import decorators

from ekko_tempest_plugin.tests import base


class BackupsTest(base.BackupTestCase):
    """With one server for all."""

    @classmethod
    def resource_setup(cls) -> None:
        super().resource_setup()
        cls.server = cls.create_server()['id']

    @decorators.idempotent_id('6f0f5f0a-6c0d-4b43-9d2c-6d9a5d6d0c11')
    def test_create_show_update_delete(self) -> None:
        name = data_utils.rand_name('backup')
        backup = self.create_backup(
            self.server, name=name, metadata={'why': 'tempest'}
        )
        self.assertEqual(name, backup['name'])
        self.assertEqual({'why': 'tempest'}, backup['metadata'])
        self.assertEqual(self.server, backup['server_id'])
        self.assertGreater(backup['size'], 0)
        self.assertEqual(
            ['root'], [disk['role'] for disk in backup['disks']][:1]
        )
        changed = self.backups.update_backup(
            backup['id'], description='changed', metadata={}
        )
        self.assertEqual(
            (name, 'changed', {}),
            (changed['name'], changed['description'], changed['metadata']),
        )
        self.delete_backup(backup['id'])
        self.assertTrue(self.backups.is_resource_deleted(backup['id']))

    @decorators.idempotent_id('0c1d8a52-0e55-4f1c-9f0e-4f3e8d3b7a22')
    def test_list(self) -> None:
        first = self.create_backup(self.server, name='first')
        second = self.create_backup(self.server, name='second')
        query = {'server': self.server, 'since': first['created_at']}
        ids = [second['id'], first['id']]
        listed = self.backups.list_backups(**query)
        self.assertEqual(ids, [backup['id'] for backup in listed])
        listed = self.backups.list_backups(**query, name='first')
        self.assertEqual(ids[1:], [backup['id'] for backup in listed])
        listed = self.backups.list_backups(**query, limit=1, marker=ids[0])
        self.assertEqual(ids[1:], [backup['id'] for backup in listed])
        self.assertEqual(
            [], self.backups.list_backups(**query, status='error')
        )

    @decorators.idempotent_id('3a7b1ad3-5d84-4b0b-9d4e-2b9c3a0f1f33')
    def test_full_and_incremental(self) -> None:
        full = self.create_backup(self.server, type='full')
        self.assertEqual('full', full['type'])
        incremental = self.create_backup(self.server, type='incremental')
        self.assertEqual('incremental', incremental['type'])
        self.assertEqual(full['id'], incremental['parent_id'])
        # Any of them can go.
        self.delete_backup(full['id'])
        self.backups.verify_backup(incremental['id'], deep=True)
        verified = self.backups.wait_for_work(
            incremental['id'], 'verification'
        )
        self.assertEqual([], verified['verification']['findings'])

    @decorators.idempotent_id('b8e4c0b4-1d3f-4f7a-8a36-7e0c5b2d6c44')
    def test_export(self) -> None:
        backup = self.create_backup(self.server)
        name = data_utils.rand_name('image')
        image = self.backups.create_image(backup['id'], name=name)
        images = self.clients.image_client_v2
        self.addCleanup(images.delete_image, image)
        self.backups.wait_for_work(backup['id'], 'export')
        shown = images.show_image(image)
        self.assertEqual(
            (name, 'active', 'qcow2'),
            (shown['name'], shown['status'], shown['disk_format']),
        )
