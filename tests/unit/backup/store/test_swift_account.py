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

"""Credentials for Swift from the environment."""

import typing

from keystoneauth1 import exceptions as keystone_exceptions
from keystoneauth1.identity import generic
from keystoneauth1.identity import v3
from keystoneauth1 import plugin
from keystoneauth1 import session as keystone_session
import requests
from swiftclient import authv1

from ekko_nova.backup.store import swift_account
from ekko_nova.backup.store import swift_v1
from ekko_nova import exception
from tests import base

ST = {'ST_AUTH': 'http://a/auth/v1.0', 'ST_USER': 'a:b', 'ST_KEY': 'secret'}
PASSWORD = {
    'OS_AUTH_URL': 'http://a:5000',
    'OS_USERNAME': 'ekko',
    'OS_PASSWORD': 'secret',
    'OS_PROJECT_NAME': 'service',
    'OS_USER_DOMAIN_NAME': 'Default',
    'OS_PROJECT_DOMAIN_NAME': 'Default',
}
APPLICATION = {
    'OS_AUTH_URL': 'http://a:5000/v3',
    'OS_APPLICATION_CREDENTIAL_ID': '0123',
    'OS_APPLICATION_CREDENTIAL_SECRET': 'secret',
}


class TestFromEnvironment(base.TestCase):
    def plugin(self, environment: dict[str, str]) -> typing.Any:
        return swift_account.from_environment(environment).session.auth

    def test_swifts_own(self) -> None:
        auth = self.plugin(ST)
        self.assertIsInstance(auth, swift_v1.Password)
        self.assertEqual(
            tuple(ST.values()), (auth.auth_url, auth.user, auth.key)
        )

    def test_password(self) -> None:
        auth = self.plugin(PASSWORD)
        self.assertIsInstance(auth, generic.Password)
        self.assertEqual('http://a:5000', auth.auth_url)
        self.assertEqual('ekko', auth._username)
        self.assertEqual('secret', auth._password)
        self.assertEqual('service', auth._project_name)

    def test_the_names_of_long_ago(self) -> None:
        environment = {**PASSWORD, 'OS_TENANT_NAME': 'old'}
        del environment['OS_PROJECT_NAME']
        self.assertEqual('old', self.plugin(environment)._project_name)

    def test_application_credential(self) -> None:
        for more in ({}, {'OS_AUTH_TYPE': 'v3applicationcredential'}):
            auth = self.plugin({**APPLICATION, **more})
            self.assertIsInstance(auth, v3.ApplicationCredential)

    def test_any_plugin(self) -> None:
        auth = self.plugin(
            {
                'OS_AUTH_TYPE': 'v1password',
                'OS_AUTH_URL': 'http://a',
                'OS_USERNAME': 'a:b',
                'OS_PASSWORD': 'secret',
            }
        )
        self.assertIsInstance(auth, authv1.PasswordPlugin)

    def test_keystone_comes_first(self) -> None:
        self.assertIsInstance(
            self.plugin({**ST, **PASSWORD}), generic.Password
        )

    def test_a_missing_variable_is_named(self) -> None:
        for complete, names in (
            (ST, list(ST)),
            (PASSWORD, ['OS_USERNAME', 'OS_PASSWORD', 'OS_PROJECT_NAME']),
            (APPLICATION, ['OS_APPLICATION_CREDENTIAL_SECRET']),
            ({**PASSWORD, 'OS_AUTH_TYPE': 'password'}, ['OS_AUTH_URL']),
        ):
            for name in names:
                self.assert_names(name, {**complete, name: ''})
                rest = {k: v for k, v in complete.items() if k != name}
                self.assert_names(name, rest)

    def assert_names(self, name: str, environment: dict[str, str]) -> None:
        error = self.assertRaises(
            exception.InvalidOption,
            swift_account.from_environment,
            environment,
        )
        self.assertEqual(name, error.value)
        self.assertNotIn('secret', str(error))

    def test_what_no_header_can_have_is_named_and_not_shown(self) -> None:
        good = {'ST_AUTH': 'http://a', 'ST_USER': 'é:ü', 'ST_KEY': 'a key'}
        swift_account.from_environment(good)
        for name in ('ST_USER', 'ST_KEY'):
            for value in ('secret\n', ' secret', 'sec\nret', 'secret€'):
                error = self.assertRaises(
                    exception.InvalidOption,
                    swift_account.from_environment,
                    {**good, name: value},
                )
                self.assertIn(name, str(error))
                self.assertNotIn('sec', str(error))

    def test_nothing_at_all(self) -> None:
        error = self.assertRaises(
            exception.InvalidOption, swift_account.from_environment, {}
        )
        for name in ('OS_AUTH_URL', 'ST_AUTH'):
            self.assertIn(name, str(error))

    def test_what_is_wrong(self) -> None:
        for name, value in (
            ('OS_AUTH_TYPE', 'hearsay'),
            ('OS_TIMEOUT', 'long'),
        ):
            error = self.assertRaises(
                exception.InvalidOption,
                swift_account.from_environment,
                {**PASSWORD, name: value},
            )
            self.assertEqual((name, value), (error.option, error.value))

    def test_application_credential_of_nobody(self) -> None:
        environment = dict(APPLICATION)
        del environment['OS_APPLICATION_CREDENTIAL_ID']
        error = self.assertRaises(
            exception.InvalidOption,
            swift_account.from_environment,
            environment,
        )
        self.assertIn('application credential', str(error))

    def test_the_way(self) -> None:
        for environment, verify in (
            ({}, True),
            ({'OS_CACERT': '/ca'}, '/ca'),
            ({'OS_CACERT': '/ca', 'OS_INSECURE': 'true'}, False),
            ({'OS_INSECURE': '0'}, True),
        ):
            account = swift_account.from_environment({**ST, **environment})
            self.assertEqual(verify, account.session.verify)
        for environment, cert in (
            ({}, None),
            ({'OS_CERT': '/c'}, '/c'),
            ({'OS_CERT': '/c', 'OS_KEY': '/k'}, ('/c', '/k')),
        ):
            account = swift_account.from_environment({**ST, **environment})
            self.assertEqual(cert, account.session.cert)
        account = swift_account.from_environment({**ST, 'OS_TIMEOUT': '2.5'})
        self.assertEqual(2.5, account.session.timeout)


class Auth(plugin.BaseAuthPlugin):
    """Hands out numbered tokens."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.number = 1
        self.error = error
        self.endpoint: str | None = 'http://a/v1/AUTH_x/'
        self.asked: dict[str, object] = {}

    def get_token(self, session: keystone_session.Session) -> str:
        if self.error is not None:
            raise self.error
        return f'token {self.number}'

    def get_endpoint(
        self, session: keystone_session.Session, **kwargs: object
    ) -> str | None:
        self.asked = kwargs
        return self.endpoint

    def invalidate(self) -> bool:
        self.number += 1
        return True


class TestAccount(base.TestCase):
    def account(self, auth: Auth, **kwargs: str) -> swift_account.SwiftAccount:
        session = keystone_session.Session(auth)
        return swift_account.SwiftAccount(session, **kwargs)

    def test_access(self) -> None:
        auth = Auth()
        found = self.account(
            auth, region_name='here', interface='internal'
        ).access('x')
        self.assertEqual(
            swift_account.Access('http://a/v1/AUTH_x', 'token 1'), found
        )
        self.assertEqual('object-store', auth.asked['service_type'])
        self.assertEqual('here', auth.asked['region_name'])
        self.assertEqual('internal', auth.asked['interface'])

    def test_another_endpoint(self) -> None:
        auth = Auth()
        found = self.account(auth, endpoint_override='http://b/v1').access('x')
        self.assertEqual('http://b/v1', found.endpoint)
        self.assertEqual({}, auth.asked)

    def test_a_token_is_forgotten_once(self) -> None:
        account = self.account(Auth())
        first = account.access('x').token
        # All threads saw it rejected, and all come to say so.
        account.forget(first)
        account.forget(first)
        self.assertEqual('token 2', account.access('x').token)
        account.forget(first)
        self.assertEqual('token 2', account.access('x').token)
        account.forget('token 2')
        self.assertEqual('token 3', account.access('x').token)

    def test_no_object_store(self) -> None:
        auth = Auth()
        auth.endpoint = None
        error = self.assertRaises(
            exception.StoreDenied,
            self.account(auth, region_name='there').access,
            'x',
        )
        self.assertIn('there', str(error))

    def test_what_errors_mean(self) -> None:
        for error, kind in (
            (keystone_exceptions.Unauthorized(), exception.StoreUnauthorized),
            (keystone_exceptions.ConnectFailure(), exception.StoreUnavailable),
            (keystone_exceptions.ConnectTimeout(), exception.StoreUnavailable),
            (
                keystone_exceptions.UnknownConnectionError('x', OSError()),
                exception.StoreUnavailable,
            ),
            (
                keystone_exceptions.DiscoveryFailure(),
                exception.StoreUnavailable,
            ),
            (
                keystone_exceptions.ServiceUnavailable(),
                exception.StoreUnavailable,
            ),
            (
                keystone_exceptions.TooManyRequests(),
                exception.StoreUnavailable,
            ),
            (keystone_exceptions.SSLError(), exception.StoreDenied),
            (keystone_exceptions.Forbidden(), exception.StoreDenied),
            (keystone_exceptions.NotFound(), exception.StoreDenied),
            (keystone_exceptions.EndpointNotFound(), exception.StoreDenied),
        ):
            account = self.account(Auth(error))
            found = self.assertRaises(kind, account.access, 'x')
            self.assertIs(error, found.__cause__)

    def test_a_password_that_cannot_be_sent_is_not_shown(self) -> None:
        original = requests.exceptions.InvalidHeader("bad value: 'secret'")
        error = keystone_exceptions.UnknownConnectionError(
            'bad value: secret', original
        )
        found = self.assertRaises(
            exception.StoreDenied, self.account(Auth(error)).access, 'x'
        )
        self.assertNotIn('secret', str(found))
        self.assertIsNone(found.__cause__)

    def test_a_token_is_not_shown(self) -> None:
        self.assertNotIn('secret', repr(swift_account.Access('x', 'secret')))
