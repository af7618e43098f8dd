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

"""Orders that concern an instance of this host: back up, restore, settle."""

from collections.abc import Mapping
import json
import logging
import pathlib
import stat
import typing

from ekko_nova.backup import discard
from ekko_nova.backup import record as records
from ekko_nova.compute import conversation as conversations
from ekko_nova.compute import domain_backup
from ekko_nova.compute import engine as engines
from ekko_nova.compute import order as orders
from ekko_nova.compute import restore
from ekko_nova.compute import selection
from ekko_nova import exception
from ekko_nova.virt import bitmap as bitmap_
from ekko_nova.virt import checkpoint
from ekko_nova.virt import domain as domains
from ekko_nova.virt import image
from ekko_nova.virt import job as jobs
from ekko_nova.virt import quiesce

__all__ = ('back_up', 'restore_instance', 'settle')

LOG = logging.getLogger(__name__)


def back_up(
    order: orders.BackupOrder,
    engine: engines.Engine,
    conversation: conversations.Conversation,
) -> dict[str, typing.Any]:
    """Take a backup of an instance."""
    request = records.Request(
        order.backup,
        True,
        dict(order.facts),
        records.Labels(**order.labels),
    )
    directory = pathlib.Path(order.directory)
    try:
        with domains.Hypervisor(order.site.uri) as hypervisor:
            domain = hypervisor.lookup(order.instance)
            record = domain_backup.backup_domain(
                engine.catalog,
                engine.settings,
                domain,
                domain_backup.Options(
                    select=selection.of_instance(order.instance, directory),
                    full=order.full,
                    incremental=order.incremental,
                    freeze=order.freeze,
                    quiet=conversation.quiet,
                ),
                places=engine.places,
                request=request,
                report=conversation.report,
            )
            thawed = quiesce.thaw_left(domain, engine.places)
    except exception.EkkoError as e:
        conversation.settled = _is_settled(
            order, engine, request, exception.told(e)
        )
        raise
    return {
        'type': str(record.type),
        'seconds': record.seconds,
        'quiesced': record.quiesced,
        'thawed': thawed,
        'note': record.note,
        'disks': {
            disk.name: {
                'identity': disk.identity,
                'full_reason': disk.full_reason,
                'size': disk.size,
                'read_bytes': disk.read_bytes,
                'stored_bytes': disk.stored_bytes,
            }
            for disk in record.disks
        },
    }


def _is_settled(
    order: orders.BackupOrder,
    engine: engines.Engine,
    request: records.Request,
    reason: str,
) -> bool:
    """See that a backup that failed is listed so, and left nothing behind.

    It may have failed before the store was told of it, or because libvirt
    went away, and its job with nobody to end it stayed.
    """
    try:
        discard.settle(engine.catalog, order.instance, request, reason)
        with domains.Hypervisor(order.site.uri) as hypervisor:
            domain = hypervisor.find(order.instance)
            if domain is not None:
                jobs.recover(domain, engine.places)
                _remove_bitmap(domain, request.backup)
                return quiesce.thaw_left(domain, engine.places)
    except exception.EkkoError as e:
        LOG.warning('backup %s is not settled yet: %s', request.backup, e)
        return False
    return True


def _remove_bitmap(domain: domains.Domain, backup: str) -> None:
    disks = [disk for disk in domain.disks() if not disk.unfit]
    checkpoint.delete_bitmap(domain, bitmap_.name_of(backup), disks)


def restore_instance(
    order: orders.RestoreOrder,
    engine: engines.Engine,
    conversation: conversations.Conversation,
) -> dict[str, typing.Any]:
    """Write the disks of a backup beside those of an instance."""
    record = restore.of_project(
        engine.catalog, order.backup, order.site.project
    )
    restore.require(record)
    if order.new:
        formats = _formats_of_new(order, record)
    else:
        _require_own(order, record)
        formats = _formats(order)
    files = {}
    for disk in _disks(order, record, formats):
        path = _path(order, disk)
        files[str(path)] = str(path) + orders.RESTORED
        format_ = formats[disk.identity]
        _restore_disk(order, engine, disk, format_, conversation)
    return {'files': files}


def _require_own(order: orders.RestoreOrder, record: records.Record) -> None:
    if record.server != order.instance:
        raise exception.IllegalState(
            order.backup,
            'of another instance',
            'be restored in place',
            'its own',
        )


def _disks(
    order: orders.RestoreOrder,
    record: records.Record,
    formats: Mapping[str, str],
) -> list[records.DiskRecord]:
    """Those of the backup that the instance has; of a new one, all."""
    disks = []
    for disk in record.disks:
        if disk.identity in formats:
            disks.append(disk)
        elif order.new:
            raise exception.FlavorTooSmall(disk.identity, disk.size)
        else:
            LOG.warning('the instance has no such disk: %s', disk.identity)
    if not disks:
        raise exception.IllegalState(
            order.backup,
            'of other disks',
            'be restored in place',
            'of disks that the instance has',
        )
    return disks


def _formats(order: orders.RestoreOrder) -> dict[str, str]:
    """What each disk of an instance is, qcow2 or raw, as libvirt knows it.

    Never as the file itself says: a guest may have written that.
    """
    select = selection.of_instance(
        order.instance, pathlib.Path(order.directory)
    )
    with domains.Hypervisor(order.site.uri) as hypervisor:
        domain = hypervisor.lookup(order.instance)
        return {
            identity: disk.format
            for disk, identity in select(domain.disks()).disks
        }


def _formats_of_new(
    order: orders.RestoreOrder, record: records.Record
) -> dict[str, str]:
    """What each disk is that Nova has made, and large enough for the backup's.

    Nova's images of the kind "flat" may be either; it notes which.
    """
    noted = pathlib.Path(order.directory, 'disk.info')
    known: dict[str, str] = {}
    if noted.exists():
        known = json.loads(noted.read_text())
    formats = {}
    for disk in record.disks:
        path = _path(order, disk)
        if not path.exists():
            continue
        format_ = known.get(str(path), order.format)
        if image.info(str(path), format_).size < disk.size:
            raise exception.FlavorTooSmall(disk.identity, disk.size)
        formats[disk.identity] = format_
    return formats


def _path(
    order: orders.RestoreOrder, disk: records.DiskRecord
) -> pathlib.Path:
    return pathlib.Path(order.directory, selection.file_name(disk.identity))


def _restore_disk(
    order: orders.RestoreOrder,
    engine: engines.Engine,
    disk: records.DiskRecord,
    format_: str,
    conversation: conversations.Conversation,
) -> None:
    there = _path(order, disk)
    path = there.with_name(there.name + orders.RESTORED)
    path.unlink(missing_ok=True)
    restore.restore_disk(
        engine.catalog,
        engine.settings,
        order.backup,
        output=path,
        name=disk.name,
        format=format_,
        margin=engine.places.margin,
        report=conversation.report,
    )
    # nova-compute looks at it, too, while QEMU has it.
    path.chmod(_mode(there))
    size = _size(there, format_)
    if disk.identity == 'root':
        size = max(size, order.root_size)
    if size > disk.size:
        image.grow(str(path), format_, size)
    if disk.bitmap is not None and format_ == 'qcow2' and not order.new:
        # The file holds what the backup does: the next one is incremental
        # on it.
        image.add_bitmap(str(path), disk.bitmap, disk.granularity)


def _size(path: pathlib.Path, format_: str) -> int:
    """Virtual size of the disk there is, in bytes; 0 if it cannot be told.

    It may be gone or damaged, and restored for that.
    """
    try:
        return image.info(str(path), format_, in_use=True).size
    except exception.EkkoError as e:
        LOG.info('the disk is restored with the size it had: %s', e)
        return 0


def _mode(path: pathlib.Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return 0o644


def settle(
    order: orders.SettleOrder,
    engine: engines.Engine,
    conversation: conversations.Conversation,
) -> dict[str, typing.Any]:
    """Clean up after a backup that nobody takes any more.

    :raises exception.HypervisorFailed: the guest may still be frozen
    """
    with domains.Hypervisor(order.site.uri) as hypervisor:
        domain = hypervisor.find(order.instance)
        if domain is not None:
            jobs.recover(domain, engine.places)
        conversation.say('local')
        # Its agent may take long, and is not worth holding the instance for.
        thawed = domain is None or quiesce.thaw_left(domain, engine.places)
        record = discard.settle(
            engine.catalog,
            order.instance,
            records.Request(order.backup, True, dict(order.facts)),
            order.reason,
        )
        if domain is not None and record.status is records.Status.ERROR:
            _remove_bitmap(domain, order.backup)
    if not thawed:
        raise exception.HypervisorFailed(
            f'thawing the file systems of {order.instance}',
            'they may still be frozen',
        )
    return {'status': str(record.status)}
