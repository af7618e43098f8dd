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

"""Look at one segment: what is in it that the store does not hold yet?"""

from collections.abc import Iterator
import dataclasses
import functools
import typing

from ekko_nova.backup.codec import base as codec_base
from ekko_nova.backup.codec import digest as digests
from ekko_nova.backup import geometry as geometry_
from ekko_nova.backup import layers
from ekko_nova.backup.manifest import base
from ekko_nova.backup import pieces
from ekko_nova import block

__all__ = ('Blocks', 'Examined', 'Examiner', 'Task')

#: Of what does not compress, such as encrypted file systems and most media, a
#: few samples tell, so that it is not compressed in vain. Their number, their
#: size in bytes, and how many times as long as all of them a piece has to be.
_SAMPLES: typing.Final = 16
_SAMPLE: typing.Final = 4096
_WORTH: typing.Final = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """What to look at.

    :ivar read: blocks to read
    :ivar zero: blocks that are zero, which needs no reading
    :ivar parent: the segment in the parent backup
    """

    segment: int
    read: int
    zero: int
    parent: base.Segment


@dataclasses.dataclass(frozen=True, slots=True)
class Examined:
    """What was found.

    :ivar zero: blocks that are zero now
    :ivar piece: the blocks to store, if any
    :ivar read_bytes: read from the source
    """

    segment: int
    zero: int
    piece: pieces.Piece | None
    parent: base.Segment
    read_bytes: int


class Blocks:
    """Blocks of one segment, read from a source.

    :ivar read_bytes: how many bytes that took
    """

    def __init__(
        self,
        source: block.BlockSource,
        geometry: geometry_.Geometry,
        segment: int,
        mask: int,
    ) -> None:
        self._geometry = geometry
        self._segment = segment
        self._spans: list[tuple[int, bytes | bytearray]] = []
        start = segment * geometry.segment_size
        for offset, length in geometry.spans(segment, mask):
            data = source.read(start + offset, length)
            if isinstance(data, memoryview):
                data = bytes(data)
            self._spans.append((offset, data))
        self.read_bytes = sum(len(data) for _, data in self._spans)

    def zero_mask(self) -> int:
        """Those of the blocks that hold only zeros."""
        size = self._geometry.block_size
        zeros = _zeros(size)
        mask = 0
        for offset, data in self._spans:
            for position in range(0, len(data), size):
                length = min(size, len(data) - position)
                # startswith compares in place: no copy, and it ends at the
                # first byte that differs.
                if data.startswith(zeros[:length], position):
                    mask |= 1 << (offset + position) // size
        return mask

    def join(self, mask: int) -> block.Buffer:
        """The bytes of these blocks, which must have been read, in order."""
        parts = list(self._parts(mask))
        return parts[0] if len(parts) == 1 else b''.join(parts)

    def _parts(self, mask: int) -> Iterator[memoryview]:
        spans = iter(self._spans)
        begin, data = next(spans)
        for offset, length in self._geometry.spans(self._segment, mask):
            while offset >= begin + len(data):
                begin, data = next(spans)
            yield memoryview(data)[offset - begin : offset - begin + length]


@functools.lru_cache(maxsize=8)
def _zeros(size: int) -> bytes:
    return bytes(size)


class Examiner:
    """Reads segments, finds zeros and what the parent has, and compresses.

    :param codecs: of the new manifest, among them all of the parent's
    :param packed: index of the codec of compressed pieces
    :param unpacked: index of the codec of pieces that do not compress
    """

    def __init__(
        self,
        source: block.BlockSource,
        geometry: geometry_.Geometry,
        compression: codec_base.Compression,
        codecs: tuple[base.Codec, ...],
        packed: int,
        unpacked: int,
    ) -> None:
        self._source = source
        self._geometry = geometry
        self._compression = compression
        self._codecs = codecs
        self._packed = packed
        self._unpacked = unpacked

    def examine(self, task: Task) -> Examined:
        """Deal with one segment; called from several threads."""
        blocks = Blocks(self._source, self._geometry, task.segment, task.read)
        zero = blocks.zero_mask()
        data = task.read & ~zero
        mask = data & ~self._unchanged(task, blocks, data)
        return Examined(
            segment=task.segment,
            zero=zero | task.zero,
            piece=self._piece(task, blocks, mask) if mask else None,
            parent=task.parent,
            read_bytes=blocks.read_bytes,
        )

    def _unchanged(self, task: Task, blocks: Blocks, data: int) -> int:
        """The blocks that the parent's layers hold as they are now."""
        kept = [
            layer
            for layer in layers.comparable(task.parent, data)
            if pieces.matches(layer, self._codecs, blocks.join(layer.mask))
        ]
        mask = 0
        for layer in kept:
            mask |= layer.mask
        # Keeping layers must not make one too many of them: then the piece
        # replaces them all the same.
        piece = data & ~mask
        others = [
            effective
            for effective in layers.effective(task.parent)
            if effective & ~(task.read | task.zero)
        ]
        count = len(others) + len(kept) + bool(piece)
        return mask if count <= layers.MAX_LAYERS else 0

    def _piece(self, task: Task, blocks: Blocks, mask: int) -> pieces.Piece:
        plain = blocks.join(mask)
        data, codec = plain, self._unpacked
        if self._may_shrink(plain):
            packed = self._compression.compress(plain)
            if len(packed) < len(plain):
                data, codec = packed, self._packed
        return pieces.Piece(
            segment=task.segment,
            mask=mask,
            length=len(plain),
            data=data,
            codec=codec,
            digest=digests.of(self._codecs[codec].digest, plain),
        )

    def _may_shrink(self, plain: block.Buffer) -> bool:
        """Whether any of some samples does; of something small, always."""
        step = len(plain) // _SAMPLES
        if step < _WORTH * _SAMPLE:
            return True
        with memoryview(plain) as view:
            samples = (
                view[position : position + _SAMPLE]
                for position in range(0, step * _SAMPLES, step)
            )
            return any(
                len(self._compression.compress(sample)) < _SAMPLE
                for sample in samples
            )
