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

"""What is refused, and to whom."""

import typing

from tempest import config
from tempest.lib.common.utils import data_utils
from tempest.lib import decorators
from tempest.lib import exceptions
import testtools

from ekko_tempest_plugin.tests import base


CONF = config.CONF


class BackupsNegativeTest(base.BackupTestCase):
    """Requests that make no sense."""

    @decorators.attr(type='negative')
    @decorators.idempotent_id('1f5f1f37-7f1c-4b8f-8c4c-0a8e6d1b2a55')
    def test_a_server_that_does_not_exist(self) -> None:
        self.assertRaises(
            exceptions.NotFound,
            self.backups.create_backup,
            data_utils.rand_uuid(),
        )

    @decorators.attr(type='negative')
    @decorators.idempotent_id('2c9d7c58-3e6a-4b1e-9a5c-1b7d5e2c3b66')
    def test_a_backup_that_does_not_exist(self) -> None:
        missing = data_utils.rand_uuid()
        for request in (
            self.backups.show_backup,
            self.backups.delete_backup,
            self.backups.cancel_backup,
            self.backups.verify_backup,
            self.backups.restore_backup,
        ):
            self.assertRaises(exceptions.NotFound, request, missing)

    @decorators.attr(type='negative')
    @decorators.idempotent_id('3d8e6b79-4f5b-4c2d-8b6d-2c6e4f3d4c77')
    def test_requests_that_are_not_well_formed(self) -> None:
        for query in ({'limit': 0}, {'status': 'good'}, {'color': 'red'}):
            self.assertRaises(
                exceptions.BadRequest, self.backups.list_backups, **query
            )
        self.assertRaises(
            exceptions.BadRequest,
            self.backups.create_backup,
            data_utils.rand_uuid(),
            type='half',
        )


class BackupsRbacTest(base.BackupTestCase):
    """Two projects, and an eye that only looks."""

    credentials: typing.ClassVar[list[str]] = [
        'project_member',
        'project_alt_member',
        'project_reader',
    ]
    owner = 'project_member'

    @classmethod
    def setup_clients(cls) -> None:
        super().setup_clients()
        cls.others = cls.os_project_alt_member.instance_backup.BackupsClient()
        cls.readers = cls.os_project_reader.instance_backup.BackupsClient()

    @classmethod
    def resource_setup(cls) -> None:
        super().resource_setup()
        cls.server = cls.create_server()['id']
        cls.backup = cls.create_backup(cls.server)['id']

    def _changes(self, client: typing.Any) -> list[typing.Any]:
        return [
            client.delete_backup,
            client.cancel_backup,
            client.verify_backup,
            client.restore_backup,
            lambda backup: client.update_backup(backup, name='mine'),
            lambda backup: client.create_image(backup, name='mine'),
        ]

    @decorators.attr(type='negative')
    @decorators.idempotent_id('4e7f5a8a-5a4c-4d3e-9c7e-3d5f3a4e5d88')
    def test_another_project(self) -> None:
        self.assertEqual([], self.others.list_backups(server=self.server))
        for request in (self.others.show_backup, *self._changes(self.others)):
            self.assertRaises(exceptions.NotFound, request, self.backup)
        self.assertRaises(
            exceptions.NotFound, self.others.create_backup, self.server
        )
        self.assertRaises(
            exceptions.Forbidden, self.others.list_backups, all_projects='true'
        )

    @testtools.skipIf(
        'member' in CONF.auth.tempest_roles,
        '[auth] tempest_roles makes a member of every reader',
    )
    @decorators.attr(type='negative')
    @decorators.idempotent_id('5f6a4b9b-6b3d-4e4f-8d8f-4e4a2b5f6e99')
    def test_a_reader(self) -> None:
        self.assertEqual(
            'available', self.readers.show_backup(self.backup)['status']
        )
        for request in self._changes(self.readers):
            self.assertRaises(exceptions.Forbidden, request, self.backup)
        self.assertEqual(
            'available', self.backups.show_backup(self.backup)['status']
        )
