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

"""What is tried again, how often, and after how long."""

from collections.abc import Callable
from collections.abc import Iterator
import hashlib
import threading

from ekko_nova.backup.store import base as store_base
from ekko_nova.backup.store import memory
from ekko_nova.backup.store import retry
from ekko_nova import block
from ekko_nova import exception
from tests import base

AWAY = exception.StoreUnavailable('x', 'away')
REJECTED = exception.StoreUnauthorized('x', 'old token')


class Scripted(memory.MemoryStore):
    """Raises the errors it is given, one for each call.

    :ivar lost: the call does its work before it raises
    :ivar calls: how many there were, by verb
    """

    def __init__(self, *errors: Exception, lost: bool = False) -> None:
        super().__init__()
        self.errors = list(errors)
        self.lost = lost
        self.calls: list[str] = []
        self.closed = False

    def _next(self, verb: str) -> Exception | None:
        self.calls.append(verb)
        return self.errors.pop(0) if self.errors else None

    def put(
        self, name: str, data: block.Buffer, *, if_absent: bool = False
    ) -> None:
        error = self._next('put')
        if error is None or self.lost:
            super().put(name, data, if_absent=if_absent)
        if error is not None:
            raise error

    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        if error := self._next('get'):
            raise error
        return super().get(name, offset=offset, length=length)

    def stat(self, name: str) -> store_base.ObjectStat:
        if error := self._next('stat'):
            raise error
        return super().stat(name)

    def delete(self, name: str) -> None:
        error = self._next('delete')
        if error is None or self.lost:
            super().delete(name)
        if error is not None:
            raise error

    def reauthenticate(self) -> None:
        self.calls.append('reauthenticate')

    def close(self) -> None:
        self.closed = True


class WithoutChecksums(Scripted):
    def stat(self, name: str) -> store_base.ObjectStat:
        found = super().stat(name)
        return store_base.ObjectStat(found.name, found.size, None)


class BrokenList(memory.MemoryStore):
    """Raises after every ``after`` objects of a listing, ``times`` times."""

    def __init__(self, after: int, times: int, error: Exception) -> None:
        super().__init__()
        self.after = after
        self.times = times
        self.error = error
        self.listings = 0

    def list(self, prefix: str = '') -> Iterator[store_base.ObjectStat]:
        self.listings += 1
        for number, found in enumerate(super().list(prefix)):
            if self.times and number == self.after * self.listings:
                self.times -= 1
                raise self.error
            yield found


class TestCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.waits: list[float] = []

    def retrying(
        self,
        store: store_base.Store,
        *,
        attempts: int = 4,
        first_wait: float = 1.0,
        longest_wait: float = 30.0,
    ) -> retry.RetryingStore:
        policy = retry.Policy(attempts, first_wait, longest_wait)
        return retry.RetryingStore(store, policy, sleep=self.waits.append)


class TestAttempts(TestCase):
    def test_no_fault_no_wait(self) -> None:
        store = Scripted()
        retrying = self.retrying(store)
        retrying.put('a', b'abc')
        self.assertEqual(b'b', retrying.get('a', offset=1, length=1))
        self.assertEqual(3, retrying.stat('a').size)
        retrying.delete('a')
        self.assertEqual(['put', 'get', 'stat', 'delete'], store.calls)
        self.assertEqual([], self.waits)

    def test_every_verb_is_tried_again(self) -> None:
        calls: tuple[tuple[str, Callable[[store_base.Store], object]], ...] = (
            ('put', lambda store: store.put('a', b'2')),
            ('put', lambda store: store.put('b', b'2', if_absent=True)),
            ('get', lambda store: store.get('a')),
            ('stat', lambda store: store.stat('a')),
            ('delete', lambda store: store.delete('a')),
        )
        for verb, call in calls:
            store = Scripted()
            store.put('a', b'1')
            store.calls.clear()
            store.errors = [AWAY] * 3
            call(self.retrying(store))
            self.assertEqual([verb] * 4, store.calls)
        self.assertEqual(5 * 3, len(self.waits))

    def test_the_last_error_is_raised_as_it_is(self) -> None:
        last = exception.StoreUnavailable('x', 'still away')
        store = Scripted(AWAY, AWAY, AWAY, last)
        error = self.assertRaises(
            exception.StoreUnavailable, self.retrying(store).get, 'a'
        )
        self.assertIs(last, error)
        self.assertEqual(['get'] * 4, store.calls)

    def test_a_single_attempt(self) -> None:
        store = Scripted(AWAY)
        self.assertRaises(
            exception.StoreUnavailable,
            self.retrying(store, attempts=1).get,
            'a',
        )
        self.assertEqual(['get'], store.calls)

    def test_what_is_not_worth_another_attempt(self) -> None:
        for error in (
            exception.StoreDenied('x', 'no'),
            exception.StoreFull('x', 'quota'),
            exception.ObjectMissing('x', 'a'),
            exception.InvalidName('object', 'a', 'no'),
            ValueError('a bug of ours'),
        ):
            store = Scripted(error)
            found = self.assertRaises(
                type(error), self.retrying(store).get, 'a'
            )
            self.assertIs(error, found)
            self.assertEqual(['get'], store.calls)

    def test_what_is_logged(self) -> None:
        self.retrying(Scripted(AWAY)).delete('a')
        self.assertIn('away', self.log.output)
        self.assertIn('attempt 1 of 4', self.log.output)

    def test_the_rest_is_the_stores_own(self) -> None:
        store = Scripted()
        with self.retrying(store) as retrying:
            self.assertEqual(store.url, retrying.url)
            self.assertEqual(store.properties, retrying.properties)
            retrying.reauthenticate()
            self.assertEqual(['reauthenticate'], store.calls)
        self.assertTrue(store.closed)


class TestWaits(TestCase):
    def test_they_grow_up_to_the_longest(self) -> None:
        limits = [1, 2, 4, 8, 8, 8]
        longest = [0.0] * len(limits)
        for _ in range(200):
            self.waits.clear()
            self.retrying(
                Scripted(*[AWAY] * 6), attempts=7, longest_wait=8.0
            ).delete('a')
            self.assertEqual(len(limits), len(self.waits))
            longest = [
                max(pair) for pair in zip(longest, self.waits, strict=True)
            ]
        for limit, found in zip(limits, longest, strict=True):
            # 200 draws that all miss the upper half would be a wonder.
            self.assertTrue(limit / 2 < found <= limit, (limit, found))

    def test_what_the_store_asks_for(self) -> None:
        asks = exception.StoreUnavailable('x', 'busy', retry_after=20.0)
        self.retrying(Scripted(asks)).delete('a')
        self.assertTrue(20.0 <= self.waits[0] <= 21.0, self.waits)

    def test_what_the_store_asks_for_has_a_limit(self) -> None:
        asks = exception.StoreUnavailable('x', 'busy', retry_after=86400.0)
        self.retrying(Scripted(asks)).delete('a')
        self.assertEqual([30.0], self.waits)


class TestTokens(TestCase):
    def test_a_new_one_at_once(self) -> None:
        store = Scripted(REJECTED)
        self.retrying(store).delete('a')
        self.assertEqual(['delete', 'reauthenticate', 'delete'], store.calls)
        self.assertEqual([0.0], self.waits)

    def test_wrong_credentials_do_not_become_right(self) -> None:
        store = Scripted(*[REJECTED] * 9)
        self.assertRaises(
            exception.StoreUnauthorized,
            self.retrying(store, attempts=9).delete,
            'a',
        )
        self.assertEqual(3, store.calls.count('delete'))

    def test_between_other_faults(self) -> None:
        store = Scripted(AWAY, REJECTED, AWAY, REJECTED, AWAY)
        self.retrying(store, attempts=6).delete('a')
        self.assertEqual(6, store.calls.count('delete'))
        self.assertEqual(2, store.calls.count('reauthenticate'))


class TestLostReplies(TestCase):
    def test_our_own_object_is_success(self) -> None:
        for kind in (Scripted, WithoutChecksums):
            for data in (b'', b'content', bytearray(b'c'), memoryview(b'd')):
                store = kind(AWAY, lost=True)
                self.retrying(store).put('a', data, if_absent=True)
                self.assertEqual(bytes(data), store.get('a'))
                self.assertEqual(2, store.calls.count('put'))

    def test_asking_whether_it_is_ours_is_tried_again(self) -> None:
        store = Scripted(AWAY, lost=True)
        retrying = self.retrying(store, attempts=3)
        store.errors = [AWAY, exception.ObjectExists('x', 'a'), AWAY]
        retrying.put('a', b'content', if_absent=True)
        self.assertEqual(['put', 'put', 'stat', 'put', 'stat'], store.calls)

    def test_anothers_object_is_not(self) -> None:
        for kind in (Scripted, WithoutChecksums):
            for theirs in (b'', b'CONTENT', b'content!'):
                store = kind()
                store.put('a', theirs)
                store.errors = [AWAY]
                self.assertRaises(
                    exception.ObjectExists,
                    self.retrying(store).put,
                    'a',
                    b'content',
                    if_absent=True,
                )
                self.assertEqual(theirs, store.get('a'))

    def test_without_doubt_the_same_content_is_anothers(self) -> None:
        for errors in ([], [REJECTED]):
            store = Scripted()
            store.put('a', b'content')
            store.errors = list(errors)
            self.assertRaises(
                exception.ObjectExists,
                self.retrying(store).put,
                'a',
                b'content',
                if_absent=True,
            )

    def test_one_that_vanishes_again_is_not_ours(self) -> None:
        store = Scripted(AWAY, exception.ObjectExists('x', 'a'))
        self.assertRaises(
            exception.ObjectExists,
            self.retrying(store).put,
            'a',
            b'content',
            if_absent=True,
        )

    def test_deleting(self) -> None:
        store = Scripted()
        store.put('a', b'1')
        store.errors, store.lost = [AWAY, AWAY], True
        self.retrying(store).delete('a')
        self.assertEqual([], list(store.list()))


class TestList(TestCase):
    NAMES = tuple(f'list/{number:05}' for number in range(2000))

    def fill(self, store: store_base.Store) -> None:
        for name in self.NAMES:
            store.put(name, hashlib.md5(name.encode()).digest())

    def test_resumes_after_the_last_name(self) -> None:
        for after, error in ((1, AWAY), (255, AWAY), (256, REJECTED)):
            store = BrokenList(after, 3, error)
            self.fill(store)
            # Each stretch of success is a new call with its own attempts.
            retrying = self.retrying(store, attempts=5)
            expected = [store.stat(name) for name in self.NAMES]
            if error is REJECTED:
                store.times = 2
            self.assertEqual(expected, list(retrying.list('list/')))
            self.assertEqual(0, store.times)

    def test_gives_up(self) -> None:
        store = BrokenList(0, 100, AWAY)
        self.fill(store)
        stream = self.retrying(store).list()
        self.assertRaises(exception.StoreUnavailable, next, stream)
        self.assertEqual(4, store.listings)

    def test_an_empty_one(self) -> None:
        self.assertEqual([], list(self.retrying(Scripted()).list()))

    def test_is_not_read_far_ahead(self) -> None:
        store = BrokenList(1000, 1, AssertionError('read too far'))
        self.fill(store)
        stream = self.retrying(store).list()
        self.assertEqual(
            list(self.NAMES[:256]), [next(stream).name for _ in range(256)]
        )


class TestCancel(TestCase):
    def test_a_wait_ends(self) -> None:
        cancel = threading.Event()

        class Cancelling(Scripted):
            def delete(self, name: str) -> None:
                # During the wait that follows, as it were.
                cancel.set()
                super().delete(name)

        store = Cancelling(AWAY, AWAY)
        policy = retry.Policy(attempts=5, first_wait=3600, longest_wait=3600)
        self.assertRaises(
            exception.StoreUnavailable,
            retry.RetryingStore(store, policy, cancel).delete,
            'a',
        )
        self.assertEqual(['delete'], store.calls)

    def test_a_wait_that_has_begun_ends(self) -> None:
        cancel = threading.Event()
        store = Scripted(AWAY, AWAY)
        policy = retry.Policy(attempts=5, first_wait=3600, longest_wait=3600)
        retrying = retry.RetryingStore(
            store, policy, cancel, sleep=lambda _seconds: cancel.set()
        )
        error = self.assertRaises(
            exception.StoreUnavailable, retrying.delete, 'a'
        )
        self.assertIs(AWAY, error)
        self.assertEqual(['delete'], store.calls)

    def test_what_works_goes_on_working(self) -> None:
        cancel = threading.Event()
        cancel.set()
        retrying = retry.RetryingStore(Scripted(), cancel=cancel)
        retrying.put('a', b'1')
        self.assertEqual(b'1', retrying.get('a'))
