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

"""Stripes: 1,024 segments as columns, and back.

Every column is a run of items, little-endian, of the width below. ``count``
and ``zero`` have 1,024 items, the others as many as the items of ``count``
add up to.

====== ===== ====== ====== ====== ======== ======== ======= ========
count  zero  mask   owner  object offset   length   codec   digest
1      8     8      4      4      4        4        1       20 bytes
====== ===== ====== ====== ====== ======== ======== ======= ========

``digest`` is stored as it is. Every other column begins with a byte that
tells its kind:

= ======== ===========================================================
0 plain    all the items
1 constant one item; all the others are the same
2 counting one item, the first; each of the others is the one before + 1
= ======== ===========================================================

A writer must choose the shortest kind, of equal ones the lowest; a reader
must accept all. A disk's last stripe is filled up with segments that have
neither zero blocks nor layers.
"""

from collections.abc import Sequence
import dataclasses
import itertools
import operator
import struct
import typing

from ekko_nova.backup.codec import digest as digests
from ekko_nova.backup.manifest import base

__all__ = (
    'COLUMNS',
    'Items',
    'check',
    'decode',
    'encode',
    'encode_column',
    'from_record',
    'is_zero',
    'owners',
    'record',
    'unpack',
)

#: The names of the columns, in the order of the format.
COLUMNS: typing.Final = tuple(
    field.name for field in dataclasses.fields(base.Columns)
)

_PLAIN: typing.Final = 0
_CONSTANT: typing.Final = 1
_COUNTING: typing.Final = 2

#: struct's letter for an unsigned item of a width.
_LETTER: typing.Final = {1: 'B', 4: 'I', 8: 'Q'}
_DIGEST: typing.Final = digests.SIZE
_PADDING: typing.Final = base.Segment(zero=0)
_HEAD: typing.Final = struct.Struct(f'<I{len(COLUMNS)}I')

_parts = operator.attrgetter(*COLUMNS)
_layer_parts = operator.attrgetter(
    'mask', 'owner', 'object', 'offset', 'length', 'codec', 'digest'
)


@dataclasses.dataclass(frozen=True, slots=True)
class Items:
    """A stripe as numbers, column by column.

    ``count`` and ``zero`` have an item for each of the 1,024 segments, the
    others one for each layer, in the order of segments and layers.
    """

    count: Sequence[int]
    zero: Sequence[int]
    mask: Sequence[int]
    owner: Sequence[int]
    object: Sequence[int]
    offset: Sequence[int]
    length: Sequence[int]
    codec: Sequence[int]
    digest: Sequence[bytes]


def encode(segments: Sequence[base.Segment]) -> base.Columns:
    """A stripe from its segments.

    :param segments: at most 1,024; the rest is filled up
    :raises ValueError: too many, or a number does not fit its column
    """
    missing = base.STRIPE - len(segments)
    if missing < 0:
        raise ValueError(f'a stripe has at most {base.STRIPE} segments')
    segments = (*segments, *[_PADDING] * missing)
    layers = [layer for segment in segments for layer in segment.layers]
    fields = [_layer_parts(layer) for layer in layers]
    columns = zip(*fields, strict=True) if fields else [()] * 7
    mask, owner, object_, offset, length, codec, digest = columns
    if set(map(len, digest)) - {_DIGEST}:
        raise ValueError(f'a digest is {_DIGEST} bytes long')
    return base.Columns(
        count=_encode([len(each.layers) for each in segments], 1),
        zero=_encode([each.zero for each in segments], 8),
        mask=_encode(mask, 8),
        owner=_encode(owner, 4),
        object=_encode(object_, 4),
        offset=_encode(offset, 4),
        length=_encode(length, 4),
        codec=_encode(codec, 1),
        digest=b''.join(digest),
    )


def decode(columns: base.Columns) -> list[base.Segment]:
    """The 1,024 segments of a stripe.

    :raises ValueError: the columns break the format
    """
    items = unpack(columns)
    layers = map(
        base.Layer,
        items.mask,
        items.owner,
        items.object,
        items.offset,
        items.length,
        items.codec,
        items.digest,
    )
    return [
        base.Segment(zero, tuple(itertools.islice(layers, count)))
        for zero, count in zip(items.zero, items.count, strict=True)
    ]


def unpack(columns: base.Columns) -> Items:
    """A stripe as numbers: several times as fast as :func:`decode`.

    :raises ValueError: the columns break the format
    """
    count = _decode(columns.count, 1, base.STRIPE)
    layers = _layers(columns, count)
    return Items(
        count=count,
        zero=_decode(columns.zero, 8, base.STRIPE),
        mask=_decode(columns.mask, 8, layers),
        owner=_decode(columns.owner, 4, layers),
        object=_decode(columns.object, 4, layers),
        offset=_decode(columns.offset, 4, layers),
        length=_decode(columns.length, 4, layers),
        codec=_decode(columns.codec, 1, layers),
        # struct keeps what it makes of the format; slices take five times
        # as long.
        digest=struct.unpack(f'{_DIGEST}s' * layers, columns.digest),
    )


def check(columns: base.Columns) -> None:
    """Make sure that a stripe can be decoded, without doing it.

    :raises ValueError: the columns break the format
    """
    layers = _layers(columns, _decode(columns.count, 1, base.STRIPE))
    _check(columns.zero, 8, base.STRIPE)
    _check(columns.mask, 8, layers)
    _check(columns.owner, 4, layers)
    _check(columns.object, 4, layers)
    _check(columns.offset, 4, layers)
    _check(columns.length, 4, layers)
    _check(columns.codec, 1, layers)


def is_zero(columns: base.Columns) -> bool:
    """Whether all is zero: the blocks of no segment are in a layer."""
    return not columns.digest


def owners(columns: base.Columns) -> set[int]:
    """The indexes of all owners that a stripe refers to.

    :raises ValueError: the column breaks the format
    """
    return set(_decode(columns.owner, 4, len(columns.digest) // _DIGEST))


def record(number: int, columns: base.Columns) -> bytes:
    """A stripe as one run of bytes.

    Its number, the length of each column (all ``u32``), then the columns.
    """
    parts = _parts(columns)
    return b''.join((_HEAD.pack(number, *map(len, parts)), *parts))


def from_record(data: bytes) -> tuple[int, base.Columns]:
    """A stripe's number and columns from its record.

    :raises ValueError: it is no record, or the columns break the format
    """
    if len(data) < _HEAD.size:
        raise ValueError('a record is cut short')
    number, *lengths = _HEAD.unpack_from(data)
    bounds = list(itertools.accumulate(lengths, initial=_HEAD.size))
    if bounds[-1] != len(data):
        raise ValueError('a record is not as long as its columns')
    columns = base.Columns(
        *(data[start:end] for start, end in itertools.pairwise(bounds))
    )
    check(columns)
    return number, columns


def encode_column(items: bytes, width: int) -> bytes:
    """The shortest encoding of a column.

    :param items: all of them, little-endian
    :param width: bytes in an item: 1, 4 or 8
    """
    count = len(items) // width
    if count > 1:
        first = items[:width]
        if items == first * count:
            return bytes((_CONSTANT,)) + first
        if _counts(items, width, count):
            return bytes((_COUNTING,)) + first
    return bytes((_PLAIN,)) + items


def _counts(items: bytes, width: int, count: int) -> bool:
    first = int.from_bytes(items[:width], 'little')
    last = int.from_bytes(items[-width:], 'little')
    # Nearly every column that does not count fails this; the comparison
    # that builds a column is left for those that do.
    if last - first != count - 1:
        return False
    return items == _pack(range(first, last + 1), width)


def _encode(items: Sequence[int], width: int) -> bytes:
    try:
        return encode_column(_pack(items, width), width)
    except struct.error as e:
        raise ValueError(f'a number does not fit {width} bytes') from e


def _pack(items: Sequence[int], width: int) -> bytes:
    return struct.pack(f'<{len(items)}{_LETTER[width]}', *items)


def _decode(column: bytes, width: int, count: int) -> Sequence[int]:
    _check(column, width, count)
    if column[0] == _PLAIN:
        return struct.unpack_from(f'<{count}{_LETTER[width]}', column, 1)
    first = int.from_bytes(column[1:], 'little')
    if column[0] == _CONSTANT:
        return (first,) * count
    return range(first, first + count)


def _check(column: bytes, width: int, count: int) -> None:
    kind = column[0] if column else None
    if kind == _PLAIN:
        expected = 1 + count * width
    elif kind in (_CONSTANT, _COUNTING):
        expected = 1 + width
    else:
        raise ValueError(f'a column is of kind {kind}')
    if len(column) != expected:
        raise ValueError(f'a column has {len(column)} bytes, not {expected}')
    if kind == _COUNTING:
        first = int.from_bytes(column[1:], 'little')
        if first + count > 1 << (8 * width):
            raise ValueError(f'a column counts beyond {width} bytes')


def _layers(columns: base.Columns, count: Sequence[int]) -> int:
    # Of a full backup each segment has one, and no sum is needed.
    is_constant = columns.count[0] == _CONSTANT
    layers = base.STRIPE * count[0] if is_constant else sum(count)
    if len(columns.digest) != layers * _DIGEST:
        raise ValueError(
            f'{layers} layers have {len(columns.digest)} bytes of digests'
        )
    return layers
