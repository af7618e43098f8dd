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

"""Tokens by Swift's own protocol."""

from unittest import mock

from keystoneauth1 import exceptions as keystone_exceptions
from keystoneauth1 import session as keystone_session
from requests import structures

from ekko_nova.backup.store import swift_v1
from tests import base

GRANTED = {'x-storage-url': 'http://a/v1/A', 'x-auth-token': 'token'}


class PasswordTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.auth = swift_v1.Password('http://a/auth/v1.0', 'a:b', 'secret')
        self.session = keystone_session.Session(self.auth)
        patch = mock.patch.object(self.session, 'get', autospec=True)
        self.get = patch.start()
        self.addCleanup(patch.stop)

    def answer(self, headers: dict[str, str]) -> None:
        self.get.return_value = mock.Mock(
            headers=structures.CaseInsensitiveDict(headers)
        )

    def test_it_is_asked_for_once(self) -> None:
        self.answer(GRANTED)
        self.assertEqual('token', self.session.get_token())
        self.assertEqual(
            'http://a/v1/A', self.session.get_endpoint(interface='internal')
        )
        self.get.assert_called_once_with(
            'http://a/auth/v1.0',
            headers={'X-Auth-User': 'a:b', 'X-Auth-Key': 'secret'},
            authenticated=False,
            log=False,
        )

    def test_another_one_when_it_is_not_accepted(self) -> None:
        self.answer(GRANTED)
        self.session.get_token()
        self.answer({**GRANTED, 'X-Storage-Token': 'another'})
        self.assertEqual('token', self.session.get_token())
        self.assertTrue(self.session.invalidate())
        self.assertEqual('another', self.session.get_token())
        self.assertTrue(self.session.invalidate())
        self.assertFalse(self.session.invalidate())

    def test_nothing_is_granted(self) -> None:
        for name in GRANTED:
            self.answer({key: GRANTED[key] for key in GRANTED if key != name})
            self.assertRaises(
                keystone_exceptions.InvalidResponse, self.session.get_token
            )

    def test_the_token_is_not_shown(self) -> None:
        self.answer(GRANTED)
        self.session.get_token()
        self.assertNotIn('token', repr(vars(self.auth)['_granted']))
