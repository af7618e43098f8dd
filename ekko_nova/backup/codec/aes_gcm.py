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

"""AES-256-GCM with random nonces.

::

    nonce (12 bytes) ‖ ciphertext (as long as the data) ‖ tag (16 bytes)

GCM breaks if a nonce ever repeats under one key. Random 96-bit nonces are
safe for 2^32 messages (NIST SP 800-38D, 8.3: a repetition is then less likely
than 2^-32), and a key never sees that many: each backup has a key of its own
(:func:`ekko_nova.backup.codec.keys.backup_key`) and seals at most one message
for each segment of a disk, plus its manifest; 2^32 segments of 4 MiB would be
16 EiB. Unlike a counter, a random nonce needs no state that a crash, a
restored snapshot of the host or a second process could turn back.
"""

import os
import typing

from cryptography import exceptions as crypto_exceptions
from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers import aead
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers import modes

from ekko_nova.backup.codec import base
from ekko_nova import block

__all__ = ('AesGcm',)

_KEY: typing.Final = 32
_NONCE: typing.Final = 12
_TAG: typing.Final = 16


class AesGcm(base.Encryption):
    """AES-256-GCM; the context is GCM's associated data."""

    overhead = _NONCE + _TAG

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY:
            raise ValueError(f'the key must be {_KEY} bytes long')
        super().__init__(key)
        self._cipher = aead.AESGCM(key)
        self._algorithm = algorithms.AES256(key)

    def encrypt(self, data: block.Buffer, context: bytes) -> block.Buffer:
        # In place: AESGCM would make the ciphertext alone, to be copied behind
        # its nonce, and with it a third segment in memory.
        sealed = bytearray(len(data) + self.overhead)
        nonce = sealed[:_NONCE] = os.urandom(_NONCE)
        encryptor = ciphers.Cipher(
            self._algorithm, modes.GCM(nonce)
        ).encryptor()
        encryptor.authenticate_additional_data(context)
        with memoryview(sealed) as view:
            encryptor.update_into(data, view[_NONCE:])
        encryptor.finalize()
        sealed[-_TAG:] = encryptor.tag
        return sealed

    def decrypt(self, data: block.Buffer, context: bytes) -> block.Buffer:
        if len(data) < self.overhead:
            raise ValueError('shorter than nonce and tag')
        sealed = memoryview(data)
        nonce, ciphertext = sealed[:_NONCE], sealed[_NONCE:]
        try:
            return self._cipher.decrypt(nonce, ciphertext, context)
        except crypto_exceptions.InvalidTag as e:
            raise ValueError(
                'bytes, context or key are not those it was sealed with'
            ) from e
