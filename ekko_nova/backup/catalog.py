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

"""Records in a store: the only list of what backups there are.

The records are the truth. The index merely finds a backup's server by id; an
entry that is missing or damaged is written anew from the records.

A listing may lag behind: Swift adds a new object to its container's listing
some time later when the container's server is busy. A backup that nobody sees
would be one whose needs a deletion does not spare. So each server's *line*
names its backups in one object, which is read as it was written, and a backup
counts if either the line or the listing names it. Where listings do not lag, a
damaged line is no loss.
"""

from collections.abc import Generator
from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import logging
import math
import typing

from oslo_utils import timeutils

from ekko_nova.backup import document
from ekko_nova.backup import naming
from ekko_nova.backup import notes
from ekko_nova.backup import pipeline
from ekko_nova.backup import record as records
from ekko_nova.backup.store import base as store_base
from ekko_nova import exception

__all__ = ('READERS', 'Catalog', 'Survey')

LOG = logging.getLogger(__name__)

#: Records that are read at once: each is small, and a request of its own.
READERS: typing.Final = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Survey:
    """What a look through the records found.

    :ivar records: the readable ones, oldest first
    :ivar damaged: an error for each of the others
    :ivar gone: backups that a line or a listing still names
    """

    records: tuple[records.Record, ...]
    damaged: tuple[exception.DataDamaged, ...]
    gone: frozenset[str] = frozenset()


class Catalog:
    """The records of one store."""

    def __init__(self, store: store_base.Store) -> None:
        self.store = store
        self.notes = notes.Notes(store)

    def put(self, record: records.Record) -> None:
        """Write a record, new or again."""
        name = naming.record_name(record.server, record.id)
        self.store.put(name, document.seal(records.to_document(record)))

    def announce(self, record: records.Record) -> None:
        """Write a new record, and what finds it."""
        named = self._line(record.server)
        self._put_line(record.server, named | {record.id})
        self.put(record)
        self._put_index(record.server, record.id)

    def fence(self, record: records.Record) -> bool:
        """Keep whoever makes a backup from ever completing it.

        :returns: whether there was none before
        """
        now = timeutils.utcnow(with_timezone=True).isoformat()
        fence = document.seal({'format': 1, 'at': now})
        try:
            self.store.put(
                naming.fence_name(record.server, record.id),
                fence,
                if_absent=True,
            )
        except exception.ObjectExists:
            return False
        return True

    def is_fenced(self, record: records.Record) -> bool:
        """Whether a backup was discarded while somebody made it."""
        return self.exists(naming.fence_name(record.server, record.id))

    def unfence(self, server: str, backup: str) -> None:
        """Whoever made it has noticed, or nobody will run into it."""
        self.store.delete(naming.fence_name(server, backup))

    def fences(self, server: str) -> Iterator[tuple[str, float]]:
        """The fences of a server: each backup, and the fence's age, seconds.

        A damaged one counts as very old.
        """
        for found in self.store.list(naming.fence_prefix(server)):
            try:
                fence = document.unseal(found.name, self.store.get(found.name))
                since = datetime.datetime.fromisoformat(fence['at'])
                age = timeutils.delta_seconds(
                    since, timeutils.utcnow(with_timezone=True)
                )
            except exception.ObjectMissing:
                continue
            except exception.ObjectDamaged as e:
                LOG.warning('a fence says nothing: %s', e)
                age = math.inf
            yield _backup_of(found.name), age

    def tidy_line(self, record: records.Record, gone: frozenset[str]) -> None:
        """Have the line name a backup that is being made, and no gone ones.

        For its maker, who is alone: a deletion writes no line, because it
        might undo what the maker of a backup has just written.
        """
        named = self._line(record.server)
        wanted = (named - gone) | {record.id}
        if wanted != named:
            self._put_line(record.server, wanted)

    def withdraw(self, record: records.Record) -> None:
        """Have a backup be none any more; all else of it stays."""
        self.store.delete(naming.record_name(record.server, record.id))

    def remove(self, record: records.Record) -> None:
        """Forget a backup; the line, too, when it was the last one of it."""
        self.notes.remove(record.server, record.id)
        self.store.delete(naming.index_name(record.id))
        self.withdraw(record)
        named = self._line(record.server)
        if named and not any(
            self.exists(naming.record_name(record.server, backup))
            for backup in named
        ):
            self.store.delete(naming.line_name(record.server))

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name."""
        try:
            self.store.stat(name)
        except exception.ObjectMissing:
            return False
        return True

    def get(self, backup: str) -> records.Record:
        """The record of a backup.

        :raises exception.BackupNotFound: there is none of this id
        :raises exception.DataDamaged: it is damaged
        """
        try:
            naming.check('backup', backup)
            server = self._indexed(backup)
            if server is not None:
                return self._read(naming.record_name(server, backup))
            server = self._server_of(backup)
            record = self._read(naming.record_name(server, backup))
        except (exception.InvalidName, exception.ObjectMissing) as e:
            raise exception.BackupNotFound(backup, self.store.url) from e
        LOG.warning('the index is written anew: backup=%s', backup)
        # Who reads may not be allowed to write.
        with contextlib.suppress(exception.EkkoError):
            self._put_index(server, backup)
        return record

    def _indexed(self, backup: str) -> str | None:
        """The server of a backup, if the index tells."""
        name = naming.index_name(backup)
        try:
            entry = document.unseal(name, self.store.get(name))
        except (exception.ObjectDamaged, exception.ObjectMissing):
            return None
        return str(entry['server'])

    def _server_of(self, backup: str) -> str:
        """The same by a search, which the index only saves."""
        for found in self._names(None):
            _, server, file_name = found.split('/')
            if file_name == f'{backup}.json':
                return server
        raise exception.ObjectMissing(
            self.store.url, naming.index_name(backup)
        )

    def _put_index(self, server: str, backup: str) -> None:
        entry = document.seal({'format': 1, 'server': server})
        self.store.put(naming.index_name(backup), entry)

    def find(self, server: str, backup: str) -> records.Record | None:
        """The record of a backup of a known server, if there is one."""
        try:
            return self._read(naming.record_name(server, backup))
        except exception.ObjectMissing:
            return None

    def survey(
        self, server: str | None = None, *, since: Survey | None = None
    ) -> Survey:
        """All records, of one server or of all, with the damaged ones.

        Of all servers, those that a lagging listing does not name are not.

        :param since: an earlier one. Backups that had ended by then are
            taken from it, whatever became of them: enough for who only asks
            what is being made.
        :raises exception.ObjectDamaged: the server's line is
        """
        known = {
            naming.record_name(record.server, record.id): record
            for record in (since.records if since else ())
            if record.status in records.ENDED
        }

        def look(name: str) -> records.Record | exception.DataDamaged:
            try:
                return known.get(name) or self._read(name)
            except exception.DataDamaged as e:
                return e

        readable = []
        damaged = []
        gone = set()
        for found in pipeline.ordered(look, self._names(server), READERS):
            if isinstance(found, records.Record):
                readable.append(found)
            elif isinstance(found, exception.ObjectMissing):
                gone.add(_backup_of(found.name))
            else:
                damaged.append(found)
        readable.sort(key=lambda record: (record.created_at, record.id))
        return Survey(tuple(readable), tuple(damaged), frozenset(gone))

    def read(self, name: str) -> records.Record | None:
        """The record of this name; what is damaged is logged, and none."""
        try:
            return self._read(name)
        except exception.ObjectMissing:
            return None
        except exception.DataDamaged as e:
            LOG.error('a backup cannot be listed: %s', e)
            return None

    def line(self, server: str) -> tuple[records.Record, ...]:
        """All records of a server, oldest first, or none of them.

        :raises exception.DataDamaged: one of them cannot be read
        """
        survey = self.survey(server)
        for damage in survey.damaged:
            raise damage
        return survey.records

    def _names(self, server: str | None) -> Generator[str, None, None]:
        named = set()
        if server is not None:
            named = {
                naming.record_name(server, backup)
                for backup in self._line(server)
            }
        # Before the listing, which takes longer: whoever reads the records
        # may begin.
        yield from sorted(named)
        for found in self.store.list(naming.record_prefix(server)):
            if found.name not in named:
                yield found.name

    def _line(self, server: str) -> frozenset[str]:
        name = naming.line_name(server)
        try:
            value = document.unseal(name, self.store.get(name))
        except exception.ObjectMissing:
            return frozenset()
        except exception.ObjectDamaged as e:
            if not self.store.properties.consistent_list:
                raise
            LOG.warning('the listing says what a line would: %s', e)
            return frozenset(
                _backup_of(found.name)
                for found in self.store.list(naming.record_prefix(server))
            )
        return frozenset(value['backups'])

    def _put_line(self, server: str, backups: frozenset[str]) -> None:
        name = naming.line_name(server)
        value = {'format': 1, 'backups': sorted(backups)}
        self.store.put(name, document.seal(value))

    def _read(self, name: str) -> records.Record:
        value = document.unseal(name, self.store.get(name))
        record = records.from_document(name, value)
        if naming.record_name(record.server, record.id) != name:
            raise exception.ObjectDamaged(
                name, 'its name must be that of the backup it describes'
            )
        return record


def _backup_of(record_name: str) -> str:
    return record_name.rpartition('/')[2].removesuffix('.json')
