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

"""Manifests of any size with made-up content, for measuring."""

import pathlib
import random
import struct

from ekko_nova.backup.codec import digest as digests
from ekko_nova.backup import geometry
from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import document
from ekko_nova.backup.manifest import stripe

__all__ = ('generate',)


def generate(
    driver: base.Driver,
    path: pathlib.Path,
    *,
    size: int,
    segment_size: int,
    seed: int,
) -> None:
    """Write the manifest of a full backup of a disk without zeros.

    Each segment is one piece in an object of its own, between a quarter of
    ``segment_size`` and all of it, with a random digest. Equal arguments make
    equal content. Memory: one stripe.

    :param size: of the disk, in bytes
    :raises exception.TargetExists: ``path`` is there
    :raises exception.TargetFailed: it cannot be written
    :raises ValueError: no disk has these sizes
    """
    header = base.Header(
        set='generated',
        backup=f'seed-{seed}',
        parent=None,
        disk='generated',
        size=size,
        segment_size=segment_size,
        owners=(base.Owner('generated', f'seed-{seed}'),),
        codecs=(base.Codec('zstd', 'none', digests.BLAKE3),),
    )
    rng = random.Random(seed)  # noqa: S311  must be the same each time
    with driver.create(path, header) as writer:
        disk = geometry.Geometry(size, segment_size)
        for number in range(document.stripe_count(header)):
            writer.add(number, _stripe(number, disk, rng))
        writer.finish()


def _stripe(
    number: int, disk: geometry.Geometry, rng: random.Random
) -> base.Columns:
    first = number * base.STRIPE
    count = min(base.STRIPE, disk.segments - first)
    padding = base.STRIPE - count
    full = disk.full_mask(0)
    last = disk.full_mask(first + count - 1)
    objects = struct.pack(f'<{count}I', *range(first, first + count))
    masks = struct.pack('<Q', full) * (count - 1) + struct.pack('<Q', last)
    column = stripe.encode_column
    return base.Columns(
        count=column(b'\1' * count + b'\0' * padding, 1),
        zero=column(bytes(8 * base.STRIPE), 8),
        mask=column(masks, 8),
        owner=column(bytes(4 * count), 4),
        object=column(objects, 4),
        offset=column(bytes(4 * count), 4),
        length=column(_lengths(count, disk.segment_size, rng), 4),
        codec=column(bytes(count), 1),
        digest=rng.randbytes(digests.SIZE * count),
    )


def _lengths(count: int, segment_size: int, rng: random.Random) -> bytes:
    least = segment_size // 4
    span = segment_size - least
    drawn = struct.unpack(f'<{count}I', rng.randbytes(4 * count))
    return struct.pack(f'<{count}I', *[least + each % span for each in drawn])
