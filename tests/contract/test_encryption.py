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

"""What every encryption driver promises."""

from collections.abc import Callable
from concurrent import futures
import os
import random

import hypothesis
from hypothesis import strategies
from oslo_utils import units

from ekko_nova.backup.codec import base as codec_base
from ekko_nova.backup.codec import load
from ekko_nova import block
from tests import base
from tests.contract import drivers

KEY = bytes(range(32))
BUFFERS = strategies.sampled_from([bytes, bytearray, memoryview])


def driver_of(name: str, key: bytes = KEY) -> codec_base.Encryption:
    return load.encryption(name, key if load.needs_key(name) else b'')


@drivers.suite('ekko_nova.backup.encryption')
class Encryption(base.TestCase):
    driver = ''

    def setUp(self) -> None:
        super().setUp()
        self.cipher = driver_of(self.driver)

    def only_with_a_key(self) -> None:
        if not self.cipher.needs_key:
            self.skipTest(f'{self.driver} has no key: it protects nothing')

    def refuses(self, sealed: block.Buffer, context: bytes) -> None:
        self.assertRaises(ValueError, self.cipher.decrypt, sealed, context)

    @drivers.PROPERTY
    @hypothesis.given(
        strategies.binary(max_size=5000),
        strategies.binary(max_size=100),
        BUFFERS,
        BUFFERS,
    )
    def test_round_trip(
        self,
        plain: bytes,
        context: bytes,
        given: Callable[[bytes], block.Buffer],
        stored: Callable[[bytes], block.Buffer],
    ) -> None:
        sealed = self.cipher.encrypt(given(plain), context)
        self.assertEqual(len(plain) + self.cipher.overhead, len(sealed))
        back = self.cipher.decrypt(stored(bytes(sealed)), context)
        self.assertEqual(plain, bytes(back))

    def test_round_trip_of_a_segment(self) -> None:
        plain = os.urandom(4 * units.Mi)
        sealed = self.cipher.encrypt(plain, b'context')
        self.assert_same_bytes(plain, self.cipher.decrypt(sealed, b'context'))

    def test_every_flip_is_noticed(self) -> None:
        self.only_with_a_key()
        context = b'set, backup, number'
        sealed = bytes(self.cipher.encrypt(os.urandom(50), context))
        for position in range(len(sealed)):
            for bit in range(8):
                self.refuses(_flipped(sealed, position, bit), context)
        for position in range(len(context)):
            for bit in range(8):
                self.refuses(sealed, _flipped(context, position, bit))
        self.assertEqual(50, len(self.cipher.decrypt(sealed, context)))

    def test_every_truncation_is_noticed(self) -> None:
        self.only_with_a_key()
        sealed = self.cipher.encrypt(b'plain', b'context')
        for length in range(len(sealed)):
            self.refuses(sealed[:length], b'context')
        self.refuses(bytes(sealed) + b'\0', b'context')

    def test_another_key_is_noticed(self) -> None:
        self.only_with_a_key()
        sealed = driver_of(self.driver, bytes(32)).encrypt(b'plain', b'')
        self.refuses(sealed, b'')

    def test_equal_data_is_not_sealed_alike(self) -> None:
        self.only_with_a_key()
        sealed = {bytes(self.cipher.encrypt(b'same', b'')) for _ in range(99)}
        self.assertEqual(99, len(sealed))

    def test_the_plain_bytes_are_not_in_the_sealed(self) -> None:
        self.only_with_a_key()
        plain = os.urandom(16)
        self.assertNotIn(plain, bytes(self.cipher.encrypt(plain * 9, b'')))

    def test_a_key_of_another_length_is_refused(self) -> None:
        lengths = (0, 16, 31, 33) if self.cipher.needs_key else (1, 32)
        for length in lengths:
            self.assertRaises(
                ValueError, load.encryption, self.driver, bytes(length)
            )

    def test_threads_share_a_driver(self) -> None:
        def round_trip(seed: int) -> bool:
            rng = random.Random(seed)
            plain = rng.randbytes(rng.randrange(100000))
            context = rng.randbytes(20)
            sealed = self.cipher.encrypt(plain, context)
            return bytes(self.cipher.decrypt(sealed, context)) == plain

        with futures.ThreadPoolExecutor(8) as pool:
            results = list(pool.map(round_trip, range(200)))
        self.assertEqual([True] * 200, results)


class TestAesGcmFormat(base.TestCase):
    def test_nonce_ciphertext_tag(self) -> None:
        # Test case 16 of McGrew and Viega, "The Galois/Counter Mode of
        # Operation".
        key = 'feffe9928665731c6d6a8f9467308308' * 2
        nonce = 'cafebabefacedbaddecaf888'
        ciphertext = (
            '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa'
            '8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662'
        )
        tag = '76fc6ece0f4e1768cddf8853bb2d551b'
        context = 'feedfacedeadbeeffeedfacedeadbeefabaddad2'
        plain = (
            'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72'
            '1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39'
        )
        cipher = load.encryption('aes-gcm', bytes.fromhex(key))
        back = cipher.decrypt(
            bytes.fromhex(nonce + ciphertext + tag), bytes.fromhex(context)
        )
        self.assertEqual(plain, bytes(back).hex())


def _flipped(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)
