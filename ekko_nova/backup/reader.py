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

"""From objects to a disk: restore, every byte verified on its way."""

from collections.abc import Generator
import contextlib
import typing

from oslo_utils import units

from ekko_nova.backup import fetch
from ekko_nova.backup import geometry as geometry_
from ekko_nova.backup import layers
from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import stripe
from ekko_nova.backup import naming
from ekko_nova.backup import pipeline
from ekko_nova.backup import progress
from ekko_nova import block
from ekko_nova import exception

__all__ = ('allocation', 'restore', 'segments')

#: What a qcow2 allocates at once.
_CLUSTER: typing.Final = 64 * units.Ki


def segments(
    manifest: base.Reader, geometry: geometry_.Geometry
) -> Generator[tuple[int, int, base.Segment | None], None, None]:
    """Walk a manifest as (segment, count, entry), ascending, without a gap.

    ``None`` stands for ``count`` segments that are all zero.

    :raises exception.ObjectDamaged: the manifest breaks the format
    """
    position = 0
    for number, columns in manifest.stripes():
        first = number * base.STRIPE
        if first > position:
            yield position, first - position, None
        end = min(first + base.STRIPE, geometry.segments)
        entries = stripe.decode(columns)
        for segment in range(first, end):
            entry = entries[segment - first]
            _check_cover(manifest.header, geometry, segment, entry)
            yield segment, 1, entry
        position = end
    if position < geometry.segments:
        yield position, geometry.segments - position, None


def allocation(manifest: base.Reader) -> int:
    """Bytes that a file takes, at most, once the disk is restored to it.

    Without what describes the file itself, which is some hundredths of a
    percent in a qcow2.

    :raises exception.ObjectDamaged: the manifest breaks the format
    """
    header = manifest.header
    geometry = geometry_.Geometry(header.size, header.segment_size)
    total = 0
    for segment, _, entry in segments(manifest, geometry):
        if entry is None:
            continue
        data = geometry.full_mask(segment) & ~entry.zero
        for offset, length in geometry.spans(segment, data):
            first = offset // _CLUSTER
            total += (-(-(offset + length) // _CLUSTER) - first) * _CLUSTER
    return total


def _check_cover(
    header: base.Header,
    geometry: geometry_.Geometry,
    segment: int,
    entry: base.Segment,
) -> None:
    cover = entry.zero
    for layer in entry.layers:
        cover |= layer.mask
    if cover != geometry.full_mask(segment):
        raise exception.ObjectDamaged(
            naming.manifest_part_name(header.set, header.backup, 0),
            f'every block of segment {segment} must be zero or in a layer',
        )


def restore(
    manifest: base.Reader,
    fetcher: fetch.Fetcher,
    target: block.BlockTarget,
    workers: int,
    report: progress.Report,
) -> int:
    """Write the whole disk to a target; returns the bytes that were data.

    :raises exception.DataDamaged: a byte is not what was stored; the target
        then holds no wrong byte, but is not complete
    :raises exception.TargetFailed: the target cannot be written
    """
    header = manifest.header
    geometry = geometry_.Geometry(header.size, header.segment_size)
    writer = _SegmentWriter(fetcher, target, geometry)
    results = pipeline.ordered(
        writer.write, segments(manifest, geometry), workers
    )
    moved = 0
    with contextlib.closing(results):
        for end, length in results:
            moved += length
            report(progress.Progress(header.disk, end, header.size, moved))
    target.flush()
    return moved


class _SegmentWriter:
    """Puts segments on a target; called from several threads."""

    def __init__(
        self,
        fetcher: fetch.Fetcher,
        target: block.BlockTarget,
        geometry: geometry_.Geometry,
    ) -> None:
        self._fetcher = fetcher
        self._target = target
        self._geometry = geometry

    def write(
        self, item: tuple[int, int, base.Segment | None]
    ) -> tuple[int, int]:
        """Write one item of :func:`segments`.

        Returns the first byte after it, and how many bytes were data.
        """
        segment, count, entry = item
        start = segment * self._geometry.segment_size
        last = segment + count - 1
        end = (
            last * self._geometry.segment_size
            + self._geometry.segment_length(last)
        )
        if entry is None:
            self._target.zero(start, end - start)
            return end, 0
        for offset, length in self._geometry.spans(segment, entry.zero):
            self._target.zero(start + offset, length)
        masks = layers.effective(entry)
        moved = 0
        for layer, mask in zip(entry.layers, masks, strict=True):
            moved += self._write_layer(segment, layer, mask)
        return end, moved

    def _write_layer(self, segment: int, layer: base.Layer, mask: int) -> int:
        """Write those blocks of a piece that nothing overrides."""
        geometry = self._geometry
        start = segment * geometry.segment_size
        plain = memoryview(
            self._fetcher.plain(
                layer, geometry.plain_length(segment, layer.mask)
            )
        )
        moved = 0
        for offset, length in geometry.spans(segment, mask):
            first = offset // geometry.block_size
            # The piece holds its blocks side by side: those in front of the
            # wanted one are as many as its mask has lower bits.
            before = (layer.mask & ((1 << first) - 1)).bit_count()
            position = before * geometry.block_size
            self._target.write(
                start + offset, plain[position : position + length]
            )
            moved += length
        return moved
