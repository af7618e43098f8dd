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


"""Restore a disk of a backup to a file or a block device of this host."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import stat

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import opened
from ekko_nova.backup import pace
from ekko_nova.backup import progress
from ekko_nova.backup import reader
from ekko_nova.backup import record as records
from ekko_nova.backup import settings as settings_
from ekko_nova.backup import temporary
from ekko_nova import block
from ekko_nova.compute import sockets
from ekko_nova import exception
from ekko_nova.virt import file_target
from ekko_nova.virt import offline
from ekko_nova.virt import scratch

__all__ = ('of_project', 'require', 'restore_disk', 'select_disk')


def require(record: records.Record) -> None:
    """See that a backup can be restored.

    :raises exception.IllegalState: it is not available
    """
    if record.status is not records.Status.AVAILABLE:
        raise exception.IllegalState(record.id, record.status, 'be restored')


def of_project(
    catalog: catalogs.Catalog, backup: str, project: str
) -> records.Record:
    """The record of a backup that belongs to a project.

    :raises exception.BackupNotFound: there is none, or it is another one's,
        which is nobody's business: both are said in the same words
    """
    with contextlib.suppress(exception.BackupNotFound):
        record = catalog.get(backup)
        if record.project == project:
            return record
    raise exception.BackupNotFound(backup, f'of project {project}')


def select_disk(
    record: records.Record, name: str | None
) -> records.DiskRecord:
    """The disk of this name, or the only one there is.

    :raises exception.InvalidOption: there is no such disk, or a choice
    """
    names = ', '.join(disk.name for disk in record.disks)
    if name is None and len(record.disks) == 1:
        return record.disks[0]
    for disk in record.disks:
        if disk.name == name:
            return disk
    raise exception.InvalidOption(
        'disk', name or 'left out', f'name one of: {names}'
    )


def restore_disk(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    backup: str,
    *,
    output: pathlib.Path,
    name: str | None = None,
    format: str = 'raw',
    margin: int | None = None,
    report: progress.Report = progress.silent,
) -> int:
    """Write a disk, every byte verified; returns the bytes that were data.

    A file appears under its name when it is complete, and never replaces
    another. A block device is written in place.

    :param name: of the disk; may be left out if the backup has only one
    :param format: 'raw' or 'qcow2'
    :param margin: bytes that must stay free beside a file; by default it is
        not looked at
    :raises exception.BackupNotFound: there is no backup of this id
    :raises exception.IllegalState: it is not available
    :raises exception.TargetExists: there is a file of this name
    :raises exception.TargetFailed: it cannot be written, or there is no room
    :raises exception.DataDamaged: a stored byte is not what it was
    """
    record = catalog.get(backup)
    require(record)
    disk = select_disk(record, name)
    with contextlib.ExitStack() as stack:
        it = stack.enter_context(
            opened.open_disk(catalog.store, settings, record, disk)
        )
        if margin is not None:
            needed = reader.allocation(it.manifest) + margin
            _require_room(output.absolute().parent, needed)
        target = stack.enter_context(
            _target(output.absolute(), format, disk.size)
        )
        return reader.restore(
            it.manifest,
            it.fetcher,
            pace.target(target, settings.bandwidth),
            settings.workers,
            report,
        )


def _require_room(directory: pathlib.Path, needed: int) -> None:
    lacks = scratch.shortage(directory, needed)
    if lacks is not None:
        raise exception.TargetFailed(str(directory), lacks)


@contextlib.contextmanager
def _target(
    output: pathlib.Path, format: str, size: int
) -> Iterator[block.BlockTarget]:
    if _is_block_device(output):
        if format != 'raw':
            raise exception.InvalidOption(
                'format', format, 'a block device takes raw only'
            )
        with _created(output, format, size) as target:
            yield target
        return
    if os.path.lexists(output):
        raise exception.TargetExists(str(output))
    # Beside the file to be, so that what a killed restore leaves is found
    # by the next.
    with temporary.directory(output.parent) as directory:
        incomplete = directory / output.name
        with _created(incomplete, format, size) as target:
            yield target
        try:
            # A link, unlike a rename, never replaces what came meanwhile.
            os.link(incomplete, output)
            file_target.sync_directory(str(output))
        except FileExistsError as e:
            raise exception.TargetExists(str(output)) from e
        except OSError as e:
            raise exception.TargetFailed(
                str(output), e.strerror or str(e)
            ) from e


@contextlib.contextmanager
def _created(
    path: pathlib.Path, format: str, size: int
) -> Iterator[block.BlockTarget]:
    with (
        sockets.directory() as directory,
        offline.create_target(str(path), format, size, directory) as target,
    ):
        yield target


def _is_block_device(path: pathlib.Path) -> bool:
    try:
        return stat.S_ISBLK(path.stat().st_mode)
    except OSError:
        return False
