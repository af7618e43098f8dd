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

"""Lines of backups: what a new one builds on, what an old one shares. Pure.

A backup may refer to objects of any older backup of its line, so two that
share an object are connected by backups that share it too. References only
ever shrink down a line. While all backups exist the connections are those
of parent and child; when one is deleted its children become its parent's
(:attr:`Record.parent` is written anew), so that from then on its former
neighbours are parent and child, or siblings::

      G                 G
      │                ╱ ╲
      B      ──▶      C   D        B is deleted: C and D may share
     ╱ ╲                           objects of B, and G older ones
    C   D

Hence whoever still needs an object of a backup's manifest is among its
parent, children and siblings, or connected through one that needs it.
"""

from collections.abc import Collection
from collections.abc import Iterable
import typing

from oslo_utils import timeutils

from ekko_nova.backup import process
from ekko_nova.backup import record as records

__all__ = (
    'WAITING',
    'children',
    'is_abandoned',
    'is_silent',
    'parent_for',
    'relatives',
    'shares_owner',
)


#: Seconds after which is taken for forgotten what still waits for its turn.
WAITING: typing.Final = 86400.0


def parent_for(
    line: Iterable[records.Record], bitmaps: Collection[str] = ()
) -> records.Record | None:
    """The backup that the next one of a line is to build on.

    The newest one that a bitmap tells the changes since, else the newest.

    :param line: the line's records, oldest first
    :param bitmaps: names of the bitmaps that the disks have
    """
    available = [
        record for record in line if record.status is records.Status.AVAILABLE
    ]
    for record in reversed(available):
        if any(disk.bitmap in bitmaps for disk in record.disks):
            return record
    return available[-1] if available else None


def children(
    line: Iterable[records.Record], record: records.Record
) -> tuple[records.Record, ...]:
    """The records whose parent this one is."""
    return tuple(each for each in line if each.parent == record.id)


def relatives(
    line: Collection[records.Record], record: records.Record
) -> tuple[records.Record, ...]:
    """The available backups to ask for what this one's deletion must spare.

    They are its parent, children and siblings, a deletion that was begun and
    not finished counting as done; those that have no owner of objects in
    common are left out.
    """
    above = {each.id: _surviving_parent(line, each) for each in line}
    sharers = tuple(
        each
        for each in line
        if each.status is records.Status.AVAILABLE
        and each.id != record.id
        and shares_owner(each, record)
    )
    if not set(above.values()) <= {None, *above}:
        # Somebody wrote a parent that was gone by then. Who is whose
        # neighbour is not known, so all that may share are asked.
        return sharers
    return tuple(
        each
        for each in sharers
        if each.id == above[record.id]
        or above[each.id] in (record.id, above[record.id])
    )


def _surviving_parent(
    line: Collection[records.Record], record: records.Record
) -> str | None:
    by_id = {each.id: each for each in line}
    parent = record.parent
    while parent in by_id and by_id[parent].status is records.Status.DELETING:
        parent = by_id[parent].parent
    return parent


def shares_owner(one: records.Record, other: records.Record) -> bool:
    """Whether two backups may refer to an object they both need."""
    return not _owners(one).isdisjoint(_owners(other))


def _owners(record: records.Record) -> set[str]:
    return {record.id}.union(*(disk.owners for disk in record.disks))


def is_abandoned(record: records.Record, stale_after: float) -> bool:
    """Whether a backup in the making has nobody left who makes it.

    :param stale_after: seconds without a sign of life that mean death where
        the process cannot be asked
    """
    if process.is_here(record.process):
        return False
    if record.process == process.NOBODY:
        # It waits for its turn, and gives no signs of life meanwhile.
        stale_after = max(stale_after, WAITING)
    return is_silent(record, stale_after)


def is_silent(record: records.Record, patience: float) -> bool:
    """Whether who makes or deletes a backup is gone, or says nothing.

    :param patience: seconds without a sign of life
    """
    if process.is_gone(record.process):
        return True
    age = timeutils.utcnow(with_timezone=True) - record.updated_at
    return age.total_seconds() > patience
