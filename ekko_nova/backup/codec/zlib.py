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

"""zlib (RFC 1950): everywhere at hand, and checks itself with Adler-32."""

import typing
import zlib

from ekko_nova.backup.codec import base
from ekko_nova import block
from ekko_nova import exception

__all__ = ('Zlib',)

_DEFAULT_LEVEL: typing.Final = 6


class Zlib(base.Compression):
    """Levels 0 (stored) to 9 (smallest); the default is 6."""

    def __init__(self, level: int | None = None) -> None:
        super().__init__(level)
        self._level = _DEFAULT_LEVEL if level is None else level
        if not 0 <= self._level <= 9:
            raise exception.InvalidOption(
                'compression level', level, '"zlib" has levels 0 to 9'
            )

    def compress(self, data: block.Buffer) -> block.Buffer:
        return zlib.compress(data, self._level)

    def decompress(self, data: block.Buffer, length: int) -> block.Buffer:
        stream = zlib.decompressobj()
        try:
            # One byte more than wanted tells a stream that is too long from
            # one that ends here, and 0 would mean no limit.
            plain = stream.decompress(data, length + 1)
        except zlib.error as e:
            raise ValueError(str(e)) from e
        if not stream.eof or stream.unused_data or len(plain) != length:
            raise ValueError(f'not a zlib stream of {length} bytes')
        return plain
