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

"""Take, list, show, change, delete, cancel and verify backups."""

import argparse
import functools
import itertools
import time
import typing

from openstack import exceptions as sdk_exceptions
from osc_lib.cli import format_columns
from osc_lib.command import command
from osc_lib import exceptions
from osc_lib import utils

from ekko_nova.client import patience
from ekko_nova.osc.v1 import base

__all__ = (
    'CancelBackup',
    'CreateBackup',
    'DeleteBackup',
    'ListBackup',
    'SetBackup',
    'ShowBackup',
    'UnsetBackup',
    'VerifyBackup',
)

_FAILURES: typing.Final = (
    exceptions.CommandError,
    sdk_exceptions.SDKException,
)

#: What Nova calls it while a backup is being taken.
_BACKUP_TASK: typing.Final = 'image_backup'

_Parser: typing.TypeAlias = argparse.ArgumentParser
_Table: typing.TypeAlias = tuple[typing.Any, typing.Any]


class CreateBackup(command.ShowOne):
    """Take a backup of a server.

    Only what changed since the last one is read and stored, wherever that
    can be told. The server goes on meanwhile.
    """

    def get_parser(self, prog_name: str) -> _Parser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'server',
            metavar='<server>',
            help='Server to back up (name or ID)',
        )
        parser.add_argument(
            '--name', metavar='<name>', help='Name of the backup'
        )
        parser.add_argument(
            '--description',
            metavar='<description>',
            help='Description of the backup',
        )
        kind = parser.add_mutually_exclusive_group()
        kind.add_argument(
            '--full',
            dest='type',
            action='store_const',
            const='full',
            help='Read and store everything, whatever there is already',
        )
        kind.add_argument(
            '--incremental',
            dest='type',
            action='store_const',
            const='incremental',
            help='Fail if a disk would have to be read whole',
        )
        quiesce = parser.add_mutually_exclusive_group()
        quiesce.add_argument(
            '--quiesce',
            dest='quiesce',
            action='store_true',
            default=None,
            help='Freeze the file systems of the guest for the moment the '
            'backup begins (default: if its image says that it has an agent)',
        )
        quiesce.add_argument(
            '--no-quiesce',
            dest='quiesce',
            action='store_false',
            help='Do not freeze the file systems of the guest',
        )
        base.add_property(parser, 'Set a property on the backup')
        base.add_wait(
            parser, 'until the backup is available and the server free'
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        proxy = base.backups_of(self)
        compute = self.app.client_manager.sdk_connection.compute
        server = compute.find_server(parsed_args.server, ignore_missing=False)
        wanted = {
            'name': parsed_args.name,
            'description': parsed_args.description,
            'metadata': parsed_args.properties,
            'type': parsed_args.type,
            'quiesce': parsed_args.quiesce,
        }
        backup = proxy.create_backup(
            server_id=server.id,
            **{
                key: value
                for key, value in wanted.items()
                if value is not None
            },
        )
        if parsed_args.wait:
            with base.reporting(f'backup of {server.name}') as report:
                # An administrator's may be that of another project.
                backup = proxy.wait_for_backup(
                    backup, report, project_id=backup.project_id
                )
                # Nova lets the server go a moment later; what is typed next
                # may be about the server. Unless it is gone by then.
                while (
                    found := patience.look(
                        functools.partial(compute.find_server, server.id)
                    )
                ) and found.task_state == _BACKUP_TASK:
                    time.sleep(base.INTERVAL)
        return base.shown(backup)


class ListBackup(command.Lister):
    """List backups, newest first."""

    def get_parser(self, prog_name: str) -> _Parser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--server',
            metavar='<server>',
            help='Only backups of this server (name or ID; ID if it is gone)',
        )
        parser.add_argument(
            '--status',
            metavar='<status>',
            choices=('creating', 'available', 'damaged', 'deleting', 'error'),
            help='Only backups in this status: creating, available, damaged, '
            'deleting or error',
        )
        parser.add_argument(
            '--name', metavar='<name>', help='Only backups of this name'
        )
        parser.add_argument(
            '--since',
            metavar='<time>',
            help='Only backups taken since then, such as 2026-11-20T18:00:00Z',
        )
        parser.add_argument(
            '--sort',
            metavar='<key>[:<direction>]',
            help='Sort by created_at, name, server_id, size, status or '
            'stored_bytes, asc or desc (default: created_at:desc; several '
            'with commas)',
        )
        parser.add_argument(
            '--long', action='store_true', help='List additional fields'
        )
        parser.add_argument(
            '--all-projects',
            action='store_true',
            help='Include all projects (admin only)',
        )
        base.add_project(parser, 'Only backups of this project')
        parser.add_argument(
            '--marker',
            metavar='<backup-id>',
            help='Begin after this backup of the previous page',
        )
        parser.add_argument(
            '--limit',
            type=_positive,
            metavar='<number>',
            help='List that many, if there are (default: all)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        wanted = {
            'server_id': self._server(parsed_args.server),
            'status': parsed_args.status,
            'name': parsed_args.name,
            'since': parsed_args.since,
            'sort': parsed_args.sort,
            'all_projects': 'true' if parsed_args.all_projects else None,
            'project_id': base.project_of(self, parsed_args),
            'marker': parsed_args.marker,
            'limit': parsed_args.limit,
        }
        query = {
            key: value for key, value in wanted.items() if value is not None
        }
        columns = [
            'id',
            'name',
            'server_id',
            'type',
            'status',
            'created_at',
            'size',
        ]
        if parsed_args.long:
            columns += [
                'stored_bytes',
                'server_name',
                'description',
                'metadata',
                'error',
            ]
        if parsed_args.all_projects:
            columns.append('project_id')
        # Of the service it is the size of a page, which it has a limit for.
        found = itertools.islice(
            base.backups_of(self).backups(**query), parsed_args.limit
        )
        return columns, [
            utils.get_item_properties(
                backup,
                columns,
                formatters={'metadata': format_columns.DictColumn},
            )
            for backup in found
        ]

    def _server(self, name_or_id: str | None) -> str | None:
        if name_or_id is None:
            return None
        compute = self.app.client_manager.sdk_connection.compute
        server = compute.find_server(name_or_id)
        # Backups outlive their server.
        return name_or_id if server is None else str(server.id)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f'{text!r} is no positive number')
    return int(text)


class ShowBackup(command.ShowOne):
    """Show a backup: its disks, sizes, and why it was full if it was."""

    def get_parser(self, prog_name: str) -> _Parser:
        parser = super().get_parser(prog_name)
        base.add_backup(parser)
        base.add_project(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        project = base.project_of(self, parsed_args)
        backup = base.find(self, parsed_args.backup, project)
        return base.shown(
            base.backups_of(self).get_backup(backup.id, project_id=project)
        )


class SetBackup(command.Command):
    """Set properties of a backup."""

    def get_parser(self, prog_name: str) -> _Parser:
        parser = super().get_parser(prog_name)
        base.add_backup(parser)
        parser.add_argument('--name', metavar='<name>', help='New name')
        parser.add_argument(
            '--description', metavar='<description>', help='New description'
        )
        base.add_property(parser, 'Property to add or change')
        parser.add_argument(
            '--status',
            metavar='<status>',
            choices=('available', 'error'),
            help='Status to show it with: available, of one that was called '
            'damaged; error, of one that is being taken by a host that is '
            'lost (admin only)',
        )
        base.add_project(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        proxy = base.backups_of(self)
        project = base.project_of(self, parsed_args)
        backup = base.find(self, parsed_args.backup, project)
        changes: dict[str, typing.Any] = {}
        if parsed_args.name is not None:
            changes['name'] = parsed_args.name
        if parsed_args.description is not None:
            changes['description'] = parsed_args.description
        if parsed_args.properties:
            changes['metadata'] = {
                **(backup.metadata or {}),
                **parsed_args.properties,
            }
        if changes:
            proxy.update_backup(backup.id, project_id=project, **changes)
        if parsed_args.status:
            proxy.reset_backup_status(
                backup, parsed_args.status, project_id=project
            )


class UnsetBackup(command.Command):
    """Unset properties of a backup."""

    def get_parser(self, prog_name: str) -> _Parser:
        parser = super().get_parser(prog_name)
        base.add_backup(parser)
        parser.add_argument(
            '--name', action='store_true', help='Remove the name'
        )
        parser.add_argument(
            '--description',
            action='store_true',
            help='Remove the description',
        )
        parser.add_argument(
            '--property',
            metavar='<key>',
            dest='properties',
            action='append',
            default=[],
            help='Property to remove (repeat option to remove several)',
        )
        base.add_project(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        project = base.project_of(self, parsed_args)
        backup = base.find(self, parsed_args.backup, project)
        changes: dict[str, typing.Any] = {}
        if parsed_args.name:
            changes['name'] = None
        if parsed_args.description:
            changes['description'] = None
        if parsed_args.properties:
            metadata = dict(backup.metadata or {})
            for key in parsed_args.properties:
                if key not in metadata:
                    raise exceptions.CommandError(
                        f'Backup {backup.id} has no property {key!r}.'
                    )
                del metadata[key]
            changes['metadata'] = metadata
        if changes:
            base.backups_of(self).update_backup(
                backup.id, project_id=project, **changes
            )


class DeleteBackup(command.Command):
    """Delete backups; all others stay restorable."""

    def get_parser(self, prog_name: str) -> _Parser:
        parser = super().get_parser(prog_name)
        base.add_backup(parser, nargs='+')
        parser.add_argument(
            '--force',
            action='store_true',
            help='Delete although the compute host is lost that takes or '
            'deletes it (admin only)',
        )
        base.add_project(parser)
        base.add_wait(parser, 'until they are gone')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        proxy = base.backups_of(self)
        project = base.project_of(self, parsed_args)
        begun = []
        failed = 0
        for name_or_id in parsed_args.backup:
            try:
                backup = base.find(self, name_or_id, project)
                proxy.delete_backup(
                    backup, force=parsed_args.force, project_id=project
                )
            except _FAILURES as e:
                self.log.error('%s: %s', name_or_id, e)
                failed += 1
            else:
                begun.append(backup)
        for backup in begun if parsed_args.wait else ():
            try:
                proxy.wait_for_backup_deleted(backup, project_id=project)
            except _FAILURES as e:
                self.log.error('%s', e)
                failed += 1
        if failed:
            raise exceptions.CommandError(
                f'{failed} of {len(parsed_args.backup)} backups are not '
                'deleted.'
            )


class CancelBackup(command.Command):
    """End a backup that is being taken; it is listed as an error then."""

    def get_parser(self, prog_name: str) -> _Parser:
        parser = super().get_parser(prog_name)
        base.add_backup(parser)
        base.add_project(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        project = base.project_of(self, parsed_args)
        backup = base.find(self, parsed_args.backup, project)
        base.backups_of(self).cancel_backup(backup, project_id=project)


class VerifyBackup(command.Lister):
    """Check that a backup is what it was.

    With --wait, what is wrong with it is listed, and the command fails if
    there is anything. Without, "instance backup show" tells later.
    """

    def get_parser(self, prog_name: str) -> _Parser:
        parser = super().get_parser(prog_name)
        base.add_backup(parser)
        parser.add_argument(
            '--deep',
            action='store_true',
            help='Read every stored byte, instead of names and sizes only',
        )
        base.add_project(parser)
        base.add_wait(parser, 'until it is verified')
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        self._damaged = False
        status = super().run(parsed_args)
        return int(status or self._damaged)

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        proxy = base.backups_of(self)
        project = base.project_of(self, parsed_args)
        backup = base.find(self, parsed_args.backup, project)
        proxy.verify_backup(backup, deep=parsed_args.deep, project_id=project)
        findings: list[dict[str, typing.Any]] = []
        if parsed_args.wait:
            with base.reporting(f'verifying {backup.id}') as report:
                findings = proxy.wait_for_verification(
                    backup, report, project_id=project
                )
            if not findings:
                self.log.info('Backup %s is what it was.', backup.id)
        self._damaged = bool(findings)
        columns = ('disk', 'object', 'invariant', 'offset', 'length')
        return columns, [
            [finding[column] for column in columns] for finding in findings
        ]
