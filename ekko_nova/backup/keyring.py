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

"""The ciphers that one disk's pieces went through, by who stored them."""

import threading

from ekko_nova.backup.codec import base
from ekko_nova.backup.codec import keys
from ekko_nova.backup.codec import load
from ekko_nova.backup.manifest import base as manifest_base
from ekko_nova.backup import record as records
from ekko_nova import exception

__all__ = ('Keyring', 'begin', 'unlock')


class Keyring:
    """Holds a backup set's data key, and makes every backup's cipher of it.

    :param data_key: 32 bytes, or ``None`` where nothing is encrypted
    """

    def __init__(self, data_key: bytes | None) -> None:
        self._data_key = data_key
        self._lock = threading.Lock()
        self._ciphers: dict[
            tuple[manifest_base.Owner, str], base.Encryption
        ] = {}

    def cipher(
        self, owner: manifest_base.Owner, encryption: str
    ) -> base.Encryption:
        """The cipher of what a backup stored with an encryption driver.

        :raises exception.WrongKey: it needs a key, and there is none
        """
        with self._lock:
            found = self._ciphers.get((owner, encryption))
            if found is None:
                found = load.encryption(
                    encryption, self._backup_key(owner, encryption)
                )
                self._ciphers[owner, encryption] = found
            return found

    def _backup_key(
        self, owner: manifest_base.Owner, encryption: str
    ) -> bytes:
        if not load.needs_key(encryption):
            return b''
        if self._data_key is None:
            raise exception.WrongKey('unknown', 'none')
        return keys.backup_key(self._data_key, owner.set, owner.backup)


def unlock(
    wrapped: base.WrappedKey | None, provider: base.KeyProvider | None
) -> Keyring:
    """The keyring of an existing backup.

    :raises exception.WrongKey: it needs a key that is not at hand
    """
    if wrapped is None:
        return Keyring(None)
    if provider is None:
        raise exception.WrongKey(wrapped.key_id, 'none')
    return Keyring(provider.unwrap(wrapped))


def begin(
    encryption: str,
    provider: base.KeyProvider | None,
    parent: records.DiskRecord | None,
) -> tuple[Keyring, base.WrappedKey | None]:
    """The keyring for a new backup, and its data key as it is to be stored.

    A set keeps its data key; it is wrapped anew under the provider's current
    key-encryption key, so that an old one goes out of use with time.

    :raises exception.InvalidOption: encryption without a key provider
    :raises exception.WrongKey: the parent's key is not at hand
    """
    inherited = parent.key if parent else None
    if inherited is None and not load.needs_key(encryption):
        return Keyring(None), None
    if provider is None:
        if inherited is not None:
            raise exception.WrongKey(inherited.key_id, 'none')
        raise exception.InvalidOption(
            'encryption', encryption, 'it needs a key file; name one'
        )
    data_key = provider.unwrap(inherited) if inherited else keys.new_data_key()
    return Keyring(data_key), provider.wrap(data_key)
