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


"""``ekko-manage manifest dump`` and ``manifest generate``."""

import argparse
from collections.abc import Iterator
import contextlib
import pathlib
import time
import typing

from cliff import lister
from cliff import show
from oslo_utils import units

from ekko_nova.backup import geometry as geometry_
from ekko_nova.backup.manifest import base as manifest_base
from ekko_nova.backup.manifest import generate
from ekko_nova.backup.manifest import load
from ekko_nova.backup import opened
from ekko_nova.backup import reader
from ekko_nova.cmd import base
from ekko_nova.compute import restore
from ekko_nova import exception

__all__ = ('Dump', 'Generate')

_COLUMNS: typing.Final = (
    'segment',
    'count',
    'zero',
    'layer',
    'mask',
    'backup',
    'object',
    'offset',
    'length',
    'codec',
    'digest',
)

#: A disk is smaller than 8 EiB.
_GIB_LIMIT: typing.Final = 8 * units.Ei // units.Gi


class Dump(base.StoreCommand, lister.Lister):
    """Show a manifest: its header, and for each segment its layers.

    The header goes to standard error, the layers to standard output: one
    row each, newest last. Runs of segments that are all zero share a row.

    Examples::

        ekko-manage manifest dump ID --store file:///srv/backups
        ekko-manage manifest dump ID --disk vdb -f json --store …
        ekko-manage manifest dump ./manifest.sqlite
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'what',
            metavar='ID|FILE',
            help='id of a backup, or a manifest file',
        )
        parser.add_argument(
            '--disk',
            metavar='NAME',
            help='which disk, if the backup has more than one',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[typing.Any, typing.Any]:
        with self._manifest(parsed_args) as manifest:
            self._print_header(manifest.header)
            rows = list(_rows(manifest))
        return _COLUMNS, rows

    @contextlib.contextmanager
    def _manifest(
        self, parsed_args: argparse.Namespace
    ) -> Iterator[manifest_base.Reader]:
        path = pathlib.Path(parsed_args.what)
        if path.exists():
            with load.open(path) as manifest:
                yield manifest
            return
        with self.open(parsed_args) as it:
            record = it.catalog.get(parsed_args.what)
            disk = restore.select_disk(record, parsed_args.disk)
            with opened.open_disk(
                it.catalog.store, it.settings, record, disk
            ) as found:
                yield found.manifest

    def _print_header(self, header: manifest_base.Header) -> None:
        lines = (
            f'set:          {header.set}',
            f'backup:       {header.backup}',
            f'parent:       {header.parent}',
            f'disk:         {header.disk}',
            f'size:         {header.size}',
            f'segment size: {header.segment_size}',
            f'owners:       {len(header.owners)}',
            'codecs:       ' + ', '.join(map(_codec, header.codecs)),
        )
        for line in lines:
            print(line, file=self.app.stderr)


def _rows(manifest: manifest_base.Reader) -> Iterator[tuple[typing.Any, ...]]:
    header = manifest.header
    shape = geometry_.Geometry(header.size, header.segment_size)
    zeros = 0
    for segment, count, entry in reader.segments(manifest, shape):
        if entry is None or not entry.layers:
            zeros += count
            continue
        if zeros:
            yield _zero_row(segment - zeros, zeros)
            zeros = 0
        for number, layer in enumerate(entry.layers):
            yield (
                segment,
                count,
                f'{entry.zero:016x}',
                number,
                f'{layer.mask:016x}',
                header.owners[layer.owner].backup,
                f'{layer.object:08x}',
                layer.offset,
                layer.length,
                _codec(header.codecs[layer.codec]),
                layer.digest.hex(),
            )
    if zeros:
        yield _zero_row(shape.segments - zeros, zeros)


def _codec(codec: manifest_base.Codec) -> str:
    return f'{codec.compression}+{codec.encryption}+{codec.digest}'


def _zero_row(segment: int, count: int) -> tuple[typing.Any, ...]:
    return (segment, count, 'all', *[None] * (len(_COLUMNS) - 3))


class Generate(base.Command, show.ShowOne):
    """Make a manifest of any size with random digests, for measuring.

    Example::

        ekko-manage manifest generate --size-gib 65536 --driver osdk \\
            --output /tmp/manifest
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--size-gib',
            type=int,
            required=True,
            metavar='N',
            help='size of the disk it describes, in GiB',
        )
        parser.add_argument(
            '--driver',
            default='sqlite',
            metavar='NAME',
            help='manifest driver, such as sqlite or osdk '
            '(default: %(default)s)',
        )
        parser.add_argument(
            '--segment-size-mib',
            type=int,
            choices=(1, 2, 4, 8, 16, 32, 64),
            default=4,
            help='in MiB (default: %(default)s)',
        )
        parser.add_argument(
            '--output', required=True, metavar='FILE', help='file to make'
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[typing.Any, typing.Any]:
        began = time.monotonic()
        if not 0 < parsed_args.size_gib < _GIB_LIMIT:
            raise exception.InvalidOption(
                '--size-gib',
                parsed_args.size_gib,
                f'use at least 1 and less than {_GIB_LIMIT}',
            )
        path = pathlib.Path(parsed_args.output)
        size = parsed_args.size_gib * units.Gi
        segment_size = parsed_args.segment_size_mib * units.Mi
        generate.generate(
            load.driver(parsed_args.driver),
            path,
            size=size,
            segment_size=segment_size,
            seed=0,
        )
        return self.dict2columns(
            {
                'output': str(path),
                'driver': parsed_args.driver,
                'segments': geometry_.Geometry(size, segment_size).segments,
                'bytes': path.stat().st_size,
                'seconds': round(time.monotonic() - began, 3),
            }
        )
