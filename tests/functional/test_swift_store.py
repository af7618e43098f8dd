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

"""A real Swift, and what goes wrong on the way to it."""

from collections.abc import Mapping
from concurrent import futures
import datetime
import hashlib
import ipaddress
import pathlib
import random
import ssl
import tempfile
import time
import typing
from urllib import parse as urlparse
import uuid

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography import x509
from cryptography.x509 import oid
from oslo_utils import units
from swiftclient import client

from ekko_nova.backup.store import load
from ekko_nova.backup.store import retry
from ekko_nova.backup.store import swift as swift_store
from ekko_nova.backup.store import swift_account
from ekko_nova import exception
from tests import base
from tests.functional import fault_proxy
from tests.functional import swift

SEGMENT: typing.Final = random.Random(3).randbytes(4 * units.Mi)
HALF: typing.Final = len(SEGMENT) // 2

#: Pairs that look alike once somebody quotes or unquotes them once too often.
STRANGE: typing.Final = (
    'plain',
    'a b',
    'a+b',
    'a%20b',
    'a%2520b',
    '100%',
    '%',
    'ünï cödé',
    '\N{SNOWMAN}',
    'u\N{COMBINING DIAERESIS}',
    '\N{LATIN SMALL LETTER U WITH DIAERESIS}',
    'question?mark=1&x#fragment',
    'semi;colon,comma:colon@at',
    'quo\'te"',
    'back\\slash',
    '~tilde!$*()',
    '%2e%2e',
    '...',
)


class TestCase(base.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.swift = swift.shared()

    swift: swift.Swift

    def setUp(self) -> None:
        super().setUp()
        self.container = f'ekko {uuid.uuid4()} 100% é'

    def open(
        self,
        environment: Mapping[str, str],
        container: str | None = None,
        prefix: str = 'pre fix/%41',
    ) -> swift_store.SwiftStore:
        store = swift_store.SwiftStore(
            swift_account.from_environment(environment),
            container or self.container,
            prefix,
            page=10,
        )
        self.addCleanup(store.close)
        return store


class TestNames(TestCase):
    def test_every_container_and_prefix_is_a_place_of_its_own(self) -> None:
        account = swift_account.from_environment(self.swift.environment)
        places = [
            *((f'{self.container} {strange}', '') for strange in STRANGE),
            *((self.container, f'% {strange}') for strange in STRANGE),
            *(
                (self.container, f'é {strange}/{strange}')
                for strange in STRANGE
            ),
        ]
        stores = []
        for container, prefix in places:
            store = swift_store.SwiftStore(account, container, prefix)
            self.addCleanup(store.close)
            stores.append(store)
            store.put('a/b', store.url.encode(), if_absent=True)
        for store in stores:
            content = store.url.encode()
            self.assertEqual(content, store.get('a/b'))
            self.assertEqual(
                content[1:9], store.get('a/b', offset=1, length=8)
            )
            self.assertEqual([store.stat('a/b')], list(store.list()))
            self.assertEqual([store.stat('a/b')], list(store.list('a/')))
            store.delete('a/b')
            self.assertEqual([], list(store.list()))

    def test_swift_knows_them_by_the_same_names(self) -> None:
        store = self.open(self.swift.environment)
        store.put('a/b', SEGMENT)
        url, token = client.get_auth(
            self.swift.environment['ST_AUTH'],
            self.swift.environment['ST_USER'],
            self.swift.environment['ST_KEY'],
        )
        _, objects = client.get_container(url, token, self.container)
        self.assertEqual(
            [('pre fix/%41/a/b', hashlib.md5(SEGMENT).hexdigest())],
            [(found['name'], found['hash']) for found in objects],
        )

    def test_by_url(self) -> None:
        self.open(self.swift.environment).put('a', b'1')
        path = urlparse.quote(f'{self.container}/pre fix/%41')
        with load.open_store(
            f'swift:///{path}', self.swift.environment
        ) as store:
            self.assertEqual(b'1', store.get('a'))
            self.assertEqual(f'swift:///{path}', store.url)

    def test_what_cannot_be_a_place(self) -> None:
        for container, prefix in (
            ('', ''),
            ('a/b', ''),
            ('a' * 257, ''),
            ('é' * 129, ''),
            ('.', ''),
            ('..', 'a'),
            ('a', '../b'),
            ('a', 'b/..'),
            ('a', 'b/./c'),
            ('a', 'b' * 512),
        ):
            error = self.assertRaises(
                exception.InvalidOption,
                swift_store.SwiftStore,
                swift_account.from_environment(self.swift.environment),
                container,
                prefix,
            )
            self.assertIn('container', str(error))

    def test_the_longest_name(self) -> None:
        store = self.open(self.swift.environment, 'é' * 128, 'b' * 511)
        name = 'c/' * 255 + 'dd'
        store.put(name, b'1')
        self.assertEqual([name], [found.name for found in store.list()])

    def test_others_objects_are_not_listed(self) -> None:
        ours = self.open(self.swift.environment, prefix='ours')
        ours.put('a', b'1')
        for prefix in ('ours2', 'our', '', 'ours/not ours'):
            self.open(self.swift.environment, prefix=prefix).put('b', b'2')
        self.assertEqual(['a'], [found.name for found in ours.list()])

    def test_before_there_is_a_container(self) -> None:
        store = self.open(self.swift.environment)
        self.assertEqual([], list(store.list()))
        self.assertRaises(exception.ObjectMissing, store.get, 'a')
        self.assertRaises(exception.ObjectMissing, store.stat, 'a')
        store.delete('a')
        with futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: store.put(f'a/{n}', SEGMENT), range(4)))
        self.assertEqual(4, len(list(store.list())))

    def test_siblings(self) -> None:
        for project in ('b', 'a'):
            self.open(self.swift.environment, f's-{project}-e').put('x', b'')
        self.open(self.swift.environment, 's--e').put('x', b'')
        self.open(self.swift.environment, 's-c').put('x', b'')
        for url in ('swift:///s-{project}-e', 'swift:///s-{project}-e/below'):
            self.assertEqual(
                ['a', 'b'],
                load.siblings(url, self.swift.environment, '{project}'),
            )
        self.assertRaises(
            exception.InvalidOption,
            load.siblings,
            *('swift:///all/{project}', self.swift.environment, '{project}'),
        )


class TestAuthentication(TestCase):
    def test_wrong_password(self) -> None:
        environment = {**self.swift.environment, 'ST_KEY': 'wrong'}
        store = self.open(environment)
        self.assertRaises(exception.StoreUnauthorized, store.stat, 'a')
        retrying = retry.RetryingStore(store, sleep=self.fail_to_sleep)
        self.assertRaises(exception.StoreUnauthorized, retrying.stat, 'a')

    def fail_to_sleep(self, seconds: float) -> None:
        self.assertEqual(0.0, seconds)

    def test_nobodys_account(self) -> None:
        store = self.open({**self.swift.environment, 'ST_USER': 'test:nobody'})
        self.assertRaises(exception.StoreUnauthorized, store.put, 'a', b'')

    def test_without_permission(self) -> None:
        environment = {
            **self.swift.environment,
            'ST_USER': 'test:guest',
            'ST_KEY': 'guest',
        }
        store = self.open(environment)
        for call in (
            lambda: store.put('a', b''),
            lambda: store.get('a'),
            lambda: store.stat('a'),
            lambda: list(store.list()),
            lambda: store.delete('a'),
        ):
            self.assertRaises(exception.StoreDenied, call)

    def test_secrets_are_not_logged(self) -> None:
        store = self.open(self.swift.environment)
        store.put('a', b'1')
        self.swift.expire_tokens()
        error = self.assertRaises(exception.StoreUnauthorized, store.get, 'a')
        token = swift_account.from_environment(self.swift.environment).access(
            'x'
        )
        self.assertIn('AUTH_', self.log.output)
        for text in (self.log.output, str(error), repr(token)):
            self.assertNotIn('AUTH_tk', text)
            self.assertNotIn('X-Auth-Key: testing', text)


class TestFaults(TestCase):
    """Through a proxy that fails; ``there`` sees what Swift really holds."""

    def setUp(self) -> None:
        super().setUp()
        self.proxy = self.useFixture(fault_proxy.FaultProxy(self.swift.port))
        environment = self.swift.environment_through(self.proxy.port)
        self.store = self.open({**environment, 'OS_TIMEOUT': '20'})
        self.impatient = self.open({**environment, 'OS_TIMEOUT': '0.5'})
        self.there = retry.RetryingStore(self.open(self.swift.environment))
        self.waits: list[float] = []
        self.retrying = retry.RetryingStore(
            self.store, retry.Policy(attempts=4), sleep=self.waits.append
        )
        self.there.put('first', b'1')

    def unavailable(
        self, call: typing.Any, *args: object, **kwargs: object
    ) -> exception.StoreUnavailable:
        error = self.assertRaises(
            exception.StoreUnavailable, call, *args, **kwargs
        )
        self.assertEqual([], self.proxy.pending())
        return error

    def assert_same(self, wanted: bytes, found: bytes) -> None:
        # Nobody wants to read 8 MiB of a difference.
        self.assertEqual(
            (len(wanted), hashlib.sha256(wanted).hexdigest()),
            (len(found), hashlib.sha256(found).hexdigest()),
        )

    def assert_absent(self, name: str) -> None:
        self.assertRaises(exception.ObjectMissing, self.there.get, name)
        self.assertNotIn(name, [found.name for found in self.there.list()])

    def assert_whole(self, name: str, content: bytes = SEGMENT) -> None:
        self.assert_same(content, self.there.get(name))
        self.assertEqual([], self.proxy.pending())

    def test_the_way_leads_through_the_proxy(self) -> None:
        self.store.put('a', SEGMENT)
        self.assertEqual(1, self.proxy.requests('PUT', '/pre%20fix/%2541/a'))
        self.assert_whole('a')

    def test_token_runs_out_in_the_middle(self) -> None:
        def put(number: int) -> None:
            if number == 20:
                self.swift.expire_tokens()
            self.retrying.put(f'many/{number:02}', SEGMENT[number:])

        with futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(put, range(40)))
        for number in range(40):
            self.assert_whole(f'many/{number:02}', SEGMENT[number:])
        # One at the beginning, one later, for all threads.
        self.assertEqual(2, self.proxy.requests('GET', '/auth/v1.0'))
        self.assertEqual({0.0}, set(self.waits))

    def test_token_runs_out_without_retries(self) -> None:
        self.store.put('a', b'1')
        self.swift.expire_tokens()
        for _ in range(2):
            self.assertRaises(exception.StoreUnauthorized, self.store.get, 'a')
        self.store.reauthenticate()
        self.assertEqual(b'1', self.store.get('a'))

    def test_token_runs_out_while_listing(self) -> None:
        names = [f'list/{number:02}' for number in range(35)]
        for name in names:
            self.there.put(name, b'')
        found = []
        for stat in self.retrying.list('list/'):
            found.append(stat.name)
            if len(found) in {1, 20}:
                self.swift.expire_tokens()
        self.assertEqual(names, found)

    def test_told_to_come_back_later(self) -> None:
        later = fault_proxy.Refuse(503, (('Retry-After', '7'),))
        self.proxy.inject('PUT', later)
        error = self.unavailable(self.store.put, 'a', SEGMENT)
        self.assertEqual(7.0, error.retry_after)
        self.assert_absent('a')

        self.proxy.inject('PUT', later, later)
        self.retrying.put('a', SEGMENT)
        self.assert_whole('a')
        self.assertEqual(2, len(self.waits))
        for wait in self.waits:
            self.assertTrue(7.0 <= wait <= 9.0, wait)

    def test_what_refusals_mean(self) -> None:
        for status, kind in (
            (400, exception.StoreDenied),
            (401, exception.StoreUnauthorized),
            (403, exception.StoreDenied),
            (408, exception.StoreUnavailable),
            (409, exception.StoreUnavailable),
            (413, exception.StoreFull),
            (422, exception.StoreUnavailable),
            (429, exception.StoreUnavailable),
            (498, exception.StoreUnavailable),
            (500, exception.StoreUnavailable),
            (502, exception.StoreUnavailable),
            (507, exception.StoreFull),
        ):
            self.proxy.inject('PUT', fault_proxy.Refuse(status))
            error = self.assertRaises(kind, self.store.put, 'a', SEGMENT)
            self.assertIn(str(status), str(error))
        self.assert_absent('a')
        self.store.put('a', SEGMENT)
        self.assert_whole('a')

    def test_a_redirection_is_not_followed(self) -> None:
        """The token would go along, and a DELETE would become a GET."""
        away = ('Location', f'http://localhost:{self.swift.port}/elsewhere')
        for method, call in (
            ('PUT', lambda: self.store.put('a', SEGMENT)),
            ('GET', lambda: self.store.get('first')),
            ('DELETE', lambda: self.store.delete('first')),
        ):
            for status in (301, 302, 307):
                fault = fault_proxy.Refuse(status, (away,))
                self.proxy.inject(method, fault)
                error = self.assertRaises(exception.StoreDenied, call)
                self.assertIn(str(status), str(error))
        self.assert_absent('a')
        self.assert_whole('first', b'1')

    def test_an_interim_reply(self) -> None:
        """What follows it is not taken for the reply to the next request."""
        self.proxy.inject('PUT', fault_proxy.Interim(103))
        error = self.unavailable(self.store.put, 'a', SEGMENT)
        self.assertIn('103', str(error))
        self.assertEqual(1, self.store.stat('first').size)
        self.store.put('a', SEGMENT)
        self.assert_whole('a')

    def test_connection_cut_in_the_middle_of_a_put(self) -> None:
        for after in (0, 1, HALF, len(SEGMENT) - 1):
            self.proxy.inject('PUT', fault_proxy.CutRequest(after))
            self.unavailable(self.store.put, 'new', SEGMENT)
            self.assert_absent('new')
            self.proxy.inject('PUT', fault_proxy.CutRequest(after))
            self.unavailable(self.store.put, 'first', SEGMENT)
            self.assert_whole('first', b'1')
        self.proxy.inject('PUT', *[fault_proxy.CutRequest(HALF)] * 3)
        self.retrying.put('new', SEGMENT, if_absent=True)
        self.assert_whole('new')
        self.assertEqual(3, len(self.waits))

    def test_reply_to_a_put_is_lost(self) -> None:
        self.proxy.inject('PUT', fault_proxy.CutReply(None))
        self.unavailable(self.store.put, 'a', SEGMENT)
        self.assert_whole('a')
        self.proxy.inject('PUT', fault_proxy.CutReply(None))
        self.retrying.put('b', SEGMENT, if_absent=True)
        self.assert_whole('b')
        self.assertEqual(1, len(self.waits))

    def test_reply_to_a_put_is_lost_and_it_was_not_ours(self) -> None:
        for theirs in (SEGMENT[:-1], SEGMENT[:-1] + b'?'):
            self.there.put('a', theirs)
            self.proxy.inject('PUT', fault_proxy.CutReply(None))
            self.assertRaises(
                exception.ObjectExists,
                self.retrying.put,
                'a',
                SEGMENT,
                if_absent=True,
            )
            self.assert_whole('a', theirs)

    def test_bytes_that_change_on_the_way(self) -> None:
        self.proxy.inject('PUT', fault_proxy.FlipBit())
        self.unavailable(self.store.put, 'a', SEGMENT)
        self.assert_absent('a')
        self.proxy.inject('PUT', fault_proxy.FlipBit())
        self.retrying.put('a', SEGMENT)
        self.assert_whole('a')

    def test_a_store_that_confirms_something_else(self) -> None:
        self.proxy.inject('PUT', fault_proxy.FalseChecksum())
        error = self.unavailable(self.store.put, 'a', SEGMENT)
        self.assertIn('f' * 32, error.reason)

    def test_reply_cut_in_the_middle_of_a_get(self) -> None:
        self.there.put('a', SEGMENT)
        self.store.stat('a')
        for after in (None, 0, 1, HALF, len(SEGMENT) - 1):
            self.proxy.inject('GET', fault_proxy.CutReply(after))
            self.unavailable(self.store.get, 'a')
            self.proxy.inject('GET', fault_proxy.CutReply(after and 1))
            self.unavailable(self.store.get, 'a', offset=1, length=2)
            self.proxy.inject('GET', fault_proxy.CutReply(after))
            self.assert_same(SEGMENT, self.retrying.get('a'))
            self.assertEqual([], self.proxy.pending())
        self.assertEqual(5, len(self.waits))

    def test_reply_that_stalls(self) -> None:
        self.there.put('a', SEGMENT)
        self.impatient.stat('a')
        for after in (0, HALF):
            self.proxy.inject('GET', fault_proxy.StallReply(after))
            self.unavailable(self.impatient.get, 'a')
        self.assert_same(SEGMENT, self.impatient.get('a'))

    def test_a_range_that_is_ignored(self) -> None:
        self.there.put('a', SEGMENT)
        self.store.stat('a')
        for offset, length in ((HALF, 3), (HALF, None), (0, 5), (1 << 30, 1)):
            self.proxy.inject('GET', fault_proxy.IgnoreRange())
            end = None if length is None else offset + length
            self.assert_same(
                SEGMENT[offset:end],
                self.store.get('a', offset=offset, length=length),
            )
            self.assertEqual([], self.proxy.pending())

    def test_listing_cut_in_the_middle(self) -> None:
        names = [f'list/{number:02}' for number in range(35)]
        for name in names:
            self.there.put(name, b'')
        self.store.stat('first')
        for faults in (
            [fault_proxy.CutReply(100)],
            [fault_proxy.CutReply(0), fault_proxy.CutReply(None)],
            [fault_proxy.Refuse(503)],
        ):
            stream = self.retrying.list('list/')
            found = [next(stream).name]
            self.proxy.inject('GET', *faults)
            found += [stat.name for stat in stream]
            self.assertEqual(names, found)

    def test_a_container_that_vanishes(self) -> None:
        for number in range(15):
            self.there.put(f'list/{number:02}', b'')
        stream = self.store.list('list/')
        next(stream)
        self.proxy.inject('GET', fault_proxy.Refuse(404))
        self.unavailable(list, stream)
        # The object's PUT and then the container's.
        self.proxy.inject('PUT', *[fault_proxy.Refuse(404)] * 2)
        self.unavailable(self.store.put, 'a', b'')
        self.assert_absent('a')

    def test_faults_while_looking_and_deleting(self) -> None:
        self.there.put('a', SEGMENT)
        for fault in (
            fault_proxy.Refuse(500),
            fault_proxy.CutReply(None),
        ):
            self.proxy.inject('HEAD', fault)
            self.assertEqual(len(SEGMENT), self.retrying.stat('a').size)
            self.there.put('b', b'')
            self.proxy.inject('DELETE', fault)
            self.retrying.delete('b')
            self.assert_absent('b')
        self.assertEqual([], self.proxy.pending())

    def test_no_token_to_be_had(self) -> None:
        self.proxy.inject('GET', fault_proxy.Refuse(503))
        self.unavailable(self.store.put, 'a', SEGMENT)
        self.proxy.inject('GET', fault_proxy.CutReply(None))
        self.unavailable(self.store.put, 'a', SEGMENT)
        self.store.put('a', SEGMENT)
        self.assert_whole('a')

    def test_nobody_listens(self) -> None:
        self.proxy.cleanUp()
        self.addCleanup(self.proxy.setUp)
        error = self.assertRaises(
            exception.StoreUnavailable, self.store.get, 'first'
        )
        self.assertIsNone(error.retry_after)

    def test_closing_hangs_up_for_every_thread(self) -> None:
        with futures.ThreadPoolExecutor(5) as pool:
            names = [f'a/{number}' for number in range(25)]
            list(pool.map(lambda name: self.store.put(name, b''), names))
            self.store.close()
            for _ in range(200):
                if not self.open_connections():
                    break
                time.sleep(0.05)
            self.assertEqual(0, self.open_connections())

    def open_connections(self) -> int:
        # keystoneauth keeps the one on which it asked for a token.
        return max(0, self.proxy.connections() - 1)


def _certificate(directory: pathlib.Path) -> pathlib.Path:
    """A new certificate for 127.0.0.1 that nobody trusts, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, 'test')])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address('127.0.0.1'))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    path = directory / 'certificate.pem'
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


class TestTls(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.certificate = _certificate(pathlib.Path(tempfile.mkdtemp()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        proxy = self.useFixture(
            fault_proxy.FaultProxy(self.swift.port, context)
        )
        self.base_url = f'https://127.0.0.1:{proxy.port}'
        self.account_url = f'{self.base_url}/v1/AUTH_test'

    def test_nobody_trusts_it(self) -> None:
        for environment in (
            {'OS_STORAGE_URL': self.account_url},
            {'ST_AUTH': f'{self.base_url}/auth/v1.0'},
        ):
            store = self.open({**self.swift.environment, **environment})
            error = self.assertRaises(
                exception.StoreDenied, store.put, 'a', b'1'
            )
            self.assertIn('certificate verify failed', str(error))

    def test_trusted_by_name_or_by_faith(self) -> None:
        for environment in (
            {'OS_CACERT': str(self.certificate)},
            {'OS_INSECURE': 'true'},
        ):
            store = self.open(
                {
                    **self.swift.environment,
                    'ST_AUTH': f'{self.base_url}/auth/v1.0',
                    'OS_STORAGE_URL': self.account_url,
                    **environment,
                }
            )
            store.put('a', SEGMENT)
            self.assertEqual(b'', store.get('a', offset=len(SEGMENT)))
            self.assertEqual(len(SEGMENT), store.stat('a').size)
