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

"""Pieces, and the objects they travel in.

A piece is what one backup stored of one segment: its non-zero, changed
blocks, concatenated, compressed, encrypted. A piece of at least half a
segment is an object of its own; smaller ones share a bundle::

    object                      bundle
    ┌──────────────────────┐    ┌──────┬────────┬───────┬───────┬─ … ─┐
    │ sealed piece         │    │ EKB2 │ digest │ piece │ piece │     │
    └──────────────────────┘    └──────┴────────┴───────┴───────┴─────┘
    offset 0                    0      4        24 = offset of the first

The digest in a bundle's head covers all bytes behind it, so that a byte that
belongs to no living piece cannot change unseen either. The magic in front of
it tells the algorithm.
"""

import collections
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import typing

from ekko_nova.backup.codec import digest as digests
from ekko_nova.backup import geometry
from ekko_nova.backup.manifest import base
from ekko_nova import block
from ekko_nova import exception

__all__ = (
    'BUNDLE_HEAD',
    'Load',
    'Piece',
    'Placement',
    'bundle',
    'check_bundle',
    'matches',
)

_MAGIC_SIZE: typing.Final = 4

#: How a bundle begins, by the algorithm of the digest in its head.
_MAGICS: typing.Final = {digests.SHA256: b'EKB1', digests.BLAKE3: b'EKB2'}
_ALGORITHMS: typing.Final = {
    magic: algorithm for algorithm, magic in _MAGICS.items()
}

#: Bytes in front of the first piece of a bundle.
BUNDLE_HEAD: typing.Final = _MAGIC_SIZE + digests.SIZE


def matches(
    layer: base.Layer, codecs: tuple[base.Codec, ...], plain: block.Buffer
) -> bool:
    """Whether these are the plain bytes of a layer's piece.

    By the algorithm that the piece was stored with, whatever that of new
    pieces is.

    :param codecs: of the manifest that has the layer
    """
    return digests.of(codecs[layer.codec].digest, plain) == layer.digest


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """A piece on its way out, compressed.

    :ivar length: plain bytes
    :ivar codec: index into the manifest's codecs
    :ivar digest: of the plain bytes
    """

    segment: int
    mask: int
    length: int
    data: block.Buffer
    codec: int
    digest: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """The content of one object.

    :ivar pieces: each with its offset in the object
    """

    number: int
    pieces: collections.deque[tuple[int, Piece]]

    def unload(self) -> Iterator[tuple[int, Piece]]:
        """Each piece; nothing is kept of those that were given."""
        while self.pieces:
            yield self.pieces.popleft()


class Placement:
    """Give each piece its object and offset, in the order they come.

    :param owner: this backup's index among the manifest's owners
    :param overhead: bytes that encryption adds to a piece
    """

    def __init__(self, owner: int, segment_size: int, overhead: int) -> None:
        self._owner = owner
        self._segment_size = segment_size
        self._overhead = overhead
        self._numbers = 0
        self._number: int | None = None
        self._pieces: collections.deque[tuple[int, Piece]]
        self._pieces = collections.deque()
        self._end = BUNDLE_HEAD

    def place(self, piece: Piece) -> tuple[base.Layer, Load | None]:
        """The piece as a layer, and the object that it completes, if any."""
        length = len(piece.data) + self._overhead
        if 2 * piece.mask.bit_count() >= geometry.BLOCKS:
            number = self._take_number()
            load = Load(number, collections.deque([(0, piece)]))
            return self._layer(piece, number, 0, length), load
        complete = None
        if self._end + length > self._segment_size:
            complete = self.finish()
        if self._number is None:
            self._number = self._take_number()
        layer = self._layer(piece, self._number, self._end, length)
        self._pieces.append((self._end, piece))
        self._end += length
        return layer, complete

    def finish(self) -> Load | None:
        """The bundle that is still open, if there is one."""
        if self._number is None:
            return None
        load = Load(self._number, self._pieces)
        self._number = None
        self._pieces = collections.deque()
        self._end = BUNDLE_HEAD
        return load

    def _layer(
        self, piece: Piece, number: int, offset: int, length: int
    ) -> base.Layer:
        return base.Layer(
            mask=piece.mask,
            owner=self._owner,
            object=number,
            offset=offset,
            length=length,
            codec=piece.codec,
            digest=piece.digest,
        )

    def _take_number(self) -> int:
        self._numbers += 1
        return self._numbers - 1


def bundle(sealed: Sequence[block.Buffer], algorithm: str) -> bytes:
    """The bundle of these sealed pieces.

    :param algorithm: of the digest in its head
    """
    head = digests.of(algorithm, *sealed)
    return b''.join((_MAGICS[algorithm], head, *sealed))


def check_bundle(name: str, data: bytes) -> None:
    """Confirm that every byte of a bundle is what was stored.

    :raises exception.ObjectDamaged: one is not
    """
    algorithm = _ALGORITHMS.get(data[:_MAGIC_SIZE])
    if algorithm is None:
        raise exception.ObjectDamaged(
            name, 'a bundle must begin with EKB1 or EKB2'
        )
    body = digests.of(algorithm, memoryview(data)[BUNDLE_HEAD:])
    if body != data[_MAGIC_SIZE:BUNDLE_HEAD]:
        raise exception.ObjectDamaged(
            name, "a bundle's content must match the digest in its head"
        )
