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

"""The names of things in a store, in one place.

::

    backups/<server>/<backup>.json      the record: status, disks, times
    lines/<server>.json                 which backups a server has
    index/<backup>                      which server a backup is of
    notes/<server>/<backup>/<kind>.json what may be lost without harm
    fences/<server>/<backup>.json       it was discarded: not to be completed
    sets/<set>/<backup>/<number>        an object of pieces, 8 hex digits
    sets/<set>/<backup>/manifest-<n>    a part of the manifest, 4 hex digits
"""

import re

from ekko_nova import exception

__all__ = (
    'backup_prefix',
    'check',
    'fence_name',
    'fence_prefix',
    'index_name',
    'line_name',
    'manifest_part_name',
    'note_name',
    'note_prefix',
    'object_name',
    'record_name',
    'record_prefix',
)

_COMPONENT = re.compile(r'[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}')


def check(what: str, name: str) -> str:
    """Return ``name`` if it can stand in an object's name.

    :raises exception.InvalidName: it cannot
    """
    if not _COMPONENT.fullmatch(name):
        raise exception.InvalidName(
            what,
            name,
            'use 1 to 200 letters, digits, ".", "_" and "-", '
            'and begin with none of "."',
        )
    return name


def record_prefix(server: str | None = None) -> str:
    """Where the records of one server are, or all records."""
    return f'backups/{server}/' if server else 'backups/'


def record_name(server: str, backup: str) -> str:
    """The object that makes a backup exist."""
    return f'{record_prefix(server)}{backup}.json'


def line_name(server: str) -> str:
    """The object that names all backups of a server."""
    return f'lines/{server}.json'


def index_name(backup: str) -> str:
    """The object that tells of which server a backup is."""
    return f'index/{backup}'


def fence_prefix(server: str) -> str:
    """Where the fences are around backups of one server."""
    return f'fences/{server}/'


def fence_name(server: str, backup: str) -> str:
    """What keeps a backup from being completed that was discarded."""
    return f'{fence_prefix(server)}{backup}.json'


def note_prefix(server: str | None = None, backup: str | None = None) -> str:
    """Where the notes are: of one backup, of one server, or all."""
    parts = ['notes', *filter(None, (server, backup))]
    return '/'.join(parts) + '/'


def note_name(server: str, backup: str, kind: str) -> str:
    """A note on a backup."""
    return f'{note_prefix(server, backup)}{kind}.json'


def backup_prefix(set_id: str, backup: str) -> str:
    """Where everything is that one backup stored of one disk."""
    return f'sets/{set_id}/{backup}/'


def object_name(set_id: str, backup: str, number: int) -> str:
    """An object of pieces; names sort as numbers do."""
    return f'{backup_prefix(set_id, backup)}{number:08x}'


def manifest_part_name(set_id: str, backup: str, part: int) -> str:
    """A part of the manifest; names sort as numbers do."""
    return f'{backup_prefix(set_id, backup)}manifest-{part:04x}'
