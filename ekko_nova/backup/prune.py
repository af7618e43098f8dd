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

"""Delete backups, and collect what interrupted runs left.

Order, so that an interruption anywhere is harmless: the record becomes
``deleting`` (nobody restores from it or builds on it any more), its children
become its parent's, objects go, the manifest goes, the record goes. Until
the manifest goes the deletion can be resumed with full knowledge; after it
nothing but the record is left.

A full store may not even take the status. Then the record goes at once, which
says the same to everybody, and an interruption leaves objects nobody needs.
"""

from collections.abc import Callable
from collections.abc import Collection
import contextlib
import dataclasses
import logging
import time
import typing

from oslo_utils import timeutils

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import chain
from ekko_nova.backup import discard
from ekko_nova.backup import doomed
from ekko_nova.backup import naming
from ekko_nova.backup import process
from ekko_nova.backup import record as records
from ekko_nova.backup import references
from ekko_nova.backup import settings as settings_
from ekko_nova.backup import verify
from ekko_nova import exception

__all__ = (
    'Collected',
    'Reclaimed',
    'collect',
    'delete',
)

LOG = logging.getLogger(__name__)

#: How long a fence stands, seconds: longer than any request may take.
_FENCED: typing.Final = 7 * 86400.0
_GONE: typing.Final = 'the process that made it has ended'


@dataclasses.dataclass(frozen=True, slots=True)
class Reclaimed:
    """What a deletion freed: objects, manifest parts not counted."""

    objects: int


@dataclasses.dataclass(frozen=True, slots=True)
class Collected:
    """What was found interrupted, and what is there without it.

    :ivar removed: backups; their disks may still have the bitmaps that were
        begun for them
    """

    removed: tuple[records.Record, ...]
    survey: catalogs.Survey


def delete(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    backup: str,
    *,
    force: bool = False,
    beat: Callable[[], None] = lambda: None,
) -> Reclaimed:
    """Delete any backup of a line; all others stay restorable.

    :param force: take a process that makes or deletes it for dead as soon
        as it missed a few signs of life
    :param beat: called with every object that goes
    :raises exception.BackupNotFound: there is none of this id
    :raises exception.InProgress: it is being made, or built on
    :raises exception.DataDamaged: a record of the line cannot be read
    :raises exception.WrongKey: it is encrypted, and the key is not at hand
    """
    record = catalog.get(backup)
    discard.check_free(record, settings, force=force)
    if record.finished_at is None:
        unwanted = dataclasses.replace(record, requested=False)
        if not discard.unfinished(catalog, unwanted, beat=beat):
            raise exception.InProgress(record.server, backup, 'backup')
        return Reclaimed(0)
    line = _settled_line(catalog, settings, record, beat)
    deleting = _claimed(record)
    written: records.Record | None = deleting
    objects = None
    try:
        catalog.put(deleting)
    except exception.StoreFull:
        # Whatever keeps us from telling what goes must do so before.
        objects = doomed.doomed(catalog, settings, line, deleting)
        catalog.withdraw(record)
        written = None
    # Again after the status is written: a backup that begins announces
    # itself first and then looks at its parent, so one of the two notices.
    # Of two deletions at once each notices the other, or one does.
    try:
        line = _settled_line(catalog, settings, record, beat)
        if objects is None:
            objects = doomed.doomed(catalog, settings, line, deleting)
    except (
        exception.DriverMissing,
        exception.InProgress,
        exception.WrongKey,
    ):
        with contextlib.suppress(exception.StoreFull):
            # Unless another deletion has claimed it since.
            if catalog.find(record.server, backup) == written:
                catalog.put(record)
        raise
    return _finish(catalog, settings, line, deleting, objects, beat)


def _settled_line(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    record: records.Record,
    beat: Callable[[], None] = lambda: None,
) -> tuple[records.Record, ...]:
    """The line of a backup that is to be deleted.

    Whoever was begun on top of it, and fell silent, is discarded.

    :raises exception.InProgress: somebody is at work who must not be, then
    :raises exception.DataDamaged: a record of the line cannot be read, and
        may be of a backup that needs the same objects
    """
    line = catalog.line(record.server)
    if (other := _busy(line, record, settings.stale_after)) is not None:
        activity = 'backup' if other.finished_at is None else 'deletion'
        raise exception.InProgress(record.server, other.id, activity)
    silent = [
        child
        for child in chain.children(line, record)
        if child.status is records.Status.CREATING
    ]
    if not silent:
        return line
    # They may have been silent for too long, and be completed all the same.
    for child in silent:
        discard.unfinished(catalog, child, _GONE, beat=beat)
    return catalog.line(record.server)


def _claimed(record: records.Record) -> records.Record:
    """The same, being deleted by this process."""
    return dataclasses.replace(
        record,
        status=records.Status.DELETING,
        process=process.current(),
        updated_at=timeutils.utcnow(with_timezone=True),
    )


def collect(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    server: str,
    keep: str | None = None,
) -> Collected:
    """Remove what interrupted backups and deletions of a server left.

    :param keep: a backup that is about to be made, however long ago it was
        asked for
    """
    survey = catalog.survey(server)
    collected = []
    for record in survey.records:
        if record.id != keep and _collect(catalog, settings, record):
            LOG.info('collected leftovers: backup=%s', record.id)
            collected.append(record)
    removed = _collect_fenced(catalog, settings, server)
    if collected or removed:
        survey = catalog.survey(server)
    return Collected((*collected, *removed), survey)


def _collect(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    surveyed: records.Record,
) -> bool:
    if surveyed.status in records.ENDED:
        return False
    # Those before it may have taken long.
    record = catalog.find(surveyed.server, surveyed.id)
    if record is None or record.status in records.ENDED:
        return False
    if record.status is records.Status.DELETING and record.finished_at is None:
        return discard.unfinished(catalog, record)
    if not chain.is_abandoned(record, settings.stale_after):
        return False
    if record.status is records.Status.CREATING:
        return discard.unfinished(catalog, record, _GONE)
    return _resume(catalog, settings, record)


def _resume(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    record: records.Record,
) -> bool:
    """Delete what nobody restores from; false if that is not possible now."""
    try:
        line = _settled_line(catalog, settings, record)
    except (exception.DataDamaged, exception.InProgress):
        return False
    claimed = _claimed(record)
    with contextlib.suppress(exception.StoreFull):
        catalog.put(claimed)
    objects = doomed.doomed(catalog, settings, line, claimed)
    _finish(catalog, settings, line, claimed, objects)
    return True


def _collect_fenced(
    catalog: catalogs.Catalog, settings: settings_.Settings, server: str
) -> tuple[records.Record, ...]:
    """Remove fences that nobody will run into, and what broke at one.

    A maker that died right after it had completed its backup has not looked
    for a fence any more.
    """
    removed = []
    for backup, age in catalog.fences(server):
        record = catalog.read(naming.record_name(server, backup))
        if (
            record is not None
            and record.status is records.Status.AVAILABLE
            and _is_broken(catalog, settings, record)
        ):
            LOG.error('removing a backup that had been discarded: %s', backup)
            if _resume(catalog, settings, record):
                removed.append(record)
        elif age > _FENCED:
            catalog.unfence(server, backup)
    return tuple(removed)


def _is_broken(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    record: records.Record,
) -> bool:
    """Whether anything is missing of a backup."""
    try:
        return any(verify.verify(catalog.store, settings, record, deep=False))
    except (
        exception.DriverMissing,
        exception.UnknownFormat,
        exception.WrongKey,
    ):
        # Nobody here can tell.
        return False


def _busy(
    line: Collection[records.Record],
    record: records.Record,
    stale_after: float,
) -> records.Record | None:
    """What must not go on while this one is deleted, if it does.

    A backup that is made on top of it, which may come to need its objects;
    and another deletion, which would not find the neighbours it knew.
    """
    children = chain.children(line, record)
    for other in line:
        building = (
            other.status is records.Status.CREATING and other in children
        )
        deleting = (
            other.status is records.Status.DELETING
            and other.finished_at is not None
            and other.id != record.id
        )
        if (building or deleting) and not chain.is_abandoned(
            other, stale_after
        ):
            return other
    return None


def _finish(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    line: tuple[records.Record, ...],
    record: records.Record,
    objects: tuple[references.References, ...],
    beat: Callable[[], None] = lambda: None,
) -> Reclaimed:
    """Remove a backup that is being deleted.

    :param objects: of each of its disks, those that only it needs
    :param beat: called with every object that goes
    """
    count = 0
    beaten = time.monotonic()
    for disk, numbers in zip(record.disks, objects, strict=True):
        for owner, number in numbers:
            name = naming.object_name(disk.set, owner, number)
            catalog.store.delete(name)
            count += 1
            beat()
            if time.monotonic() - beaten > settings.heartbeat:
                with contextlib.suppress(exception.StoreFull):
                    catalog.put(_claimed(record))
                beaten = time.monotonic()
    for child in chain.children(line, record):
        # As it is now: written from memory it might come back to life.
        now = catalog.find(child.server, child.id)
        if now is not None:
            # Without it, more is asked what it needs: see chain.relatives.
            with contextlib.suppress(exception.StoreFull):
                catalog.put(dataclasses.replace(now, parent=record.parent))
    for disk in record.disks:
        for part in range(len(disk.manifest)):
            catalog.store.delete(
                naming.manifest_part_name(disk.set, record.id, part)
            )
    catalog.remove(record)
    return Reclaimed(count)
