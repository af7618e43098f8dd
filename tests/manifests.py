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

"""Made-up manifests for tests."""

from hypothesis import strategies

from ekko_nova.backup.manifest import base

__all__ = ('FULL', 'LAYERS', 'SEGMENTS', 'header', 'layer')

#: The mask of all blocks.
FULL = (1 << 64) - 1

U8 = strategies.integers(0, (1 << 8) - 1)
U32 = strategies.integers(0, (1 << 32) - 1)
U64 = strategies.integers(0, (1 << 64) - 1)

LAYERS = strategies.builds(
    base.Layer,
    mask=U64,
    owner=U32,
    object=U32,
    offset=U32,
    length=U32,
    codec=U8,
    digest=strategies.binary(min_size=20, max_size=20),
)

#: A few segments, often with runs of equal ones.
SEGMENTS = strategies.lists(
    strategies.tuples(
        strategies.builds(
            base.Segment,
            zero=U64,
            layers=strategies.lists(LAYERS, max_size=8).map(tuple),
        ),
        strategies.integers(1, 30),
    ),
    max_size=8,
).map(lambda runs: [segment for segment, n in runs for _ in range(n)])


def layer(number: int, **fields: int) -> base.Layer:
    """A layer over a whole segment, with a digest that tells its number."""
    values = {
        'mask': FULL,
        'owner': 0,
        'object': number,
        'offset': 0,
        'length': 100_000 + number * 7919 % 65536,
        'codec': 0,
    }
    digest = number.to_bytes(20, 'big')
    return base.Layer(**(values | fields), digest=digest)


def header(segments: int, owners: int = 1) -> base.Header:
    """The header of a disk of so many segments of 4 MiB.

    Some of its pieces are older than BLAKE3.
    """
    return base.Header(
        set='the-set',
        backup='the-backup',
        parent='its-parent',
        disk='instance/root ä',
        size=segments * (4 << 20),
        segment_size=4 << 20,
        owners=tuple(
            base.Owner('the-set', f'backup-{number}')
            for number in range(owners)
        ),
        codecs=(
            base.Codec('zstd', 'aes-gcm', 'sha256'),
            base.Codec('none', 'none', 'blake3'),
        ),
    )
