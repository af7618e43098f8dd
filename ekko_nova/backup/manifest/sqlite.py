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

"""The manifest as an SQLite file, which anyone can open.

``PRAGMA application_id`` is 0x454B4B4F (``EKKO``), ``PRAGMA user_version``
the version of the format, 1. The tables of version 1::

    CREATE TABLE header (document TEXT, present BLOB, crc32 INTEGER)
    CREATE TABLE stripe (number INTEGER PRIMARY KEY,
                         count BLOB, zero BLOB, mask BLOB, owner BLOB,
                         object BLOB, offset BLOB, length BLOB, codec BLOB,
                         digest BLOB, crc32 INTEGER)

``header`` has one row. ``document`` is as :mod:`.document` describes;
``present`` is a set of bits: bit *i* % 8 of byte *i* // 8 tells whether stripe
*i* is in the file, and its last byte is not zero; ``crc32`` is the CRC-32 of
``document`` and ``present`` together. A row of ``stripe`` is a stripe, its
columns as :mod:`.stripe` describes; ``crc32`` is the CRC-32 of its record:
number, the length of each column (all 32 bits, little-endian), columns.

SQLite itself would give back changed bytes, or lose a row, without a word.
With the checksums and ``present`` a reader must notice every damage to what
it reads; it does not notice damage to bytes that mean nothing (unused space,
counters), nor what it never reads. The store's checksum is over all bytes.
"""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import sqlite3
import threading
import typing
import zlib

from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import document
from ekko_nova.backup.manifest import stripe
from ekko_nova import exception

__all__ = ('SqliteDriver',)

_APPLICATION_ID: typing.Final = 0x454B4B4F
_VERSION: typing.Final = 1

#: A row is about 24 KiB: pages of 16 KiB and more waste a quarter of the
#: file, smaller ones cost time and save little.
_PAGE_SIZE: typing.Final = 4096

# The statements are made of constants only.
_NAMES: typing.Final = ('number', *stripe.COLUMNS, 'crc32')
_HEADER_TABLE: typing.Final = (
    'CREATE TABLE header (document TEXT, present BLOB, crc32 INTEGER)'
)
_STRIPE_TABLE: typing.Final = (
    'CREATE TABLE stripe (number INTEGER PRIMARY KEY, '
    + ', '.join(f'{name} BLOB' for name in stripe.COLUMNS)
    + ', crc32 INTEGER)'
)
_VALUES: typing.Final = ', '.join('?' * len(_NAMES))
_INSERT: typing.Final = f'INSERT INTO stripe VALUES ({_VALUES})'  # noqa: S608
_SELECT: typing.Final = f'SELECT {", ".join(_NAMES)} FROM stripe'  # noqa: S608


class SqliteDriver(base.Driver):
    """Makes and opens SQLite manifests."""

    magic = b'SQLite format 3\0'

    def create(self, path: pathlib.Path, header: base.Header) -> base.Writer:
        return _Writer(path, header)

    def open(self, path: pathlib.Path) -> base.Reader:
        with path.open('rb') as file:
            if file.read(len(self.magic)) != self.magic:
                raise exception.ObjectDamaged(
                    str(path), 'it must begin as an SQLite file does'
                )
        return _Reader(path)


class _Writer(base.Writer):
    def __init__(self, path: pathlib.Path, header: base.Header) -> None:
        self._path = path
        self._document = document.encode(header)
        self._stripes = document.stripe_count(header)
        self._present = bytearray()
        self._next = 0
        self._finished = False
        with contextlib.ExitStack() as stack:
            with self._writing():
                os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
                stack.callback(path.unlink)
                # An absolute path is never a URI, nor ":memory:".
                self._database = sqlite3.connect(
                    path.absolute(),
                    isolation_level=None,
                    check_same_thread=False,
                )
                stack.callback(self._database.close)
                self._begin()
            stack.pop_all()

    def _begin(self) -> None:
        # The file is private until it is finished, and of no use if it is
        # not: nothing needs to survive a crash.
        for statement in (
            f'PRAGMA page_size = {_PAGE_SIZE}',
            'PRAGMA journal_mode = OFF',
            'PRAGMA synchronous = OFF',
            'PRAGMA locking_mode = EXCLUSIVE',
            f'PRAGMA application_id = {_APPLICATION_ID}',
            f'PRAGMA user_version = {_VERSION}',
            'BEGIN',
            _HEADER_TABLE,
            _STRIPE_TABLE,
        ):
            self._database.execute(statement)

    def add(self, number: int, columns: base.Columns) -> None:
        if self._finished or not self._next <= number < self._stripes:
            raise ValueError(f'stripe {number} cannot be added here')
        stripe.check(columns)
        self._next = number + 1
        if stripe.is_zero(columns):
            return
        self._present += bytes(number // 8 + 1 - len(self._present))
        self._present[number // 8] |= 1 << number % 8
        parts = (getattr(columns, name) for name in stripe.COLUMNS)
        row = (number, *parts, zlib.crc32(stripe.record(number, columns)))
        with self._writing():
            self._database.execute(_INSERT, row)

    def finish(self) -> None:
        present = bytes(self._present)
        row = (
            self._document.decode('ascii'),
            present,
            zlib.crc32(self._document + present),
        )
        with self._writing():
            self._database.execute('INSERT INTO header VALUES (?, ?, ?)', row)
            self._database.execute('COMMIT')
            self._database.close()
        self._finished = True

    def close(self) -> None:
        self._database.close()
        if not self._finished:
            self._path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError as e:
            raise exception.TargetExists(str(self._path)) from e
        except OSError as e:
            raise exception.TargetFailed(
                str(self._path), e.strerror or str(e)
            ) from e
        except sqlite3.OperationalError as e:
            raise exception.TargetFailed(str(self._path), str(e)) from e


class _Reader(base.Reader):
    """One connection for all threads, one of which uses it at a time."""

    def __init__(self, path: pathlib.Path) -> None:
        self._name = str(path)
        self._lock = threading.Lock()
        # as_uri() quotes ?, # and %. Nobody changes a finished manifest, so
        # SQLite need not look for locks or journals beside it.
        uri = path.absolute().as_uri() + '?mode=ro&immutable=1'
        with contextlib.ExitStack() as stack:
            with self._reading():
                self._database = sqlite3.connect(
                    uri,
                    isolation_level=None,
                    check_same_thread=False,
                    uri=True,
                )
                stack.callback(self._database.close)
            self._check_format()
            self._header, self._present = self._read_header()
            last = int.from_bytes(self._present, 'little').bit_length()
            if last > document.stripe_count(self._header):
                raise self._damaged('its stripes must be within the disk')
            stack.pop_all()

    @property
    def header(self) -> base.Header:
        return self._header

    def stripe(self, number: int) -> base.Columns | None:
        if not self._is_present(number):
            return None
        row = self._row(_SELECT + ' WHERE number = ?', number)
        return self._columns(number, row)

    def stripes(self) -> Iterator[tuple[int, base.Columns]]:
        with self._reading():
            cursor = self._database.execute(_SELECT + ' ORDER BY number')
        with contextlib.closing(cursor):
            candidates = range(len(self._present) * 8)
            for number in filter(self._is_present, candidates):
                with self._reading():
                    row = cursor.fetchone()
                yield number, self._columns(number, row)

    def close(self) -> None:
        self._database.close()

    def _is_present(self, number: int) -> bool:
        byte, bit = divmod(number, 8)
        return byte < len(self._present) and bool(
            self._present[byte] >> bit & 1
        )

    def _check_format(self) -> None:
        if self._row('PRAGMA application_id') != (_APPLICATION_ID,):
            raise self._damaged('its application_id must be that of EKKO')
        version = self._row('PRAGMA user_version')
        if version != (_VERSION,):
            found = version[0] if version else None
            raise exception.UnknownFormat(self._name, found, [_VERSION])
        # Nothing but tables: a view could make SQLite compute for ever.
        with self._reading():
            schema = self._database.execute(
                'SELECT sql FROM sqlite_master LIMIT 3'
            ).fetchall()
        if schema != [(_HEADER_TABLE,), (_STRIPE_TABLE,)]:
            raise self._damaged('its tables must be those of the format')

    def _read_header(self) -> tuple[base.Header, bytes]:
        row = self._row('SELECT document, present, crc32 FROM header')
        match row:
            case (str(text), bytes(present), int(crc32)):
                content = text.encode('ascii', 'replace')
            case _:
                raise self._damaged('it must have one header')
        if zlib.crc32(content + present) != crc32:
            raise self._damaged('the checksum of its header must match')
        return document.decode(self._name, content), present

    def _columns(
        self, number: int, row: tuple[object, ...] | None
    ) -> base.Columns:
        match row:
            case (int(found), *parts, int(crc32)) if found == number and all(
                type(part) is bytes for part in parts
            ):
                columns = base.Columns(*typing.cast('list[bytes]', parts))
            case _:
                raise self._damaged(f'stripe {number} must be there')
        if zlib.crc32(stripe.record(number, columns)) != crc32:
            raise self._damaged(
                f'the checksum of stripe {number} must match its columns'
            )
        try:
            stripe.check(columns)
        except ValueError as e:
            raise self._damaged(
                f'stripe {number} must keep the format: {e}'
            ) from e
        return columns

    def _row(self, statement: str, *values: int) -> tuple[object, ...] | None:
        with self._reading():
            row = self._database.execute(statement, values).fetchone()
        return typing.cast('tuple[object, ...] | None', row)

    def _damaged(self, invariant: str) -> exception.ObjectDamaged:
        return exception.ObjectDamaged(self._name, invariant)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.ProgrammingError as e:
                # Its mistakes are ours or the caller's, and never damage.
                raise ValueError(str(e)) from e
            # A message that quotes damaged text may not be UTF-8.
            except (sqlite3.DatabaseError, UnicodeDecodeError) as e:
                raise self._damaged(f'SQLite must read it ({e})') from e
