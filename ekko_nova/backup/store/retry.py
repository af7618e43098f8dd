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

"""Retries, for any store: the only place in the engine that has any."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import hashlib
import itertools
import logging
import threading
import typing

import tenacity

from ekko_nova.backup.store import base
from ekko_nova import block
from ekko_nova import exception

__all__ = ('DEFAULT', 'Policy', 'RetryingStore')

LOG = logging.getLogger(__name__)

_Result = typing.TypeVar('_Result')

#: Rejected tokens that one call puts up with. The second new one is for a
#: token that ran out between its issue and its use.
_NEW_TOKENS: typing.Final = 2

#: Objects ``list`` takes from the store at a time.
_BATCH: typing.Final = 256


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """How much patience to have with a store.

    The wait before another attempt is random; its upper limit begins with
    ``first_wait`` and doubles each time. What the store itself asked for is
    added. In all it is never more than ``longest_wait``.

    :ivar attempts: how often a call is made in all, at least 1
    :ivar first_wait: seconds
    :ivar longest_wait: seconds
    """

    attempts: int = 7
    first_wait: float = 1.0
    longest_wait: float = 60.0


DEFAULT: typing.Final = Policy()


class RetryingStore(base.Store):
    """Another store, called again where that may help.

    ``StoreUnavailable`` is worth another attempt, ``StoreUnauthorized`` one
    with a new token. The last error is raised as it is.

    :param store: closed together with this one
    :param cancel: once set, nothing is waited for or retried any more
    :param sleep: waits for a number of seconds; for tests
    """

    def __init__(
        self,
        store: base.Store,
        policy: Policy = DEFAULT,
        cancel: threading.Event | None = None,
        *,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.properties = store.properties
        self._store = store
        self._policy = policy
        self._cancel = threading.Event() if cancel is None else cancel
        self._retrying = tenacity.Retrying(
            sleep=sleep or tenacity.sleep_using_event(self._cancel),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(policy.attempts),
                tenacity.stop_when_event_set(self._cancel),
            ),
            wait=self._wait,
            before_sleep=self._log,
            reraise=True,
        )
        self._backoff = tenacity.wait_random_exponential(
            multiplier=policy.first_wait, max=policy.longest_wait
        )

    @property
    def url(self) -> str:
        return self._store.url

    def put(
        self, name: str, data: block.Buffer, *, if_absent: bool = False
    ) -> None:
        doubtful = False

        def attempt() -> None:
            nonlocal doubtful
            try:
                self._store.put(name, data, if_absent=if_absent)
            except exception.StoreUnavailable:
                doubtful = True
                raise
            except exception.ObjectExists:
                # An attempt whose reply was lost may have stored it.
                if not (doubtful and self._holds(name, data)):
                    raise

        self._call(attempt)

    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        return self._call(
            lambda: self._store.get(name, offset=offset, length=length)
        )

    def list(self, prefix: str = '') -> Iterator[base.ObjectStat]:
        last = ''
        rest: Iterator[base.ObjectStat] | None = None

        def attempt() -> tuple[base.ObjectStat, ...]:
            nonlocal rest
            if rest is None:
                rest = (o for o in self._store.list(prefix) if o.name > last)
            try:
                return tuple(itertools.islice(rest, _BATCH))
            except exception.EkkoError:
                rest = None
                raise

        while batch := self._call(attempt):
            yield from batch
            last = batch[-1].name

    def stat(self, name: str) -> base.ObjectStat:
        return self._call(lambda: self._store.stat(name))

    def delete(self, name: str) -> None:
        self._call(lambda: self._store.delete(name))

    def reauthenticate(self) -> None:
        self._store.reauthenticate()

    def close(self) -> None:
        self._store.close()

    def _call(self, call: Callable[[], _Result]) -> _Result:
        failures: list[exception.RetryLater] = []
        rejections = 0

        def attempt() -> _Result:
            nonlocal rejections
            if failures and self._cancel.is_set():
                raise failures[-1]
            try:
                return call()
            except exception.StoreUnauthorized as e:
                failures.append(e)
                rejections += 1
                self._store.reauthenticate()
                raise
            except exception.StoreUnavailable as e:
                failures.append(e)
                raise

        def worthwhile(error: BaseException) -> bool:
            if isinstance(error, exception.StoreUnauthorized):
                return rejections <= _NEW_TOKENS
            return isinstance(error, exception.StoreUnavailable)

        return self._retrying.copy(
            retry=tenacity.retry_if_exception(worthwhile)
        )(attempt)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome and state.outcome.exception()
        if not isinstance(error, exception.StoreUnavailable):
            return 0.0
        wait = self._backoff(state) + (error.retry_after or 0.0)
        return min(wait, self._policy.longest_wait)

    def _log(self, state: tenacity.RetryCallState) -> None:
        LOG.warning(
            '%s; attempt %d of %d failed, the next is in %.1f s',
            state.outcome and state.outcome.exception(),
            state.attempt_number,
            self._policy.attempts,
            state.upcoming_sleep,
        )

    def _holds(self, name: str, data: block.Buffer) -> bool:
        """Whether the object is there, with exactly these bytes."""
        try:
            found = self._store.stat(name)
            if found.size != len(data):
                return False
            if found.etag is None:
                return self._store.get(name) == data
        except exception.ObjectMissing:
            return False
        md5 = hashlib.md5(data, usedforsecurity=False)
        return found.etag == md5.hexdigest()
