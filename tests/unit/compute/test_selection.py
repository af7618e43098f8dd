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


"""Which disks of an instance a backup takes."""

import pathlib

from ekko_nova.compute import selection
from ekko_nova.virt import disk as disks
from tests import base

UUID = '2ed57be3-592d-4422-b28c-bd1a5a6656ad'
DIRECTORY = pathlib.Path('/var/lib/nova/instances') / UUID


def disk(
    target: str,
    source: str,
    *,
    kind: str = 'file',
    device: str = 'disk',
    serial: str | None = None,
) -> disks.Disk:
    return disks.Disk(
        target=target,
        kind=kind,
        source=source,
        format='qcow2',
        device=device,
        readonly=False,
        serial=serial,
        index=1,
    )


class OfInstanceTest(base.TestCase):
    def select(self, *found: disks.Disk) -> tuple[dict[str, str], list[str]]:
        selected = selection.of_instance(UUID, DIRECTORY)(found)
        return (
            {each.target: identity for each, identity in selected.disks},
            [f'{each.name}: {each.reason}' for each in selected.skipped],
        )

    def test_what_nova_keeps(self) -> None:
        taken, skipped = self.select(
            disk('vda', f'{DIRECTORY}/disk'),
            disk('vdb', f'{DIRECTORY}/disk.local'),
            disk('vdc', f'{DIRECTORY}/disk.eph0'),
        )
        self.assertEqual({'vda': 'root', 'vdb': 'local', 'vdc': 'eph0'}, taken)
        self.assertEqual([], skipped)

    def test_the_role_stays_wherever_it_is_attached(self) -> None:
        taken, _ = self.select(
            disk('sda', f'{DIRECTORY}/disk.eph0'),
            disk('sdb', f'{DIRECTORY}/disk'),
        )
        self.assertEqual({'sda': 'eph0', 'sdb': 'root'}, taken)

    def test_what_is_left_out(self) -> None:
        taken, skipped = self.select(
            disk('vdb', f'{DIRECTORY}/disk.swap'),
            disk('vdc', f'{DIRECTORY}/disk.config'),
            disk('sda', f'{DIRECTORY}/disk.config', device='cdrom'),
            disk('vde', f'{DIRECTORY}/disk.rescue'),
            disk('vdf', '/dev/sdx', kind='block', serial='a-volume'),
            disk('vdg', 'pool/image', kind='network'),
        )
        self.assertEqual({}, taken)
        self.assertEqual(
            [
                'vdb: it is swap space',
                'vdc: it is the config drive, which Nova makes anew',
                'sda: it is a cdrom',
                'vde: it is the disk of a rescue',
                'vdf: it is a volume a-volume, which Cinder backs up',
                'vdg: its source is of type network',
            ],
            skipped,
        )

    def test_a_disk_of_another_instance(self) -> None:
        taken, skipped = self.select(
            disk('vda', f'{DIRECTORY.parent}/other/disk')
        )
        self.assertEqual(({}, 1), (taken, len(skipped)))

    def test_logical_volumes(self) -> None:
        taken, _ = self.select(
            disk('vda', f'/dev/nova/{UUID}_disk', kind='block'),
            disk('vdb', f'/dev/nova/{UUID}_disk.eph0', kind='block'),
            disk('vdc', f'/dev/nova/{UUID}_disk.swap', kind='block'),
        )
        self.assertEqual({'vda': 'root', 'vdb': 'eph0'}, taken)

    def test_the_name_of_the_file_again(self) -> None:
        for name in ('disk', 'disk.local', 'disk.eph0', 'disk.eph12'):
            taken, _ = self.select(disk('vda', f'{DIRECTORY}/{name}'))
            self.assertEqual(name, selection.file_name(taken['vda']))
