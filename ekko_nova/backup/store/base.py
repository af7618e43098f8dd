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

"""The store contract: five verbs over named, immutable runs of bytes.

Every driver must keep these promises; ``tests/contract/test_store.py`` runs
over all of them.

* **Atomic.** A reader sees an object whole or not at all; a ``put`` over an
  existing name shows the old bytes or the new ones, never a mixture.
* **Durable.** What ``put`` and ``delete`` did is durable when they return.
* **Verified.** ``put`` returns only if the store confirmed (size and
  checksum) that it holds exactly these bytes.
* **Read your writes.** An object whose ``put`` returned is seen by ``get``,
  ``stat`` and ``list`` from then on; a deleted one is not.
* **No retries.** A driver makes one attempt and raises; :mod:`.retry`
  decides about another.
* **Thread-safe.** All verbs may be called from many threads at once.

Errors are of :mod:`ekko_nova.exception`: ``ObjectMissing``,
``ObjectExists``, ``StoreUnavailable`` and ``StoreUnauthorized`` (worth a
retry), ``StoreDenied`` and ``StoreFull`` (not worth one). A driver lets no
error of its transport library through.

Names are ``/``-separated; each component is 1 to 255 characters of
``[A-Za-z0-9._-]`` and is neither ``.`` nor ``..``.
"""

import abc
from collections.abc import Iterator
import dataclasses
import types
import typing

from ekko_nova import block

__all__ = ('ObjectStat', 'Properties', 'Store')


@dataclasses.dataclass(frozen=True, slots=True)
class Properties:
    """What a driver guarantees beyond the contract.

    :ivar persistent: objects outlive the process
    :ivar shared: several hosts may use the same store at once
    :ivar max_object_size: largest object ``put`` takes, in bytes
    """

    persistent: bool
    shared: bool
    max_object_size: int


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectStat:
    """What is known of an object without reading it.

    :ivar etag: hexadecimal MD5 of the bytes where listing or stat gives it
        for free; it serves to notice change and lost replies, never as proof
        of integrity
    """

    name: str
    size: int
    etag: str | None


class Store(abc.ABC):
    """One place that keeps objects."""

    properties: typing.ClassVar[Properties]

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """What messages call this store; holds no credentials."""

    @abc.abstractmethod
    def put(
        self, name: str, data: block.Buffer, *, if_absent: bool = False
    ) -> None:
        """Store ``data`` under ``name``, replacing what was there.

        :param if_absent: leave an existing object alone
        :raises exception.ObjectExists: ``if_absent``, and it is there
        """

    @abc.abstractmethod
    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        """Read ``length`` bytes from ``offset``, or all from there on.

        A range that reaches beyond the object returns what there is.

        :raises exception.ObjectMissing: no such object
        """

    @abc.abstractmethod
    def list(self, prefix: str = '') -> Iterator[ObjectStat]:
        """All objects whose name starts with ``prefix``, by name ascending.

        The order is that of the names' UTF-8 bytes. Memory does not grow
        with the number of objects.
        """

    @abc.abstractmethod
    def stat(self, name: str) -> ObjectStat:
        """What is known of one object.

        :raises exception.ObjectMissing: no such object
        """

    @abc.abstractmethod
    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""

    def reauthenticate(self) -> None:
        """Forget the token in use, so that the next call obtains a new one."""
        return

    def close(self) -> None:
        """Give back connections; the store is not used any more."""
        return

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.close()
