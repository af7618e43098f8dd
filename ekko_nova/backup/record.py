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

"""The record: all that is known of a backup without reading a manifest.

A record is the one object that is ever written again: its status moves

::

    creating ──▶ available ──▶ deleting ──▶ (removed)
        │                        ▲ │ ▲
        └────────────────────────┘ ▼ │
                                 error

What failed is removed; only if somebody was given its id before it was made
(:attr:`Record.requested`) it stays, as an error, until they delete it.
"""

import base64
from collections.abc import Mapping
import dataclasses
import datetime
import enum
import typing

from oslo_utils import timeutils

from ekko_nova.backup.codec import base as codec_base
from ekko_nova.backup import document
from ekko_nova.backup import process
from ekko_nova import exception

__all__ = (
    'ENDED',
    'DiskRecord',
    'Labels',
    'Part',
    'Progress',
    'Record',
    'Request',
    'Skipped',
    'Status',
    'Type',
    'begun',
    'from_document',
    'to_document',
)

_FORMAT: typing.Final = 1


class Status(enum.StrEnum):
    """Where a backup is in its life."""

    CREATING = 'creating'
    AVAILABLE = 'available'
    ERROR = 'error'
    DELETING = 'deleting'


#: Nobody works on such a backup, and nobody will make it any more.
ENDED: typing.Final = frozenset((Status.AVAILABLE, Status.ERROR))


class Type(enum.StrEnum):
    """What was read of a disk: all of it, or what the bitmap named."""

    FULL = 'full'
    INCREMENTAL = 'incremental'


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A stored part of a manifest.

    :ivar length: plain bytes of the manifest file it carries
    :ivar size: stored bytes
    :ivar sha256: of the stored bytes, hexadecimal
    """

    length: int
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True)
class DiskRecord:
    """One disk of a backup.

    :ivar name: what people call it, such as vda
    :ivar identity: what it is, wherever it is attached
    :ivar set: its backup set
    :ivar size: virtual size in bytes
    :ivar segment_size: bytes
    :ivar type: whether all of it was read, or what the bitmap named
    :ivar full_reason: why all of it was read; ``None`` for an incremental
    :ivar bitmap: the bitmap that records changes from this backup on
    :ivar granularity: bytes that one bit of it stands for
    :ivar manifest: the manifest's parts, in order
    :ivar manifest_compression: the driver its parts went through
    :ivar manifest_encryption: the driver its parts went through
    :ivar key: the set's data key, wrapped; ``None`` if nothing is encrypted
    :ivar owners: other backups whose objects the manifest refers to
    :ivar read_bytes: read from the disk
    :ivar changed_bytes: plain bytes of the pieces that were stored
    :ivar stored_bytes: size of all objects this backup added
    :ivar objects: how many it added, manifest parts included
    """

    name: str
    identity: str
    set: str
    size: int
    segment_size: int
    type: Type = Type.FULL
    full_reason: str | None = None
    bitmap: str | None = None
    granularity: int | None = None
    manifest: tuple[Part, ...] = ()
    manifest_compression: str = 'none'
    manifest_encryption: str = 'none'
    key: codec_base.WrappedKey | None = None
    owners: tuple[str, ...] = ()
    read_bytes: int = 0
    changed_bytes: int = 0
    stored_bytes: int = 0
    objects: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Skipped:
    """A disk that is not in the backup, and why."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How far a backup has come, over all of its disks.

    :ivar percent: of the disks dealt with, unchanged parts included
    :ivar read_bytes: read from the disks so far
    :ivar rate: bytes read per second, since it began
    :ivar remaining: seconds to go, if it goes on as it did; ``None`` before
        that can be told
    """

    percent: int
    read_bytes: int
    rate: int
    remaining: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Labels:
    """What people call a backup. Nothing of it is needed to restore.

    :ivar metadata: words of theirs, by keys of theirs
    """

    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What a backup is asked for with.

    :ivar backup: its id, new
    :ivar known: somebody was told the id; a failure stays listed
    :ivar instance: what is needed to build the instance anew
    """

    backup: str
    known: bool = False
    instance: document.Document | None = None
    labels: Labels = Labels()


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """A backup of a server: all of its disks at one instant.

    :ivar server: what the line of backups is of: an instance, a domain, a
        file; the name under which records are kept
    :ivar parent: the nearest older backup of this line that still exists;
        changes when that one is deleted
    :ivar created_at: when it began, UTC
    :ivar updated_at: the last sign of life while creating, UTC
    :ivar finished_at: when it became available, UTC
    :ivar seconds: how long it took
    :ivar process: who writes it
    :ivar quiesced: true, or why the file systems were not frozen
    :ivar note: an alarm somebody should read
    :ivar requested: somebody knows the id since before the backup began
    :ivar error: why there is no backup
    :ivar progress: how far it is; ``None`` unless it is creating
    :ivar instance: what is needed to build the instance anew, in Nova's words
    :ivar labels: as they were when it was asked for; see :mod:`.notes`
    """

    id: str
    server: str
    status: Status
    parent: str | None
    created_at: datetime.datetime
    updated_at: datetime.datetime
    process: process.Process
    disks: tuple[DiskRecord, ...]
    skipped: tuple[Skipped, ...] = ()
    quiesced: bool | str = 'not requested'
    finished_at: datetime.datetime | None = None
    seconds: float | None = None
    note: str | None = None
    requested: bool = False
    error: str | None = None
    progress: Progress | None = None
    instance: document.Document | None = None
    labels: Labels = Labels()

    @property
    def type(self) -> Type:
        """Full if every disk was read whole."""
        full = all(disk.type is Type.FULL for disk in self.disks)
        return Type.FULL if full else Type.INCREMENTAL

    @property
    def project(self) -> str | None:
        """Whose instance it is of, if it is of one."""
        found: str | None = (self.instance or {}).get('project_id')
        return found

    def says_of(self, error: BaseException) -> str:
        """What it says of an error: tenants read what was requested."""
        return exception.told(error) if self.requested else str(error)

    def disk(self, identity: str) -> DiskRecord | None:
        """The disk of this identity, if the backup has it."""
        for disk in self.disks:
            if disk.identity == identity:
                return disk
        return None


def begun(
    server: str,
    request: Request,
    *,
    disks: tuple[DiskRecord, ...] = (),
    skipped: tuple[Skipped, ...] = (),
    maker: process.Process | None = None,
) -> Record:
    """The record of a backup that begins now.

    :param maker: who writes it; this process unless given
    """
    now = timeutils.utcnow(with_timezone=True)
    return Record(
        id=request.backup,
        server=server,
        status=Status.CREATING,
        parent=None,
        created_at=now,
        updated_at=now,
        process=maker or process.current(),
        disks=disks,
        skipped=skipped,
        requested=request.known,
        instance=request.instance,
        labels=request.labels,
    )


def to_document(record: Record) -> document.Document:
    """The JSON form; :func:`from_document` reads it back."""
    result: document.Document = dataclasses.asdict(record)
    for name in ('created_at', 'updated_at', 'finished_at'):
        moment: datetime.datetime | None = result[name]
        result[name] = moment.isoformat() if moment else None
    for disk in result['disks']:
        if disk['key']:
            disk['key']['wrapped'] = base64.b64encode(
                disk['key']['wrapped']
            ).decode('ascii')
    return {'format': _FORMAT, **result}


def from_document(name: str, value: document.Document) -> Record:
    """A record from its JSON form.

    :param name: of the object, for errors
    :raises exception.UnknownFormat: another version wrote it
    :raises exception.ObjectDamaged: a member is missing, or not ours
    """
    fields = dict(value)
    found = fields.pop('format', None)
    if found != _FORMAT:
        raise exception.UnknownFormat(name, found, _FORMAT)
    try:
        fields['status'] = Status(fields['status'])
        for moment in ('created_at', 'updated_at', 'finished_at'):
            if fields[moment] is not None:
                fields[moment] = datetime.datetime.fromisoformat(
                    fields[moment]
                )
        fields['process'] = process.Process(**fields['process'])
        fields['disks'] = tuple(_disk(disk) for disk in fields['disks'])
        fields['skipped'] = tuple(
            Skipped(**skipped) for skipped in fields['skipped']
        )
        if fields.get('progress') is not None:
            fields['progress'] = Progress(**fields['progress'])
        fields['labels'] = Labels(**fields.get('labels', {}))
        return Record(**fields)
    except (KeyError, TypeError, ValueError) as e:
        raise exception.ObjectDamaged(
            name, f'it must have the members of a record ({e})'
        ) from e


def _disk(value: document.Document) -> DiskRecord:
    fields = dict(value)
    fields['type'] = Type(fields['type'])
    fields['manifest'] = tuple(Part(**part) for part in fields['manifest'])
    fields['owners'] = tuple(fields['owners'])
    if fields['key'] is not None:
        key = dict(fields['key'])
        key['wrapped'] = base64.b64decode(key['wrapped'], validate=True)
        fields['key'] = codec_base.WrappedKey(**key)
    return DiskRecord(**fields)
