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

"""Bundles at hand while a disk is read, in bounded memory.

The pieces of a bundle lie in the order of the disk, so whoever walks a disk
wants the next piece of a bundle some time after the one before. After many
incrementals more bundles are in use at once than fit. To keep those used last
would then help nobody: each would be gone before its turn comes again. So a
bundle that is in use stays, and of those that find no room each piece is read
alone.
"""

import collections
from concurrent import futures
import dataclasses
import threading
import typing

from ekko_nova.backup import pieces
from ekko_nova.backup.store import base as store_base
from ekko_nova import block

__all__ = ('Bundles',)

#: After how many requests for each bundle that is kept one is in use no more.
#: More than one, because what is not yet overwritten of an old bundle may lie
#: far apart.
_IDLE: typing.Final = 8


@dataclasses.dataclass(slots=True)
class _Kept:
    """A bundle, or the room for one that is being read.

    :ivar used: the number of the last request that it answered
    """

    size: int
    used: int = 0
    content: futures.Future[bytes] = dataclasses.field(
        default_factory=futures.Future
    )


class Bundles:
    """Gives pieces of bundles; safe in many threads.

    :param room: bytes that may be kept
    :param largest: bytes, of a bundle; at most ``room``
    :param whole: read no piece alone, so that every byte is checked, also
        of pieces that are not asked for
    """

    def __init__(
        self,
        store: store_base.Store,
        *,
        room: int,
        largest: int,
        whole: bool,
    ) -> None:
        self._store = store
        self._room = room
        self._largest = largest
        self._whole = whole
        self._lock = threading.Lock()
        self._requests = 0
        #: The one used longest ago comes first.
        self._kept: collections.OrderedDict[str, _Kept] = (
            collections.OrderedDict()
        )

    def piece(self, name: str, offset: int, length: int) -> block.Buffer:
        """Those bytes of a bundle, or as many as there are.

        :raises exception.ObjectMissing: there is no such object
        :raises exception.ObjectDamaged: a byte of it is not what was stored;
            of a piece that is read alone, this is left to the caller
        """
        with self._lock:
            self._requests += 1
            kept = self._kept.get(name)
            is_new = kept is None and self._make_room()
            if is_new:
                kept = self._kept[name] = _Kept(self._largest)
            if kept is not None:
                kept.used = self._requests
                self._kept.move_to_end(name)
        if kept is None:
            return self._store.get(name, offset=offset, length=length)
        if is_new:
            self._read(name, kept)
        content = kept.content.result()
        end = offset + length
        if end >= len(content):
            self._forget(name, kept)
        return memoryview(content)[offset:end]

    def _make_room(self) -> bool:
        """Have room for one more, unless all that is kept is in use."""
        held = sum(kept.size for kept in self._kept.values())
        while held + self._largest > self._room:
            name, oldest = next(iter(self._kept.items()))
            unused = self._requests - oldest.used
            if not self._whole and unused <= _IDLE * len(self._kept):
                return False
            del self._kept[name]
            held -= oldest.size
        return True

    def _read(self, name: str, kept: _Kept) -> None:
        """By one thread, however many want it at once."""
        size = 0
        try:
            content = self._store.get(name)
            pieces.check_bundle(name, content)
            size = len(content)
            kept.content.set_result(content)
        except BaseException as e:  # noqa: BLE001  whoever waits gets it
            kept.content.set_exception(e)
        with self._lock:
            kept.size = size

    def _forget(self, name: str, kept: _Kept) -> None:
        """Its last piece was given."""
        with self._lock:
            if self._kept.get(name) is kept:
                del self._kept[name]
