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

"""What the commands have in common."""

import argparse
from collections.abc import Iterator
import contextlib
import typing

from openstack import exceptions as sdk_exceptions
from osc_lib.cli import format_columns
from osc_lib.cli import parseractions
from osc_lib import exceptions
from oslo_utils import uuidutils

from ekko_nova.osc import progress

__all__ = (
    'INTERVAL',
    'add_backup',
    'add_project',
    'add_property',
    'add_wait',
    'backups_of',
    'find',
    'project_of',
    'reporting',
    'shown',
)

#: Seconds between two looks of ``--wait``.
INTERVAL: typing.Final = 1.0

_HIDDEN: typing.Final = frozenset({'links', 'location', 'quiesce'})

_FORMATS: typing.Final[dict[str, typing.Any]] = {
    'metadata': format_columns.DictColumn,
    'instance': format_columns.DictColumn,
    'verification': format_columns.DictColumn,
    'export': format_columns.DictColumn,
    'deletion': format_columns.DictColumn,
    'disks': format_columns.ListDictColumn,
    'skipped': format_columns.ListDictColumn,
}


def add_backup(
    parser: argparse.ArgumentParser, nargs: str | None = None
) -> None:
    """The argument that names a backup, or several."""
    options: dict[str, typing.Any] = {'nargs': nargs} if nargs else {}
    parser.add_argument(
        'backup',
        metavar='<backup>',
        help='Backup to work on (name or ID)'
        if nargs is None
        else 'Backup(s) to work on (name or ID)',
        **options,
    )


def add_project(
    parser: argparse.ArgumentParser,
    help_: str = 'Project with the backup, if not your own',
) -> None:
    """The option ``--project``."""
    parser.add_argument(
        '--project',
        metavar='<project>',
        help=f'{help_} (name or ID; admin only)',
    )


def add_property(parser: argparse.ArgumentParser, help_: str) -> None:
    """The option ``--property``."""
    parser.add_argument(
        '--property',
        metavar='<key=value>',
        dest='properties',
        action=parseractions.KeyValueAction,
        help=f'{help_} (repeat option to set several)',
    )


def add_wait(parser: argparse.ArgumentParser, until: str) -> None:
    """The option ``--wait``."""
    parser.add_argument('--wait', action='store_true', help=f'Wait {until}')


def backups_of(command: typing.Any) -> typing.Any:
    """The proxy that a command talks to the service through."""
    return command.app.client_manager.instance_backup


def project_of(
    command: typing.Any, parsed_args: argparse.Namespace
) -> str | None:
    """ID of the project that somebody named, if they did.

    :raises osc_lib.exceptions.CommandError: there is none, or several
    """
    name_or_id = parsed_args.project
    if name_or_id is None:
        return None
    identity = command.app.client_manager.sdk_connection.identity
    try:
        project = identity.find_project(name_or_id) if name_or_id else None
    except sdk_exceptions.ForbiddenException:
        # Not everybody may look for projects; ours has the last word.
        return str(name_or_id)
    except sdk_exceptions.DuplicateResource as e:
        raise exceptions.CommandError(str(e)) from e
    if project is not None:
        return str(project.id)
    # Backups outlive their project.
    if uuidutils.is_uuid_like(name_or_id):
        return str(name_or_id)
    raise exceptions.CommandError(
        f'No project found with the name or ID {name_or_id!r}.'
    )


def find(
    command: typing.Any, name_or_id: str, project: str | None = None
) -> typing.Any:
    """The backup that somebody named.

    :param project: ID of the one it is in, if that is not their own
    :raises osc_lib.exceptions.CommandError: there is none, or several
    """
    if not name_or_id:
        raise exceptions.CommandError(
            'The name of the backup is empty; is a variable not set?'
        )
    try:
        found = backups_of(command).find_backup(name_or_id, project_id=project)
    except sdk_exceptions.DuplicateResource as e:
        raise exceptions.CommandError(f'{e}; name one by its ID.') from e
    if found is None:
        raise exceptions.CommandError(
            f'No backup found with the name or ID {name_or_id!r}; '
            '"openstack instance backup list" shows what there is.'
        )
    return found


@contextlib.contextmanager
def reporting(what: str) -> Iterator[typing.Callable[[int], None]]:
    """A progress bar; what fails in the context fails the command."""
    try:
        with progress.bar(what) as report:
            yield report
    except sdk_exceptions.SDKException as e:
        raise exceptions.CommandError(str(e)) from e


def shown(backup: typing.Any) -> tuple[list[str], list[typing.Any]]:
    """A backup as the columns and values of ``show``."""
    values = backup.to_dict(computed=False, original_names=True)
    names = sorted(name for name in values if name not in _HIDDEN)
    return names, [
        _FORMATS[name](values[name])
        if name in _FORMATS and values[name] is not None
        else values[name]
        for name in names
    ]
