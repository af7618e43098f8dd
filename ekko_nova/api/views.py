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

"""Backups as answers show them. Times are ISO 8601, UTC; sizes in bytes."""

import typing

from ekko_nova.api import states
from ekko_nova.backup import browse
from ekko_nova.backup import document
from ekko_nova.backup import record as records

__all__ = ('detail', 'labels', 'summary')


def labels(seen: browse.Seen) -> records.Labels:
    """What a backup is called, as it was changed last."""
    note = seen.notes.get('labels')
    return records.Labels(**note) if note else seen.record.labels


def summary(
    seen: browse.Seen, stale_after: float, base: str
) -> dict[str, typing.Any]:
    """A backup in a list.

    :param base: URL of this version of the API
    """
    record = seen.record
    status = states.of(seen, stale_after)
    called = labels(seen)
    instance = record.instance or {}
    return {
        'id': record.id,
        'name': called.name,
        'description': called.description,
        'metadata': dict(called.metadata),
        'project_id': record.project,
        'server_id': record.server,
        'server_name': instance.get('display_name'),
        'status': str(status),
        'error': states.reason(seen, status),
        'type': str(record.type) if record.disks else None,
        'created_at': record.created_at.isoformat(),
        'updated_at': record.updated_at.isoformat(),
        'finished_at': record.finished_at.isoformat()
        if record.finished_at
        else None,
        'size': sum(disk.size for disk in record.disks),
        'stored_bytes': sum(disk.stored_bytes for disk in record.disks),
        'progress': _percent(record, status),
        'links': [{'rel': 'self', 'href': f'{base}/backups/{record.id}'}],
    }


def _percent(record: records.Record, status: states.Status) -> int:
    if record.finished_at is not None:
        return 100
    if status is states.Status.CREATING and record.progress is not None:
        return record.progress.percent
    return 0


def detail(
    seen: browse.Seen, stale_after: float, base: str
) -> dict[str, typing.Any]:
    """A backup with all that is to be known of it."""
    record = seen.record
    return {
        **summary(seen, stale_after, base),
        'parent_id': record.parent,
        'quiesced': record.quiesced is True,
        'not_quiesced': None if record.quiesced is True else record.quiesced,
        'seconds': record.seconds,
        'remaining_seconds': record.progress.remaining
        if record.progress
        else None,
        'warning': record.note,
        'disks': [_disk(disk) for disk in record.disks],
        'skipped': [
            {'name': each.name, 'reason': each.reason}
            for each in record.skipped
        ],
        'instance': _instance(record.instance or {}),
        'verification': _work(seen.notes.get('verify'), stale_after),
        'export': _work(seen.notes.get('export'), stale_after),
        'deletion': _work(seen.notes.get('delete'), stale_after),
    }


def _disk(disk: records.DiskRecord) -> dict[str, typing.Any]:
    return {
        'name': disk.name,
        'role': disk.identity,
        'size': disk.size,
        'type': str(disk.type),
        'full_reason': disk.full_reason,
        'read_bytes': disk.read_bytes,
        'changed_bytes': disk.changed_bytes,
        'stored_bytes': disk.stored_bytes,
        'encrypted': disk.manifest_encryption != 'none',
    }


def _instance(facts: document.Document) -> dict[str, typing.Any]:
    """What somebody wants to know who makes a server from the backup."""
    flavor = facts.get('flavor') or {}
    return {
        'flavor': {
            name: flavor.get(name)
            for name in (
                'name',
                'vcpus',
                'memory_mb',
                'root_gb',
                'ephemeral_gb',
                'swap',
            )
        },
        'image_id': facts.get('image_ref'),
        'availability_zone': facts.get('availability_zone'),
        'key_name': facts.get('key_name'),
        'networks': facts.get('networks') or [],
        'metadata': facts.get('metadata') or {},
    }


def _work(
    note: document.Document | None, stale_after: float
) -> dict[str, typing.Any] | None:
    """What a note tells of a verification, an export, a deletion."""
    if note is None:
        return None
    shown = {
        name: note.get(name)
        for name in ('status', 'percent', 'updated_at', 'request_id', 'error')
    }
    if note['status'] in ('queued', 'running') and not states.goes_on(
        note, stale_after
    ):
        shown['status'] = 'failed'
        shown['error'] = 'its compute host has not been heard of for too long'
    for name, called in (
        ('deep', 'deep'),
        ('findings', 'findings'),
        ('image', 'image_id'),
        ('disk', 'disk'),
    ):
        if name in note:
            shown[called] = note[name]
    return shown
