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

"""What the tests have in common."""

import typing

from tempest.common import compute
from tempest.common import waiters
from tempest import config
from tempest.lib.common.utils import test_utils
from tempest.lib import exceptions
from tempest import test

__all__ = ('BackupTestCase',)

CONF = config.CONF


class BackupTestCase(test.BaseTestCase):  # type: ignore[misc]
    """Has servers, and a client for their backups.

    :cvar owner: whose they are, one of the credentials
    """

    credentials: typing.ClassVar[list[str]] = ['primary']
    owner = 'primary'

    @classmethod
    def skip_checks(cls) -> None:
        super().skip_checks()
        if not CONF.service_available.ekko_nova:
            raise cls.skipException('[service_available] ekko_nova is False')

    @classmethod
    def setup_clients(cls) -> None:
        super().setup_clients()
        cls.clients = getattr(cls, f'os_{cls.owner}')
        cls.backups = cls.clients.instance_backup.BackupsClient()
        cls.servers = cls.clients.servers_client

    @classmethod
    def create_server(cls, **wanted: object) -> typing.Any:
        """A server that is active; deleted in the end."""
        server, _ = compute.create_test_server(
            cls.clients,
            tenant_network=cls.get_tenant_network(),
            wait_until='ACTIVE',
            **wanted,
        )
        cls.addClassResourceCleanup(
            waiters.wait_for_server_termination, cls.servers, server['id']
        )
        cls.addClassResourceCleanup(
            test_utils.call_and_ignore_notfound_exc,
            cls.servers.delete_server,
            server['id'],
        )
        return server

    @classmethod
    def create_backup(cls, server: str, **wanted: object) -> typing.Any:
        """A backup that is available, of a server that is free again.

        It is deleted in the end.
        """
        backup = cls.backups.create_backup(server, **wanted)
        cls.addClassResourceCleanup(cls.delete_backup, backup['id'])
        available = cls.backups.wait_for_backup(backup['id'])
        waiters.wait_for_server_status(cls.servers, server, 'ACTIVE')
        return available

    @classmethod
    def delete_backup(cls, backup: str) -> None:
        """Delete a backup, unless it is gone, and wait until it is."""
        try:
            cls.backups.delete_backup(backup)
        except exceptions.NotFound:
            return
        cls.backups.wait_for_resource_deletion(backup)
