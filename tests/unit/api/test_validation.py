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

"""Bodies and queries, before anything is done with them."""

import json
import typing

import hypothesis
from hypothesis import strategies

from ekko_nova.api import errors
from ekko_nova.api.schemas import backups
from ekko_nova.api import validation
from tests import base

_ID: typing.Final = '9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d'

_JSON: typing.Final = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.text(),
    lambda inner: (
        strategies.lists(inner)
        | strategies.dictionaries(strategies.text(), inner)
    ),
)


class BodyTest(base.TestCase):
    def assert_refused(self, said: str, data: bytes) -> None:
        error = self.assertRaises(
            errors.ApiError, validation.check_body, backups.CREATE, data
        )
        self.assertEqual((400, 'InvalidRequest'), (error.status, error.name))
        self.assertIn(said, error.message)

    def test_taken(self) -> None:
        wanted = {'server_id': _ID, 'name': None, 'metadata': {'a': 'b'}}
        data = json.dumps({'backup': wanted}).encode()
        self.assertEqual(wanted, validation.check_body(backups.CREATE, data))

    def test_none(self) -> None:
        for data in (b'', b' ', b'{}', b'null'):
            self.assertEqual({}, validation.check_body(None, data))
        self.assertRaises(
            errors.ApiError, validation.check_body, None, b'{"a": 1}'
        )

    def test_no_json(self) -> None:
        for data in (b'{', b'\xff', b'NaN', b'[' * 100_000):
            self.assert_refused('the body is no JSON', data)

    def test_the_place_is_named(self) -> None:
        self.assert_refused(
            'at backup.name',
            json.dumps({'backup': {'server_id': _ID, 'name': 1}}).encode(),
        )
        self.assert_refused("'backup' is a required", b'{}')
        self.assert_refused(
            "'nmae' was unexpected",
            json.dumps({'backup': {'server_id': _ID, 'nmae': 'x'}}).encode(),
        )

    def test_names_that_cannot_be_seen(self) -> None:
        for name in ('', ' ', '\n', 'a\n', 'a\x00b', 'a\x1b[2J', 'x' * 256):
            body = {'backup': {'server_id': _ID, 'name': name}}
            self.assert_refused('backup.name', json.dumps(body).encode())

    @hypothesis.given(_JSON)
    def test_anything(self, body: typing.Any) -> None:
        """It is taken, or refused with 400; nothing else happens."""
        try:
            validation.check_body(backups.UPDATE, json.dumps(body).encode())
        except errors.ApiError as e:
            self.assertEqual(400, e.status)


class QueryTest(base.TestCase):
    def assert_refused(self, said: str, *given: tuple[str, str]) -> None:
        error = self.assertRaises(
            errors.ApiError, validation.check_query, backups.LIST, given
        )
        self.assertEqual(400, error.status)
        self.assertIn(said, error.message)

    def test_taken(self) -> None:
        given = {'server': _ID, 'limit': '10', 'sort': 'size:desc,name'}
        self.assertEqual(
            given, validation.check_query(backups.LIST, given.items())
        )

    def test_refused(self) -> None:
        self.assert_refused("no parameter 'servr'", ('servr', _ID))
        self.assert_refused('twice', ('limit', '1'), ('limit', '2'))
        for name, value in (
            ('server', 'web'),
            ('limit', '0'),
            ('limit', '-1'),
            ('sort', 'colour'),
            ('sort', 'size:up'),
            ('status', 'fine'),
            ('all_projects', 'maybe'),
            ('project_id', '../other'),
            # Python's $ matches in front of it.
            ('sort', 'name\n'),
            ('limit', '1\n'),
            ('project_id', 'other\n'),
        ):
            self.assert_refused(f'parameter {name}', (name, value))
