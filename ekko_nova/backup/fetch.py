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

import collections
from concurrent import futures
import threading

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

    A piece that is an object of its own is read as that; of a bundle all is
    read once and kept while it is among the ``bundles`` used last, because
    the pieces of a bundle lie in the order of the disk.
    """

    def __init__(
        self,
        store: store_base.Store,
        header: base.Header,
        keyring: keyrings.Keyring,
        bundles: int,
    ) -> None:
        self._store = store
        self._header = header
        self._keyring = keyring
        self._limit = bundles
        self._lock = threading.Lock()
        self._bundles: collections.OrderedDict[str, futures.Future[bytes]] = (
            collections.OrderedDict()
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
        if pieces.digest(plain) != layer.digest:
            raise exception.ObjectDamaged(
                name, 'a piece must have the digest in the manifest'
            )
        return plain

    def _sealed(self, name: str, layer: base.Layer) -> block.Buffer:
        if layer.offset == 0:
            data: block.Buffer = self._store.get(name)
        else:
            end = layer.offset + layer.length
            data = memoryview(self._bundle(name))[layer.offset : end]
        if len(data) != layer.length:
            raise exception.ObjectDamaged(
                name, 'an object must have the length in the manifest'
            )
        return data

    def _bundle(self, name: str) -> bytes:
        """A bundle, read by one thread however many want it at once."""
        with self._lock:
            found = self._bundles.get(name)
            mine = found is None
            if found is None:
                found = self._bundles[name] = futures.Future()
                while len(self._bundles) > self._limit:
                    self._bundles.popitem(last=False)
            self._bundles.move_to_end(name)
        if mine:
            try:
                data = self._store.get(name)
                pieces.check_bundle(name, data)
                found.set_result(data)
            except BaseException as e:  # noqa: BLE001  whoever waits gets it
                found.set_exception(e)
        return found.result()
