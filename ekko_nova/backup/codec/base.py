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

"""The codec contracts: what a compression and an encryption driver promise.

A piece goes plain → compressed → encrypted into an object, and back. All
drivers are thread-safe and stateless between calls.
"""

import abc
import dataclasses

from ekko_nova import block

__all__ = ('Compression', 'Encryption', 'KeyProvider', 'WrappedKey')


class Compression(abc.ABC):
    """A lossless transformation of one piece.

    A driver is made with ``level: int | None``; ``None`` is its own default.

    :raises exception.InvalidOption: the driver has no such level
    """

    def __init__(self, level: int | None = None) -> None:
        self.level = level

    @abc.abstractmethod
    def compress(self, data: block.Buffer) -> block.Buffer:
        """The compressed form; may be longer than ``data``, or be ``data``."""

    @abc.abstractmethod
    def decompress(self, data: block.Buffer, length: int) -> block.Buffer:
        """Exactly the ``length`` bytes that were compressed.

        Never allocates more than a small multiple of ``length``, whatever
        ``data`` claims.

        :raises ValueError: ``data`` is not a compressed form of that length
        """


class Encryption(abc.ABC):
    """An authenticated cipher for the pieces of one backup.

    A driver is made with ``key: bytes``, the key of this one backup (32
    bytes, empty for a driver whose ``needs_key`` is false).

    :raises ValueError: the key has another length
    """

    #: Whether the driver works with a key at all.
    needs_key: bool = True

    #: ``len(encrypt(data, context)) - len(data)``, whatever the data.
    overhead: int

    def __init__(self, key: bytes) -> None:
        self._key = key

    @abc.abstractmethod
    def encrypt(self, data: block.Buffer, context: bytes) -> block.Buffer:
        """The sealed form of ``data``, bound to ``context``; or ``data``."""

    @abc.abstractmethod
    def decrypt(self, data: block.Buffer, context: bytes) -> block.Buffer:
        """What was sealed, if ``data`` and ``context`` are untouched.

        :raises ValueError: they are not, or the key is another one
        """


@dataclasses.dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key under a key-encryption key, safe to store in the open.

    :ivar provider: name of the key provider driver
    :ivar key_id: which of the provider's keys wraps it
    :ivar wrapped: the wrapped data key
    """

    provider: str
    key_id: str
    wrapped: bytes


class KeyProvider(abc.ABC):
    """Keeper of key-encryption keys; they never leave it.

    A driver is made with ``location: str``: where its keys are, in its own
    words (a path, an address).

    :raises exception.InvalidOption: there are no usable keys at ``location``
    """

    def __init__(self, location: str) -> None:
        self.location = location

    @abc.abstractmethod
    def wrap(self, data_key: bytes) -> WrappedKey:
        """Wrap under the provider's current key."""

    @abc.abstractmethod
    def unwrap(self, key: WrappedKey) -> bytes:
        """The data key again.

        :raises exception.WrongKey: it was wrapped under a key not at hand
        :raises exception.ObjectDamaged: the key is at hand, and does not
            unwrap it
        """
