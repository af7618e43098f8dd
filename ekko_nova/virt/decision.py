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


"""The rule that decides between incremental and full. Pure.

An incremental that misses a change is worse than any number of full backups,
so a disk goes incremental only if everything that is known of it says that
its bitmap has seen every write since the parent. Whatever cannot be known
beforehand (whether QEMU accepts the bitmap, whether the job lives to its
end) is checked when it happens, with the same consequence.
"""

import dataclasses
import enum

__all__ = (
    'BitmapFacts',
    'Decision',
    'DiskFacts',
    'FullReason',
    'ParentFacts',
    'decide',
)


class FullReason(enum.StrEnum):
    """Why a disk is read whole; these words stay in records for good."""

    REQUESTED = 'requested'
    NO_PARENT = 'no_parent'
    NOT_IN_PARENT = 'not_in_parent'
    NOT_QCOW2 = 'not_qcow2'
    OLD_QCOW2 = 'old_qcow2'
    EXTERNAL_DATA_FILE = 'external_data_file'
    NO_BITMAP_IN_PARENT = 'no_bitmap_in_parent'
    BITMAP_MISSING = 'bitmap_missing'
    BITMAP_INCONSISTENT = 'bitmap_inconsistent'
    BITMAP_NOT_RECORDING = 'bitmap_not_recording'
    BITMAP_NOT_PERSISTENT = 'bitmap_not_persistent'
    GRANULARITY_CHANGED = 'granularity_changed'
    DISK_SHRUNK = 'disk_shrunk'
    BITMAP_REFUSED = 'bitmap_refused'


@dataclasses.dataclass(frozen=True, slots=True)
class BitmapFacts:
    """A dirty bitmap as QEMU, or the qcow2 file, describes it.

    :ivar granularity: bytes that one bit stands for
    """

    name: str
    granularity: int
    recording: bool
    persistent: bool
    inconsistent: bool


@dataclasses.dataclass(frozen=True, slots=True)
class DiskFacts:
    """A disk as it is now.

    :ivar compat: of a qcow2 file: '0.10' or '1.1'
    :ivar data_file: a qcow2 file keeps its data in another file
    :ivar size: virtual size in bytes
    """

    identity: str
    format: str
    compat: str | None
    data_file: bool
    size: int
    bitmaps: tuple[BitmapFacts, ...]

    @property
    def can_keep_bitmap(self) -> bool:
        """Whether a bitmap made now outlives the process that made it."""
        return (
            self.format == 'qcow2'
            and self.compat != '0.10'
            and not self.data_file
        )


@dataclasses.dataclass(frozen=True, slots=True)
class ParentFacts:
    """What the parent's record says of a disk.

    :ivar bitmap: the bitmap that was begun with it
    :ivar granularity: in bytes, if it was known
    :ivar size: virtual size in bytes, at that time
    """

    identity: str
    bitmap: str | None
    granularity: int | None
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Incremental from a bitmap, or full for a reason; never both."""

    bitmap: str | None
    reason: FullReason | None


def decide(
    disk: DiskFacts,
    parents: tuple[ParentFacts, ...] | None,
    *,
    requested: bool = False,
) -> Decision:
    """Whether a disk may be read by its bitmap, and if not, why.

    A disk that has grown may: the engine reads the grown area in any case.

    :param parents: the parent backup's disks; ``None`` without a parent
    :param requested: somebody asked for a full
    """
    if requested:
        return _full(FullReason.REQUESTED)
    if parents is None:
        return _full(FullReason.NO_PARENT)
    for parent in parents:
        if parent.identity == disk.identity:
            reason = _obstacle(disk, parent)
            return _full(reason) if reason else Decision(parent.bitmap, None)
    return _full(FullReason.NOT_IN_PARENT)


def _full(reason: FullReason) -> Decision:
    return Decision(None, reason)


def _obstacle(disk: DiskFacts, parent: ParentFacts) -> FullReason | None:
    if not disk.can_keep_bitmap:
        return _unfit(disk)
    if disk.size < parent.size:
        return FullReason.DISK_SHRUNK
    if parent.bitmap is None:
        return FullReason.NO_BITMAP_IN_PARENT
    for bitmap in disk.bitmaps:
        if bitmap.name == parent.bitmap:
            return _defect(bitmap, parent)
    return FullReason.BITMAP_MISSING


def _unfit(disk: DiskFacts) -> FullReason:
    if disk.format != 'qcow2':
        return FullReason.NOT_QCOW2
    if disk.compat == '0.10':
        return FullReason.OLD_QCOW2
    return FullReason.EXTERNAL_DATA_FILE


def _defect(bitmap: BitmapFacts, parent: ParentFacts) -> FullReason | None:
    if bitmap.inconsistent:
        return FullReason.BITMAP_INCONSISTENT
    if not bitmap.persistent:
        return FullReason.BITMAP_NOT_PERSISTENT
    if not bitmap.recording:
        return FullReason.BITMAP_NOT_RECORDING
    if bitmap.granularity != parent.granularity:
        # Ours never changes: somebody made this one under our name, and
        # nobody knows when.
        return FullReason.GRANULARITY_CHANGED
    return None
