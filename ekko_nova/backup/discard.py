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

"""Discard what never became a backup, with all that was stored of it.

Who discards a backup cannot know whether its maker lives, and is about to
complete it. So each leaves a sign first, and then looks for the other's::

    maker                              who discards it
    no fence? then: it is available    a fence
    is there a fence?                  is it available?

One of them notices, or both do. A maker that meets a fence removes its backup
itself; who finds a backup available lets it be, and takes the fence away if it
is theirs: another's stands for one who has not found it so. A maker that was
only late looks for a fence with each sign of life.
"""

from collections.abc import Callable
from collections.abc import Container
from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import itertools
import logging
import typing

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import chain
from ekko_nova.backup import naming
from ekko_nova.backup import process
from ekko_nova.backup import record as records
from ekko_nova.backup import settings as settings_
from ekko_nova import exception

__all__ = (
    'check_free',
    'give_up',
    'settle',
    'unfinished',
)

LOG = logging.getLogger(__name__)

#: Signs of life that a forced deletion waits for.
_MISSED: typing.Final = 3


def unfinished(
    catalog: catalogs.Catalog,
    record: records.Record,
    reason: str | None = None,
    *,
    own: bool = False,
    beat: Callable[[], None] = lambda: None,
) -> bool:
    """Discard a backup that never became available, with all it stored.

    If it was requested, a record of the failure stays.

    :param record: as somebody has read it; whether it was requested is taken
        from here
    :param reason: why there is no backup; the record's own by default
    :param own: its maker discards it
    :param beat: called when nothing speaks against it any more, and then
        with every object that goes
    :returns: false if it was completed after all, and nothing was done
    :raises exception.EkkoError: whatever the store raises
    """
    if own:
        _remove(catalog, record, reason, beat)
        catalog.unfence(record.server, record.id)
        return True
    may_live = record.status is records.Status.CREATING
    may_live = may_live and not process.is_gone(record.process)
    fenced = may_live and catalog.fence(record)
    now = catalog.find(record.server, record.id)
    if now is None:
        # Its record goes last: somebody else has removed all of it.
        return True
    if now.finished_at is not None:
        if fenced:
            catalog.unfence(record.server, record.id)
        return False
    known = dataclasses.replace(now, requested=record.requested)
    _remove(catalog, known, reason, beat)
    return True


def _remove(
    catalog: catalogs.Catalog,
    record: records.Record,
    reason: str | None,
    beat: Callable[[], None],
) -> None:
    deleting = dataclasses.replace(
        record,
        status=records.Status.DELETING,
        finished_at=None,
        progress=None,
        error=reason or record.error,
    )
    # Nobody restores from it anyway, and there may be room when it is gone.
    with contextlib.suppress(exception.StoreFull):
        catalog.put(deleting)
    beat()
    for disk in record.disks:
        _remove_objects(catalog, disk.set, record.id, beat)
    if record.requested:
        failed = dataclasses.replace(deleting, status=records.Status.ERROR)
        catalog.put(failed)
    else:
        catalog.remove(record)


def _remove_objects(
    catalog: catalogs.Catalog,
    set_id: str,
    backup: str,
    beat: Callable[[], None],
) -> None:
    """Delete all that a backup stored of a disk; nobody else may need it."""
    store = catalog.store
    prefix = naming.backup_prefix(set_id, backup)
    names = [found.name for found in store.list(prefix)]
    if not store.properties.consistent_list:
        listed = frozenset(names)
        names = [
            name
            for name_of, gap in (
                (naming.object_name, settings_.MOST_PUTS),
                # One after the other.
                (naming.manifest_part_name, 1),
            )
            for name in _present(
                catalog,
                listed,
                functools.partial(name_of, set_id, backup),
                gap,
            )
        ]
    # The last ones first, so that what an interruption leaves is as
    # consecutive as it was.
    for name in reversed(names):
        store.delete(name)
        beat()


def _present(
    catalog: catalogs.Catalog,
    listed: Container[str],
    name_of: Callable[[int], str],
    gap: int,
) -> Iterator[str]:
    """The objects there are, listed or not yet.

    Numbers begin at 0, and leave out only what was on its way.

    :param gap: how many that may be
    """
    absent = 0
    for number in itertools.count():
        name = name_of(number)
        if name in listed or catalog.exists(name):
            absent = 0
            yield name
        else:
            absent += 1
            if absent > gap:
                return


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
    own = found.process == process.current()
    if not own and process.is_here(found.process):
        raise exception.InProgress(server, request.backup, 'backup')
    # On another host it may live all the same.
    known = dataclasses.replace(found, requested=True)
    unfinished(catalog, known, why, own=own)
    return catalog.get(request.backup)


def give_up(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    backup: str,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """List a backup as an error whose maker is said to be dead.

    :param beat: see :func:`unfinished`
    :raises exception.BackupNotFound: there is none of this id
    :raises exception.IllegalState: it is not being made
    :raises exception.InProgress: its maker shows signs of life
    """
    record = catalog.get(backup)
    if record.status is records.Status.CREATING:
        check_free(record, settings, force=True)
        known = dataclasses.replace(record, requested=True)
        reason = 'it was given up by an administrator'
        if unfinished(catalog, known, reason, beat=beat):
            return
        record = catalog.get(backup)
    raise exception.IllegalState(
        backup, record.status, 'be given up', 'creating'
    )


def check_free(
    record: records.Record, settings: settings_.Settings, *, force: bool
) -> None:
    """See that nobody makes or deletes a backup.

    :param force: an administrator says that whoever does is dead. They may
        be wrong, so a few signs of life must be missing.
    :raises exception.InProgress: somebody does
    """
    activities = {
        records.Status.CREATING: 'backup',
        records.Status.DELETING: 'deletion',
    }
    if record.status not in activities:
        return
    limit = settings.stale_after
    if force:
        over = chain.is_silent(
            record, min(limit, _MISSED * settings.heartbeat)
        )
    else:
        over = chain.is_abandoned(record, limit)
    if not over:
        raise exception.InProgress(
            record.server, record.id, activities[record.status]
        )
