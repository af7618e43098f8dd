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


"""What a worker is told to do.

nova-compute reads no disk and opens no store itself: each backup and restore
is a process of its own (:mod:`.worker`), so that it can neither hold up nor
take down the service, whichever way that one does its threading. An order is
all that such a process gets to know; it comes over a socket, because it has
credentials.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import typing

from ekko_nova import exception

__all__ = (
    'RESTORED',
    'BackupOrder',
    'DeleteOrder',
    'DropOrder',
    'ExportOrder',
    'FailOrder',
    'Order',
    'RestoreOrder',
    'SettleOrder',
    'Site',
    'VerifyOrder',
    'from_message',
    'title',
    'to_message',
)


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """Where the work is done, and how.

    :ivar options: of the section ``[ekko]``
    :ivar environment: credentials for Swift, as ``OS_*``
    :ivar project: whose store it is
    :ivar uri: of libvirt
    """

    options: Mapping[str, typing.Any]
    environment: Mapping[str, str]
    project: str
    uri: str


@dataclasses.dataclass(frozen=True, slots=True)
class BackupOrder:
    """Take a backup of an instance.

    :ivar instance: its UUID, which is also its domain's
    :ivar backup: the id
    :ivar facts: what is needed to build the instance anew
    :ivar directory: of the instance's files
    :ivar full: read and store everything
    :ivar freeze: freeze the guest's file systems at the instant
    :ivar incremental: fail where that cannot be; not with ``full``
    :ivar labels: members of :class:`ekko_nova.backup.record.Labels`
    """

    site: Site
    instance: str
    backup: str
    facts: Mapping[str, typing.Any]
    directory: str
    full: bool
    freeze: bool
    incremental: bool = False
    labels: Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class RestoreOrder:
    """Write the disks of a backup beside those that the instance has.

    :ivar directory: of the instance's files
    :ivar format: raw or qcow2: of the disks of a new instance, unless Nova
        has noted another
    :ivar root_size: bytes that the root disk has at least, whatever it had
    :ivar new: the instance is another one than that of the backup, and has
        only just been made
    """

    site: Site
    instance: str
    backup: str
    directory: str
    format: str
    root_size: int
    new: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class SettleOrder:
    """Clean up after a backup whose worker is dead.

    :ivar reason: why there is no backup, if there is none
    :ivar facts: of the instance, where nothing is recorded yet
    """

    site: Site
    instance: str
    backup: str
    reason: str
    facts: Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class DeleteOrder:
    """Delete a backup; no other needs to be touched for that.

    :ivar request_id: of who asked for it
    :ivar force: also one that is being made, or deleted, by others
    """

    site: Site
    backup: str
    request_id: str
    force: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class VerifyOrder:
    """See whether a backup is what it was.

    :ivar deep: read every byte
    """

    site: Site
    backup: str
    request_id: str
    deep: bool


@dataclasses.dataclass(frozen=True, slots=True)
class ExportOrder:
    """Make a disk of a backup a file, to be uploaded as an image.

    :ivar disk: name of the disk
    :ivar image: id of the image it becomes
    """

    site: Site
    backup: str
    request_id: str
    disk: str
    image: str


@dataclasses.dataclass(frozen=True, slots=True)
class FailOrder:
    """List a backup that is being made as an error, whoever makes it."""

    site: Site
    backup: str
    request_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class DropOrder:
    """Say of what waited for its turn that it is not done.

    :ivar notes: that tell of it: id of the backup, and kind
    :ivar reason: why
    """

    site: Site
    notes: Sequence[Sequence[str]]
    reason: str


#: What a restored file is called until it takes the place of the disk.
RESTORED: typing.Final = '.ekko-restored'

Order: typing.TypeAlias = (
    BackupOrder
    | RestoreOrder
    | SettleOrder
    | DeleteOrder
    | VerifyOrder
    | ExportOrder
    | FailOrder
    | DropOrder
)

_KINDS: typing.Final[dict[str, type[Order]]] = {
    'backup': BackupOrder,
    'restore': RestoreOrder,
    'settle': SettleOrder,
    'delete': DeleteOrder,
    'verify': VerifyOrder,
    'export': ExportOrder,
    'fail': FailOrder,
    'drop': DropOrder,
}


def to_message(order: Order) -> dict[str, typing.Any]:
    """The order as plain values; :func:`from_message` reads it back."""
    return {'kind': _kind(order), **dataclasses.asdict(order)}


def title(order: Order) -> tuple[str, ...]:
    """What it is, in words that anybody may see: ``ps`` shows them."""
    named = (name for name in ('backup', 'instance') if hasattr(order, name))
    return _kind(order), *(f'{name}={getattr(order, name)}' for name in named)


def _kind(order: Order) -> str:
    [kind] = [name for name, type_ in _KINDS.items() if type(order) is type_]
    return kind


def from_message(message: Mapping[str, typing.Any]) -> Order:
    """An order from plain values.

    :raises exception.InvalidOption: it is none that we know
    """
    fields = dict(message)
    kind = fields.pop('kind', None)
    if kind not in _KINDS:
        raise exception.InvalidOption('order', kind, 'this is a bug')
    fields['site'] = Site(**fields['site'])
    return _KINDS[kind](**fields)
