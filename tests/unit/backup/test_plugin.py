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

import pathlib
import sys

import fixtures
import testtools

from ekko_nova.backup.codec import uncompressed
from ekko_nova.backup import plugin
from ekko_nova import exception


class TestPlugin(testtools.TestCase):
    def install(self, **drivers: str) -> str:
        """Install a distribution with these drivers; return a namespace."""
        directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        namespace = f'ekko_nova.{directory.name}'
        info = directory / 'elsewhere-1.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text('Name: elsewhere\nVersion: 1\n')
        lines = [f'{name} = {target}\n' for name, target in drivers.items()]
        (info / 'entry_points.txt').write_text(
            f'[{namespace}]\n{"".join(lines)}'
        )
        self.useFixture(
            fixtures.MonkeyPatch('sys.path', [str(directory), *sys.path])
        )
        return namespace

    def test_drivers_of_others(self) -> None:
        namespace = self.install(
            theirs='ekko_nova.backup.codec.uncompressed:Uncompressed'
        )
        self.assertEqual(('theirs',), plugin.names(namespace))
        self.assertIs(
            uncompressed.Uncompressed, plugin.load(namespace, 'theirs')
        )

    def test_one_that_cannot_be_imported(self) -> None:
        namespace = self.install(
            no_module='ekko_nova.no_such_module:Driver',
            no_class='ekko_nova.block:NoSuchClass',
        )
        for name, reason in (
            ('no_module', 'no_such_module'),
            ('no_class', 'NoSuchClass'),
        ):
            error = self.assertRaises(
                exception.DriverMissing, plugin.load, namespace, name
            )
            self.assertIn(reason, str(error))

    def test_none_of_this_name(self) -> None:
        namespace = self.install(theirs='ekko_nova.block:Extent')
        error = self.assertRaises(
            exception.DriverMissing, plugin.load, namespace, 'ours'
        )
        self.assertEqual('theirs', error.known)
        self.assertEqual(namespace, error.namespace)

    def test_an_empty_namespace(self) -> None:
        error = self.assertRaises(
            exception.DriverMissing, plugin.load, 'ekko_nova.nothing', 'any'
        )
        self.assertEqual('none', error.known)
