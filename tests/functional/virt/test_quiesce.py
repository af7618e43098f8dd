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

"""Freezing a real guest, and that it is always thawed."""

import contextlib
from unittest import mock

import libvirt
from oslo_utils import units

from ekko_nova import exception
from ekko_nova.virt import domain as domains
from ekko_nova.virt import job
from ekko_nova.virt import quiesce
from ekko_nova.virt import scratch
from tests import base
from tests.functional import guest as guests
from tests.functional import libvirtd

_libvirtd = libvirtd.Libvirtd()
_image = guests.Image()


def setUpModule() -> None:
    _image.setUp()
    _libvirtd.setUp()


def tearDownModule() -> None:
    _libvirtd.cleanUp()
    _image.cleanUp()


class QuiesceTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        name = self.id().rpartition('.')[2]
        disk = _image.create_disk(_libvirtd.root / f'{name}.qcow2')
        self.guest = self.useFixture(
            guests.RealGuest(_libvirtd, name, _image, [('vda', disk, 'qcow2')])
        )
        self.guest.boot()
        self.guest.wait_for_agent()
        self.domain = domains.Domain(self.guest.domain)

    def state(self) -> str:
        """What the agent says; it answers this even when frozen."""
        return str(self.guest.ask('guest-fsfreeze-status'))

    def assert_thawed(self) -> None:
        self.assertEqual('thawed', self.state())
        # It goes on writing.
        seen = self.guest.last_written()
        self.guest.wait_for(rf'ekko-guest: wrote {seen + 1}\s')

    def test_frozen_and_thawed(self) -> None:
        with quiesce.frozen(self.domain, wanted=True) as quiesced:
            self.assertIs(True, quiesced)
            self.assertEqual('frozen', self.state())
        self.assert_thawed()

    def test_not_wanted(self) -> None:
        with quiesce.frozen(self.domain, wanted=False) as quiesced:
            self.assertEqual('not requested', quiesced)
            self.assertEqual('thawed', self.state())

    def test_shut_off(self) -> None:
        self.guest.stop()
        with quiesce.frozen(self.domain, wanted=True) as quiesced:
            self.assertEqual('shut off', quiesced)

    def test_thawed_after_an_error(self) -> None:
        def fail() -> None:
            with quiesce.frozen(self.domain, wanted=True):
                raise ValueError

        self.assertRaises(ValueError, fail)
        self.assert_thawed()

    def test_thawed_if_the_reply_was_lost(self) -> None:
        """The agent froze them, but libvirt says that it has failed."""
        freeze = self.guest.domain.fsFreeze

        def lose() -> None:
            freeze()
            raise libvirt.libvirtError('the agent does not answer')

        with (
            mock.patch.object(self.guest.domain, 'fsFreeze', lose),
            quiesce.frozen(self.domain, wanted=True) as quiesced,
        ):
            self.assertIn('does not answer', str(quiesced))
            self.assertEqual('frozen', self.state())
        self.assert_thawed()

    def test_the_agent_is_gone(self) -> None:
        with contextlib.suppress(libvirt.libvirtError):
            self.guest.execute('killall qemu-ga')
        with quiesce.frozen(self.domain, wanted=True) as quiesced:
            self.assertIn('agent', str(quiesced))

    def test_thawed_if_no_job_begins(self) -> None:
        places = scratch.Places(
            _libvirtd.root / 's', _libvirtd.root / 'scratch', margin=units.Mi
        )
        [disk] = self.domain.disks()
        # A checkpoint that libvirt does not know.
        plan = job.DiskPlan(disk, 'ekko-0', track=True)
        context = job.pull_job(
            self.domain,
            [plan],
            [],
            bitmap='ekko-1',
            places=places,
            freeze=True,
        )
        self.assertRaises(exception.HypervisorFailed, context.__enter__)
        self.assert_thawed()
        self.assertIsNone(self.domain.backup_xml())
