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

"""How the engine is to work: values, wherever they were configured."""

import dataclasses
import pathlib
import typing

from oslo_utils import units

from ekko_nova.backup.codec import base as codec_base
from ekko_nova.backup.codec import digest as digests
from ekko_nova import exception

__all__ = ('MOST_PUTS', 'Settings')

#: Objects that are on their way to a store at once, at most.
MOST_PUTS: typing.Final = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The choices an operator has.

    Peak memory of a backup is about ``(3 × workers + 2 × puts + 2) ×
    segment_size`` and of a restore ``(4 × workers + cached_bundles) ×
    segment_size``, plus what the interpreter needs.

    :ivar segment_size: bytes, a power of two from 1 to 64 MiB; incrementals
        keep that of the full they build on
    :ivar compression: driver name
    :ivar compression_level: the driver's own scale; ``None`` is its default
    :ivar encryption: driver name
    :ivar digest: algorithm of new pieces, one of
        :data:`ekko_nova.backup.codec.digest.NAMES`
    :ivar key_provider: wraps data keys; needed by encryption that needs keys
    :ivar manifest: driver name
    :ivar workers: threads that read, hash and compress, or decompress
    :ivar puts: objects on their way to the store at once, up to 64
    :ivar bandwidth: bytes per second that are read from a disk, or written
        to it, at most; ``None`` for as many as it gives
    :ivar cached_bundles: bundles a restore keeps at hand
    :ivar audit_segments: clean segments of a disk that an incremental reads
        all the same, to compare them with the parent; 0 for none
    :ivar heartbeat: seconds between signs of life in the record
    :ivar stale_after: seconds without one after which a backup in the making
        is taken for dead, if its process cannot be asked
    :ivar temporary_directory: where manifests lie while in use, up to 400 MiB
        for each 64 TiB of disk; ``None`` for the system's choice
    """

    segment_size: int = 4 * units.Mi
    compression: str = 'zstd'
    compression_level: int | None = None
    encryption: str = 'none'
    digest: str = digests.BLAKE3
    key_provider: codec_base.KeyProvider | None = None
    manifest: str = 'sqlite'
    workers: int = 3
    puts: int = 4
    bandwidth: int | None = None
    cached_bundles: int = 12
    audit_segments: int = 8
    heartbeat: float = 30.0
    stale_after: float = 600.0
    temporary_directory: pathlib.Path | None = None

    def __post_init__(self) -> None:
        size = self.segment_size
        if not units.Mi <= size <= 64 * units.Mi or size.bit_count() != 1:
            raise exception.InvalidOption(
                'segment_size', size, 'use a power of two from 1 to 64 MiB'
            )
        if self.digest not in digests.NAMES:
            raise exception.InvalidOption(
                'digest', self.digest, f'use {" or ".join(digests.NAMES)}'
            )
        if not 1 <= self.puts <= MOST_PUTS:
            raise exception.InvalidOption(
                'puts', self.puts, f'use 1 to {MOST_PUTS}'
            )
