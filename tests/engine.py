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


"""Take and restore backups of a disk in memory, with any store."""

import dataclasses
import uuid

from oslo_utils import units

from ekko_nova.backup import catalog
from ekko_nova.backup import chain
from ekko_nova.backup import opened
from ekko_nova.backup import progress
from ekko_nova.backup import prune
from ekko_nova.backup import reader
from ekko_nova.backup import record as records
from ekko_nova.backup import settings as settings_
from ekko_nova.backup.store import base as store_base
from ekko_nova.backup import transaction
from ekko_nova.backup import verify
from tests import disks

SERVER = 'server'

#: Small enough for many backups, with blocks of 16 KiB.
SETTINGS = settings_.Settings(segment_size=units.Mi, workers=2, puts=2)


class Line:
    """A line of backups of one disk, and what the disk held at each."""

    def __init__(
        self,
        store: store_base.Store,
        disk: disks.MemoryDisk,
        settings: settings_.Settings = SETTINGS,
    ) -> None:
        self.store = store
        self.disk = disk
        self.settings = settings
        self.catalog = catalog.Catalog(store)
        #: What the disk held, by backup id.
        self.contents: dict[str, bytes] = {}
        #: The backup that the disk's bitmap tells the changes since.
        self.tracked: str | None = None
        #: The backup that the disk was restored from, if it was just now.
        self.restored: str | None = None

    def backup(
        self, *, full: bool = False, only_incremental: bool = False
    ) -> records.Record:
        """Take a backup as a compute host would."""
        survey = prune.collect(self.catalog, self.settings, SERVER).survey
        parent = self._parent()
        incremental = (
            not full and parent is not None and parent.id == self.tracked
        )
        backup = str(uuid.uuid4())
        planned = records.DiskRecord(
            name='vda',
            identity='root',
            set='server.root',
            size=len(self.disk.content),
            segment_size=self.settings.segment_size,
            type=records.Type.INCREMENTAL
            if incremental
            else records.Type.FULL,
            full_reason=None if incremental else 'test',
        )
        # Whatever happens to this backup, what was dirty before is not
        # known to be clean: that is how the rule treats a failed one.
        self.tracked = None
        source = self.disk.snapshot(full=not incremental)
        with transaction.Transaction(
            self.catalog,
            self.settings,
            records.begun(SERVER, records.Request(backup), disks=(planned,)),
            parent=None if full else parent,
            survey=survey,
            incremental=only_incremental,
        ) as job:
            job.write_disk(planned, source)
            # From here on the backup may exist, even if commit fails.
            self.contents[backup] = source.content
            record = job.commit()
        self.tracked = backup
        self.restored = None
        return record

    def _parent(self) -> records.Record | None:
        line = self.catalog.line(SERVER)
        for record in line:
            if record.id == self.restored:
                return record
        return chain.parent_for(line)

    def restore_in_place(self, backup: str) -> None:
        """Put the disk back; the next backup builds on this one."""
        self.disk.content[:] = self.restore(backup)
        self.disk.snapshot(full=True)
        self.restored = self.tracked = backup

    def restore(self, backup: str) -> bytes:
        """The disk as a backup has it."""
        record = self.catalog.get(backup)
        [disk] = record.disks
        target = disks.MemoryTarget(disk.size)
        with opened.open_disk(self.store, self.settings, record, disk) as it:
            reader.restore(
                it.manifest,
                it.fetcher,
                target,
                self.settings.workers,
                progress.silent,
            )
        assert target.flushed
        return bytes(target.content)

    def delete(self, backup: str) -> int:
        """Delete a backup; returns how many objects that freed."""
        return prune.delete(self.catalog, self.settings, backup).objects

    def available(self) -> list[records.Record]:
        """The backups that are offered for restore."""
        return [
            record
            for record in self.catalog.line(SERVER)
            if record.status is records.Status.AVAILABLE
        ]

    def findings(
        self, backup: str, *, deep: bool = True
    ) -> list[verify.Finding]:
        """What verify says of a backup."""
        record = self.catalog.get(backup)
        return list(
            verify.verify(self.store, self.settings, record, deep=deep)
        )

    def names(self) -> set[str]:
        """All objects in the store."""
        return {found.name for found in self.store.list()}

    def with_settings(self, **changes: object) -> 'Line':
        """The same line, worked on with other settings."""
        settings = dataclasses.replace(self.settings, **changes)  # type: ignore[arg-type]
        line = Line(self.store, self.disk, settings)
        line.contents = self.contents
        line.tracked = self.tracked
        return line
