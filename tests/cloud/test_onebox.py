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

"""The cloud does what the other tests here take for granted."""

from tests.cloud import onebox


class TestOnebox(onebox.CloudTestCase):
    def test_data_survives_what_nova_does_on_one_host(self) -> None:
        server = self.create_server(flavor='ekko.disks')
        server.write_data('seed', 4)
        compute = self.demo.compute

        compute.reboot_server(server.id, 'HARD')
        server.wait()
        server.wait_for_boot(2)
        compute.pause_server(server.id)
        server.wait('PAUSED')
        before = server.digest()
        compute.unpause_server(server.id)
        server.wait()
        compute.suspend_server(server.id)
        server.wait('SUSPENDED')
        compute.resume_server(server.id)
        server.wait()
        compute.stop_server(server.id)
        server.wait('SHUTOFF')
        self.assertNotEqual(before, server.digest())
        self.assertEqual(server.digest(), server.digest())
        compute.start_server(server.id)
        server.wait()
        server.wait_for_boot(3)
        compute.rescue_server(server.id)
        server.wait('RESCUE')
        server.wait_for_boot(1)
        compute.unrescue_server(server.id)
        server.wait()
        server.wait_for_boot(4)
        compute.shelve_server(server.id)
        server.wait('SHELVED_OFFLOADED')
        compute.unshelve_server(server.id)
        server.wait()
        server.wait_for_boot(5)

        self.assertEqual(4, server.check_data())

    def test_servers_with_a_port_move(self) -> None:
        server = self.create_server(nic=True, host='c1')
        server.write_data('seed', 4)
        admin = self.admin.compute

        admin.live_migrate_server(server.id, host=None, block_migration='auto')
        server.wait()
        self.assertEqual('c2', server.host)
        self.assertEqual(4, server.check_data())
        admin.migrate_server(server.id)
        server.wait('VERIFY_RESIZE')
        admin.confirm_server_resize(server.id)
        server.wait()
        self.assertEqual('c1', server.host)
        server.wait_for_boot(2)
        larger = self.demo.compute.find_flavor('ekko.2')
        self.demo.compute.resize_server(server.id, larger)
        server.wait('VERIFY_RESIZE')
        self.demo.compute.revert_server_resize(server.id)
        server.wait()
        server.wait_for_agent()
        self.assertEqual(4, server.check_data())

    def test_interfaces_come_and_go(self) -> None:
        server = self.create_server()
        network = self.demo.network.find_network('private')

        port = self.demo.compute.create_server_interface(
            server.id, net_id=network.id
        ).port_id
        with server.domain() as domain:
            self.assertIn("<interface type='ethernet'>", domain.XMLDesc())
        self.demo.compute.delete_server_interface(port, server=server.id)
        with server.domain() as domain:
            onebox.wait_until(
                'the interface is gone',
                lambda: '<interface' not in domain.XMLDesc(),
            )

    def test_a_guest_that_is_killed_is_seen_to_be_off(self) -> None:
        server = self.create_server()
        server.write_data('seed', 1)

        server.kill()
        server.wait('SHUTOFF')
        self.demo.compute.start_server(server.id)
        server.wait()
        server.wait_for_boot(2)
        self.assertEqual(1, server.check_data())

    def test_a_guest_stands_still(self) -> None:
        server = self.create_server()

        server.hold()
        self.assertEqual(server.digest(), server.digest())
        server.release()

    def test_nova_compute_is_not_root(self) -> None:
        for host in onebox.HOSTS:
            users = onebox.run(
                host, 'ps', '-o', 'user=', '-C', 'nova-compute'
            ).split()
            self.assertEqual({'nova'}, set(users))

    def test_backups_lie_in_the_account_of_the_service(self) -> None:
        with onebox.connect('ekko', 'service') as ekko:
            ekko.object_store.create_container('probe')
            self.addCleanup(self._delete_probe)
            self.assertIn(
                'probe', [each.name for each in ekko.object_store.containers()]
            )
        self.assertNotIn(
            'probe',
            [each.name for each in self.demo.object_store.containers()],
        )

    def _delete_probe(self) -> None:
        with onebox.connect('ekko', 'service') as ekko:
            ekko.object_store.delete_container('probe')
