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

"""Orders that concern a stored backup: delete, verify, export, give up.

They may be carried out on any host. How far one is and what came of it is in
a note on the backup, see :mod:`ekko_nova.backup.notes`.
"""

from collections.abc import Iterator
import contextlib
import logging
import time
import typing

from ekko_nova.backup import discard
from ekko_nova.backup import notes
from ekko_nova.backup import progress
from ekko_nova.backup import prune
from ekko_nova.backup import record as records
from ekko_nova.backup import temporary
from ekko_nova.backup import verify
from ekko_nova.compute import conversation as conversations
from ekko_nova.compute import engine as engines
from ekko_nova.compute import order as orders
from ekko_nova.compute import restore
from ekko_nova import exception

__all__ = ('delete', 'drop', 'export', 'fail', 'verify_backup')

LOG = logging.getLogger(__name__)


class _Note:
    """A note that says how far something is; written now and then."""

    def __init__(
        self,
        engine: engines.Engine,
        record: records.Record,
        kind: str,
        **facts: typing.Any,
    ) -> None:
        self._engine = engine
        self._record = record
        self._kind = kind
        self._facts = facts
        self._percent = 0
        self._beaten = 0.0

    def write(self, status: str, **more: typing.Any) -> None:
        """Write it anew."""
        facts = {'percent': self._percent, **self._facts, **more}
        self._engine.catalog.notes.put(
            self._record.server,
            self._record.id,
            self._kind,
            notes.work(status, **facts),
        )

    def beat(self) -> None:
        """Say that it goes on, if the store has room for that."""
        self._beaten = time.monotonic()
        with contextlib.suppress(exception.StoreFull):
            self.write('running')

    def keep_alive(self) -> None:
        """Say that it goes on, now and then."""
        if time.monotonic() - self._beaten > self._engine.settings.heartbeat:
            self.beat()

    def report(self, now: progress.Progress) -> None:
        """Take note of progress."""
        before = 0
        for disk in self._record.disks:
            if disk.name == now.disk:
                break
            before += disk.size
        size = sum(disk.size for disk in self._record.disks)
        self._percent = 100 * (before + now.position) // max(size, 1)
        self.keep_alive()


@contextlib.contextmanager
def _noted(
    engine: engines.Engine,
    record: records.Record,
    kind: str,
    **facts: typing.Any,
) -> Iterator[_Note]:
    """Keep a note on something, and if it fails, why."""
    note = _Note(engine, record, kind, **facts)
    note.beat()
    try:
        yield note
    except exception.EkkoError as e:
        with contextlib.suppress(exception.EkkoError):
            note.write('failed', error=exception.told(e))
        raise


def _reports(
    note: _Note, conversation: conversations.Conversation
) -> progress.Report:
    """Takes note of progress, unless it is to end."""

    def report(now: progress.Progress) -> None:
        conversation.check()
        note.report(now)

    return report


def _record(order: typing.Any, engine: engines.Engine) -> records.Record:
    return restore.of_project(engine.catalog, order.backup, order.site.project)


def delete(
    order: orders.DeleteOrder, engine: engines.Engine
) -> dict[str, typing.Any]:
    """Delete a backup."""
    record = _record(order, engine)
    if record.status is records.Status.DELETING:
        # Whoever is at it writes the note.
        discard.check_free(record, engine.settings, force=order.force)
    with _noted(engine, record, 'delete', request_id=order.request_id) as note:
        reclaimed = prune.delete(
            engine.catalog,
            engine.settings,
            record.id,
            force=order.force,
            beat=note.keep_alive,
        )
    return {'objects': reclaimed.objects}


def verify_backup(
    order: orders.VerifyOrder,
    engine: engines.Engine,
    conversation: conversations.Conversation,
) -> dict[str, typing.Any]:
    """Verify a backup; the note has what is wrong with it."""
    record = _record(order, engine)
    known = engine.catalog.notes.findings(record.server, record.id)
    with _noted(
        engine,
        record,
        'verify',
        request_id=order.request_id,
        deep=order.deep,
        findings=known,
    ) as note:
        findings = verify.verify(
            engine.catalog.store,
            engine.settings,
            record,
            deep=order.deep,
            most=verify.MOST_FINDINGS,
            report=_reports(note, conversation),
        )
        found = verify.still_known(known, findings, deep=order.deep)
        note.write('done', percent=100, findings=found)
    if found:
        LOG.error(
            'backup %s is DAMAGED and does not restore: %s', record.id, found
        )
    return {'findings': len(found)}


def export(
    order: orders.ExportOrder,
    engine: engines.Engine,
    conversation: conversations.Conversation,
) -> dict[str, typing.Any]:
    """Make a disk a qcow2 file, and have it uploaded."""
    record = _record(order, engine)
    with (
        _noted(
            engine,
            record,
            'export',
            request_id=order.request_id,
            image=order.image,
            disk=order.disk,
        ) as note,
        temporary.directory(engine.places.scratch) as directory,
    ):
        path = directory / 'disk.qcow2'
        restore.restore_disk(
            engine.catalog,
            engine.settings,
            record.id,
            output=path,
            name=order.disk,
            format='qcow2',
            margin=engine.places.margin,
            report=_reports(note, conversation),
        )
        conversation.upload(path, note.beat, engine.settings.heartbeat)
        note.write('done', percent=100)
    return {}


def fail(
    order: orders.FailOrder,
    engine: engines.Engine,
    conversation: conversations.Conversation,
) -> dict[str, typing.Any]:
    """List a backup as an error."""
    record = _record(order, engine)
    discard.give_up(
        engine.catalog, engine.settings, record.id, conversation.begun
    )
    return {}


def drop(
    order: orders.DropOrder, engine: engines.Engine
) -> dict[str, typing.Any]:
    """Say of what waited for its turn that it is not done."""
    for backup, kind in order.notes:
        try:
            _drop(engine, backup, kind, order.reason)
        except exception.EkkoError as e:
            LOG.warning('%s of backup %s stays queued: %s', kind, backup, e)
    return {}


def _drop(engine: engines.Engine, backup: str, kind: str, reason: str) -> None:
    record = engine.catalog.get(backup)
    place = (record.server, record.id, kind)
    note = engine.catalog.notes.get(*place)
    if note is not None and note['status'] == 'queued':
        failed = {**note, 'status': 'failed', 'error': reason}
        engine.catalog.notes.put(*place, notes.work(**failed))
