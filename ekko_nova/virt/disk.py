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


"""The disks of a libvirt domain, as its XML describes them."""

import dataclasses
import typing

from defusedxml import ElementTree

__all__ = ('Disk', 'parse')


@dataclasses.dataclass(frozen=True, slots=True)
class Disk:
    """One ``<disk>``.

    :ivar target: where the guest sees it, such as vda; changes its meaning
        when disks are swapped, so it never identifies one
    :ivar kind: ``type`` in the XML: file, block, network …
    :ivar source: path of the file or device
    :ivar format: of the image: qcow2, raw …
    :ivar device: disk, cdrom, floppy or lun
    :ivar index: what libvirt calls the source in the names of QEMU's block
        nodes; running domains only
    """

    target: str
    kind: str
    source: str | None
    format: str
    device: str
    readonly: bool
    serial: str | None
    index: int | None

    @property
    def identity(self) -> str:
        """What the disk is, wherever it is attached."""
        if self.serial:
            return f'serial:{self.serial}'
        return f'path:{self.source}'

    @property
    def path(self) -> str:
        """The source, of a disk that can be backed up."""
        return self.source or ''

    @property
    def unfit(self) -> str | None:
        """Why the disk cannot be backed up, or ``None`` if it can."""
        if self.device not in ('disk', 'lun'):
            return f'it is a {self.device}'
        if self.readonly:
            return 'it is read-only'
        if self.kind not in ('file', 'block'):
            return f'its source is of type {self.kind}'
        if self.source is None:
            return 'it has no source'
        if self.format not in ('qcow2', 'raw'):
            return f'its format is {self.format}'
        return None


def parse(xml: str) -> tuple[Disk, ...]:
    """The disks in a domain's XML.

    ::

        <domain> … <devices>
          <disk type='file' device='disk'>
            <driver name='qemu' type='qcow2'/>
            <source file='/images/a.qcow2' index='1'/>
            <target dev='vda' bus='virtio'/>
            <serial>…</serial> <readonly/>
          </disk>

    becomes ``Disk('vda', 'file', '/images/a.qcow2', 'qcow2', …)``.
    """
    root = ElementTree.fromstring(xml)
    return tuple(_disk(found) for found in root.iterfind('./devices/disk'))


def _disk(element: typing.Any) -> Disk:
    kind = element.get('type', 'file')
    attribute = {'file': 'file', 'block': 'dev'}.get(kind, 'name')
    index = _attribute(element, 'source', 'index')
    return Disk(
        target=_attribute(element, 'target', 'dev') or '',
        kind=kind,
        source=_attribute(element, 'source', attribute),
        format=_attribute(element, 'driver', 'type') or 'raw',
        device=element.get('device', 'disk'),
        readonly=element.find('readonly') is not None,
        serial=element.findtext('serial'),
        index=None if index is None else int(index),
    )


def _attribute(element: typing.Any, child: str, name: str) -> str | None:
    found = element.find(child)
    return None if found is None else found.get(name)
