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

"""Get pieces back: from the store, through the codecs, checked."""

from ekko_nova.backup import bundles as bundles_
from ekko_nova.backup.codec import keys
from ekko_nova.backup.codec import load
from ekko_nova.backup import keyring as keyrings
from ekko_nova.backup.manifest import base
from ekko_nova.backup import naming
from ekko_nova.backup import pieces
from ekko_nova.backup.store import base as store_base
from ekko_nova import block
from ekko_nova import exception

__all__ = ('Fetcher',)


class Fetcher:
    """Fetches the pieces that one manifest names; safe in many threads.

    A piece that is an object of its own is read as that, others out of
    :class:`~ekko_nova.backup.bundles.Bundles`.

    :param room: segments that may be kept for those
    :param whole: check every byte of a bundle, also of pieces that are not
        asked for
    """

    def __init__(
        self,
        store: store_base.Store,
        header: base.Header,
        keyring: keyrings.Keyring,
        room: int,
        *,
        whole: bool,
    ) -> None:
        self._store = store
        self._header = header
        self._keyring = keyring
        # No bundle is longer than a segment: see pieces.Placement.
        self._bundles = bundles_.Bundles(
            store,
            room=room * header.segment_size,
            largest=header.segment_size,
            whole=whole,
        )

    def object_name(self, layer: base.Layer) -> str:
        """The object that holds a layer's piece."""
        owner = self._header.owners[layer.owner]
        return naming.object_name(owner.set, owner.backup, layer.object)

    def plain(self, layer: base.Layer, length: int) -> block.Buffer:
        """The plain bytes of a layer's piece.

        :param length: how many there must be
        :raises exception.ObjectMissing: its object is not there
        :raises exception.ObjectDamaged: a byte is not what was stored
        """
        name = self.object_name(layer)
        codec = self._header.codecs[layer.codec]
        owner = self._header.owners[layer.owner]
        cipher = self._keyring.cipher(owner, codec.encryption)
        context = keys.object_context(
            owner.set, owner.backup, layer.object, layer.offset
        )
        sealed = self._sealed(name, layer)
        try:
            packed = cipher.decrypt(sealed, context)
            plain = load.compression(codec.compression).decompress(
                packed, length
            )
        except ValueError as e:
            raise exception.ObjectDamaged(
                name, f'a piece must open and unpack ({e})'
            ) from e
        if not pieces.matches(layer, self._header.codecs, plain):
            raise exception.ObjectDamaged(
                name, 'a piece must have the digest in the manifest'
            )
        return plain

    def _sealed(self, name: str, layer: base.Layer) -> block.Buffer:
        if layer.offset == 0:
            data: block.Buffer = self._store.get(name)
        else:
            data = self._bundles.piece(name, layer.offset, layer.length)
        if len(data) != layer.length:
            raise exception.ObjectDamaged(
                name, 'an object must have the length in the manifest'
            )
        return data
