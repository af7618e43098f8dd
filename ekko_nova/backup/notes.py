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

"""Notes on backups: what may be lost, or late, without harm to any of them.

A record belongs to who makes or deletes its backup. What others have to say
is in objects of its own, so that none of them can undo what another wrote:

=============  ==========================================================
labels         name, description and metadata, as they were changed last
verify         what the last verification found, or how far it is
export         what became of the last export
delete         why the last deletion failed, or that one is waited for
=============  ==========================================================
"""

from collections.abc import Iterator
import logging
import typing

from oslo_utils import timeutils

from ekko_nova.backup import document
from ekko_nova.backup import naming
from ekko_nova.backup.store import base as store_base
from ekko_nova import exception

__all__ = ('KINDS', 'Notes', 'findings', 'place', 'work')

LOG = logging.getLogger(__name__)

KINDS: typing.Final = ('labels', 'verify', 'export', 'delete')


def place(name: str) -> tuple[str, str, str]:
    """Server, backup and kind of the note of this name."""
    _, server, backup, file_name = name.split('/')
    return server, backup, file_name.removesuffix('.json')


def work(status: str, percent: int, **facts: typing.Any) -> document.Document:
    """A note that tells how far something is, as of now.

    :param status: queued, running, done or failed
    :param facts: what else there is to say
    """
    now = timeutils.utcnow(with_timezone=True)
    return {
        **facts,
        'status': status,
        'percent': percent,
        'updated_at': now.isoformat(),
    }


def findings(note: document.Document | None) -> list[document.Document]:
    """What a note on a verification says is wrong.

    Each with the members of :class:`ekko_nova.backup.verify.Finding`.
    """
    return list((note or {}).get('findings', ()))


class Notes:
    """The notes of one store."""

    def __init__(self, store: store_base.Store) -> None:
        self._store = store

    def put(
        self, server: str, backup: str, kind: str, note: document.Document
    ) -> None:
        """Write a note, new or again."""
        name = naming.note_name(server, backup, kind)
        self._store.put(name, document.seal({'format': 1, **note}))

    def get(
        self, server: str, backup: str, kind: str
    ) -> document.Document | None:
        """A note, if there is one."""
        return self.read(naming.note_name(server, backup, kind))

    def of(self, server: str, backup: str) -> dict[str, document.Document]:
        """All notes on a backup, by kind."""
        # Not by a listing, which may lag behind.
        found = {kind: self.get(server, backup, kind) for kind in KINDS}
        return {kind: note for kind, note in found.items() if note}

    def findings(self, server: str, backup: str) -> list[document.Document]:
        """What is known to be wrong with a backup."""
        return findings(self.get(server, backup, 'verify'))

    def list(
        self, server: str | None = None
    ) -> Iterator[store_base.ObjectStat]:
        """What notes there are, on the backups of one server or of all."""
        return self._store.list(naming.note_prefix(server))

    def read(self, name: str) -> document.Document | None:
        """The note of this name; a damaged one counts as none."""
        try:
            note = document.unseal(name, self._store.get(name))
        except exception.ObjectMissing:
            return None
        except exception.ObjectDamaged as e:
            LOG.warning('ignoring a note: %s', e)
            return None
        del note['format']
        return note

    def forget(self, server: str, backup: str, kind: str) -> None:
        """Remove one note."""
        self._store.delete(naming.note_name(server, backup, kind))

    def remove(self, server: str, backup: str) -> None:
        """Remove all notes on a backup."""
        for kind in KINDS:
            self.forget(server, backup, kind)
