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

"""A manifest's way into the store and back, in parts of bounded size."""

from collections.abc import Iterator
import hashlib
import pathlib

from ekko_nova.backup.codec import base as codec_base
from ekko_nova.backup.codec import keys
from ekko_nova.backup.codec import load
from ekko_nova.backup import keyring as keyrings
from ekko_nova.backup.manifest import base
from ekko_nova.backup import naming
from ekko_nova.backup import record as records
from ekko_nova.backup.store import base as store_base
from ekko_nova import block
from ekko_nova import exception

__all__ = ('download', 'upload')


def upload(
    store: store_base.Store,
    path: pathlib.Path,
    owner: base.Owner,
    part_size: int,
    compression: codec_base.Compression,
    encryption: codec_base.Encryption,
) -> Iterator[records.Part]:
    """Store a manifest file, part by part.

    Yields what its record must say of each, once that is stored.

    :param part_size: plain bytes in every part but the last
    """
    count = -(-path.stat().st_size // part_size)
    with path.open('rb') as file:
        for number in range(count):
            plain = file.read(part_size)
            context = keys.manifest_context(
                owner.set, owner.backup, number, count
            )
            sealed = encryption.encrypt(compression.compress(plain), context)
            name = naming.manifest_part_name(owner.set, owner.backup, number)
            store.put(name, sealed, if_absent=True)
            digest = hashlib.sha256(sealed).hexdigest()
            yield records.Part(len(plain), len(sealed), digest)


def download(
    store: store_base.Store,
    disk: records.DiskRecord,
    owner: base.Owner,
    keyring: keyrings.Keyring,
    path: pathlib.Path,
) -> None:
    """Write the manifest file of a disk of a backup.

    :raises exception.ObjectMissing: a part is not there
    :raises exception.ObjectDamaged: a part is not what was stored
    :raises exception.TargetFailed: there is no room for it on this host
    """
    try:
        with path.open('wb') as file:
            for plain in _plain_parts(store, disk, owner, keyring):
                file.write(plain)
    except OSError as e:
        raise exception.TargetFailed(str(path), e.strerror or str(e)) from e


def _plain_parts(
    store: store_base.Store,
    disk: records.DiskRecord,
    owner: base.Owner,
    keyring: keyrings.Keyring,
) -> Iterator[block.Buffer]:
    compression = load.compression(disk.manifest_compression)
    encryption = keyring.cipher(owner, disk.manifest_encryption)
    count = len(disk.manifest)
    for number, part in enumerate(disk.manifest):
        name = naming.manifest_part_name(owner.set, owner.backup, number)
        sealed = store.get(name)
        if hashlib.sha256(sealed).hexdigest() != part.sha256:
            raise exception.ObjectDamaged(
                name, 'a manifest part must have the digest in the record'
            )
        context = keys.manifest_context(owner.set, owner.backup, number, count)
        try:
            packed = encryption.decrypt(sealed, context)
            yield compression.decompress(packed, part.length)
        except ValueError as e:
            raise exception.ObjectDamaged(
                name, f'a manifest part must open with the key ({e})'
            ) from e
