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


"""The whole way: a guest, ekko-manage, and a real Swift."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import typing

from oslo_utils import units

from tests import base
from tests.functional import libvirtd
from tests.functional import swift

_COMMAND = pathlib.Path(sys.executable).with_name('ekko-manage')

_libvirtd = libvirtd.Libvirtd()
_swift = swift.Swift()

_CONFIGURATION = """\
[ekko]
store = {url}
encryption = aes-gcm
key_file = {root}/key
manifest_driver = osdk
socket_directory = {root}/s
scratch_directory = {root}/scratch

[ekko_swift]
auth_type = v1password
auth_url = {auth}
username = {user}
password = {password}
interface = public
"""


def setUpModule() -> None:
    _libvirtd.setUp()
    _swift.setUp()


def tearDownModule() -> None:
    _swift.cleanUp()
    _libvirtd.cleanUp()


class SwiftBackupTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = _libvirtd.root
        self.environment = dict(os.environ)

    def manage(self, *words: str) -> typing.Any:
        done = subprocess.run(
            [_COMMAND, *self._ordered(words), '-f', 'json'],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def _ordered(self, words: tuple[str, ...]) -> list[str]:
        """--config-file is an option of the program, not of a command."""
        if '--config-file' not in words:
            return list(words)
        at = words.index('--config-file')
        return [*words[at : at + 2], *words[:at], *words[at + 2 :]]

    def content(self, path: pathlib.Path) -> str:
        raw = self.root / 'content.raw'
        subprocess.run(
            ['qemu-img', 'convert', '-U', '-O', 'raw', path, raw], check=True
        )
        return hashlib.sha256(raw.read_bytes()).hexdigest()

    def start(self, name: str) -> libvirtd.Guest:
        self.disk = self.root / f'{name}.qcow2'
        subprocess.run(
            ['qemu-img', 'create', '-q', '-f', 'qcow2', self.disk, '256M'],
            check=True,
        )
        guest = self.useFixture(
            libvirtd.Guest(_libvirtd, name, [('vda', self.disk, 'qcow2')])
        )
        guest.start()
        return guest

    def _live(self, name: str, *common: str) -> None:
        """Full, incremental, full deleted, disk lost, restored."""
        domain = ('--domain', name, '--connect', _libvirtd.uri)
        guest = self.start(name)
        for pattern in range(1, 20):
            guest.write('vda', pattern * 9 * units.Mi, units.Mi, pattern)
        one = self.manage('backup', *domain, *common)
        contents = {one['id']: self.content(self.disk)}
        guest.write('vda', 20 * units.Mi, 65536, 0x22)
        two = self.manage('backup', *domain, *common)
        contents[two['id']] = self.content(self.disk)
        self.assertEqual('full', one['type'])
        self.assertEqual('incremental', two['type'])
        guest.write('vda', 0, units.Mi, 0x33)
        self.assertEqual(
            [one['id'], two['id']],
            [
                row['id']
                for row in self.manage('list', *common)
                if row['id'] in contents
            ],
        )
        for backup in contents:
            self.assertEqual(
                [], self.manage('verify', '--deep', backup, *common)
            )
        self.assert_restores(one['id'], contents, *common)
        self.manage('delete', one['id'], *common)
        self.assert_restores(two['id'], contents, *common)

    def assert_restores(
        self, backup: str, contents: dict[str, str], *common: str
    ) -> None:
        output = self.root / f'{backup}.raw'
        self.manage('restore', backup, '--output', str(output), *common)
        self.assertEqual(contents[backup], self.content(output))

    def test_with_credentials_in_the_environment(self) -> None:
        self.environment.update(_swift.environment)
        configuration = self.root / 'places.conf'
        configuration.write_text(
            f'[ekko]\nsocket_directory = {self.root}/s\n'
            f'scratch_directory = {self.root}/scratch\n'
        )
        self._live(
            'environment',
            *('--store', 'swift:///backups/100%25 s%C3%BCd west'),
            *('--config-file', str(configuration)),
        )

    def test_sealed_with_everything_in_a_file(self) -> None:
        given = _swift.environment
        key = self.root / 'key'
        key.write_text('5a' * 32)
        key.chmod(0o600)
        configuration = self.root / 'ekko.conf'
        configuration.write_text(
            _CONFIGURATION.format(
                url='swift:///sealed',
                root=self.root,
                auth=given['ST_AUTH'],
                user=given['ST_USER'],
                password=given['ST_KEY'],
            )
        )
        self._live('file', '--config-file', str(configuration))
