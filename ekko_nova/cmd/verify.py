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
import dataclasses
import typing

from cliff import lister

from ekko_nova.backup import document
from ekko_nova.backup import notes as notes_
from ekko_nova.backup import record as records
from ekko_nova.backup import verify
from ekko_nova.cmd import base
from ekko_nova.cmd import progress
from ekko_nova import exception

__all__ = ('Verify',)

_COLUMNS: typing.Final = ('disk', 'object', 'invariant', 'offset', 'length')


class Verify(base.StoreCommand, lister.Lister):
    """Check that a backup is what it was.

    Lists what is broken: the disk, the object, the rule of the format, and
    the range of the disk that is affected. Nothing listed and status 0 mean
    that the backup restores; status 6, that it does not. What is found is
    kept beside the backup until a deep verification finds it mended, so that
    the next backup does not build on it.

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

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[typing.Any, typing.Any]:
        with self.open(parsed_args) as it, progress.Bar() as report:
            record = it.catalog.get(parsed_args.id)
            notes = it.catalog.notes
            known = notes.findings(record.server, record.id)
            deep = parsed_args.deep
            found = list(
                verify.verify(
                    it.catalog.store,
                    it.settings,
                    record,
                    deep=deep,
                    report=report,
                )
            )
            now = verify.still_known(known, found, deep=deep)
            if now != known:
                self._note(notes, record, now, deep=deep)
        rows = list(map(dataclasses.asdict, found))
        rows += [each for each in now if each not in rows]
        self.damaged = bool(rows)
        if not rows:
            self.log.info('backup %s is what it was', record.id)
        return _COLUMNS, [
            tuple(row[column] for column in _COLUMNS) for row in rows
        ]

    def _note(
        self,
        notes: notes_.Notes,
        record: records.Record,
        found: list[document.Document],
        *,
        deep: bool,
    ) -> None:
        """Have the next backup not build on what is broken."""
        note = notes_.work('done', 100, deep=deep, findings=found)
        try:
            notes.put(record.server, record.id, 'verify', note)
        except exception.EkkoError as e:
            self.log.warning('the next backup will not know of it: %s', e)
