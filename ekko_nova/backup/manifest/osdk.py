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

"""The manifest as a compact binary file.

All numbers are unsigned and little-endian; every CRC-32 is zlib's. A file is
header, stripes, index and trailer, one right after the other::

    header
         0   4  magic, "OSDK"
         4   2  version of the format, 1
         6   2  0
         8   4  H, the length of the document
        12   H  document, as .document describes
      12+H   4  CRC-32 of all the bytes before it

    stripe, for each that is not all zeros, by number ascending
         0   4  number
         4  36  L1 to L9, the length of each of the nine columns, 4 bytes each
        40   L  the columns, as .stripe describes; L is L1 + ... + L9
      40+L   4  CRC-32 of all the bytes of the stripe before it

    index, an entry for each stripe, in the same order
         0   4  number
         4   8  where the stripe begins in the file

    trailer, the last 24 bytes of the file
         0   8  where the index begins in the file
         8   4  number of stripes in the file
        12   4  CRC-32 of the index
        16   4  CRC-32 of the 16 bytes before it
        20   4  "KDSO"

Every byte is under one of the checksums or has one possible value, and no
byte is left between the parts: a reader must notice any damage to what it
reads, and any truncation when it opens the file.
"""

import bisect
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import itertools
import os
import pathlib
import struct
import typing
import zlib

from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import document
from ekko_nova.backup.manifest import stripe
from ekko_nova import exception

__all__ = ('OsdkDriver',)

_MAGIC: typing.Final = b'OSDK'
_END: typing.Final = b'KDSO'
_VERSION: typing.Final = 1

_VERSIONED: typing.Final = struct.Struct('<4sH')
_HEADER: typing.Final = struct.Struct('<4sHHI')
_ENTRY: typing.Final = struct.Struct('<IQ')
_TRAILER: typing.Final = struct.Struct('<QIII4s')
_CRC32: typing.Final = struct.Struct('<I')


class OsdkDriver(base.Driver):
    """Makes and opens binary manifests."""

    magic = _MAGIC

    def create(self, path: pathlib.Path, header: base.Header) -> base.Writer:
        return _Writer(path, header)

    def open(self, path: pathlib.Path) -> base.Reader:
        return _Reader(path)


class _Writer(base.Writer):
    def __init__(self, path: pathlib.Path, header: base.Header) -> None:
        self._path = path
        self._stripes = document.stripe_count(header)
        self._index = bytearray()
        self._next = 0
        self._finished = False
        content = document.encode(header)
        start = _HEADER.pack(_MAGIC, _VERSION, 0, len(content)) + content
        with self._writing():
            # close() closes it.
            self._file = open(path, 'xb', opener=_private)  # noqa: SIM115
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            with self._writing():
                self._file.write(start + _CRC32.pack(zlib.crc32(start)))
            stack.pop_all()

    def add(self, number: int, columns: base.Columns) -> None:
        if self._finished or not self._next <= number < self._stripes:
            raise ValueError(f'stripe {number} cannot be added here')
        stripe.check(columns)
        self._next = number + 1
        if stripe.is_zero(columns):
            return
        record = stripe.record(number, columns)
        with self._writing():
            self._index += _ENTRY.pack(number, self._file.tell())
            self._file.write(record + _CRC32.pack(zlib.crc32(record)))

    def finish(self) -> None:
        count = len(self._index) // _ENTRY.size
        crc32 = zlib.crc32(self._index)
        with self._writing():
            start = struct.pack('<QII', self._file.tell(), count, crc32)
            self._file.write(self._index)
            self._file.write(start + _CRC32.pack(zlib.crc32(start)) + _END)
            self._file.close()
        self._finished = True

    def close(self) -> None:
        if self._finished:
            return
        # What is still buffered need not reach the file that goes away.
        with contextlib.suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError as e:
            raise exception.TargetExists(str(self._path)) from e
        except OSError as e:
            raise exception.TargetFailed(
                str(self._path), e.strerror or str(e)
            ) from e


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class _Reader(base.Reader):
    """Reads by position, so threads need no lock. The index is in memory."""

    def __init__(self, path: pathlib.Path) -> None:
        self._name = str(path)
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(path.open('rb', buffering=0))
            self._size = os.fstat(self._file.fileno()).st_size
            self._header, start = self._read_header()
            self._numbers, self._bounds = self._read_index(start)
            stack.pop_all()

    @property
    def header(self) -> base.Header:
        return self._header

    def stripe(self, number: int) -> base.Columns | None:
        position = bisect.bisect_left(self._numbers, number)
        if self._numbers[position : position + 1] != (number,):
            return None
        return self._stripe(position)

    def stripes(self) -> Iterator[tuple[int, base.Columns]]:
        for position, number in enumerate(self._numbers):
            yield number, self._stripe(position)

    def close(self) -> None:
        self._file.close()

    def _read_header(self) -> tuple[base.Header, int]:
        """The header, and where the first stripe begins."""
        magic, version = _VERSIONED.unpack(self._read(0, _VERSIONED.size))
        if magic != _MAGIC:
            raise self._damaged('it must begin with "OSDK"')
        if version != _VERSION:
            raise exception.UnknownFormat(self._name, version, [_VERSION])
        fixed = self._read(0, _HEADER.size)
        length = _HEADER.unpack(fixed)[-1]
        end = _HEADER.size + length
        content = self._checked('header', 0, end + _CRC32.size)
        return (
            document.decode(self._name, content[_HEADER.size :]),
            end + _CRC32.size,
        )

    def _read_index(self, start: int) -> tuple[tuple[int, ...], list[int]]:
        """The numbers of the stripes, and the bounds between them."""
        end = self._size - _TRAILER.size
        trailer = self._read(end, _TRAILER.size)
        offset, count, index_crc32, crc32, magic = _TRAILER.unpack(trailer)
        if magic != _END or zlib.crc32(trailer[:16]) != crc32:
            raise self._damaged('it must end with a trailer')
        if offset + count * _ENTRY.size != end:
            raise self._damaged('its index must reach to the trailer')
        index = self._read(offset, end - offset)
        if zlib.crc32(index) != index_crc32:
            raise self._damaged('the checksum of its index must match')
        entries = list(_ENTRY.iter_unpack(index))
        numbers = tuple(number for number, _ in entries)
        bounds = [each for _, each in entries] + [offset]
        if bounds[0] != start or not _ascending(bounds):
            raise self._damaged('its stripes must lie one after the other')
        last = document.stripe_count(self._header)
        if not _ascending((*numbers, last)):
            raise self._damaged('its stripes must ascend within the disk')
        return numbers, bounds

    def _stripe(self, position: int) -> base.Columns:
        number = self._numbers[position]
        start, end = self._bounds[position : position + 2]
        record = self._checked(f'stripe {number}', start, end - start)
        try:
            found, columns = stripe.from_record(record)
            if found != number:
                raise ValueError(f'it is stripe {found}')
        except ValueError as e:
            raise self._damaged(
                f'stripe {number} must keep the format: {e}'
            ) from e
        return columns

    def _checked(self, what: str, offset: int, length: int) -> bytes:
        """Bytes that end in their CRC-32, without it."""
        data = self._read(offset, length)
        content, end = data[: -_CRC32.size], data[-_CRC32.size :]
        if _CRC32.pack(zlib.crc32(content)) != end:
            raise self._damaged(f'the checksum of its {what} must match')
        return content

    def _read(self, offset: int, length: int) -> bytes:
        # Asked before anything is allocated: a length may be damaged, too.
        if offset < 0 or offset + length > self._size:
            raise self._damaged('it must not be cut short')
        data = os.pread(self._file.fileno(), length, offset)
        if len(data) != length:
            raise self._damaged('it must not be cut short')
        return data

    def _damaged(self, invariant: str) -> exception.ObjectDamaged:
        return exception.ObjectDamaged(self._name, invariant)


def _ascending(numbers: Sequence[int]) -> bool:
    return all(a < b for a, b in itertools.pairwise(numbers))
