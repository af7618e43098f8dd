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

"""Zstandard (RFC 8878): the default; level 1 outruns most disks."""

import threading
import typing

import zstandard

from ekko_nova.backup.codec import base
from ekko_nova import block
from ekko_nova import exception

__all__ = ('Zstd',)

_DEFAULT_LEVEL: typing.Final = 1


class _Contexts(threading.local):
    """zstd's working memory, which must not be shared by two threads."""

    def __init__(self, level: int) -> None:
        self.compressor = zstandard.ZstdCompressor(level=level)
        self.decompressor = zstandard.ZstdDecompressor()


class Zstd(base.Compression):
    """Levels 1 (fastest) to 22 (smallest); the default is 1."""

    def __init__(self, level: int | None = None) -> None:
        super().__init__(level)
        chosen = _DEFAULT_LEVEL if level is None else level
        if not 1 <= chosen <= zstandard.MAX_COMPRESSION_LEVEL:
            raise exception.InvalidOption(
                'compression level', level, '"zstd" has levels 1 to 22'
            )
        self._contexts = _Contexts(chosen)

    def compress(self, data: block.Buffer) -> block.Buffer:
        return self._contexts.compressor.compress(data)

    def decompress(self, data: block.Buffer, length: int) -> block.Buffer:
        try:
            # The library allocates what the frame's header claims, so the
            # claims are checked before it sees them. Every frame we write
            # states its size, and a window never larger than that.
            frame = zstandard.get_frame_parameters(data)
            if frame.content_size != length or frame.window_size > length:
                raise ValueError(f'not a zstd frame of {length} bytes')
            plain = self._contexts.decompressor.decompress(
                data, max_output_size=length, allow_extra_data=False
            )
        except zstandard.ZstdError as e:
            raise ValueError(str(e)) from e
        if len(plain) != length:
            raise ValueError(f'not a zstd frame of {length} bytes')
        return plain
