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

"""LZMA2 in the .xz format: small and slow; ``xz -d`` reads it."""

import lzma
import typing

from oslo_utils import units

from ekko_nova.backup.codec import base
from ekko_nova import block
from ekko_nova import exception

__all__ = ('Lzma',)

#: Higher presets gain little on pieces of a few MiB and cost a multiple.
_DEFAULT_LEVEL: typing.Final = 1

#: Dictionary of each preset, in bytes, as xz(1) lists them.
_DICTIONARY: typing.Final = tuple(
    1 << exponent for exponent in (18, 20, 21, 22, 22, 23, 23, 24, 25, 26)
)

#: The smallest dictionary LZMA2 has.
_SMALLEST: typing.Final = 4 * units.Ki


class Lzma(base.Compression):
    """Presets 0 (fastest) to 9 (smallest); the default is 1.

    The dictionary is never larger than the data, so that a reader can bound
    its memory by the length it expects.
    """

    def __init__(self, level: int | None = None) -> None:
        super().__init__(level)
        self._level = _DEFAULT_LEVEL if level is None else level
        if not 0 <= self._level < len(_DICTIONARY):
            raise exception.InvalidOption(
                'compression level', level, '"lzma" has levels 0 to 9'
            )

    def compress(self, data: block.Buffer) -> block.Buffer:
        dictionary = min(_DICTIONARY[self._level], len(data))
        lzma2 = {
            'id': lzma.FILTER_LZMA2,
            'preset': self._level,
            'dict_size': max(dictionary, _SMALLEST),
        }
        return lzma.compress(data, format=lzma.FORMAT_XZ, filters=[lzma2])

    def decompress(self, data: block.Buffer, length: int) -> block.Buffer:
        stream = lzma.LZMADecompressor(
            format=lzma.FORMAT_XZ,
            # The header rounds the dictionary up by less than a half; the
            # decoder itself takes some 100 KiB.
            memlimit=2 * length + units.Mi,
        )
        try:
            # One byte more than wanted tells a stream that is too long from
            # one that ends here.
            plain = stream.decompress(data, length + 1)
        except lzma.LZMAError as e:
            raise ValueError(str(e)) from e
        if not stream.eof or stream.unused_data or len(plain) != length:
            raise ValueError(f'not an xz stream of {length} bytes')
        return plain
