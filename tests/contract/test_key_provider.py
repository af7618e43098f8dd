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

"""What every key provider promises."""

import os
import pathlib
import stat

import fixtures
import testtools

from ekko_nova.backup.codec import base
from ekko_nova.backup.codec import keys
from ekko_nova.backup.codec import load
from ekko_nova import exception
from tests.contract import drivers


def _new_file(directory: str) -> str:
    path = pathlib.Path(directory, os.urandom(8).hex())
    path.touch(mode=0o600)
    path.write_text(os.urandom(32).hex() + '\n')
    return str(path)


#: How to make a location with a new key, by driver. A driver from elsewhere
#: is tested once it has an entry here.
LOCATIONS = {'file': _new_file}


@drivers.suite('ekko_nova.backup.key_provider')
class KeyProvider(testtools.TestCase):
    driver = ''

    def setUp(self) -> None:
        super().setUp()
        if self.driver not in LOCATIONS:
            self.skipTest(f'LOCATIONS has no way to make keys: {self.driver}')
        self.provider = self.new_provider()
        self.data_key = keys.new_data_key()

    def new_provider(self) -> base.KeyProvider:
        directory = self.useFixture(fixtures.TempDir()).path
        location = LOCATIONS[self.driver](directory)
        return load.key_provider(self.driver, location)

    def test_round_trip(self) -> None:
        wrapped = self.provider.wrap(self.data_key)
        self.assertEqual(self.driver, wrapped.provider)
        self.assertEqual(self.data_key, self.provider.unwrap(wrapped))

    def test_the_data_key_is_not_in_the_open(self) -> None:
        wrapped = self.provider.wrap(self.data_key)
        self.assertNotIn(self.data_key, wrapped.wrapped)

    def test_another_key_is_named(self) -> None:
        wrapped = self.provider.wrap(self.data_key)
        other = self.new_provider()
        error = self.assertRaises(exception.WrongKey, other.unwrap, wrapped)
        self.assertEqual(wrapped.key_id, error.wanted)
        self.assertEqual(other.wrap(self.data_key).key_id, error.found)

    def test_every_flip_is_noticed(self) -> None:
        wrapped = self.provider.wrap(self.data_key)
        for position in range(len(wrapped.wrapped)):
            damaged = bytearray(wrapped.wrapped)
            damaged[position] ^= 1
            self.refuses(wrapped, bytes(damaged))

    def test_every_truncation_is_noticed(self) -> None:
        wrapped = self.provider.wrap(self.data_key)
        for length in range(len(wrapped.wrapped)):
            self.refuses(wrapped, wrapped.wrapped[:length])

    def refuses(self, key: base.WrappedKey, wrapped: bytes) -> None:
        damaged = base.WrappedKey(key.provider, key.key_id, wrapped)
        self.assertRaises(
            exception.ObjectDamaged, self.provider.unwrap, damaged
        )


class TestKeyFile(testtools.TestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = self.useFixture(fixtures.TempDir()).path
        self.path = pathlib.Path(directory, 'keys')

    def provider(self, content: str, mode: int = 0o600) -> base.KeyProvider:
        self.path.write_text(content)
        self.path.chmod(mode)
        return load.key_provider('file', str(self.path))

    def refused(self, content: str, mode: int = 0o600) -> str:
        error = self.assertRaises(
            exception.InvalidOption, self.provider, content, mode
        )
        self.assertIn(str(self.path), str(error))
        return str(error)

    def test_the_format_is_aes_key_wrap(self) -> None:
        # RFC 3394, 4.6.
        data_key = bytes.fromhex(
            '00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F'
        )
        provider = self.provider(bytes(range(32)).hex())
        wrapped = provider.wrap(data_key)
        self.assertEqual(
            '28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43B'
            'FB988B9B7A02DD21'.lower(),
            wrapped.wrapped.hex(),
        )
        # sha256sum of the 32 bytes.
        self.assertEqual('630dcd2966c43366', wrapped.key_id)

    def test_earlier_keys_unwrap_and_the_first_wraps(self) -> None:
        old, new = os.urandom(32).hex(), os.urandom(32).hex()
        data_key = keys.new_data_key()
        before = self.provider(old).wrap(data_key)
        provider = self.provider(f'# of this year\n{new}\n\n# older\n{old}\n')
        self.assertEqual(data_key, provider.unwrap(before))
        after = provider.wrap(data_key)
        self.assertNotEqual(before.key_id, after.key_id)
        self.assertEqual(data_key, self.provider(new).unwrap(after))

    def test_others_must_not_use_it(self) -> None:
        key = os.urandom(32).hex()
        for bit in (
            stat.S_IRGRP,
            stat.S_IWGRP,
            stat.S_IXGRP,
            stat.S_IROTH,
            stat.S_IWOTH,
            stat.S_IXOTH,
        ):
            self.assertIn('chmod 600', self.refused(key, 0o600 | bit))
        self.assertIsNotNone(self.provider(key, 0o400))

    def test_malformed(self) -> None:
        key = os.urandom(32).hex()
        for content in ('', '\n', '# none\n'):
            self.assertIn('64 hex digits', self.refused(content))
        for line in (key[:-1], key + '0', key[:-1] + 'x', 'ä' * 64):
            message = self.refused(f'{key}\n{line}\n')
            self.assertIn('line 2', message)
            self.assertNotIn(line, message)

    def test_missing(self) -> None:
        error = self.assertRaises(
            exception.InvalidOption, load.key_provider, 'file', str(self.path)
        )
        self.assertIn('No such file', str(error))

    def test_a_directory(self) -> None:
        self.path.mkdir(mode=0o700)
        self.assertRaises(
            exception.InvalidOption, load.key_provider, 'file', str(self.path)
        )
