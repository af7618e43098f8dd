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


"""``ekko-manage backup``."""

import argparse
import pathlib
import typing

from cliff import show

from ekko_nova.backup import record as records
from ekko_nova.cmd import base
from ekko_nova.cmd import describe
from ekko_nova.cmd import progress
from ekko_nova.compute import engine
from ekko_nova.compute import file_backup
from ekko_nova.compute import selection
from ekko_nova import exception

__all__ = ('Backup',)


class Backup(base.StoreCommand, show.ShowOne):
    """Back up a disk, or the disks of a libvirt domain.

    SOURCE is a qcow2 or raw file that no running guest uses, or a block
    device. A qcow2 file is given a dirty bitmap, so that the next backup
    reads what changed since; of a raw disk all is read and what changed is
    stored. A domain may run or be shut off.

    Examples::

        ekko-manage backup disk.qcow2 --store file:///srv/backups
        ekko-manage backup /dev/vg0/data --store swift:///backups --set data
        ekko-manage backup --domain web1 --quiesce --store file:///srv/backups
        ekko-manage backup --domain web1 --disk vda -f json --store …
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument(
            'source',
            metavar='SOURCE',
            nargs='?',
            help='qcow2 or raw file, or block device',
        )
        what.add_argument(
            '--domain', metavar='NAME', help='name or UUID of a domain'
        )
        parser.add_argument(
            '--set',
            metavar='NAME',
            help='backup set of SOURCE; default: made of its name and place',
        )
        parser.add_argument(
            '--source-format',
            choices=('qcow2', 'raw'),
            help='format of SOURCE; default: seen from its first bytes, raw '
            'for a block device. Name it where a guest you do not trust '
            'wrote to a raw disk: it may have written a qcow2 header.',
        )
        parser.add_argument(
            '--connect',
            metavar='URI',
            default='qemu:///system',
            help='libvirt connection for --domain (default: %(default)s)',
        )
        parser.add_argument(
            '--disk',
            metavar='TARGET',
            action='append',
            help='a disk of the domain, such as vda; may be given more than '
            'once; default: all that can be backed up',
        )
        parser.add_argument(
            '--full',
            action='store_true',
            help='read and store everything, referring to no older backup',
        )
        parser.add_argument(
            '--quiesce',
            action='store_true',
            help='freeze the file systems of the domain through its guest '
            'agent for the moment the backup begins',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[typing.Any, typing.Any]:
        with self.open(parsed_args) as it, progress.Bar() as report:
            if parsed_args.domain:
                record = self._domain(parsed_args, it, report)
            else:
                record = self._file(parsed_args, it, report)
        return self.dict2columns(describe.backup(record))

    def _file(
        self,
        parsed_args: argparse.Namespace,
        it: engine.Engine,
        report: typing.Any,
    ) -> records.Record:
        for option in ('disk', 'quiesce'):
            if getattr(parsed_args, option):
                raise exception.InvalidOption(
                    f'--{option}', 'with SOURCE', 'it goes with --domain'
                )
        return file_backup.backup_file(
            it.catalog,
            it.settings,
            pathlib.Path(parsed_args.source),
            format=parsed_args.source_format,
            set_name=parsed_args.set,
            full=parsed_args.full,
            report=report,
        )

    def _domain(
        self,
        parsed_args: argparse.Namespace,
        it: engine.Engine,
        report: typing.Any,
    ) -> records.Record:
        for option in ('set', 'source_format'):
            if getattr(parsed_args, option):
                raise exception.InvalidOption(
                    f'--{option.replace("_", "-")}',
                    'with --domain',
                    'it goes with SOURCE',
                )
        # libvirt takes 13 MiB, and a file does not need it.
        from ekko_nova.compute import domain_backup  # noqa: PLC0415

        with domain_backup.Hypervisor(parsed_args.connect) as hypervisor:
            return domain_backup.backup_domain(
                it.catalog,
                it.settings,
                hypervisor.lookup(parsed_args.domain),
                domain_backup.Options(
                    select=selection.by_target(parsed_args.disk),
                    full=parsed_args.full,
                    freeze=parsed_args.quiesce,
                ),
                places=it.places,
                report=report,
            )
