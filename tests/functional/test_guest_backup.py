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

from oslo_utils import units

from ekko_nova.backup import catalog
from ekko_nova.backup import settings as settings_
from ekko_nova.backup.store import directory
from ekko_nova.compute import domain_backup
from ekko_nova.compute import restore
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


class GuestTest(base.TestCase):
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
