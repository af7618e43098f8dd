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

"""Disks in the XML of domains."""

from ekko_nova.virt import disk
from tests import base

_DISK = """\
<disk type='{kind}' device='{device}'>
  <driver name='qemu' type='{format}'/>
  {source}
  <target dev='vda' bus='virtio'/>
  {more}
</disk>
"""
_FILE = "<source file='/images/a b&amp;c.qcow2' index='3'/>"


def parse(
    kind: str = 'file',
    device: str = 'disk',
    format: str = 'qcow2',
    source: str = _FILE,
    more: str = '',
) -> disk.Disk:
    text = _DISK.format(
        kind=kind, device=device, format=format, source=source, more=more
    )
    [found] = disk.parse(f'<domain><devices>{text}</devices></domain>')
    return found


class TestParse(base.TestCase):
    def test_file(self) -> None:
        self.assertEqual(
            disk.Disk(
                target='vda',
                kind='file',
                source='/images/a b&c.qcow2',
                format='qcow2',
                device='disk',
                readonly=False,
                serial=None,
                index=3,
            ),
            parse(),
        )

    def test_block_device(self) -> None:
        found = parse(
            kind='block', format='raw', source="<source dev='/dev/vg/a'/>"
        )
        self.assertEqual('/dev/vg/a', found.path)
        self.assertIsNone(found.index)
        self.assertIsNone(found.unfit)

    def test_what_libvirt_leaves_out(self) -> None:
        """device and driver have defaults: a disk, raw."""
        [found] = disk.parse(
            "<domain><devices><disk type='file'><source file='/a'/>"
            "<target dev='sda'/></disk></devices></domain>"
        )
        self.assertEqual(('disk', 'raw'), (found.device, found.format))

    def test_only_disks_of_the_domain(self) -> None:
        """Neither backing files nor mirrors are disks."""
        [found] = disk.parse(
            "<domain><devices><disk type='file' device='disk'>"
            "<driver type='qcow2'/><source file='/top' index='1'/>"
            "<backingStore type='file'><format type='raw'/>"
            "<source file='/beneath' index='2'/></backingStore>"
            "<target dev='vda'/></disk><controller type='pci'/></devices>"
            '</domain>'
        )
        self.assertEqual(('/top', 1), (found.source, found.index))


class TestIdentity(base.TestCase):
    def test_never_the_target(self) -> None:
        one = parse(more='<serial>6f2c</serial>')
        other = parse(
            source="<source file='/moved'/>", more='<serial>6f2c</serial>'
        )
        self.assertEqual(one.identity, other.identity)
        self.assertNotIn('vda', one.identity)
        self.assertNotIn('vda', parse().identity)

    def test_of_one_kind_is_none_of_another(self) -> None:
        """A serial may look like a path."""
        serial = parse(more='<serial>/images/a</serial>')
        path = parse(source="<source file='/images/a'/>")
        self.assertNotEqual(serial.identity, path.identity)


class TestUnfit(base.TestCase):
    def test_reasons(self) -> None:
        rbd = "<source protocol='rbd' name='pool/a'/>"
        cases: tuple[tuple[disk.Disk, str | None], ...] = (
            (parse(), None),
            (parse(format='raw'), None),
            (parse(device='lun'), None),
            (parse(device='cdrom', source=''), 'it is a cdrom'),
            (parse(device='floppy'), 'it is a floppy'),
            (parse(more='<readonly/>'), 'it is read-only'),
            (
                parse(kind='network', source=rbd),
                'its source is of type network',
            ),
            (parse(source=''), 'it has no source'),
            (parse(format='vmdk'), 'its format is vmdk'),
        )
        for found, expected in cases:
            self.assertEqual(expected, found.unfit, str(found))
