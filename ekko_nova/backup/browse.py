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

"""Look through many backups again and again, at the cost of what changed.

Each look is a listing; only what has another ETag than last time is read.
Where listings lag behind, so does the view, by as much.
"""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import typing

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import document
from ekko_nova.backup import naming
from ekko_nova.backup import notes as notes_
from ekko_nova.backup import pipeline
from ekko_nova.backup import record as records
from ekko_nova.backup.store import base as store_base

__all__ = ('Browser', 'Seen')

_T = typing.TypeVar('_T')


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A backup, with the notes on it by kind."""

    record: records.Record
    notes: typing.Mapping[str, document.Document]


class _Cache(typing.Generic[_T]):
    """What was read, by name and ETag; forgets what is not listed any more.

    Two that look at once may both read: none waits for the other.
    """

    def __init__(self, read: Callable[[str], _T | None]) -> None:
        self._read = read
        self._known: dict[str, tuple[str, _T]] = {}

    def look(self, listed: Iterable[store_base.ObjectStat]) -> dict[str, _T]:
        """All that is listed, by name; without what cannot be read."""
        before, after = self._known, {}
        result = {}
        for stat in listed:
            etag, value = before.get(stat.name, (None, None))
            if value is None or stat.etag is None or stat.etag != etag:
                value = self._read(stat.name)
            if value is None:
                continue
            result[stat.name] = value
            if stat.etag is not None:
                after[stat.name] = (stat.etag, value)
        self._known = after
        return result


class Browser:
    """All backups of one store. Many threads may look.

    Memory: some 4 KiB for each backup.
    """

    def __init__(self, catalog: catalogs.Catalog) -> None:
        self.catalog = catalog
        self._records = _Cache(catalog.read)
        self._notes = _Cache(catalog.notes.read)

    def all(self) -> list[Seen]:
        """Every backup, oldest first, leaving out records that are damaged."""
        store = self.catalog.store
        found = self._records.look(store.list(naming.record_prefix()))
        noted = self._notes.look(self.catalog.notes.list())
        notes: dict[tuple[str, str], dict[str, document.Document]] = {}
        for name, note in noted.items():
            server, backup, kind = notes_.place(name)
            notes.setdefault((server, backup), {})[kind] = note
        return [
            Seen(record, notes.get((record.server, record.id), {}))
            for record in _sorted(found.values())
        ]

    def of(self, server: str) -> list[Seen]:
        """The backups of a server, oldest first, as of this moment."""
        line = (record for record in self.catalog.survey(server).records)
        return list(pipeline.ordered(self._seen, line, catalogs.READERS))

    def get(self, backup: str) -> Seen:
        """One backup, as of this moment.

        :raises exception.BackupNotFound: there is none of this id
        :raises exception.DataDamaged: its record is damaged
        """
        return self._seen(self.catalog.get(backup))

    def _seen(self, record: records.Record) -> Seen:
        return Seen(record, self.catalog.notes.of(record.server, record.id))


def _sorted(found: Iterable[records.Record]) -> list[records.Record]:
    return sorted(found, key=lambda record: (record.created_at, record.id))
