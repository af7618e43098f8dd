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

"""What every compression driver promises."""

from collections.abc import Callable
from concurrent import futures
import lzma
import os
import random
import zlib

import hypothesis
from hypothesis import strategies
from oslo_utils import units

from ekko_nova.backup.codec import load
from ekko_nova import block
from ekko_nova import exception
from tests import base
from tests.contract import drivers

#: Bytes that compress well, badly, and in between.
PLAIN = strategies.builds(
    lambda noise, repeated, times: noise + repeated * times,
    strategies.binary(max_size=3000),
    strategies.binary(max_size=20),
    strategies.integers(0, 5000),
)
BUFFERS: list[Callable[[bytes], block.Buffer]] = [
    bytes,
    bytearray,
    memoryview,
    lambda data: memoryview(bytearray(b'x' + data + b'x'))[1:-1],
]


@drivers.suite('ekko_nova.backup.compression')
class Compression(base.TestCase):
    driver = ''

    def setUp(self) -> None:
        super().setUp()
        self.codec = load.compression(self.driver)

    @drivers.PROPERTY
    @hypothesis.given(
        PLAIN,
        strategies.sampled_from(BUFFERS),
        strategies.sampled_from(BUFFERS),
    )
    def test_round_trip(
        self,
        plain: bytes,
        given: Callable[[bytes], block.Buffer],
        stored: Callable[[bytes], block.Buffer],
    ) -> None:
        packed = self.codec.compress(given(plain))
        back = self.codec.decompress(stored(bytes(packed)), len(plain))
        self.assertEqual(plain, bytes(back))

    def test_round_trip_of_segments(self) -> None:
        noise = random.Random(1).randbytes(4 * units.Mi)
        for plain in (noise, bytes(4 * units.Mi), bytes(units.Mi) + noise):
            packed = self.codec.compress(plain)
            back = self.codec.decompress(packed, len(plain))
            self.assert_same_bytes(plain, back)

    @drivers.PROPERTY
    @hypothesis.given(PLAIN, strategies.integers(-3000, 3000))
    def test_another_length_is_refused(
        self, plain: bytes, difference: int
    ) -> None:
        hypothesis.assume(difference and len(plain) + difference >= 0)
        packed = self.codec.compress(plain)
        self.assertRaises(
            ValueError, self.codec.decompress, packed, len(plain) + difference
        )

    @drivers.PROPERTY
    @hypothesis.given(PLAIN, strategies.data())
    def test_damage_never_changes_the_length(
        self, plain: bytes, data: strategies.DataObject
    ) -> None:
        packed = bytearray(self.codec.compress(plain))
        hypothesis.assume(packed)
        position = data.draw(strategies.integers(0, len(packed) - 1))
        packed[position] ^= data.draw(strategies.integers(1, 255))
        try:
            back = self.codec.decompress(packed, len(plain))
        except ValueError:
            return
        self.assertEqual(len(plain), len(back))

    @drivers.PROPERTY
    @hypothesis.given(
        strategies.binary(max_size=300), strategies.integers(0, 300)
    )
    def test_noise_never_changes_the_length(
        self, packed: bytes, length: int
    ) -> None:
        try:
            back = self.codec.decompress(packed, length)
        except ValueError:
            return
        self.assertEqual(length, len(back))

    def test_every_truncation_is_refused(self) -> None:
        plain = random.Random(2).randbytes(100) + bytes(1000)
        packed = self.codec.compress(plain)
        for length in range(len(packed)):
            self.assertRaises(
                ValueError, self.codec.decompress, packed[:length], len(plain)
            )

    def test_bytes_behind_the_end_are_refused(self) -> None:
        plain = bytes(1000)
        packed = bytes(self.codec.compress(plain))
        for more in (b'\0', b'\0' * 4, packed):
            self.assertRaises(
                ValueError, self.codec.decompress, packed + more, len(plain)
            )

    def test_a_bomb_takes_no_memory(self) -> None:
        packed = self.codec.compress(bytes(64 * units.Mi))
        with drivers.peak_memory() as peak:
            self.assertRaises(
                ValueError, self.codec.decompress, packed, 64 * units.Ki
            )
        self.assertLess(peak[0], 8 * units.Mi)

    def test_threads_share_a_driver(self) -> None:
        def round_trip(seed: int) -> bool:
            rng = random.Random(seed)
            plain = rng.randbytes(rng.randrange(50000)) + bytes(50000)
            packed = self.codec.compress(plain)
            return self.codec.decompress(packed, len(plain)) == plain

        with futures.ThreadPoolExecutor(8) as pool:
            results = list(pool.map(round_trip, range(200)))
        self.assertEqual([True] * 200, results)

    def test_a_level_that_is_not_there_is_refused(self) -> None:
        self.assertRaises(
            exception.InvalidOption, load.compression, self.driver, 12345
        )


class TestLevels(base.TestCase):
    def test_every_level_reads_what_any_other_wrote(self) -> None:
        plain = random.Random(3).randbytes(70000) + bytes(70000)
        for name, levels in (
            ('zlib', range(10)),
            ('lzma', range(10)),
            ('zstd', range(1, 23)),
        ):
            reader = load.compression(name)
            for level in levels:
                packed = load.compression(name, level).compress(plain)
                self.assertEqual(plain, reader.decompress(packed, len(plain)))

    def test_levels_below_the_lowest_are_refused(self) -> None:
        for name, level in (('zlib', -1), ('lzma', -1), ('zstd', 0)):
            self.assertRaises(
                exception.InvalidOption, load.compression, name, level
            )


class TestClaims(base.TestCase):
    """Headers that claim more than there is, in the formats that have one."""

    def refuses(self, name: str, packed: bytes, length: int) -> None:
        codec = load.compression(name)
        with drivers.peak_memory() as peak:
            self.assertRaises(ValueError, codec.decompress, packed, length)
        self.assertLess(peak[0], 8 * units.Mi)

    def zstd_frame(self, descriptor: int, sizes: bytes) -> bytes:
        """A frame with one raw block of 100 bytes."""
        block_header = (100 << 3 | 1).to_bytes(3, 'little')
        return (
            b'\x28\xb5\x2f\xfd'
            + bytes([descriptor])
            + sizes
            + block_header
            + bytes(100)
        )

    def test_zstd_content_size(self) -> None:
        whole = self.zstd_frame(0xE0, (100).to_bytes(8, 'little'))
        self.assertEqual(
            bytes(100), load.compression('zstd').decompress(whole, 100)
        )
        self.refuses(
            'zstd', self.zstd_frame(0xE0, (1 << 40).to_bytes(8, 'little')), 100
        )

    def test_zstd_window(self) -> None:
        # Window descriptor 0xA8: 2^31 bytes.
        size = (100).to_bytes(8, 'little')
        self.refuses('zstd', self.zstd_frame(0xC0, b'\xa8' + size), 100)

    def test_zstd_without_content_size(self) -> None:
        self.refuses('zstd', self.zstd_frame(0x00, b'\x00'), 100)

    def test_lzma_dictionary(self) -> None:
        packed = bytearray(load.compression('lzma').compress(os.urandom(100)))
        # After the stream's header of 12 bytes: the block header's size,
        # flags, filter, length of its properties, and the dictionary.
        self.assertEqual(lzma.FILTER_LZMA2, packed[14])
        packed[16] = 40
        end = 12 + (packed[12] + 1) * 4 - 4
        crc32 = zlib.crc32(packed[12:end])
        packed[end : end + 4] = crc32.to_bytes(4, 'little')
        self.refuses('lzma', bytes(packed), 100)
