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

"""Domains as a real libvirt shows them."""

from unittest import mock

from ekko_nova import exception
from ekko_nova.virt import domain as domains
from tests import base
from tests.functional import libvirtd

_libvirtd = libvirtd.Libvirtd()


def setUpModule() -> None:
    _libvirtd.setUp()


def tearDownModule() -> None:
    _libvirtd.cleanUp()


class HypervisorTest(base.TestCase):
    def test_by_name_and_by_uuid(self) -> None:
        guest = self.useFixture(libvirtd.Guest(_libvirtd, 'one', []))
        with domains.Hypervisor(_libvirtd.uri) as hypervisor:
            uuid = guest.domain.UUIDString()
            self.assertEqual(uuid, hypervisor.lookup('one').uuid)
            self.assertEqual('one', hypervisor.lookup(uuid).name)

    def test_no_such_domain(self) -> None:
        with domains.Hypervisor(_libvirtd.uri) as hypervisor:
            for name in ('none', 'f8b0d1e3-4f0a-4b43-a3e5-3f8b7f2d5d0c'):
                error = self.assertRaises(
                    exception.InvalidSource, hypervisor.lookup, name
                )
                self.assertIn(name, str(error))

    def test_no_answer_is_not_no_domain(self) -> None:
        with domains.Hypervisor(_libvirtd.uri) as hypervisor:
            _libvirtd.restart()
            self.assertRaises(
                exception.HypervisorFailed, hypervisor.lookup, 'one'
            )

    def test_nothing_there(self) -> None:
        uri = f'qemu+unix:///system?socket={_libvirtd.root}/none'
        error = self.assertRaises(
            exception.HypervisorFailed, domains.Hypervisor(uri).__enter__
        )
        self.assertIn(uri, str(error))

    def test_too_old(self) -> None:
        with mock.patch.object(domains, '_MINIMUM', (99, 0, 0)):
            error = self.assertRaises(
                exception.HypervisorFailed,
                domains.Hypervisor(_libvirtd.uri).__enter__,
            )
        self.assertIn('older than 99.0.0', str(error))


class DomainTest(base.TestCase):
    def test_of_one_that_is_shut_off(self) -> None:
        guest = self.useFixture(libvirtd.Guest(_libvirtd, 'off', []))
        domain = domains.Domain(guest.domain)
        self.assertFalse(domain.is_active())
        self.assertIsNone(domain.backup_xml())
        self.assertFalse(domain.has_job())
        self.assertEqual((), domain.disks())
        self.assertEqual((), domain.checkpoints())

    def test_what_is_refused_names_the_domain(self) -> None:
        guest = self.useFixture(libvirtd.Guest(_libvirtd, 'off', []))
        error = self.assertRaises(
            exception.HypervisorFailed, domains.Domain(guest.domain).thaw
        )
        self.assertIn('off', error.operation)
        self.assertIsNotNone(error.code)
