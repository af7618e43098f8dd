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

"""What a guest wrote comes back."""

import typing

from tempest.common import compute
from tempest.common import waiters
from tempest import config
from tempest.lib.common.utils import data_utils
from tempest.lib.common.utils import test_utils
from tempest.lib import decorators
import testtools

from ekko_tempest_plugin.tests import base
from ekko_tempest_plugin.tests.scenario import guest as guests

CONF = config.CONF


class ScenarioTestCase(base.BackupTestCase):
    """Has guests that write."""

    @classmethod
    def skip_checks(cls) -> None:
        super().skip_checks()
        by_ssh = CONF.instance_backup.guest_access == 'ssh'
        if by_ssh and not CONF.validation.run_validation:
            raise cls.skipException(
                '[validation] run_validation is False, and '
                '[instance_backup] guest_access is ssh'
            )
        if by_ssh and CONF.validation.auth_method != 'keypair':
            raise cls.skipException(
                '[validation] auth_method is not keypair, and '
                '[instance_backup] guest_access is ssh'
            )

    def start_guest(self) -> tuple[str, typing.Any]:
        """A server whose guest has booted, and what writes in it."""
        self.resources: typing.Any = {}
        if CONF.instance_backup.guest_access == 'console':
            server = self.create_server()['id']
            guest = self.guest_of(server)
            guest.state()
            return server, guest
        self.resources = self.get_test_validation_resources(self.clients)
        server = self.create_server(
            validatable=True, validation_resources=self.resources
        )['id']
        guest = self.guest_of(server)
        guest.change()
        return server, guest

    def guest_of(self, server: str) -> typing.Any:
        """What writes in a server, and tells what is there."""
        if CONF.instance_backup.guest_access == 'console':
            return guests.ConsoleGuest(self.servers, server)
        shown = self.servers.show_server(server)['server']
        address = compute.get_server_ip(
            shown, validation_resources=self.resources
        )
        key = self.resources['keypair']['private_key']
        return guests.SshGuest(self.servers, server, address, key)

    def create_server_from(self, backup: str) -> str:
        """A server that is made of a backup, and can be reached as the first.

        That one is gone: its floating IP is taken over.
        """
        network = self.get_tenant_network()
        wanted: dict[str, typing.Any] = {
            'name': data_utils.rand_name('restored'),
            'flavorRef': CONF.compute.flavor_ref,
            'networks': [{'uuid': network['id']}] if network else 'none',
        }
        if self.resources:
            wanted['key_name'] = self.resources['keypair']['name']
        if 'security_group' in self.resources:
            group = self.resources['security_group']['name']
            wanted['security_groups'] = [{'name': group}]
        made = self.backups.create_server(backup, **wanted)
        images = self.clients.image_client_v2
        self.addCleanup(images.delete_image, made['image_id'])
        self.addCleanup(
            waiters.wait_for_server_termination, self.servers, made['id']
        )
        self.addCleanup(
            test_utils.call_and_ignore_notfound_exc,
            self.servers.delete_server,
            made['id'],
        )
        self.wait_until_free(made['id'])
        if CONF.instance_backup.guest_access == 'ssh':
            compute.wait_for_ssh_or_ping(
                self.servers.show_server(made['id'])['server'],
                self.clients,
                network,
                validatable=True,
                validation_resources=self.resources,
                wait_until='SSHABLE',
                set_floatingip=True,
            )
        return str(made['id'])

    def wait_until_free(self, server: str) -> None:
        """Wait until Nova has nothing more to do with a server."""
        waiters.wait_for_server_status(self.servers, server, 'ACTIVE')


class RestoreTest(ScenarioTestCase):
    @decorators.idempotent_id('7b5d3c4d-7c2e-4f5a-9e9a-5f3b1c6a7faa')
    def test_in_place(self) -> None:
        server, guest = self.start_guest()
        state = guest.state()
        backup = self.create_backup(server)
        guest.change()
        self.assertNotEqual(state, guest.state())
        self.backups.restore_backup(backup['id'])
        self.wait_until_free(server)
        self.assertEqual(guest.after_boot(state), guest.state())

    @decorators.idempotent_id('8c4e2b5e-8d1f-4a6b-8fab-6a2c0d7b8abb')
    def test_a_new_server_when_the_old_one_is_gone(self) -> None:
        server, guest = self.start_guest()
        state = guest.state()
        backup = self.create_backup(server)
        self.servers.delete_server(server)
        waiters.wait_for_server_termination(self.servers, server)
        again = self.guest_of(self.create_server_from(backup['id']))
        self.assertEqual(guest.after_boot(state), again.state())


class LiveMigrationTest(ScenarioTestCase):
    credentials: typing.ClassVar[list[str]] = ['primary', 'admin']

    @testtools.skipUnless(
        CONF.compute_feature_enabled.live_migration
        and CONF.compute.min_compute_nodes > 1,
        'live migration needs [compute-feature-enabled] live_migration and '
        '[compute] min_compute_nodes of 2',
    )
    @decorators.idempotent_id('9d3f1a6f-9e0a-4b7c-9abc-7b1d9e8c9bcc')
    def test_incremental_after_live_migration(self) -> None:
        server, _ = self.start_guest()
        first = self.create_backup(server)
        admin = self.os_admin.servers_client
        before = admin.show_server(server)['server']['OS-EXT-SRV-ATTR:host']
        admin.live_migrate_server(
            server,
            host=None,
            block_migration=(
                CONF.compute_feature_enabled
            ).block_migration_for_live_migration,
            disk_over_commit=False,
        )
        waiters.wait_for_server_status(admin, server, 'ACTIVE')
        after = admin.show_server(server)['server']['OS-EXT-SRV-ATTR:host']
        self.assertNotEqual(before, after)
        second = self.create_backup(server)
        self.assertEqual(
            ('incremental', first['id']),
            (second['type'], second['parent_id']),
        )
