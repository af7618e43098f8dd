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


"""How ``compute_driver = ekko_nova.EkkoLibvirtDriver`` finds our class."""

import importlib
import pathlib
import subprocess
import sys
import typing

import fixtures
import nova.virt
from stevedore import driver as stevedore_driver

from ekko_nova.compute import driver
from tests import base

_LOAD = """
import importlib, sys
import nova.virt
nova.virt.__path__ = [sys.argv[1]]
if len(sys.argv) > 2:
    import ekko_nova.compute.loader
try:
    found = importlib.import_module('nova.virt.ekko_nova')
except ImportError:
    sys.exit(3)
print(found.EkkoLibvirtDriver.__module__)
"""


class LoadingTest(base.TestCase):
    def test_a_wheel_puts_it_where_nova_looks(self) -> None:
        found = importlib.import_module('nova.virt.ekko_nova')
        self.assertIs(driver.EkkoLibvirtDriver, found.EkkoLibvirtDriver)
        [place] = nova.virt.__path__
        self.assertEqual(
            pathlib.Path(place), pathlib.Path(found.__file__ or '').parents[1]
        )

    def _load(self, *more: str) -> subprocess.CompletedProcess[str]:
        """In a process whose Nova has no file of ours beside it."""
        [place] = nova.virt.__path__
        parent = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for path in pathlib.Path(place).iterdir():
            if path.name != 'ekko_nova':
                (parent / path.name).symlink_to(path)
        return subprocess.run(
            [sys.executable, '-P', '-W', 'ignore', '-c', _LOAD, parent, *more],
            capture_output=True,
            check=False,
            text=True,
        )

    def test_elsewhere_it_is_not_found(self) -> None:
        self.assertEqual(3, self._load().returncode)

    def test_elsewhere_the_notification_driver_finds_it(self) -> None:
        done = self._load('loader')
        self.assertEqual('ekko_nova.compute.driver\n', done.stdout)

    def test_the_notification_driver_is_installed(self) -> None:
        found: typing.Any = stevedore_driver.DriverManager(
            'oslo.messaging.notify.drivers', 'ekko_nova'
        ).driver
        self.assertEqual('ekko_nova.compute.loader', found.__module__)
