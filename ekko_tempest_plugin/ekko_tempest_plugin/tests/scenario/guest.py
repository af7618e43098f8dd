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

"""A guest that writes to its disk, and tells what is there."""

import re
import time
import typing

from tempest.common import waiters
from tempest import config
from tempest.lib.common.utils import data_utils
from tempest.lib.common.utils.linux import remote_client
from tempest.lib import exceptions

__all__ = ('ConsoleGuest', 'SshGuest')

CONF = config.CONF


class SshGuest:
    """Reached over SSH."""

    def __init__(
        self, servers: typing.Any, server: str, address: str, key: str
    ) -> None:
        del servers
        self._client = remote_client.RemoteClient(
            address,
            CONF.validation.image_ssh_user,
            pkey=key,
            ssh_timeout=CONF.validation.ssh_timeout,
            server={'id': server},
        )

    def state(self) -> str:
        """What its disk holds."""
        self._client.validate_authentication()
        return str(
            self._client.exec_command('cat ekko 2>/dev/null || true')
        ).strip()

    def change(self) -> None:
        """Have it write something else."""
        word = data_utils.rand_uuid_hex()
        self._client.exec_command(f'echo {word} >ekko && sync')

    @staticmethod
    def after_boot(state: str) -> str:
        """What a disk holds once a guest has booted from it."""
        return state


class ConsoleGuest:
    """One that counts its boots on its disk, and prints the number."""

    def __init__(self, servers: typing.Any, server: str) -> None:
        self._servers = servers
        self._server = server

    def state(self) -> str:
        """How often it has booted from this disk."""
        deadline = time.monotonic() + CONF.instance_backup.build_timeout
        while time.monotonic() < deadline:
            said = self._servers.get_console_output(self._server)['output']
            found = re.findall(CONF.instance_backup.boot_pattern, said)
            if found:
                return str(found[-1])
            time.sleep(CONF.instance_backup.build_interval)
        raise exceptions.TimeoutException(
            f'the guest of {self._server} does not say that it has booted'
        )

    def change(self) -> None:
        """Have it boot once more."""
        before = self.state()
        self._servers.reboot_server(self._server, type='HARD')
        deadline = time.monotonic() + CONF.instance_backup.build_timeout
        while self.state() == before:
            if time.monotonic() > deadline:
                raise exceptions.TimeoutException(
                    f'the guest of {self._server} does not boot again'
                )
            time.sleep(CONF.instance_backup.build_interval)
        # The guest may be faster than Nova.
        waiters.wait_for_server_status(self._servers, self._server, 'ACTIVE')

    @staticmethod
    def after_boot(state: str) -> str:
        """What a disk holds once a guest has booted from it."""
        return str(int(state) + 1)
