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


"""Whoever goes back to Nova's own driver finds every server sound."""

import pathlib
import subprocess
import typing

from tests.cloud import backups
from tests.cloud import onebox

_UP: typing.Final = pathlib.Path(__file__).parents[3] / 'tools/onebox/up'


def _up(driver: str) -> None:
    subprocess.run(
        [_UP, '--driver', driver],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


class RemovalTest(onebox.CloudTestCase):
    def test_nova_needs_nothing_of_us(self) -> None:
        server = self.create_server(host='c1', nic=True)
        server.write_data('before', 2)
        backups.Backups(server).create()
        server.write_data('after', 2)
        backups.Backups(server).create()
        _up('stock')
        self.addCleanup(_up, 'ekko')
        mine, admin = self.demo.compute, self.admin.compute

        mine.stop_server(server.id)
        server.wait('SHUTOFF')
        mine.start_server(server.id)
        server.wait()
        mine.reboot_server(server.id, 'HARD')
        server.wait()
        server.wait_for_agent()
        admin.live_migrate_server(server.id, host=None, block_migration='auto')
        server.wait()
        self.assertEqual('c2', server.host)
        mine.resize_server(server.id, mine.find_flavor('ekko.2'))
        server.wait('VERIFY_RESIZE')
        mine.confirm_server_resize(server.id)
        server.wait()
        server.wait_for_agent()
        self.assertEqual(4, server.check_data())
        image = mine.create_server_image(server.id, 'a-snapshot', wait=True)
        self.addCleanup(self.demo.image.delete_image, image.id)
        server.wait()
        mine.delete_server(server.id)
        server.wait_until_gone()
