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


"""``ekko-manage verify``."""

import argparse
import typing

from cliff import lister

from ekko_nova.backup import verify
from ekko_nova.cmd import base
from ekko_nova.cmd import progress
from ekko_nova import exception

__all__ = ('Verify',)


class Verify(base.StoreCommand, lister.Lister):
    """Check that a backup is what it was.

    Lists what is broken: the disk, the object, the rule of the format, and
    the range of the disk that is affected. Nothing listed and status 0 mean
    that the backup restores; status 6, that it does not.

    Examples::

        ekko-manage verify ID --store file:///srv/backups
        ekko-manage verify --deep ID --store file:///srv/backups
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('id', metavar='ID', help='of the backup')
        parser.add_argument(
            '--deep',
            action='store_true',
            help='read every stored byte, instead of names and sizes only',
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        self._broken = False
        status = super().run(parsed_args)
        return status or (exception.DataDamaged.exit_code * self._broken)

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[typing.Any, typing.Any]:
        with self.open(parsed_args) as it, progress.Bar() as report:
            record = it.catalog.get(parsed_args.id)
            rows = [
                (
                    finding.disk,
                    finding.object,
                    finding.invariant,
                    finding.offset,
                    finding.length,
                )
                for finding in verify.verify(
                    it.catalog.store,
                    it.settings,
                    record,
                    deep=parsed_args.deep,
                    report=report,
                )
            ]
        self._broken = bool(rows)
        if not rows:
            self.log.info('backup %s is what it was', record.id)
        return ('disk', 'object', 'invariant', 'offset', 'length'), rows
