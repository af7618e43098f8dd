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

import blake3

from ekko_nova.backup.codec import digest
from tests import base

#: From the specifications: the first 20 bytes of the digests of nothing and
#: of "abc".
KNOWN = {
    'blake3': (
        'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9',
        '6437b3ac38465133ffb63b75273a8db548c55846',
    ),
    'sha256': (
        'e3b0c44298fc1c149afbf4c8996fb92427ae41e4',
        'ba7816bf8f01cfea414140de5dae2223b00361a3',
    ),
}


class DigestTest(base.TestCase):
    def test_what_is_specified(self) -> None:
        self.assertCountEqual(KNOWN, digest.NAMES)
        for name, (nothing, abc) in KNOWN.items():
            with self.subTest(algorithm=name):
                self.assertEqual(nothing, digest.of(name).hex())
                self.assertEqual(nothing, digest.of(name, b'').hex())
                self.assertEqual(abc, digest.of(name, b'abc').hex())

    def test_it_is_the_algorithms_own_output_of_that_length(self) -> None:
        data = bytes(range(256)) * 5000
        self.assertEqual(
            blake3.blake3(data).digest(digest.SIZE), digest.of('blake3', data)
        )
        self.assertEqual(
            hashlib.sha256(data).digest()[: digest.SIZE],
            digest.of('sha256', data),
        )

    def test_parts_are_as_one_run(self) -> None:
        """Of whatever kind: a disk gives bytes, a codec a view or a buffer."""
        data = bytes(range(256)) * 500
        for name in digest.NAMES:
            with self.subTest(algorithm=name):
                self.assertEqual(
                    digest.of(name, data),
                    digest.of(
                        *(name, data[:1], bytearray(data[1:70_000])),
                        *(b'', memoryview(data)[70_000:]),
                    ),
                )

    def test_a_view_need_not_be_read_only(self) -> None:
        data = bytearray(b'-abc')
        for name in digest.NAMES:
            found = digest.of(name, memoryview(data)[1:])
            self.assertEqual(KNOWN[name][1], found.hex())

    def test_one_that_nobody_knows(self) -> None:
        self.assertRaises(KeyError, digest.of, 'md5', b'abc')
