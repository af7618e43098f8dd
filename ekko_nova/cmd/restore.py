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


"""``ekko-manage restore``."""

import argparse
import pathlib
import time
import typing

from cliff import show

from ekko_nova.cmd import base
from ekko_nova.cmd import progress
from ekko_nova.compute import restore

__all__ = ('Restore',)


class Restore(base.StoreCommand, show.ShowOne):
    """Restore a disk of a backup, every byte verified.

    A file appears under its name when it is complete; nothing is ever
    replaced. Until then it lies in a hidden directory beside (.ekko-…); if
    the restore is killed, the next one there removes that. A block device is
    written in place.

    Examples::

        ekko-manage restore ID --output disk.raw --store file:///srv/backups
        ekko-manage restore ID --disk vdb --format qcow2 --output b.qcow2 …
        ekko-manage restore ID --output /dev/vg0/data --store …
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        # cliff has a --format of its own, for what is printed. Here the word
        # is wanted for the disk; cliff's keeps its short form, -f.
        action = parser._option_string_actions.pop('--format')  # noqa: SLF001
        action.option_strings = ['-f']
        parser.add_argument('id', metavar='ID', help='of the backup')
        parser.add_argument(
            '--output',
            metavar='PATH',
            required=True,
            help='file to make, or block device to write',
        )
        parser.add_argument(
            '--disk',
            metavar='NAME',
            help='which disk, if the backup has more than one',
        )
        parser.add_argument(
            '--format',
            dest='disk_format',
            choices=('raw', 'qcow2'),
            default='raw',
            help='of the file (default: %(default)s)',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[typing.Any, typing.Any]:
        began = time.monotonic()
        with self.open(parsed_args) as it, progress.Bar() as report:
            moved = restore.restore_disk(
                it.catalog,
                it.settings,
                parsed_args.id,
                output=pathlib.Path(parsed_args.output),
                name=parsed_args.disk,
                format=parsed_args.disk_format,
                report=report,
            )
        return self.dict2columns(
            {
                'id': parsed_args.id,
                'output': parsed_args.output,
                'format': parsed_args.disk_format,
                'data_bytes': moved,
                'seconds': round(time.monotonic() - began, 3),
            }
        )
