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

import hashlib
import typing

import blake3
from oslo_utils import units

from ekko_nova.backup import bundles as bundles_
from ekko_nova.backup.codec import digest as digests
from ekko_nova.backup import pieces
from ekko_nova.backup.store import memory
from ekko_nova import exception
from tests import base

_LENGTH: typing.Final = units.Ki


class CountingStore(memory.MemoryStore):
    """Tells what was read: names, and pieces by name and offset."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str | tuple[str, int]] = []

    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        self.read.append(name if length is None else (name, offset))
        return super().get(name, offset=offset, length=length)


class BundlesTest(base.TestCase):
    """Ten bundles of eight pieces, and room for four of them."""

    def setUp(self) -> None:
        super().setUp()
        self.store = CountingStore()
        self.names = [f'bundle-{number}' for number in range(10)]
        for number, name in enumerate(self.names):
            content = [
                bytes([16 * number + each]) * _LENGTH for each in range(8)
            ]
            # As after an upgrade: old ones, and new ones.
            algorithm = digests.NAMES[number % len(digests.NAMES)]
            self.store.put(name, pieces.bundle(content, algorithm))
        self.size = pieces.BUNDLE_HEAD + 8 * _LENGTH

    def bundles(self, *, whole: bool = False) -> bundles_.Bundles:
        return bundles_.Bundles(
            self.store, room=4 * self.size, largest=self.size, whole=whole
        )

    def take(self, them: bundles_.Bundles, number: int, piece: int) -> None:
        data = them.piece(
            self.names[number],
            pieces.BUNDLE_HEAD + piece * _LENGTH,
            _LENGTH,
        )
        self.assertEqual(bytes([16 * number + piece]) * _LENGTH, data)

    def whole(self) -> list[str]:
        return [each for each in self.store.read if isinstance(each, str)]

    def test_one_after_the_other(self) -> None:
        """As after one large incremental: each is read once."""
        them = self.bundles()
        for number in range(10):
            for piece in range(8):
                self.take(them, number, piece)
        self.assertEqual(self.names, self.store.read)

    def test_all_in_use_at_once(self) -> None:
        """As after many incrementals."""
        them = self.bundles()
        for piece in range(8):
            for number in range(10):
                self.take(them, number, piece)
        # The others piece by piece, until the first four are at their end.
        self.assertEqual(self.names, self.whole())
        self.assertEqual(10 + 6 * 7, len(self.store.read))

    def test_whole(self) -> None:
        them = self.bundles(whole=True)
        for piece in range(8):
            for number in range(10):
                self.take(them, number, piece)
        self.assertEqual(self.store.read, self.whole())

    def test_given_to_the_end_makes_room(self) -> None:
        them = self.bundles()
        for number in range(10):
            self.take(them, number, 7)
        self.assertEqual(self.names, self.store.read)

    def test_unused_for_long_makes_room(self) -> None:
        """What is left of a bundle may all be overwritten."""
        them = self.bundles()
        for number in range(5):
            self.take(them, number, 0)
        self.assertEqual(self.names[:4], self.whole())
        for _ in range(8 * 4):
            self.take(them, 3, 0)
        self.take(them, 5, 0)
        self.assertEqual([*self.names[:4], self.names[5]], self.whole())
        # Those used longest ago had to go.
        self.take(them, 3, 1)
        self.take(them, 1, 1)
        self.assertEqual([*self.names[:4], self.names[5]], self.whole())

    def test_to_the_byte(self) -> None:
        body = b'one piece' + b'another'
        for algorithm, head in (
            ('sha256', b'EKB1' + hashlib.sha256(body).digest()[:20]),
            ('blake3', b'EKB2' + blake3.blake3(body).digest(20)),
        ):
            self.assertEqual(
                head + body,
                pieces.bundle([b'one piece', b'another'], algorithm),
            )

    def test_damaged(self) -> None:
        for name in self.names[:2]:
            whole = self.store.get(name)
            # Magic, digest, the first byte of a piece, and the last of all.
            for position in (*range(pieces.BUNDLE_HEAD + 1), -1):
                damaged = bytearray(whole)
                damaged[position] ^= 1
                self.assert_refused(name, bytes(damaged))

    def test_the_magic_says_how_it_is_checked(self) -> None:
        name = self.names[0]
        body = self.store.get(name)[4:]
        for magic in (b'EKB0', b'EKB1', b'EKB3', b'ekb2'):
            self.assert_refused(name, magic + body)
        self.assert_refused(name, b'EKB')
        self.assert_refused(name, b'')

    def assert_refused(self, name: str, content: bytes) -> None:
        self.store.put(name, content)
        them = self.bundles()
        for _ in range(2):
            self.assertRaises(
                exception.ObjectDamaged,
                *(them.piece, name, pieces.BUNDLE_HEAD, _LENGTH),
            )

    def test_missing(self) -> None:
        them = self.bundles()
        self.assertRaises(
            exception.ObjectMissing, them.piece, 'none', 24, _LENGTH
        )
