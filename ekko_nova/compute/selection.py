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


"""Which disks of a domain a backup takes, and what each of them is."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import pathlib
import typing

from ekko_nova.backup import record as records
from ekko_nova import exception
from ekko_nova.virt import disk as disk_

__all__ = (
    'Select',
    'Selection',
    'by_target',
    'everything',
    'file_name',
    'of_instance',
)


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """The disks of a domain, those to take and those to leave out.

    :ivar disks: each disk with its identity: what it is, wherever attached
    """

    disks: tuple[tuple[disk_.Disk, str], ...]
    skipped: tuple[records.Skipped, ...]


Select: typing.TypeAlias = Callable[[Sequence[disk_.Disk]], Selection]


def by_target(targets: Sequence[str] | None = None) -> Select:
    """Select by target, such as vda; all disks that are fit by default.

    What it returns raises ``exception.InvalidOption`` if there is no such
    disk, or not one that can be backed up.
    """

    def select(disks: Sequence[disk_.Disk]) -> Selection:
        chosen = []
        skipped = []
        for disk in disks:
            if targets and disk.target not in targets:
                skipped.append(records.Skipped(disk.target, 'not asked for'))
            elif disk.unfit:
                skipped.append(records.Skipped(disk.target, disk.unfit))
            else:
                chosen.append((disk, disk.identity))
        found = {disk.target for disk, _ in chosen}
        reasons = {each.name: each.reason for each in skipped}
        for target in targets or ():
            if target not in found:
                raise exception.InvalidOption(
                    '--disk',
                    target,
                    reasons.get(target)
                    or 'the domain has: '
                    + ', '.join(disk.target for disk in disks),
                )
        return Selection(tuple(chosen), tuple(skipped))

    return select


everything: typing.Final = by_target()


#: What Nova calls the disks it keeps on the host, and what they are to us.
#: Of an instance with one ephemeral disk that was not asked for by a block
#: device mapping, the disk is called disk.local.
_ROLES: typing.Final = {'disk': 'root', 'disk.local': 'local'}

_LEFT_OUT: typing.Final = {
    'disk.config': 'it is the config drive, which Nova makes anew',
    'disk.swap': 'it is swap space',
}


def of_instance(uuid: str, directory: pathlib.Path) -> Select:
    """Select the disks that Nova itself keeps for an instance.

    Each is known by its role, so that it stays the same disk on another host
    and under another target: ``root``, ``local``, ``eph0`` and so on.

    :param directory: of the instance's files on this host
    """

    def select(disks: Sequence[disk_.Disk]) -> Selection:
        chosen = []
        skipped = []
        for disk in disks:
            name = _file_name(disk, uuid, directory)
            reason = disk.unfit or _reason_to_leave_out(disk, name)
            if reason is None and name is not None:
                role = _ROLES.get(name, name.removeprefix('disk.'))
                chosen.append((disk, role))
            else:
                skipped.append(records.Skipped(disk.target, reason or ''))
        return Selection(tuple(chosen), tuple(skipped))

    return select


def file_name(identity: str) -> str:
    """What Nova calls the file of a disk of this role."""
    names = {role: name for name, role in _ROLES.items()}
    return names.get(identity, f'disk.{identity}')


def _file_name(
    disk: disk_.Disk, uuid: str, directory: pathlib.Path
) -> str | None:
    """What Nova calls it; ``None`` of a disk that is not Nova's own."""
    path = pathlib.Path(disk.path)
    if path.parent == directory:
        return path.name
    # Of images_type lvm: a volume <uuid>_disk.
    if path.name.startswith(f'{uuid}_'):
        return path.name.removeprefix(f'{uuid}_')
    return None


def _reason_to_leave_out(disk: disk_.Disk, name: str | None) -> str | None:
    if name is None:
        volume = f' {disk.serial}' if disk.serial else ''
        return f'it is a volume{volume}, which Cinder backs up'
    if name in _LEFT_OUT:
        return _LEFT_OUT[name]
    if name.endswith('.rescue'):
        return 'it is the disk of a rescue'
    return None
