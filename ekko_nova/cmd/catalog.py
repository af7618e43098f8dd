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


"""``ekko-manage list``, ``show`` and ``delete``."""

import argparse
import typing

from cliff import lister
from cliff import show

from ekko_nova.backup import prune
from ekko_nova.cmd import base
from ekko_nova.cmd import describe

__all__ = ('Delete', 'List', 'Show')


class List(base.StoreCommand, lister.Lister):
    """List the backups of a store, oldest first.

    What is known of a backup may be damaged: then it is left out, its name is
    printed to standard error, and the status is 6.

    Examples::

        ekko-manage list --store file:///srv/backups
        ekko-manage list --server 5d3c… -f json --store swift:///backups
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--server',
            metavar='NAME',
            help='only the backups of this line: a set given to SOURCE, or '
            "a domain's UUID",
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[typing.Any, typing.Any]:
        with self.open(parsed_args) as it:
            survey = it.catalog.survey(parsed_args.server)
        for damage in survey.damaged:
            self.log.error('%s', damage)
        self.damaged = bool(survey.damaged)
        rows = [describe.list_row(record) for record in survey.records]
        return describe.LIST_COLUMNS, rows


class Show(base.StoreCommand, show.ShowOne):
    """Show a backup: its disks, sizes, and why it was full if it was.

    Example::

        ekko-manage show 1b4e28ba-2fa1-11d2-883f-0016d3cca427 --store …
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('id', metavar='ID', help='of the backup')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[typing.Any, typing.Any]:
        with self.open(parsed_args) as it:
            record = it.catalog.get(parsed_args.id)
        return self.dict2columns(describe.backup(record))


class Delete(base.StoreCommand, lister.Lister):
    """Delete backups; all others stay restorable.

    Example::

        ekko-manage delete ID [ID …] --store file:///srv/backups
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('ids', metavar='ID', nargs='+', help='of a backup')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[typing.Any, typing.Any]:
        with self.open(parsed_args) as it:
            rows = []
            for backup in parsed_args.ids:
                reclaimed = prune.delete(it.catalog, it.settings, backup)
                rows.append((backup, reclaimed.objects))
        return ('id', 'objects_removed'), rows
