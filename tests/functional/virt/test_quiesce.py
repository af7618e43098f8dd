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
import os
import pathlib
import subprocess
import sys
import time
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

#: Freezes a guest, and is gone.
_DIE = """
import os
import pathlib
import sys
from ekko_nova.virt import domain as domains, quiesce, scratch
uri, name, *places = sys.argv[1:]
with domains.Hypervisor(uri) as hypervisor:
    domain = hypervisor.lookup(name)
    places = scratch.Places(*map(pathlib.Path, places))
    with quiesce.frozen(domain, places, wanted=True):
        os._exit(0)
"""

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
        self.places = scratch.Places(
            *(_libvirtd.root / f'{name}.s', _libvirtd.root / 'scratch'),
            margin=units.Mi,
        )
        self.places.sockets.mkdir(mode=0o711)

    def patched(
        self, name: str
    ) -> contextlib.AbstractContextManager[mock.MagicMock]:
        return mock.patch.object(self.guest.domain, name, autospec=True)

    def marks(self) -> list[pathlib.Path]:
        return list(self.places.sockets.iterdir())

    def state(self) -> str:
        """What the agent says; it answers this even when frozen."""
        return str(self.guest.ask('guest-fsfreeze-status'))

    def wait_until_it_does_not_answer(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                self.guest.ask('guest-ping')
            except libvirt.libvirtError:
                return
            time.sleep(0.1)
        raise AssertionError

    def assert_thawed(self) -> None:
        self.assertEqual('thawed', self.state())
        self.assertEqual([], self.marks())
        # It goes on writing.
        seen = self.guest.last_written()
        self.guest.wait_for(rf'ekko-guest: wrote {seen + 1}\s')

    def test_frozen_and_thawed(self) -> None:
        with quiesce.frozen(self.domain, self.places, wanted=True) as quiesced:
            self.assertIs(True, quiesced)
            self.assertEqual('frozen', self.state())
            # Whose process lives is not for others to thaw.
            self.assertTrue(quiesce.thaw_left(self.domain, self.places))
            self.assertEqual('frozen', self.state())
        self.assert_thawed()

    def test_not_wanted(self) -> None:
        with quiesce.frozen(
            self.domain, self.places, wanted=False
        ) as quiesced:
            self.assertEqual('not requested', quiesced)
            self.assertEqual('thawed', self.state())

    def test_shut_off(self) -> None:
        self.guest.stop()
        with quiesce.frozen(self.domain, self.places, wanted=True) as quiesced:
            self.assertEqual('shut off', quiesced)

    def test_thawed_after_an_error(self) -> None:
        def fail() -> None:
            with quiesce.frozen(self.domain, self.places, wanted=True):
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
            quiesce.frozen(self.domain, self.places, wanted=True) as quiesced,
        ):
            self.assertIn('does not answer', str(quiesced))
            self.assertEqual('frozen', self.state())
        self.assert_thawed()

    def test_the_agent_is_gone(self) -> None:
        with contextlib.suppress(libvirt.libvirtError):
            self.guest.execute('killall qemu-ga')
        with quiesce.frozen(self.domain, self.places, wanted=True) as quiesced:
            self.assertEqual('no guest agent is connected', quiesced)
        self.assertEqual([], self.marks())

    def test_paused(self) -> None:
        self.guest.domain.suspend()
        with quiesce.frozen(self.domain, self.places, wanted=True) as quiesced:
            self.assertIn('not running', str(quiesced))
        self.assertEqual([], self.marks())
        self.assertNotIn('may still be frozen', self.log.output)

    def test_the_agent_refuses(self) -> None:
        """It says the same to a thaw: nothing is frozen."""
        refusal = libvirt.libvirtError(
            "unable to execute QEMU agent command 'guest-fsfreeze-…': "
            'The command has been disabled'
        )
        with (
            self.patched('fsFreeze') as freeze,
            self.patched('fsThaw') as thaw,
        ):
            freeze.side_effect = thaw.side_effect = refusal
            with quiesce.frozen(
                self.domain, self.places, wanted=True
            ) as quiesced:
                self.assertIn('has been disabled', str(quiesced))
        self.assertEqual([], self.marks())
        self.assertNotIn('may still be frozen', self.log.output)

    def test_a_process_that_died(self) -> None:
        subprocess.run(
            [
                *(sys.executable, '-c', _DIE),
                *(_libvirtd.uri, self.guest.name),
                *(self.places.sockets, self.places.scratch),
            ],
            check=True,
        )
        self.assertEqual('frozen', self.state())
        self.assertTrue(quiesce.thaw_left(self.domain, self.places))
        self.assert_thawed()
        self.assertTrue(quiesce.thaw_left(self.domain, self.places))
        # A guest that is not frozen does not mind.
        self.assertEqual(0, self.domain.thaw())

    def test_an_agent_that_does_not_answer_for_some_time(self) -> None:
        # libvirt would wait five seconds for each answer.
        self.guest.domain.agentSetResponseTimeout(1, 0)
        self.guest.execute(
            # When the agent has said that it has begun this.
            '(sleep 1; killall -STOP qemu-ga; sleep 30; killall -CONT qemu-ga)'
            ' >/dev/null 2>&1 </dev/null &'
        )
        self.wait_until_it_does_not_answer()
        with quiesce.frozen(self.domain, self.places, wanted=True) as quiesced:
            self.assertIn('agent', str(quiesced))
        self.assertIn('may still be frozen', self.log.output)
        self.assertFalse(quiesce.thaw_left(self.domain, self.places))
        self.assertEqual(1, len(self.marks()))
        self.guest.wait_for_agent()
        self.assertTrue(quiesce.thaw_left(self.domain, self.places))
        self.assert_thawed()

    def test_an_agent_that_never_answers_again(self) -> None:
        with self.patched('fsThaw') as thaw:
            thaw.side_effect = libvirt.libvirtError('it does not answer')
            with quiesce.frozen(self.domain, self.places, wanted=True):
                pass
            self.assertFalse(quiesce.thaw_left(self.domain, self.places))
            [mark] = self.marks()
            long_ago = time.time() - 4000
            os.utime(mark, (long_ago, long_ago))
            self.assertTrue(quiesce.thaw_left(self.domain, self.places))
        self.assertEqual([], self.marks())

    def test_off_before_it_was_thawed(self) -> None:
        with quiesce.frozen(self.domain, self.places, wanted=True):
            self.guest.stop()
        self.assertEqual([], self.marks())
        self.assertNotIn('may still be frozen', self.log.output)

    def test_thawed_if_no_job_begins(self) -> None:
        [disk] = self.domain.disks()
        # A checkpoint that libvirt does not know.
        plan = job.DiskPlan(disk, 'ekko-0', track=True)
        context = job.pull_job(
            self.domain,
            [plan],
            [],
            bitmap='ekko-1',
            places=self.places,
            freeze=True,
        )
        self.assertRaises(exception.HypervisorFailed, context.__enter__)
        self.assert_thawed()
        self.assertIsNone(self.domain.backup_xml())
