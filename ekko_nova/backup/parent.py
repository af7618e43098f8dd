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

"""What a disk of a new backup builds on: the parent's manifest, if sound."""

from collections.abc import Iterator
import contextlib
import dataclasses
import logging
import random

from ekko_nova.backup import audit
from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import opened
from ekko_nova.backup import record as records
from ekko_nova.backup import settings as settings_
from ekko_nova.backup import verify
from ekko_nova import block
from ekko_nova import exception

__all__ = ('Choice', 'Parent')

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """How a disk is backed up.

    :ivar disk: as planned, or full where it had to be
    :ivar parent: what segments may refer to, if there is anything
    :ivar alarm: what somebody should read, if there is something wrong
    """

    disk: records.DiskRecord
    parent: opened.OpenedDisk | None = None
    alarm: str | None = None


class Parent:
    """The backup that a new one builds on, if any.

    :ivar record: of the parent
    :param backup: the record of the new one
    """

    def __init__(
        self,
        catalog: catalogs.Catalog,
        settings: settings_.Settings,
        record: records.Record | None,
        backup: records.Record,
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self.record = record
        self._backup = backup

    @contextlib.contextmanager
    def open(
        self, planned: records.DiskRecord, source: block.BlockSource
    ) -> Iterator[Choice]:
        """Open the parent's manifest of a disk.

        What is wrong with the parent turns the disk into a full one.

        :raises exception.EkkoError: whatever the store or the source raises
        """
        with contextlib.ExitStack() as stack:
            yield self._open(planned, source, stack)

    def _open(
        self,
        planned: records.DiskRecord,
        source: block.BlockSource,
        stack: contextlib.ExitStack,
    ) -> Choice:
        record = self.record
        before = record.disk(planned.identity) if record else None
        if record is None or before is None:
            return Choice(_full(planned, 'no_parent'))
        if before.size > source.size:
            return Choice(_full(planned, 'disk_shrunk'))
        if before.manifest_encryption != self._settings.encryption:
            # Who turns it on wants nothing of the next backup in the clear;
            # who turns it off, no backup that needs the key.
            return Choice(_full(planned, 'encryption_changed'))
        if self._catalog.is_fenced(record):
            # Whoever discards it may still be at it. One who begins only now
            # finds it available, and lets it be.
            return Choice(_full(planned, 'parent_discarded'))
        try:
            parent = stack.enter_context(
                opened.open_disk(
                    self._catalog.store, self._settings, record, before
                )
            )
            self._check_sound(record, parent, planned)
        except exception.DataDamaged as e:
            LOG.error(
                'the parent is damaged, taking a full: '
                'backup=%s parent=%s disk=%s %s',
                self._backup.id,
                record.id,
                planned.name,
                e,
            )
            what = self._backup.says_of(e)
            alarm = f'{planned.name}: parent damaged: {what}'
            return Choice(_full(planned, 'parent_damaged'), alarm=alarm)
        if planned.type is records.Type.INCREMENTAL:
            return self._audited(planned, source, parent)
        return Choice(planned, parent)

    def _check_sound(
        self,
        record: records.Record,
        parent: opened.OpenedDisk,
        planned: records.DiskRecord,
    ) -> None:
        """See that nothing is known to be wrong with a parent.

        Where all of a disk is read anyway, so is the listing of what the
        parent needs. Else only what a verification found is known: to look
        for more would cost in proportion to the disk.

        :raises exception.ObjectDamaged: something is
        :raises exception.ObjectMissing: something is
        """
        catalog = self._catalog
        for finding in catalog.notes.findings(record.server, record.id):
            if finding['disk'] == parent.record.name:
                raise exception.ObjectDamaged(
                    finding['object'], finding['invariant']
                )
        if planned.type is records.Type.FULL:
            for found in verify.missing(catalog.store, parent):
                raise exception.ObjectMissing(catalog.store.url, found.object)

    def _audited(
        self,
        planned: records.DiskRecord,
        source: block.BlockSource,
        parent: opened.OpenedDisk,
    ) -> Choice:
        different = audit.first_difference(
            source,
            parent.manifest,
            self._settings.audit_segments,
            random.SystemRandom(),
        )
        if different is None:
            return Choice(planned, parent)
        alarm = (
            f'{planned.name}: segment {different} differs from the parent '
            'although its bitmap calls it clean: something wrote to the disk '
            'behind the bitmap'
        )
        LOG.error('backup=%s %s', self._backup.id, alarm)
        return Choice(_full(planned, 'audit_mismatch'), parent, alarm)


def _full(planned: records.DiskRecord, reason: str) -> records.DiskRecord:
    """The same disk, read whole; an earlier reason for that stays."""
    return dataclasses.replace(
        planned,
        type=records.Type.FULL,
        full_reason=planned.full_reason or reason,
    )
