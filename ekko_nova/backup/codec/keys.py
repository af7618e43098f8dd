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

"""Keys of a backup, and what each sealed message is bound to.

::

    key-encryption key      kept by a key provider, never stored here
        │ wraps
    data key                32 random bytes; stored wrapped
        │ HKDF-SHA256, with the names of set and backup
    backup key              seals the pieces and manifests of one backup

Names are encoded as UTF-8 with their length in front (32 bits, little-endian
as everywhere in the format), numbers with 64 bits, so that no two different
contexts have the same bytes. Every context begins with a label of its own
kind: a piece never passes for a part of a manifest.
"""

import os
import struct
import typing

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf import hkdf

__all__ = (
    'backup_key',
    'manifest_context',
    'new_data_key',
    'object_context',
)

_KEY: typing.Final = 32
_BACKUP_KEY: typing.Final = b'ekko-nova/1 backup key'
_OBJECT: typing.Final = b'ekko-nova/1 object'
_MANIFEST: typing.Final = b'ekko-nova/1 manifest'


def _named(*names: str) -> bytes:
    encoded = [name.encode() for name in names]
    return b''.join(struct.pack('<I', len(name)) + name for name in encoded)


def new_data_key() -> bytes:
    """32 bytes from the operating system's random number generator."""
    return os.urandom(_KEY)


def backup_key(data_key: bytes, set_id: str, backup_id: str) -> bytes:
    """The key of one backup: 32 bytes that no other backup has.

    HKDF-SHA256 (RFC 5869) without salt; ``info`` is ``ekko-nova/1 backup
    key``, then set and backup, each with its length.
    """
    derivation = hkdf.HKDF(
        algorithm=hashes.SHA256(),
        length=_KEY,
        salt=None,
        info=_BACKUP_KEY + _named(set_id, backup_id),
    )
    return derivation.derive(data_key)


def object_context(
    set_id: str, backup_id: str, object_number: int, offset: int
) -> bytes:
    """What a piece is bound to: its place in the store.

    :param offset: first byte of the piece in the object
    """
    place = struct.pack('<QQ', object_number, offset)
    return _OBJECT + _named(set_id, backup_id) + place


def manifest_context(
    set_id: str, backup_id: str, part_number: int, part_count: int
) -> bytes:
    """What a part of a manifest is bound to: none can be moved or left out."""
    place = struct.pack('<QQ', part_number, part_count)
    return _MANIFEST + _named(set_id, backup_id) + place
