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

"""The URLs by which operators name stores."""

import pathlib
import tempfile

import hypothesis
from hypothesis import strategies

from ekko_nova.backup.store import directory
from ekko_nova.backup.store import load
from ekko_nova.backup.store import location
from ekko_nova.backup.store import memory
from ekko_nova import exception
from tests import base
from tests import faults

PATHS = strategies.text(
    strategies.characters(exclude_characters='\0', exclude_categories=['Cs']),
    min_size=1,
)


class TestParse(base.TestCase):
    def test_what_there_is(self) -> None:
        for url, driver, host, path in (
            ('file:///srv/backup', 'directory', '', '/srv/backup'),
            ('file:/srv', 'directory', '', '/srv'),
            ('file:///a%20b%25/%C3%BC', 'directory', '', '/a b%/ü'),
            ('file:///a b/ü+', 'directory', '', '/a b/ü+'),
            ('swift:///ekko', 'swift', '', '/ekko'),
            ('swift:///ekko/a/b%2Fc', 'swift', '', '/ekko/a/b/c'),
            ('swift://host/ekko', 'swift', 'host', '/ekko'),
            ('s3+x://bucket', 's3+x', 'bucket', ''),
            ('memory:', 'memory', '', ''),
        ):
            found = location.parse(url)
            self.assertEqual(location.Location(url, driver, host, path), found)
            self.assertEqual(url, str(found))

    def test_what_is_none(self) -> None:
        for url in (
            '',
            'ekko',
            '/srv/backup',
            './backup',
            'C:\\backup',
            '://x',
            'file:///a?b',
            'file:///a#b',
            'file:///%FF',
            'file:///a%00b',
        ):
            error = self.assertRaises(
                exception.InvalidOption, location.parse, url
            )
            self.assertEqual(url, error.value)

    def test_the_message_says_what_is_accepted(self) -> None:
        error = self.assertRaises(
            exception.InvalidOption, location.parse, '/srv'
        )
        self.assertIn('file:///PATH', str(error))
        self.assertIn('swift:///CONTAINER', str(error))

    @hypothesis.given(PATHS)
    def test_every_path_can_be_said(self, path: str) -> None:
        url = (pathlib.Path('/') / path).as_uri()
        self.assertEqual(
            str(pathlib.Path('/') / path), location.parse(url).path
        )


class TestOpenStore(base.TestCase):
    def test_a_directory(self) -> None:
        url = pathlib.Path(tempfile.mkdtemp(' %')).as_uri()
        with load.open_store(url, {}) as store:
            self.assertEqual(url, store.url)
            self.assertEqual(
                directory.DirectoryStore.properties, store.properties
            )

    def test_memory(self) -> None:
        with load.open_store('memory:', {}) as store:
            store.put('a', b'1')
            self.assertEqual(memory.MemoryStore.properties, store.properties)

    def test_what_a_driver_does_not_accept(self) -> None:
        swift = {'ST_AUTH': 'http://x', 'ST_USER': 'a:b', 'ST_KEY': 'c'}
        for url, environment, accepted in (
            ('file://host/srv', {}, 'file:///PATH'),
            ('file:srv', {}, 'file:///PATH'),
            ('file:', {}, 'file:///PATH'),
            ('swift://ekko', swift, 'swift:///CONTAINER'),
            ('swift://ekko/a', swift, 'swift:///CONTAINER'),
            ('swift:', swift, 'swift:///CONTAINER'),
            ('swift:///', swift, 'swift:///CONTAINER'),
            ('swift:///a/%2e%2e', swift, '".."'),
            ('swift:///a', {}, 'ST_AUTH'),
        ):
            error = self.assertRaises(
                exception.InvalidOption, load.open_store, url, environment
            )
            self.assertIn(accepted, str(error))

    def test_a_driver_that_is_not_opened_by_url(self) -> None:
        error = self.assertRaises(
            exception.InvalidOption,
            faults.FaultyStore.open,
            location.parse('x:///1'),
            {},
        )
        self.assertIn('FaultyStore', str(error))

    def test_a_driver_that_is_not_installed(self) -> None:
        error = self.assertRaises(
            exception.DriverMissing, load.open_store, 'tape:///1', {}
        )
        self.assertEqual('tape', error.name)
        for name in ('directory', 'swift'):
            self.assertIn(name, error.known)
