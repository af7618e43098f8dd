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
"""

from collections.abc import Collection
import dataclasses
import time
import typing

from oslo_log import log as logging
from oslo_utils import timeutils

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import chain
from ekko_nova.backup import naming
from ekko_nova.backup import opened
from ekko_nova.backup import process
from ekko_nova.backup import record as records
from ekko_nova.backup import references
from ekko_nova.backup import settings as settings_
from ekko_nova import exception

__all__ = (
    'Collected',
    'Reclaimed',
    'collect',
    'delete',
    'discard',
    'give_up',
    'settle',
)

LOG = logging.getLogger(__name__)

#: How long a fence stands, in times that a silent process is given.
_FENCED: typing.Final = 100

#: Signs of life that a forced deletion waits for.
_MISSED: typing.Final = 3


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
) -> Reclaimed:
    """Delete any backup of a line; all others stay restorable.

    :param force: take a process that makes or deletes it for dead as soon
        as it missed a few signs of life
    :raises exception.BackupNotFound: there is none of this id
    :raises exception.InProgress: it is being made, or built on
    :raises exception.DataDamaged: a record of the line cannot be read
    """
    record = catalog.get(backup)
    _check_free(record, patience(settings, force=force))
    if record.finished_at is None:
        discard(catalog, dataclasses.replace(record, requested=False))
        return Reclaimed(0)
    deleting = _claimed(record)
    catalog.put(deleting)
    # Only after the status is written: a backup that begins announces
    # itself first and then looks at its parent, so one of the two notices.
    # Of two deletions at once each notices the other, or one does.
    try:
        line = catalog.line(record.server)
        if (other := _busy(line, record, settings.stale_after)) is not None:
            activity = 'backup' if other.finished_at is None else 'deletion'
            raise exception.InProgress(record.server, other.id, activity)
    except exception.EkkoError:
        catalog.put(record)
        raise
    return _finish(catalog, settings, line, deleting)


def patience(settings: settings_.Settings, *, force: bool) -> float:
    """Seconds without a sign of life that a process is given.

    :param force: an administrator says that it is dead. They may be wrong,
        so it is given some.
    """
    if not force:
        return settings.stale_after
    return min(settings.stale_after, _MISSED * settings.heartbeat)


def _check_free(record: records.Record, stale_after: float) -> None:
    activities = {
        records.Status.CREATING: 'backup',
        records.Status.DELETING: 'deletion',
    }
    activity = activities.get(record.status)
    if activity and not chain.is_abandoned(record, stale_after):
        raise exception.InProgress(record.server, record.id, activity)


def _claimed(record: records.Record) -> records.Record:
    """The same, being deleted by this process."""
    return dataclasses.replace(
        record,
        status=records.Status.DELETING,
        process=process.current(),
        updated_at=timeutils.utcnow(with_timezone=True),
    )


def collect(
    catalog: catalogs.Catalog, settings: settings_.Settings, server: str
) -> Collected:
    """Remove what interrupted backups and deletions of a server left."""
    survey = catalog.survey(server)
    collected = []
    for record in survey.records:
        if _collect(catalog, settings, survey, record):
            LOG.info('collected leftovers: backup=%s', record.id)
            collected.append(record)
    catalog.remove_fences(server, _FENCED * settings.stale_after)
    if collected:
        survey = catalog.survey(server)
    return Collected(tuple(collected), survey)


def _collect(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    survey: catalogs.Survey,
    record: records.Record,
) -> bool:
    if record.status in records.ENDED:
        return False
    if record.status is records.Status.CREATING:
        if not chain.is_abandoned(record, settings.stale_after):
            return False
        discard(catalog, record, 'the process that made it has ended')
    elif record.finished_at is None:
        discard(catalog, record)
    else:
        if not chain.is_abandoned(record, settings.stale_after):
            return False
        line = catalog.survey(record.server).records
        # A record that cannot be read may need these objects, as may a
        # backup that was begun before its parent's deletion was.
        if survey.damaged or _busy(line, record, settings.stale_after):
            return False
        claimed = _claimed(record)
        catalog.put(claimed)
        _finish(catalog, settings, line, claimed)
    return True


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


def discard(
    catalog: catalogs.Catalog,
    record: records.Record,
    reason: str | None = None,
    *,
    own: bool = False,
) -> None:
    """Remove a backup that never became available, with all it stored.

    If it was requested, a record of the failure stays.

    :param reason: why there is no backup; the record's own by default
    :param own: its maker discards it. Anybody else cannot know whether the
        maker is not about to write, and so fences the backup first.
    """
    may_write = not own and record.status is records.Status.CREATING
    if may_write and not process.is_gone(record.process):
        catalog.fence(record)
    # If its last write did arrive after all, it is available: it must not
    # be while its objects go.
    deleting = dataclasses.replace(
        record,
        status=records.Status.DELETING,
        finished_at=None,
        progress=None,
        error=reason or record.error,
    )
    catalog.put(deleting)
    for disk in record.disks:
        _delete_all(catalog, naming.backup_prefix(disk.set, record.id))
    if record.requested:
        failed = dataclasses.replace(deleting, status=records.Status.ERROR)
        catalog.put(failed)
    else:
        catalog.remove(record)
    if own:
        catalog.unfence(record)


def _finish(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    line: tuple[records.Record, ...],
    record: records.Record,
) -> Reclaimed:
    count = 0
    beaten = time.monotonic()
    for disk in record.disks:
        doomed = _doomed(catalog, settings, line, record, disk)
        for owner, number in doomed:
            name = naming.object_name(disk.set, owner, number)
            catalog.store.delete(name)
            count += 1
            if time.monotonic() - beaten > settings.heartbeat:
                catalog.put(_claimed(record))
                beaten = time.monotonic()
    for child in chain.children(line, record):
        # As it is now: written from memory it might come back to life.
        now = catalog.find(child.server, child.id)
        if now is not None:
            catalog.put(dataclasses.replace(now, parent=record.parent))
    for disk in record.disks:
        for part in range(len(disk.manifest)):
            catalog.store.delete(
                naming.manifest_part_name(disk.set, record.id, part)
            )
    catalog.remove(record)
    return Reclaimed(count)


def _doomed(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    line: tuple[records.Record, ...],
    record: records.Record,
    disk: records.DiskRecord,
) -> references.References:
    """The objects that only this backup needs."""
    survivors = chain.relatives(line, record)
    try:
        doomed = _references(catalog, settings, record, disk)
    except exception.DataDamaged as e:
        LOG.warning(
            'deleting by listing, for want of a manifest: backup=%s %s',
            record.id,
            e,
        )
        doomed = _everything(catalog, record, disk)
        # What it referred to is unknown, so its neighbours no longer stand
        # for all others.
        survivors = tuple(
            each
            for each in line
            if each.status is records.Status.AVAILABLE
            and chain.shares_owner(each, record)
        )
    for survivor in survivors:
        theirs = survivor.disk(disk.identity)
        if theirs is None or theirs.set != disk.set:
            continue
        try:
            needed = _references(catalog, settings, survivor, theirs)
        except exception.DataDamaged as e:
            LOG.warning(
                'sparing all it may need: damaged backup=%s %s',
                survivor.id,
                e,
            )
            needed = _everything(catalog, survivor, theirs)
        doomed.subtract(needed)
    return doomed


def _references(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    record: records.Record,
    disk: records.DiskRecord,
) -> references.References:
    with opened.open_disk(catalog.store, settings, record, disk) as it:
        return references.of_manifest(it.manifest)


def _everything(
    catalog: catalogs.Catalog,
    record: records.Record,
    disk: records.DiskRecord,
) -> references.References:
    """All objects of all owners that a manifest may refer to."""
    result = references.References()
    for owner in (record.id, *disk.owners):
        prefix = naming.backup_prefix(disk.set, owner)
        for found in catalog.store.list(prefix):
            number = found.name.removeprefix(prefix)
            if not number.startswith('manifest-'):
                result.add(owner, int(number, 16))
    return result


def settle(
    catalog: catalogs.Catalog, server: str, request: records.Request, why: str
) -> records.Record:
    """See a requested backup ended whose maker is known to be dead.

    :param why: it failed, if it did
    :returns: its record, ``available`` or ``error``
    :raises exception.InProgress: its maker lives, and is not this process
    """
    found = catalog.find(server, request.backup)
    if found is None:
        found = records.begun(server, request)
        catalog.announce(found)
    if found.status is records.Status.ERROR or found.finished_at is not None:
        return found
    if found.process != process.current() and process.is_here(found.process):
        raise exception.InProgress(server, request.backup, 'backup')
    discard(catalog, dataclasses.replace(found, requested=True), why, own=True)
    return catalog.get(request.backup)


def give_up(
    catalog: catalogs.Catalog, settings: settings_.Settings, backup: str
) -> None:
    """List a backup as an error whose maker is said to be dead.

    :raises exception.BackupNotFound: there is none of this id
    :raises exception.IllegalState: it is not being made
    :raises exception.InProgress: its maker shows signs of life
    """
    record = catalog.get(backup)
    if record.status is not records.Status.CREATING:
        raise exception.IllegalState(
            backup, record.status, 'be given up', 'creating'
        )
    _check_free(record, patience(settings, force=True))
    known = dataclasses.replace(record, requested=True)
    discard(catalog, known, 'it was given up by an administrator')


def _delete_all(catalog: catalogs.Catalog, prefix: str) -> None:
    for found in catalog.store.list(prefix):
        catalog.store.delete(found.name)
