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
* **Verified.** ``put`` returns only if the store confirmed that it holds
  exactly these bytes: by size and checksum over a network, by a successful
  ``fsync`` on a filesystem.
* **Read your writes.** An object whose ``put`` returned is seen, as it was
  put last, by ``get``, ``stat`` and ``list`` from then on; a deleted one is
  not. For ``list`` a store may publish that it does not promise this
  (:attr:`Properties.consistent_list`).
* **No retries.** A driver makes one attempt and raises; :mod:`.retry`
  decides about another.
* **Thread-safe.** All verbs may be called from many threads at once.

Errors are of :mod:`ekko_nova.exception`: ``ObjectMissing``,
``ObjectExists``, ``StoreUnavailable`` and ``StoreUnauthorized`` (worth a
retry), ``StoreDenied`` and ``StoreFull`` (not worth one). A driver lets no
error of its transport library through.

A name has at most 512 characters and is ``/``-separated; each component is 1
to 255 characters of ``[A-Za-z0-9._-]`` and is neither ``.`` nor ``..``.
``InvalidName`` is raised for any other. What else a store holds is not
listed. Nobody stores both ``a`` and ``a/b``; a driver may refuse that with
``InvalidName``.
"""

import abc
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import typing

from ekko_nova.backup import closing
from ekko_nova.backup.store import location as store_location
from ekko_nova import block
from ekko_nova import exception

__all__ = ('ObjectStat', 'Properties', 'Store')


@dataclasses.dataclass(frozen=True, slots=True)
class Properties:
    """What a driver guarantees beyond the contract.

    :ivar persistent: objects outlive the process
    :ivar shared: several hosts may use the same store at once
    :ivar max_object_size: largest object ``put`` takes, in bytes
    :ivar consistent_list: ``list`` shows every object whose ``put`` returned
        and none whose ``delete`` did, with its present size; otherwise it may
        lag, and only ``stat`` and ``get`` are certain
    :ivar exclusive_put: of several who ``put`` the same name ``if_absent`` at
        once exactly one succeeds; otherwise ``if_absent`` protects what was
        there before the call, but is no lock
    """

    persistent: bool
    shared: bool
    max_object_size: int
    consistent_list: bool = True
    exclusive_put: bool = True


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


class Store(closing.Closing):
    """One place that keeps objects."""

    properties: Properties

    @classmethod
    def open(
        cls, location: store_location.Location, environment: Mapping[str, str]
    ) -> typing.Self:
        """The store that an operator named by a URL.

        Nothing is retried here either: :func:`.load.open_store` adds that.

        :param location: the URL, taken apart
        :param environment: variables, for credentials; other processes' are
            as good as our own
        :raises exception.InvalidOption: the URL or a variable is not usable
        """
        raise exception.InvalidOption(
            'store', location, f'{cls.__name__} cannot be opened by URL'
        )

    @classmethod
    def siblings(
        cls,
        location: store_location.Location,
        environment: Mapping[str, str],
        placeholder: str,
    ) -> Iterator[str]:
        """What the placeholder in a URL stands for in stores that exist.

        :raises exception.InvalidOption: this driver cannot tell
        """
        del environment
        raise exception.InvalidOption(
            'store',
            location,
            f'nobody can tell what {placeholder} stands for there',
        )

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """What messages call this store; holds no credentials."""

    @abc.abstractmethod
    def put(
        self, name: str, data: block.Buffer, *, if_absent: bool = False
    ) -> None:
        """Store ``data`` under ``name``, replacing what was there.

        A caller for whom it matters *who* stored an object ``if_absent``
        stores something nobody else would: a retry after a lost reply takes
        an object with the same bytes for its own.

        :param if_absent: leave an existing object alone; see
            :attr:`Properties.exclusive_put`
        :raises exception.ObjectExists: ``if_absent``, and it is there
        """

    @abc.abstractmethod
    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        """Read ``length`` bytes from ``offset``, or all from there on.

        A range that reaches beyond the object returns what there is, one that
        begins beyond it nothing.

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
