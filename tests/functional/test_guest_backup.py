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


"""A guest that writes files all the time is backed up, lost and restored."""

import pathlib
import sys
import threading
import time
from unittest import mock
import uuid

import libvirt
from oslo_utils import units

from ekko_nova.backup import catalog
from ekko_nova.backup import settings as settings_
from ekko_nova.backup.store import directory
from ekko_nova.compute import child as children
from ekko_nova.compute import domain_backup
from ekko_nova.compute import order as orders
from ekko_nova.compute import restore
from ekko_nova import exception
from ekko_nova.virt import domain as domains
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


class GuestCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = _libvirtd.root
        self.settings = settings_.Settings()
        self.catalog = catalog.Catalog(
            directory.DirectoryStore(str(self.root / 'store'))
        )
        self.places = scratch.Places(
            self.root / 's', self.root / 'scratch', margin=64 * units.Mi
        )

    def start(self, name: str, disk: pathlib.Path) -> guests.RealGuest:
        guest = self.useFixture(
            guests.RealGuest(_libvirtd, name, _image, [('vda', disk, 'qcow2')])
        )
        self.said = guest.boot()
        return guest


class GuestTest(GuestCase):
    def test_every_file_is_there_and_sound(self) -> None:
        disk = _image.create_disk(self.root / 'disk.qcow2')
        guest = self.start('writer', disk)
        guest.wait_for_agent()
        with domains.Hypervisor(_libvirtd.uri) as hypervisor:
            domain = hypervisor.lookup('writer')
            written = []
            backups = []
            for _ in range(3):
                seen = guest.last_written()
                guest.wait_for(rf'ekko-guest: wrote {seen + 2}\s')
                written.append(guest.last_written())
                backups.append(
                    domain_backup.backup_domain(
                        self.catalog,
                        self.settings,
                        domain,
                        domain_backup.Options(freeze=True),
                        places=self.places,
                    )
                )
        self.assertEqual(
            ['full', 'incremental', 'incremental'],
            [str(backup.type) for backup in backups],
        )
        self.assertEqual([True] * 3, [backup.quiesced for backup in backups])
        # It was thawed: it goes on writing.
        guest.wait_for(rf'ekko-guest: wrote {guest.last_written() + 1}\s')
        guest.kill()
        disk.unlink()

        for number, (backup, last) in enumerate(
            zip(backups, written, strict=True)
        ):
            restored = self.root / f'restored-{number}.qcow2'
            restore.restore_disk(
                self.catalog,
                self.settings,
                backup.id,
                output=restored,
                format='qcow2',
            )
            # libvirt gives it to QEMU's user.
            again = self.start(f'restored-{number}', restored)
            self.assertEqual('0', self.said['bad'])
            # All that was on its disk when the backup began, if no more.
            self.assertGreaterEqual(int(self.said['last']), last)
            again.stop()


#: Stands in for Python: the worker runs with something changed in it.
_PYTHON = """\
#!/bin/sh
shift 3
exec {python} -P -c '
import os, pathlib, signal, sys, time
from ekko_nova.compute import worker
from ekko_nova.virt import domain
def die(*unused):
    os.kill(os.getpid(), signal.SIGKILL)
def freeze_and_wait(self, freeze=domain.Domain.freeze):
    freeze(self)
    flag = pathlib.Path("{flag}")
    flag.touch()
    while flag.exists():
        time.sleep(0.1)
    return 1
domain.Domain.{name} = {function}
sys.exit(worker.main(sys.argv[1:]))
' "$@"
"""


class FrozenTest(GuestCase):
    """What dies between the moments at which a guest is frozen and thawed."""

    def setUp(self) -> None:
        super().setUp()
        name = self.id().rpartition('.')[2]
        self.directory = self.root / name
        self.directory.mkdir(mode=0o755)
        disk = _image.create_disk(self.directory / 'disk')
        self.guest = self.start(name, disk)
        self.guest.wait_for_agent()
        self.uuid = self.guest.domain.UUIDString()
        self.flag = self.directory / 'flag'

    @property
    def site(self) -> orders.Site:
        return orders.Site(
            options={
                'store': f'file://{self.root}/store',
                'socket_directory': str(self.places.sockets),
                'scratch_directory': str(self.places.scratch),
                'scratch_limit_mib': 64,
            },
            environment={},
            project='a-project',
            uri=_libvirtd.uri,
        )

    def failed(self, name: str, function: str) -> exception.WorkerFailed:
        """Have a worker with another method of Domain fail."""
        python = self.directory / 'python'
        python.write_text(
            _PYTHON.format(
                python=sys.executable,
                flag=self.flag,
                name=name,
                function=function,
            )
        )
        python.chmod(0o755)
        self.backup = str(uuid.uuid4())
        order = orders.BackupOrder(
            site=self.site,
            instance=self.uuid,
            backup=self.backup,
            facts={},
            directory=str(self.directory),
            full=False,
            freeze=True,
        )
        child = children.Child(order, 60)
        with mock.patch.object(sys, 'executable', str(python)):
            return self.assertRaises(
                exception.WorkerFailed, child.run, children.Events()
            )

    def assert_thawed(self) -> None:
        self.assertEqual('thawed', self.guest.ask('guest-fsfreeze-status'))
        self.assertEqual([], list(self.places.sockets.iterdir()))
        seen = self.guest.last_written()
        self.guest.wait_for(rf'ekko-guest: wrote {seen + 1}\s')

    def test_the_worker_is_killed(self) -> None:
        error = self.failed('begin_backup', 'die')
        self.assertFalse(error.settled)
        self.assertEqual('frozen', self.guest.ask('guest-fsfreeze-status'))
        order = orders.SettleOrder(
            self.site, self.uuid, self.backup, 'it was lost'
        )
        result = children.Child(order, 60).run(children.Events())
        self.assertEqual({'status': 'error'}, result)
        self.assert_thawed()

    def test_the_worker_is_killed_and_the_agent_is_silent(self) -> None:
        """The instance is free at once; the guest is thawed later."""
        # When frozen the agent does not start anything.
        self.guest.execute(
            '(sleep 20; killall -STOP qemu-ga; sleep 30; '
            'killall -CONT qemu-ga) >/dev/null 2>&1 </dev/null &'
        )
        self.failed('begin_backup', 'die')
        self.assertEqual('frozen', self.guest.ask('guest-fsfreeze-status'))
        while self.answers():
            time.sleep(0.1)
        # libvirt would wait five seconds for each answer.
        self.guest.domain.agentSetResponseTimeout(1, 0)
        order = orders.SettleOrder(
            self.site, self.uuid, self.backup, 'it was lost'
        )
        events = mock.create_autospec(children.Events, instance=True)
        error = self.assertRaises(
            exception.WorkerFailed, children.Child(order, 60).run, events
        )
        self.assertFalse(error.settled)
        self.assertIn('may still be frozen', error.reason)
        events.local.assert_called_once_with()
        self.assertEqual('error', self.catalog.get(self.backup).status)
        self.guest.wait_for_agent()
        children.Child(order, 60).run(events)
        self.assert_thawed()

    def answers(self) -> bool:
        try:
            self.guest.ask('guest-ping')
        except libvirt.libvirtError:
            return False
        return True

    def test_libvirtd_is_restarted(self) -> None:
        """The worker thaws it through a connection of after that."""
        restarting = threading.Thread(target=self._restart)
        restarting.start()
        self.failed('freeze', 'freeze_and_wait')
        restarting.join()
        connection = _libvirtd.connection
        self.guest.domain = connection.lookupByName(self.guest.name)
        self.assertEqual('error', self.catalog.get(self.backup).status)
        self.assert_thawed()

    def _restart(self) -> None:
        while not self.flag.exists():
            time.sleep(0.1)
        _libvirtd.restart()
        self.flag.unlink()
