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

"""Restore a backup in place, or make a server or an image of it."""

import math
import typing

from oslo_utils import units

from ekko_nova.api import errors
from ekko_nova.api.handlers import backups
from ekko_nova.api import request as requests
from ekko_nova.api import states
from ekko_nova.api import views
from ekko_nova.backup import browse
from ekko_nova.backup import record as records

__all__ = ('create_image', 'create_server', 'restore')

_Answer: typing.TypeAlias = dict[str, typing.Any]


def _restorable(request: requests.Request, backup: str) -> browse.Seen:
    seen = request.backup(backup)
    request.require(seen, 'be restored', states.Status.AVAILABLE)
    return seen


def _require_own(
    request: requests.Request, record: records.Record, what: str
) -> None:
    """An administrator sees backups of projects that they are not in."""
    if record.project != request.context.project_id:
        raise errors.ApiError(
            409,
            'IllegalState',
            f'{what} belongs to the project of who makes it, which has no '
            'such backup; ask for it in that project',
        )


def restore(request: requests.Request, backup: str) -> _Answer:
    """Put the disks of a server back to what the backup holds."""
    seen = _restorable(request, backup)
    server = request.body.get('server_id', seen.record.server)
    if server != seen.record.server:
        raise errors.ApiError(
            409,
            'IllegalState',
            f'backup {backup} is of server {seen.record.server}, and restored '
            'in place to no other; make a new server of it instead',
        )
    cloud = request.services.cloud
    instance = cloud.instance(request.context, server)
    if instance.locked and not request.context.is_admin:
        # As Nova has it for a rebuild, which this is.
        raise errors.ApiError(
            409, 'InstanceIsLocked', f'server {server} is locked'
        )
    cloud.hosts.restore_backup(request.context, instance, backup)
    return {'server': {'id': server}}


def create_server(request: requests.Request, backup: str) -> _Answer:
    """Make a new server whose disks hold what the backup does."""
    seen = _restorable(request, backup)
    record = seen.record
    _require_own(request, record, 'a new server')
    if record.disk('root') is None:
        raise errors.ApiError(
            409,
            'IllegalState',
            f'backup {record.id} has no root disk, so no server boots from '
            'it; make images of the disks that it has',
        )
    cloud = request.services.cloud
    name = views.labels(seen).name or record.id
    image = cloud.create_carrier(
        request.context, record, f'backup {name}'[:255]
    )
    wanted = {
        **request.body,
        'imageRef': image,
        'block_device_mapping_v2': _disks(record, image),
    }
    try:
        server = cloud.create_server(request.context, wanted)
    except BaseException:
        cloud.delete_image(request.context, image)
        raise
    return {
        'server': {
            'id': server['id'],
            'image_id': image,
            'admin_password': server.get('adminPass'),
        }
    }


def _disks(record: records.Record, image: str) -> list[dict[str, typing.Any]]:
    """The disks that Nova is to make, in its words.

    ``disk.local`` is what a flavor has by itself, ``disk.eph0`` and so on
    those that somebody asked for one by one.
    """
    root = {
        'boot_index': 0,
        'uuid': image,
        'source_type': 'image',
        'destination_type': 'local',
        'delete_on_termination': True,
    }
    others = [
        {
            'boot_index': -1,
            'source_type': 'blank',
            'destination_type': 'local',
            'delete_on_termination': True,
            'volume_size': math.ceil(disk.size / units.Gi),
        }
        for disk in record.disks
        if disk.identity.startswith('eph')
    ]
    return [root, *others]


def create_image(request: requests.Request, backup: str) -> _Answer:
    """Make a disk of a backup a Glance image."""
    seen = _restorable(request, backup)
    record = seen.record
    _require_own(request, record, 'an image')
    before = seen.notes.get('export')
    if states.is_running(before, request.stale_after):
        raise errors.ApiError(
            409, 'InProgress', f'backup {backup} is being exported already'
        )
    disk = _disk(record, request.body.get('disk', 'root'))
    cloud = request.services.cloud
    image = cloud.create_image(
        request.context, record, disk, dict(request.body)
    )
    with (
        backups.undone_if_refused(
            lambda: cloud.delete_image(request.context, image)
        ),
        backups.noted(
            request, seen, 'export', before, image=image, disk=disk.name
        ),
    ):
        cloud.ask_any_host(
            request.context,
            record,
            'export_backup',
            project=record.project,
            backup=record.id,
            disk=disk.name,
            image=image,
        )
    return {'image': {'id': image}}


def _disk(record: records.Record, wanted: str) -> records.DiskRecord:
    """By name or by role, such as vda or root."""
    for disk in record.disks:
        if wanted in (disk.name, disk.identity):
            return disk
    found = ', '.join(
        f'{disk.name} ({disk.identity})' for disk in record.disks
    )
    raise errors.ApiError(
        400, 'InvalidOption', f'there is no disk {wanted}; there are: {found}'
    )
