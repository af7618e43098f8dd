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

"""What an object may be called."""

import string

import hypothesis
from hypothesis import strategies

from ekko_nova.backup.store import naming
from ekko_nova import exception
from tests import base

ALLOWED = string.ascii_letters + string.digits + '._-'
COMPONENTS = strategies.text(ALLOWED, min_size=1, max_size=60).filter(
    lambda text: text not in {'.', '..'}
)
NAMES = strategies.lists(COMPONENTS, min_size=1, max_size=6).map('/'.join)


class TestNaming(base.TestCase):
    @hypothesis.given(NAMES)
    def test_names_and_all_their_beginnings(self, name: str) -> None:
        self.assertEqual(name, naming.check(name))
        self.assertTrue(naming.is_valid(name))
        for end in range(len(name) + 1):
            self.assertEqual(name[:end], naming.check_prefix(name[:end]))

    @hypothesis.given(
        NAMES,
        NAMES,
        strategies.sampled_from(['//', '/../', '/./', '\n', ' ', '+', '\0'])
        | strategies.characters(exclude_characters=ALLOWED + '/'),
    )
    def test_what_is_none(self, before: str, after: str, between: str) -> None:
        name = before + between + after
        self.assertFalse(naming.is_valid(name))
        self.assertRaises(exception.InvalidName, naming.check, name)
        self.assertRaises(exception.InvalidName, naming.check_prefix, name)

    def test_at_the_ends(self) -> None:
        for name in ('', '/a', 'a/', '.', '..', 'a/..', '../a', 'a\n'):
            self.assertFalse(naming.is_valid(name), name)
        for name in ('...', '..a', '.a', '-', 'a/.b', 'a.'):
            self.assertTrue(naming.is_valid(name), name)

    def test_lengths(self) -> None:
        self.assertTrue(naming.is_valid('a' * 255))
        self.assertFalse(naming.is_valid('a' * 256))
        self.assertTrue(naming.is_valid('a/' * 255 + 'aa'))
        self.assertFalse(naming.is_valid('a/' * 255 + 'aaa'))

    def test_the_message_names_it_and_the_rule(self) -> None:
        error = self.assertRaises(exception.InvalidName, naming.check, 'a b')
        self.assertEqual('a b', error.name)
        self.assertIn('255', str(error))
