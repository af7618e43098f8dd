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


"""Backups as the rows and columns that commands print."""

import json
import typing

from cliff import columns
from oslo_utils import units

from ekko_nova.backup import record as records

__all__ = ('LIST_COLUMNS', 'backup', 'list_row')

LIST_COLUMNS: typing.Final = (
    'id',
    'server',
    'type',
    'status',
    'created_at',
    'size',
    'stored_bytes',
    'parent',
)


def backup(record: records.Record) -> dict[str, typing.Any]:
    """Everything a person or a script wants to know of one backup."""
    disks = record.disks
    reasons = [
        f'{disk.name}: {disk.full_reason}'
        for disk in disks
        if disk.full_reason
    ]
    return {
        'id': record.id,
        'server': record.server,
        'set': ', '.join(disk.set for disk in disks),
        'parent': record.parent,
        'type': str(record.type),
        'full_reason': '; '.join(reasons) or None,
        'status': str(record.status),
        'created_at': record.created_at.isoformat(),
        'finished_at': record.finished_at.isoformat()
        if record.finished_at
        else None,
        'seconds': record.seconds,
        'quiesced': record.quiesced,
        'note': record.note,
        'error': record.error,
        'progress': _progress(record.progress),
        'size': sum(disk.size for disk in disks),
        'read_bytes': sum(disk.read_bytes for disk in disks),
        'changed_bytes': sum(disk.changed_bytes for disk in disks),
        'stored_bytes': sum(disk.stored_bytes for disk in disks),
        'objects': sum(disk.objects for disk in disks),
        'disks': Structure([_disk(disk) for disk in disks]),
        'skipped': Structure(
            [
                {'name': skipped.name, 'reason': skipped.reason}
                for skipped in record.skipped
            ]
        ),
        'instance': Structure([record.instance] if record.instance else []),
    }


def _progress(now: records.Progress | None) -> str | None:
    if now is None:
        return None
    text = f'{now.percent} %, {now.rate // units.Mi} MiB/s'
    if now.remaining is not None:
        text += f', {now.remaining} s to go'
    return text


def list_row(record: records.Record) -> tuple[typing.Any, ...]:
    """One row of a list, in the order of :data:`LIST_COLUMNS`."""
    values = backup(record)
    return tuple(values[column] for column in LIST_COLUMNS)


def _disk(disk: records.DiskRecord) -> dict[str, typing.Any]:
    return {
        'name': disk.name,
        'identity': disk.identity,
        'set': disk.set,
        'size': disk.size,
        'type': str(disk.type),
        'full_reason': disk.full_reason,
        'bitmap': disk.bitmap,
        'segment_size': disk.segment_size,
        'encrypted': disk.manifest_encryption != 'none',
        'read_bytes': disk.read_bytes,
        'changed_bytes': disk.changed_bytes,
        'stored_bytes': disk.stored_bytes,
        'objects': disk.objects,
        'refers_to': list(disk.owners),
    }


class Structure(columns.FormattableColumn[list[dict[str, typing.Any]]]):
    """A list of dictionaries: itself for machines, lines for people."""

    def human_readable(self) -> str:
        return '\n'.join(
            ' '.join(
                f'{name}={json.dumps(value)}' for name, value in item.items()
            )
            for item in self._value
        )
