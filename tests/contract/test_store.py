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

"""What every store promises, bare and with retries."""

from collections.abc import Callable
from concurrent import futures
import contextlib
import hashlib
import itertools
import random
import threading
import uuid

import fixtures
import hypothesis
from hypothesis import strategies
from oslo_utils import units

from ekko_nova.backup.store import base as store_base
from ekko_nova.backup.store import directory
from ekko_nova.backup.store import load
from ekko_nova.backup.store import memory
from ekko_nova.backup.store import retry
from ekko_nova.backup.store import swift as swift_store
from ekko_nova.backup.store import swift_account
from ekko_nova import block
from ekko_nova import exception
from tests import base
from tests.contract import drivers
from tests.functional import swift

BUFFERS: list[Callable[[bytes], block.Buffer]] = [
    bytes,
    bytearray,
    memoryview,
    lambda data: memoryview(bytearray(b'x' + data + b'x'))[1:-1],
]

#: In the order of their bytes, which is not that of their components.
NAMES = (
    '-',
    '...',
    '.a',
    'A',
    '_',
    'a-b',
    'a-b.c/d',
    'a.b',
    'a/b-c',
    'a/b/c',
    'a/b0',
    'a0',
    'b/' + 'c' * 255,
    'd/' * 255 + 'ee',
    'f.tmp',
)

BAD_NAMES = (
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    '.',
    '..',
    'a/./b',
    'a/../b',
    'a/..',
    'a b',
    'a%20b',
    'a+b',
    'a\n',
    'a\0b',
    '\u00fc',
    'a' * 256,
    'a/' * 256 + 'a',
)


def _directory(test: base.TestCase) -> store_base.Store:
    path = test.useFixture(fixtures.TempDir()).path
    return directory.DirectoryStore(f'{path}/new/store')


def _memory(test: base.TestCase) -> store_base.Store:
    return memory.MemoryStore()


def _swift(test: base.TestCase) -> store_base.Store:
    account = swift_account.from_environment(swift.shared().environment)
    return swift_store.SwiftStore(
        account, f'contract-{uuid.uuid4()}', 'one/two', page=7
    )


#: How to open a new, empty store, by driver. A driver from elsewhere is
#: tested once it has an entry here.
STORES: dict[str, Callable[[base.TestCase], store_base.Store]] = {
    'directory': _directory,
    'memory': _memory,
    'swift': _swift,
}

#: Drivers that are quick enough for a listing longer than any page or batch.
QUICK = frozenset(('memory',))


def _at_once(number: int, call: Callable[[int], object]) -> None:
    """Call from many threads that begin together; raise what they raise."""
    barrier = threading.Barrier(number)

    def run(position: int) -> object:
        barrier.wait()
        return call(position)

    with futures.ThreadPoolExecutor(number) as pool:
        for done in [pool.submit(run, n) for n in range(number)]:
            done.result()


class Promises(base.TestCase):
    driver = ''
    retried = False

    def setUp(self) -> None:
        if self.driver == 'swift':
            # Before the place for temporary files becomes this test's own.
            swift.shared()
        super().setUp()
        if self.driver not in STORES:
            self.skipTest(f'STORES has no way to open one: {self.driver}')
        self.store = STORES[self.driver](self)
        if self.retried:
            self.store = retry.RetryingStore(self.store)
        self.addCleanup(self.store.close)

    def names(self, prefix: str = '') -> list[str]:
        return [found.name for found in self.store.list(prefix)]

    def assert_content(self, content: bytes, name: str) -> None:
        self.assertTrue(content == self.store.get(name), name)
        stat = self.store.stat(name)
        self.assertEqual((name, len(content)), (stat.name, stat.size))
        self.assertIn(stat, list(self.store.list(name)))
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        self.assertIn(stat.etag, (None, md5))

    def test_a_new_store_is_empty(self) -> None:
        self.assertEqual([], self.names())
        self.assertEqual([], self.names('some/where'))
        self.assertRaises(exception.ObjectMissing, self.store.get, 'a')
        self.store.delete('a')

    def test_a_message_can_call_it_something(self) -> None:
        self.assertRegex(self.store.url, r'^[a-z]+:\S*$')
        self.assertNotIn('testing', self.store.url)
        self.assertGreaterEqual(
            self.store.properties.max_object_size, 64 * units.Mi
        )

    def test_round_trip(self) -> None:
        noise = random.Random(1).randbytes(4 * units.Mi)
        for size, make in itertools.product((0, 1, 4 * units.Mi), BUFFERS):
            name = f'of/{size}'
            self.store.put(name, make(noise[:size]))
            self.assert_content(noise[:size], name)

    def test_what_was_put_is_the_stores_own(self) -> None:
        buffer = bytearray(b'before')
        self.store.put('a', buffer)
        buffer[:] = b'after.'
        self.assert_content(b'before', 'a')

    def test_overwriting(self) -> None:
        for content in (b'a long one', b'short', b'', b'a longer one yet'):
            self.store.put('a/b', content)
            self.assert_content(content, 'a/b')
        self.assertEqual(['a/b'], self.names())

    def test_ranges(self) -> None:
        content = bytes(range(200))
        self.store.put('a', content)

        @hypothesis.settings(drivers.PROPERTY, max_examples=40)
        @hypothesis.given(
            strategies.integers(0, 300),
            strategies.none() | strategies.integers(0, 300),
        )
        @hypothesis.example(199, 1)
        @hypothesis.example(200, None)
        @hypothesis.example(200, 1)
        @hypothesis.example(0, 1 << 40)
        @hypothesis.example(1 << 40, 1)
        def check(offset: int, length: int | None) -> None:
            self.assertEqual(
                content[offset:][:length],
                self.store.get('a', offset=offset, length=length),
            )

        check()

    def test_ranges_of_nothing(self) -> None:
        self.store.put('empty', b'')
        for offset, length in itertools.product((0, 1), (None, 0, 1)):
            found = self.store.get('empty', offset=offset, length=length)
            self.assertEqual(b'', found)

    def test_what_is_missing(self) -> None:
        self.store.put('a/b', b'is there')
        for name in ('a', 'a/b/c', 'b', 'a/c'):
            for call in (
                self.store.get,
                lambda name: self.store.get(name, offset=1, length=0),
                lambda name: self.store.get(name, offset=10),
                self.store.stat,
            ):
                error = self.assertRaises(exception.ObjectMissing, call, name)
                self.assertEqual(name, error.name)
            self.store.delete(name)
        self.assert_content(b'is there', 'a/b')

    def test_if_absent(self) -> None:
        self.store.put('a/b', b'first', if_absent=True)
        for content in (b'second', b''):
            error = self.assertRaises(
                exception.ObjectExists,
                self.store.put,
                'a/b',
                content,
                if_absent=True,
            )
            self.assertEqual('a/b', error.name)
        self.assert_content(b'first', 'a/b')
        self.store.delete('a/b')
        self.store.put('a/b', b'third', if_absent=True)
        self.assert_content(b'third', 'a/b')

    def test_if_absent_of_many_at_once(self) -> None:
        for turn in range(5):
            self.race(f'at-once/{turn}')

    def race(self, name: str) -> None:
        winners = []

        def put(number: int) -> None:
            with contextlib.suppress(exception.ObjectExists):
                self.store.put(name, bytes([number]) * 9, if_absent=True)
                winners.append(number)

        _at_once(16, put)
        if self.store.properties.exclusive_put:
            self.assertEqual(1, len(winners))
        self.assertIn(self.store.get(name), [bytes([n]) * 9 for n in winners])

    def test_readers_see_one_content_or_another(self) -> None:
        contents = {bytes([n]) * (n * 10_000) for n in range(1, 9)}
        self.store.put('a', min(contents))
        done = threading.Event()

        def write() -> None:
            for content in sorted(contents) * 4:
                self.store.put('a', content)
            done.set()

        def read(_number: int) -> None:
            while not done.is_set():
                self.assertTrue(self.store.get('a') in contents)
                self.assertIn(self.store.stat('a').size, map(len, contents))

        def run(number: int) -> None:
            try:
                write() if number == 0 else read(number)
            finally:
                done.set()

        _at_once(4, run)
        self.assert_content(max(contents), 'a')

    def test_list_is_in_the_order_of_bytes(self) -> None:
        for name in random.Random(2).sample(NAMES, len(NAMES)):
            self.store.put(name, name.encode())
        self.assertEqual(list(NAMES), self.names())
        self.assertEqual(sorted(NAMES), list(NAMES))
        for found in self.store.list():
            self.assertEqual(len(found.name), found.size)

    def test_list_of_a_prefix(self) -> None:
        for name in NAMES:
            self.store.put(name, b'')
        prefixes = {name[:n] for name in NAMES for n in range(8)}
        for prefix in sorted(prefixes | {'a/b/', 'z', 'a/z', 'a/b/c/d'}):
            wanted = [name for name in NAMES if name.startswith(prefix)]
            self.assertEqual(wanted, self.names(prefix), prefix)

    def test_list_of_many(self) -> None:
        number = 10_001 if self.driver in QUICK else 301
        names = [f'many/{n:06x}' for n in range(number)]
        with futures.ThreadPoolExecutor(8) as pool:
            for _ in pool.map(lambda name: self.store.put(name, b''), names):
                pass
        self.assertEqual(names, self.names())
        stream = self.store.list('many/')
        self.assertEqual(names[0], next(stream).name)

    def test_deleting_what_is_being_listed(self) -> None:
        for number in range(25):
            self.store.put(f'some/{number:02}/x', b'')
        self.store.put('other', b'')
        for found in self.store.list('some/'):
            self.store.delete(found.name)
        self.assertEqual(['other'], self.names())

    def test_listing_what_others_change(self) -> None:
        names = [f'{number:02}' for number in range(40)]
        for name in names:
            self.store.put(name, b'')
        stream = self.store.list()
        found = [next(stream).name]
        for name in names[1::2]:
            self.store.delete(name)
            self.store.put(f'{name}.new', b'')
        found += [stat.name for stat in stream]
        self.assertEqual(sorted(set(found)), found)
        self.assertEqual([], sorted(set(names[::2]) - set(found)))

    def test_delete(self) -> None:
        self.store.put('a/b/c', b'1')
        self.store.put('a/d', b'2')
        for _ in range(2):
            self.store.delete('a/b/c')
            self.assertRaises(exception.ObjectMissing, self.store.get, 'a/b/c')
            self.assertRaises(
                exception.ObjectMissing, self.store.stat, 'a/b/c'
            )
            self.assertEqual(['a/d'], self.names())
        self.store.put('a/b', b"a name that was another's directory")
        self.assertEqual(['a/b', 'a/d'], self.names())

    def test_bad_names_are_refused(self) -> None:
        calls: tuple[Callable[[str], object], ...] = (
            lambda name: self.store.put(name, b''),
            lambda name: self.store.put(name, b'', if_absent=True),
            self.store.get,
            lambda name: self.store.get(name, length=0),
            self.store.stat,
            self.store.delete,
        )
        for name, call in itertools.product(BAD_NAMES, calls):
            self.assertRaises(exception.InvalidName, call, name)
        for prefix in ('/', '../', 'a/../b', 'a//', 'a b', '%', 'a' * 256):
            self.assertRaises(
                exception.InvalidName, list, self.store.list(prefix)
            )
        self.assertEqual([], self.names())

    def test_many_threads(self) -> None:
        def work(number: int) -> None:
            for turn in range(12):
                # Neighbours come and go in the same places.
                name = f'work/{turn % 3}/{number}'
                content = f'{number}.{turn}'.encode() * 100
                self.store.put(name, content, if_absent=turn % 2 == 0)
                self.assertEqual(content, self.store.get(name))
                self.assertEqual(len(content), self.store.stat(name).size)
                self.assertIn(name, self.names(f'work/{turn % 3}/'))
                self.store.delete(name)
                self.assertRaises(
                    exception.ObjectMissing, self.store.stat, name
                )

        _at_once(16, work)
        self.assertEqual([], self.names())

    def test_closing_twice(self) -> None:
        with self.store as entered:
            self.assertIs(self.store, entered)
            self.store.put('a', b'1')
        self.store.close()


@drivers.suite(load.NAMESPACE)
class Store(Promises):
    pass


@drivers.suite(load.NAMESPACE)
class RetryingStore(Promises):
    retried = True


# Runs through its subclasses only.
del Promises
