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


"""From what the rule says of a disk to what the engine is told of it."""

from collections.abc import Iterable

from ekko_nova.backup import record as records
from ekko_nova.virt import bitmap as bitmap_
from ekko_nova.virt import decision
from ekko_nova.virt import image

__all__ = ('broken', 'decide', 'outdated', 'planned')


def decide(
    disk: decision.DiskFacts,
    parent: records.Record | None,
    *,
    requested: bool,
) -> decision.Decision:
    """Ask the rule, with the parent's record as what is known of it."""
    parents = None
    if parent is not None:
        parents = tuple(
            decision.ParentFacts(
                identity=each.identity,
                bitmap=each.bitmap,
                granularity=each.granularity,
                size=each.size,
            )
            for each in parent.disks
        )
    return decision.decide(disk, parents, requested=requested)


def planned(
    *,
    name: str,
    disk: decision.DiskFacts,
    set_id: str,
    verdict: decision.Decision,
    bitmap: str,
) -> records.DiskRecord:
    """What is known of a disk before it is read."""
    return records.DiskRecord(
        name=name,
        identity=disk.identity,
        set=set_id,
        size=disk.size,
        segment_size=0,
        type=records.Type.INCREMENTAL if verdict.bitmap else records.Type.FULL,
        full_reason=str(verdict.reason) if verdict.reason else None,
        bitmap=bitmap if disk.can_keep_bitmap else None,
    )


def outdated(
    bitmaps: Iterable[str],
    line: Iterable[records.Record],
    keep: str | None = None,
) -> tuple[str, ...]:
    """Those of our bitmaps that no later backup of this line will use.

    Only those of backups that the line knows: a disk may also be backed up
    into another store, whose bitmaps are not ours to remove.
    """
    known = {bitmap_.name_of(record.id) for record in line}
    return tuple(name for name in bitmaps if name in known and name != keep)


def broken(
    bitmaps: Iterable[decision.BitmapFacts | image.BitmapInfo],
) -> tuple[str, ...]:
    """Those of our bitmaps that missed writes, whatever line they are of.

    None is of use to anybody any more, and while one is there QEMU migrates
    no bitmap of its disk, nor resizes the image (QEMU 7.2).
    """
    return tuple(
        bitmap.name
        for bitmap in bitmaps
        if bitmap.inconsistent and bitmap.name.startswith(bitmap_.PREFIX)
    )
