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

"""One backup, from its announcement to ``available``, or to nothing.

::

    announce record (creating)     from here on the next run can clean up
      objects of every disk        named by nobody yet
      manifest of every disk       complete, but named by nobody
    record (available)             the commit point

Leaving the context without :meth:`Transaction.commit` removes everything.
"""

import contextlib
import dataclasses
import logging
import pathlib
import time
import typing

from oslo_utils import timeutils

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import chain
from ekko_nova.backup.codec import load as codecs
from ekko_nova.backup import discard
from ekko_nova.backup import keyring as keyrings
from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import load as manifests
from ekko_nova.backup.manifest import parts
from ekko_nova.backup import opened
from ekko_nova.backup import pace
from ekko_nova.backup import parent as parents
from ekko_nova.backup import process
from ekko_nova.backup import progress
from ekko_nova.backup import prune
from ekko_nova.backup import record as records
from ekko_nova.backup import settings as settings_
from ekko_nova.backup import temporary
from ekko_nova.backup import writer
from ekko_nova import block
from ekko_nova import exception

__all__ = ('Transaction',)

LOG = logging.getLogger(__name__)


class Transaction:
    """Makes one backup of one server.

    :param record: of it, as it begins; of its disks only name, identity and
        set are known for sure
    :param parent: the backup it builds on, if any
    :param survey: of the server, from a moment ago; saves reading all
        records again
    :param incremental: fail where a disk would have to be read whole
    :raises exception.InProgress: entering the context, another process works
        on the same line of backups
    """

    def __init__(
        self,
        catalog: catalogs.Catalog,
        settings: settings_.Settings,
        record: records.Record,
        *,
        parent: records.Record | None,
        survey: catalogs.Survey | None = None,
        incremental: bool = False,
        report: progress.Report = progress.silent,
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._survey = survey
        self._incremental = incremental
        self._report = report
        self._written: dict[str, records.DiskRecord] = {}
        self._committed = False
        self._began = self._beaten = time.monotonic()
        self._notes: list[str] = []
        self.record = dataclasses.replace(
            record, parent=parent.id if parent else None
        )
        self._parent = parents.Parent(catalog, settings, parent, record)

    def __enter__(self) -> typing.Self:
        try:
            self._catalog.announce(self.record)
            if self.record.requested:
                # It may have waited until somebody took it for forgotten.
                self._check_fence()
            self._check_alone()
            self._check_parent()
        except BaseException as e:
            self._abort(e)
            raise
        return self

    def __exit__(
        self, _kind: object, error: BaseException | None, _trace: object
    ) -> None:
        if not self._committed:
            self._abort(error)

    def write_disk(
        self, planned: records.DiskRecord, source: block.BlockSource
    ) -> records.DiskRecord:
        """Store one disk.

        :param planned: of the ``disks`` given; its type tells whether clean
            extents may be taken from the parent
        :returns: what the record will say of the disk
        :raises exception.FullNeeded: only an incremental would have done
        :raises exception.EkkoError: leave the context, nothing is kept
        """
        with contextlib.ExitStack() as stack:
            choice = stack.enter_context(self._parent.open(planned, source))
            disk, parent = choice.disk, choice.parent
            if choice.alarm is not None:
                self._notes.append(choice.alarm)
            if self._incremental and disk.type is records.Type.FULL:
                raise exception.FullNeeded(disk.name, str(disk.full_reason))
            directory = stack.enter_context(
                temporary.directory(self._settings.temporary_directory)
            )
            keyring, key = keyrings.begin(
                self._settings.encryption,
                self._settings.key_provider,
                parent.record if parent else None,
            )
            header = self._header(disk, source, parent)
            path = directory / 'manifest'
            driver = manifests.driver(self._settings.manifest)
            with driver.create(path, header) as manifest:
                written = writer.DiskWriter(
                    self._catalog.store,
                    self._settings,
                    header,
                    keyring,
                    parent.manifest if parent else None,
                    trusted=disk.type is records.Type.INCREMENTAL,
                ).write(
                    pace.source(source, self._settings.bandwidth),
                    manifest,
                    self._on_progress,
                )
            stored = self._store_manifest(
                path, header, keyring, written.read_bytes
            )
        result = dataclasses.replace(
            disk,
            size=header.size,
            segment_size=header.segment_size,
            manifest=stored,
            manifest_compression=self._settings.compression,
            manifest_encryption=self._settings.encryption,
            key=key,
            owners=tuple(
                header.owners[index].backup
                for index in sorted(written.owners)
                if index != header.own
            ),
            read_bytes=written.read_bytes,
            changed_bytes=written.changed_bytes,
            stored_bytes=written.stored_bytes
            + sum(part.size for part in stored),
            objects=written.objects + len(stored),
        )
        self._written[disk.identity] = result
        return result

    def _store_manifest(
        self,
        path: pathlib.Path,
        header: base.Header,
        keyring: keyrings.Keyring,
        read_bytes: int,
    ) -> tuple[records.Part, ...]:
        own = header.owners[header.own]
        stored = []
        for part in parts.upload(
            self._catalog.store,
            path,
            own,
            header.segment_size,
            codecs.compression(self._settings.compression),
            keyring.cipher(own, self._settings.encryption),
        ):
            stored.append(part)
            # A chance to end, also if there was nothing to read.
            self._on_progress(
                progress.Progress(
                    header.disk, header.size, header.size, read_bytes
                )
            )
        return tuple(stored)

    def commit(self, quiesced: bool | str = 'not requested') -> records.Record:
        """Make the backup available.

        :param quiesced: true, or why the file systems were not frozen
        :raises exception.EkkoError: it is not available
        """
        now = timeutils.utcnow(with_timezone=True)
        record = dataclasses.replace(
            self.record,
            status=records.Status.AVAILABLE,
            progress=None,
            updated_at=now,
            finished_at=now,
            seconds=round(time.monotonic() - self._began, 3),
            disks=tuple(
                self._written[disk.identity] for disk in self.record.disks
            ),
            quiesced=quiesced,
            note='; '.join(self._notes) or None,
        )
        self._catalog.tidy_line(record, frozenset())
        self._check_parent()
        self._check_own()
        self._catalog.put(record)
        self._committed = True
        self.record = record
        # Whoever took us for dead in between has a fence there now, or finds
        # that this is available.
        if self._is_fenced_after_all():
            self._retract()
            raise self._discarded()
        return record

    def _is_fenced_after_all(self) -> bool:
        try:
            return self._catalog.is_fenced(self.record)
        except exception.EkkoError as e:
            # There was none a moment ago. If there is one, the next run sees
            # whether anything is missing.
            LOG.warning(
                'it is not known whether a backup was discarded just now: '
                'backup=%s %s',
                self.record.id,
                e,
            )
            return False

    def _retract(self) -> None:
        """Delete what has been available: others may have built on it."""
        try:
            prune.delete(self._catalog, self._settings, self.record.id)
            self._catalog.unfence(self.record.server, self.record.id)
        except exception.EkkoError as e:
            LOG.warning('a fence stays: backup=%s %s', self.record.id, e)

    def _header(
        self,
        disk: records.DiskRecord,
        source: block.BlockSource,
        parent: opened.OpenedDisk | None,
    ) -> base.Header:
        before = parent.manifest.header if parent else None
        used = (
            (parent.manifest.header.backup, *parent.record.owners)
            if parent
            else ()
        )
        return base.Header(
            set=disk.set,
            backup=self.record.id,
            parent=before.backup if before else None,
            disk=disk.identity,
            size=source.size,
            segment_size=before.segment_size
            if before
            else self._settings.segment_size,
            owners=writer.owners(
                before.owners if before else (),
                used,
                base.Owner(disk.set, self.record.id),
            ),
            codecs=writer.codecs(
                self._settings, before.codecs if before else ()
            ),
        )

    def _on_progress(self, now: progress.Progress) -> None:
        if time.monotonic() - self._beaten > self._settings.heartbeat:
            self._check_own()
            self.record = dataclasses.replace(
                self.record,
                updated_at=timeutils.utcnow(with_timezone=True),
                progress=self._progress(now),
            )
            self._catalog.put(self.record)
            self._beaten = time.monotonic()
        self._report(now)

    def _progress(self, now: progress.Progress) -> records.Progress:
        seconds = time.monotonic() - self._began
        size = sum(max(disk.size, 1) for disk in self.record.disks)
        done = now.position + sum(disk.size for disk in self._written.values())
        read = now.moved + sum(
            disk.read_bytes for disk in self._written.values()
        )
        # A disk may have grown since it was planned.
        done = min(done, size)
        return records.Progress(
            percent=100 * done // size,
            read_bytes=read,
            rate=int(read / seconds),
            remaining=int(seconds * (size - done) / done) if done else None,
        )

    def _check_alone(self) -> None:
        survey = self._catalog.survey(self.record.server, since=self._survey)
        for other in survey.records:
            if (
                other.id != self.record.id
                and other.status is records.Status.CREATING
                # Whose process has not begun yet will find ours when it does.
                and other.process != process.NOBODY
                and not chain.is_abandoned(other, self._settings.stale_after)
            ):
                raise exception.InProgress(other.server, other.id, 'backup')
        self._catalog.tidy_line(self.record, survey.gone)

    def _check_parent(self) -> None:
        """A deletion of the parent may have begun just before ours did."""
        parent = self._parent.record
        if parent is None:
            return
        found = self._catalog.find(self.record.server, parent.id)
        if found is None or found.status is not records.Status.AVAILABLE:
            raise exception.InProgress(
                self.record.server, parent.id, 'deletion of backup'
            )

    def _check_own(self) -> None:
        """Somebody may have taken us for dead and collected our objects."""
        found = self._catalog.find(self.record.server, self.record.id)
        if (
            found is None
            or found.status is not records.Status.CREATING
            or found.process != self.record.process
        ):
            raise self._discarded()
        self._check_fence()

    def _check_fence(self) -> None:
        """The record may say nothing of that, if we wrote it since."""
        if self._catalog.is_fenced(self.record):
            raise self._discarded()

    def _discarded(self) -> exception.InProgress:
        return exception.InProgress(
            self.record.server, self.record.id, 'deletion of backup'
        )

    def _abort(self, error: BaseException | None) -> None:
        reason = 'it was cancelled'
        if isinstance(error, Exception):
            reason = self.record.says_of(error) or reason
        try:
            discard.unfinished(self._catalog, self.record, reason, own=True)
        except exception.EkkoError as e:
            if self._may_be_known():
                LOG.warning(
                    'left for the next run to collect: backup=%s %s',
                    self.record.id,
                    e,
                )

    def _may_be_known(self) -> bool:
        """Whether the store has a record, so that there may be leftovers."""
        try:
            found = self._catalog.find(self.record.server, self.record.id)
        except exception.EkkoError:
            return True
        return found is not None
