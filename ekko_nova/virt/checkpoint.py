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


"""Checkpoints: how libvirt is told of our bitmaps, and made to forget.

libvirt cannot undefine an inactive domain that has a checkpoint, so a
checkpoint left behind would break Nova's hard reboot, start and delete
(libvirt 9.0, error 55). Ours therefore exist only while libvirt needs them;
the bitmaps in the qcow2 files are what lasts.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import logging
from xml.sax import saxutils

from ekko_nova import exception
from ekko_nova.virt import bitmap as bitmap_
from ekko_nova.virt import decision
from ekko_nova.virt import disk as disks
from ekko_nova.virt import domain as domains
from ekko_nova.virt import image

__all__ = (
    'delete_bitmap',
    'disk_facts',
    'forget',
    'redefine',
    'xml',
)

LOG = logging.getLogger(__name__)


def disk_facts(
    domain: domains.Domain, disk: disks.Disk, identity: str
) -> decision.DiskFacts:
    """All that the rule wants to know of a disk.

    Of a running domain the bitmaps are those in QEMU's memory: what the file
    says of them is out of date until the domain stops.
    """
    active = domain.is_active()
    info = image.info(disk.path, disk.format, in_use=active)
    if active:
        bitmaps = domain.bitmaps(disk)
        size = domain.size(disk.target)
    else:
        bitmaps = bitmap_.of_image(info)
        size = info.size
    return decision.DiskFacts(
        identity=identity,
        format=disk.format,
        compat=info.compat,
        data_file=info.data_file,
        size=size,
        bitmaps=bitmaps,
    )


def xml(name: str, targets: Iterable[str], others: Iterable[str] = ()) -> str:
    """A checkpoint with a bitmap on some disks.

    ``creationTime`` is demanded of a redefinition, and otherwise ignored.
    """
    lines = [
        f'<disk name={saxutils.quoteattr(target)} checkpoint="bitmap"/>'
        for target in targets
    ] + [
        f'<disk name={saxutils.quoteattr(target)} checkpoint="no"/>'
        for target in others
    ]
    return (
        f'<domaincheckpoint><name>{saxutils.escape(name)}</name>'
        '<creationTime>1</creationTime>'
        f'<disks>{"".join(lines)}</disks></domaincheckpoint>'
    )


def redefine(
    domain: domains.Domain, name: str, targets: Sequence[str]
) -> None:
    """Have QEMU's bitmaps of a name validated and known to libvirt.

    :raises exception.HypervisorFailed: one of them is missing or broken
    """
    domain.redefine_checkpoint(xml(name, targets), validate=True)


def forget(domain: domains.Domain) -> None:
    """Remove all our checkpoints from libvirt; the bitmaps stay."""
    for name in domain.checkpoints():
        if name.startswith(bitmap_.PREFIX):
            domain.delete_checkpoint(name, metadata_only=True)


def delete_bitmap(
    domain: domains.Domain, name: str, chosen: Iterable[disks.Disk]
) -> None:
    """Remove a bitmap, broken or not, from those disks that have it.

    What fails is logged: a bitmap too many costs some memory, no data.
    """
    try:
        active = domain.is_active()
        having = [
            disk for disk in chosen if name in _names(domain, disk, active)
        ]
        if not active:
            for disk in having:
                image.remove_bitmap(disk.path, name)
        elif having:
            _delete_checkpoint(domain, name, [disk.target for disk in having])
    except exception.EkkoError as e:
        LOG.warning(
            'bitmap stays behind: domain=%s bitmap=%s %s', domain.name, name, e
        )


def _delete_checkpoint(
    domain: domains.Domain, name: str, targets: Sequence[str]
) -> None:
    # Without validation: an inconsistent bitmap goes as well. libvirt refuses
    # if a disk that is listed has no such bitmap.
    domain.redefine_checkpoint(xml(name, targets), validate=False)
    try:
        domain.delete_checkpoint(name, metadata_only=False)
    except exception.HypervisorFailed:
        forget(domain)
        raise


def _names(
    domain: domains.Domain, disk: disks.Disk, active: bool
) -> frozenset[str]:
    if active:
        return frozenset(each.name for each in domain.bitmaps(disk))
    if disk.format != 'qcow2':
        return frozenset()
    info = image.info(disk.path, disk.format)
    return frozenset(each.name for each in info.bitmaps)
