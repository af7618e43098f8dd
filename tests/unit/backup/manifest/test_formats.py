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

"""Both formats to the byte, and files that are of neither."""

import pathlib
import sqlite3
import struct
import zlib

import fixtures
import testtools

from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import document
from ekko_nova.backup.manifest import load
from ekko_nova.backup.manifest import stripe
from ekko_nova import exception
from tests import manifests

HEADER = manifests.header(10 * base.STRIPE)
COLUMNS = stripe.encode([base.Segment(5, (manifests.layer(1),))])
STRIPES = {2: COLUMNS, 9: COLUMNS}


class Format(testtools.TestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = self.useFixture(fixtures.TempDir()).path
        self.path = pathlib.Path(directory, 'manifest')

    def write(self, driver: str) -> None:
        with load.driver(driver).create(self.path, HEADER) as writer:
            for number, columns in STRIPES.items():
                writer.add(number, columns)
            writer.finish()

    def open_error(self, kind: type[Exception]) -> str:
        return str(self.assertRaises(kind, load.open, self.path))

    def crc32(self, data: bytes) -> bytes:
        return struct.pack('<I', zlib.crc32(data))


class TestOsdk(Format):
    def file(self) -> bytes:
        """The file, as the module describes it."""
        content = document.encode(HEADER)
        header = b'OSDK' + struct.pack('<HHI', 1, 0, len(content)) + content
        data = header + self.crc32(header)
        index = b''
        for number, columns in STRIPES.items():
            index += struct.pack('<IQ', number, len(data))
            parts = [getattr(columns, name) for name in stripe.COLUMNS]
            record = struct.pack('<10I', number, *map(len, parts))
            record += b''.join(parts)
            data += record + self.crc32(record)
        trailer = struct.pack('<QI', len(data), len(STRIPES))
        trailer += self.crc32(index)
        return data + index + trailer + self.crc32(trailer) + b'KDSO'

    def test_written_to_the_byte(self) -> None:
        self.write('osdk')
        self.assertEqual(self.file(), self.path.read_bytes())

    def test_unknown_version(self) -> None:
        data = bytearray(self.file())
        data[4:6] = b'\x07\x01'
        self.path.write_bytes(data)
        self.assertIn('version 263', self.open_error(exception.UnknownFormat))

    def test_bytes_between_the_parts(self) -> None:
        data = self.file()
        self.path.write_bytes(data)
        load.open(self.path).close()
        for position in (12, len(data) - 24, len(data)):
            more = data[:position] + b'\0' + data[position:]
            self.path.write_bytes(more)
            self.open_error(exception.ObjectDamaged)

    def test_a_length_beyond_the_file(self) -> None:
        data = bytearray(self.file())
        data[8:12] = b'\xff' * 4
        self.path.write_bytes(data)
        self.assertIn('cut short', self.open_error(exception.ObjectDamaged))


class TestSqlite(Format):
    def execute(self, statement: str) -> list[tuple[object, ...]]:
        database = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(database.close)
        return database.execute(statement).fetchall()

    def test_anyone_can_open_it(self) -> None:
        self.write('sqlite')
        content = document.encode(HEADER)
        present = b'\x04\x02'
        self.assertEqual(
            [(content.decode(), present, zlib.crc32(content + present))],
            self.execute('SELECT * FROM header'),
        )
        parts = [getattr(COLUMNS, name) for name in stripe.COLUMNS]
        rows = []
        for number in STRIPES:
            head = struct.pack('<10I', number, *map(len, parts))
            crc32 = zlib.crc32(head + b''.join(parts))
            rows.append((number, *parts, crc32))
        self.assertEqual(
            rows,
            self.execute(
                'SELECT number, count, zero, mask, owner, object, offset, '
                'length, codec, digest, crc32 FROM stripe ORDER BY number'
            ),
        )
        self.assertEqual(
            [(0x454B4B4F,)], self.execute('PRAGMA application_id')
        )
        self.assertEqual([(1,)], self.execute('PRAGMA user_version'))

    def test_unknown_version(self) -> None:
        self.write('sqlite')
        self.execute('PRAGMA user_version = 12')
        self.assertIn('version 12', self.open_error(exception.UnknownFormat))

    def test_an_unknown_version_may_have_other_tables(self) -> None:
        self.write('sqlite')
        self.execute('DROP TABLE header')
        self.execute('PRAGMA user_version = 2')
        self.assertIn('version 2', self.open_error(exception.UnknownFormat))

    def test_the_file_of_another_program(self) -> None:
        self.execute('CREATE TABLE header (document TEXT)')
        self.assertIn(
            'application_id', self.open_error(exception.ObjectDamaged)
        )

    def test_a_view_is_not_looked_into(self) -> None:
        self.write('sqlite')
        self.execute('DROP TABLE stripe')
        self.execute(
            'CREATE VIEW stripe AS WITH RECURSIVE endless(number) AS '
            '(SELECT 1 UNION ALL SELECT number FROM endless) '
            'SELECT * FROM endless'
        )
        self.assertIn('tables', self.open_error(exception.ObjectDamaged))

    def test_changed_by_hand(self) -> None:
        for statement in (
            'DELETE FROM stripe WHERE number = 2',
            'UPDATE stripe SET number = 3 WHERE number = 2',
            "UPDATE stripe SET digest = 'text' WHERE number = 2",
            'UPDATE stripe SET length = NULL WHERE number = 2',
            'UPDATE stripe SET crc32 = 1.5 WHERE number = 2',
        ):
            self.path.unlink(missing_ok=True)
            self.write('sqlite')
            self.execute(statement)
            with load.open(self.path) as reader:
                self.assertRaises(
                    exception.ObjectDamaged, list, reader.stripes()
                )
                self.assertRaises(exception.ObjectDamaged, reader.stripe, 2)

    def test_header_changed_by_hand(self) -> None:
        for statement in (
            'DELETE FROM header',
            "UPDATE header SET present = x'0400'",
            "UPDATE header SET present = 'ab'",
            'UPDATE header SET document = NULL',
            "UPDATE header SET document = document || ' '",
        ):
            self.path.unlink(missing_ok=True)
            self.write('sqlite')
            self.execute(statement)
            self.open_error(exception.ObjectDamaged)


class TestNeither(Format):
    def test_no_file(self) -> None:
        message = self.open_error(exception.InvalidOption)
        self.assertIn(str(self.path), message)
        self.assertIn('No such file', message)

    def test_a_directory(self) -> None:
        self.path.mkdir()
        self.open_error(exception.InvalidOption)

    def test_other_files(self) -> None:
        for content in (b'', b'OSD', b'QFI\xfb', bytes(10_000)):
            self.path.write_bytes(content)
            self.assertIn(
                'no manifest', self.open_error(exception.ObjectDamaged)
            )

    def test_no_such_driver(self) -> None:
        error = self.assertRaises(exception.DriverMissing, load.driver, 'xml')
        self.assertIn('osdk, sqlite', str(error))
