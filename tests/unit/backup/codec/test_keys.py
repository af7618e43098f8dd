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
import hmac
import struct

import hypothesis
from hypothesis import strategies
import testtools

from ekko_nova.backup.codec import keys

NAME = strategies.text(max_size=20)
NUMBER = strategies.integers(0, (1 << 64) - 1)
PLACE = strategies.tuples(NAME, NAME, NUMBER, NUMBER)


class TestKeys(testtools.TestCase):
    def test_data_keys_differ(self) -> None:
        made = {keys.new_data_key() for _ in range(100)}
        self.assertEqual(100, len(made))
        self.assertEqual({32}, set(map(len, made)))

    def test_backup_key_is_hkdf(self) -> None:
        # RFC 5869, 2.2 and 2.3, for one block of output.
        data_key = bytes(range(32))
        info = b'ekko-nova/1 backup key\3\0\0\0set\4\0\0\0back\1'
        extracted = hmac.digest(bytes(32), data_key, hashlib.sha256)
        expected = hmac.digest(extracted, info, hashlib.sha256)
        self.assertEqual(expected, keys.backup_key(data_key, 'set', 'back'))

    def test_backup_keys_differ(self) -> None:
        data_key = keys.new_data_key()
        made = {
            keys.backup_key(key, *names)
            for key in (data_key, keys.new_data_key())
            for names in (('a', 'b'), ('b', 'a'), ('', 'ab'), ('ab', ''))
        }
        self.assertEqual(8, len(made))


class TestContexts(testtools.TestCase):
    def test_object_context_to_the_byte(self) -> None:
        self.assertEqual(
            b'ekko-nova/1 object'
            b'\2\0\0\0\xc3\xa4\6\0\0\0backup' + struct.pack('<QQ', 7, 4096),
            keys.object_context('ä', 'backup', 7, 4096),
        )

    def test_manifest_context_to_the_byte(self) -> None:
        self.assertEqual(
            b'ekko-nova/1 manifest'
            b'\3\0\0\0set\6\0\0\0backup' + struct.pack('<QQ', 0, 3),
            keys.manifest_context('set', 'backup', 0, 3),
        )

    @hypothesis.settings(deadline=None)
    @hypothesis.given(PLACE, PLACE)
    def test_contexts_are_equal_only_if_all_is(
        self,
        one: tuple[str, str, int, int],
        other: tuple[str, str, int, int],
    ) -> None:
        for context in (keys.object_context, keys.manifest_context):
            self.assertEqual(one == other, context(*one) == context(*other))
        self.assertNotEqual(
            keys.object_context(*one), keys.manifest_context(*other)
        )
