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


"""A store that fails at a chosen call, in a chosen way."""

from collections.abc import Callable
from collections.abc import Iterator
import enum
import threading
import typing

from ekko_nova.backup.store import base
from ekko_nova import block
from ekko_nova import exception

_Result = typing.TypeVar('_Result')


class Death(BaseException):
    """The process is gone: nothing it would do next happens."""


class Fault(enum.Enum):
    """What happens at the chosen call."""

    #: The call fails and has done nothing.
    ERROR = 'error'
    #: The call has done its work, but its reply is lost.
    LOST_REPLY = 'lost reply'
    #: A new object is there with half its bytes.
    TORN = 'torn'
    #: The process dies before the call, or right after it.
    DEATH_BEFORE = 'death before'
    DEATH_AFTER = 'death after'


class FaultyStore(base.Store):
    """Fails at the ``at``-th call, counted from 1; later calls work.

    Once dead, it lets no call through any more.
    """

    properties = base.Properties(
        persistent=False, shared=False, max_object_size=1 << 40
    )

    def __init__(self, store: base.Store, fault: Fault, at: int) -> None:
        self._store = store
        self._fault = fault
        self._at = at
        self._calls = 0
        self._dead = False
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def struck(self) -> bool:
        """Whether the chosen call was reached."""
        return self._calls >= self._at

    def put(
        self, name: str, data: block.Buffer, *, if_absent: bool = False
    ) -> None:
        def torn() -> None:
            # Only a new object may be torn: replacing one is atomic.
            if if_absent:
                half = bytes(data)[: len(data) // 2]
                self._store.put(name, half, if_absent=True)

        self._call(
            lambda: self._store.put(name, data, if_absent=if_absent), torn
        )

    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        return self._call(
            lambda: self._store.get(name, offset=offset, length=length)
        )

    def list(self, prefix: str = '') -> Iterator[base.ObjectStat]:
        return self._call(lambda: self._store.list(prefix))

    def stat(self, name: str) -> base.ObjectStat:
        return self._call(lambda: self._store.stat(name))

    def delete(self, name: str) -> None:
        self._call(lambda: self._store.delete(name))

    def _call(
        self,
        call: Callable[[], _Result],
        torn: Callable[[], None] = lambda: None,
    ) -> _Result:
        with self._lock:
            self._calls += 1
            now = self._calls == self._at
            if now and self._fault is Fault.DEATH_BEFORE:
                self._dead = True
            if self._dead:
                raise Death
            if now and self._fault is Fault.DEATH_AFTER:
                self._dead = True
        if not now:
            return call()
        if self._fault is Fault.TORN:
            torn()
        if self._fault in (Fault.LOST_REPLY, Fault.DEATH_AFTER):
            call()
        if self._fault is Fault.DEATH_AFTER:
            raise Death
        raise exception.StoreUnavailable(self.url, 'the test said so')
