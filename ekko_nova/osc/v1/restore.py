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

"""Restore a backup in place, or make a server or an image of it."""

import argparse
import base64
import pathlib
import time
import typing

from osc_lib.cli import parseractions
from osc_lib.command import command
from osc_lib import exceptions

from ekko_nova.client import patience
from ekko_nova.osc.v1 import base

__all__ = ('ExportBackup', 'RestoreBackup')

_Parser: typing.TypeAlias = argparse.ArgumentParser
_Table: typing.TypeAlias = tuple[typing.Any, typing.Any]

_ONLY_NEW: typing.Final = (
    'flavor',
    'network',
    'port',
    'no_network',
    'key_name',
    'availability_zone',
    'host',
    'security_group',
    'user_data',
    'config_drive',
    'property',
)

#: Looks at a server that is free, and of whose restore there is no result,
#: until it is clear that nobody is at it: Nova writes down a result a moment
#: after it lets a server go, and never if nova-compute has died.
_FREE_LOOKS: typing.Final = 10


class RestoreBackup(command.ShowOne):
    """Restore a backup, in place or as a new server.

    In place, the disks of the server are put back to what they held: the
    backup is written beside them and verified while the server runs, then it
    is stopped, and started again. Addresses and volumes stay.

    A new server may be on any host and of any flavor with disks as large;
    neither the old server nor its image need to be there any more.
    """

    def get_parser(self, prog_name: str) -> _Parser:
        parser = super().get_parser(prog_name)
        base.add_backup(parser)
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            '--server',
            metavar='<server>',
            help='Restore in place; must be the server that the backup is of '
            '(name or ID). This is the default',
        )
        where.add_argument(
            '--new-server',
            metavar='<name>',
            help='Make a new server of this name',
        )
        _add_new_server(parser)
        base.add_project(
            parser, 'Project with the backup, if not your own; only in place'
        )
        base.add_wait(parser, 'until the server is there as it was')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        project = base.project_of(self, parsed_args)
        if project is not None and parsed_args.new_server is not None:
            raise exceptions.CommandError(
                '--project is for a restore in place: a new server belongs to '
                'the project that it is made in.'
            )
        backup = base.find(self, parsed_args.backup, project)
        if parsed_args.new_server is None:
            server = self._in_place(backup, project, parsed_args)
        else:
            server = self._new(backup, parsed_args)
        shown = {
            'backup_id': backup.id,
            'server_id': server.id,
            'server_name': server.name,
            'server_status': server.status,
            **getattr(self, '_more', {}),
        }
        return self.dict2columns(shown)

    @property
    def _compute(self) -> typing.Any:
        return self.app.client_manager.sdk_connection.compute

    def _in_place(
        self,
        backup: typing.Any,
        project: str | None,
        parsed_args: argparse.Namespace,
    ) -> typing.Any:
        for name in _ONLY_NEW:
            if getattr(parsed_args, name):
                raise exceptions.CommandError(
                    f'--{name.replace("_", "-")} is for a new server; give '
                    '--new-server as well.'
                )
        if parsed_args.server is not None:
            server = self._compute.find_server(
                parsed_args.server,
                ignore_missing=False,
                all_projects=project is not None,
            )
            if server.id != backup.server_id:
                raise exceptions.CommandError(
                    f'Backup {backup.id} is of server {backup.server_id}, '
                    f'not of {server.id}; use --new-server NAME to make '
                    'another server of it.'
                )
        restore = base.backups_of(self).restore_backup(
            backup, project_id=project
        )
        if parsed_args.wait:
            with base.reporting('restore'):
                self._wait_in_place(restore)
        return self._compute.get_server(backup.server_id)

    def _wait_in_place(self, restore: typing.Any) -> None:
        free = 0
        while free < _FREE_LOOKS:
            server = self._look_at_server(restore.server_id)
            if self._has_result(restore) and server.task_state is None:
                return
            free = 0 if server.task_state else free + 1
            time.sleep(base.INTERVAL)
        raise exceptions.CommandError(
            'The restore was interrupted, as by a restart of its compute '
            f'host; server {restore.server_id} is {server.status}. See what '
            'its disks hold, and restore it again.'
        )

    def _has_result(self, restore: typing.Any) -> bool:
        action = patience.look(
            lambda: self._compute.get_server_action(
                restore.request_id, restore.server_id
            )
        )
        results = {
            event.get('result'): event.get('details')
            for event in action.events or ()
        }
        if 'Error' in results:
            reason = results['Error'] or 'ask your operator'
            raise exceptions.CommandError(f'The restore failed: {reason}')
        return any(results)

    def _look_at_server(self, server_id: str) -> typing.Any:
        return patience.look(lambda: self._compute.get_server(server_id))

    def _new(
        self, backup: typing.Any, parsed_args: argparse.Namespace
    ) -> typing.Any:
        if parsed_args.flavor is None:
            raise exceptions.CommandError(
                'A new server needs --flavor; the one that was backed up had '
                '"openstack instance backup show -c instance".'
            )
        made = base.backups_of(self).create_server_from_backup(
            backup, **self._wanted(parsed_args)
        )
        self._more = {
            'image_id': made['image_id'],
            'admin_password': made['admin_password'],
        }
        server = self._compute.get_server(made['id'])
        if parsed_args.wait:
            with base.reporting(f'server {server.name}'):
                server = self._wait_for_new(server)
        return server

    def _wait_for_new(self, server: typing.Any) -> typing.Any:
        while server.status not in ('ACTIVE', 'ERROR'):
            time.sleep(base.INTERVAL)
            server = self._look_at_server(server.id)
        if server.status == 'ERROR':
            fault = server.fault or {}
            raise exceptions.CommandError(
                f'Server {server.id} is in error: {fault.get("message")}'
            )
        return server

    def _wanted(
        self, parsed_args: argparse.Namespace
    ) -> dict[str, typing.Any]:
        flavor = self._compute.find_flavor(
            parsed_args.flavor, ignore_missing=False
        )
        wanted = {
            'name': parsed_args.new_server,
            'flavorRef': flavor.id,
            'networks': self._networks(parsed_args),
            'key_name': parsed_args.key_name,
            'availability_zone': parsed_args.availability_zone,
            'host': parsed_args.host,
            'security_groups': [
                {'name': name} for name in parsed_args.security_group
            ],
            'metadata': parsed_args.property,
            'config_drive': parsed_args.config_drive or None,
            'user_data': _read(parsed_args.user_data),
        }
        return {key: value for key, value in wanted.items() if value}

    def _networks(self, parsed_args: argparse.Namespace) -> typing.Any:
        if parsed_args.no_network:
            return 'none'
        if parsed_args.port:
            return [{'port': port} for port in parsed_args.port]
        network = self.app.client_manager.sdk_connection.network
        found = [
            {'uuid': network.find_network(name, ignore_missing=False).id}
            for name in parsed_args.network
        ]
        return found or 'auto'


def _add_new_server(parser: _Parser) -> None:
    group = parser.add_argument_group('a new server')
    group.add_argument(
        '--flavor', metavar='<flavor>', help='Flavor (name or ID); required'
    )
    nics = group.add_mutually_exclusive_group()
    nics.add_argument(
        '--network',
        metavar='<network>',
        action='append',
        default=[],
        help='Network to be on (name or ID; repeat option for several; '
        'default: the one that Nova chooses)',
    )
    nics.add_argument(
        '--port',
        metavar='<port-id>',
        action='append',
        default=[],
        help='Port to have (ID; repeat option for several)',
    )
    nics.add_argument(
        '--no-network', action='store_true', help='Be on no network'
    )
    group.add_argument(
        '--key-name', metavar='<key-name>', help='Key pair to inject'
    )
    group.add_argument(
        '--availability-zone', metavar='<zone>', help='Where to be'
    )
    group.add_argument(
        '--host', metavar='<host>', help='Host to be on (admin only)'
    )
    group.add_argument(
        '--security-group',
        metavar='<group>',
        action='append',
        default=[],
        help='Security group to be in (name; repeat option for several)',
    )
    group.add_argument(
        '--user-data', metavar='<file>', help='File for the metadata server'
    )
    group.add_argument(
        '--config-drive', action='store_true', help='Have a config drive'
    )
    group.add_argument(
        '--property',
        metavar='<key=value>',
        action=parseractions.KeyValueAction,
        help='Property of the server (repeat option to set several)',
    )


def _read(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return base64.b64encode(pathlib.Path(path).read_bytes()).decode()
    except OSError as e:
        raise exceptions.CommandError(f'Cannot read {path}: {e}') from e


class ExportBackup(command.ShowOne):
    """Make a disk of a backup an image."""

    def get_parser(self, prog_name: str) -> _Parser:
        parser = super().get_parser(prog_name)
        base.add_backup(parser)
        parser.add_argument(
            '--image',
            metavar='<name>',
            required=True,
            help='Name of the new image',
        )
        parser.add_argument(
            '--disk',
            metavar='<disk>',
            help='Disk of the backup, by name or role (default: root)',
        )
        base.add_property(parser, 'Property of the image')
        base.add_wait(parser, 'until the image is active')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        backup = base.find(self, parsed_args.backup)
        proxy = base.backups_of(self)
        wanted = {
            'name': parsed_args.image,
            'disk': parsed_args.disk,
            'properties': parsed_args.properties,
        }
        image_id = proxy.create_image_from_backup(
            backup, **{key: value for key, value in wanted.items() if value}
        )
        if parsed_args.wait:
            with base.reporting(f'image {parsed_args.image}') as report:
                proxy.wait_for_export(backup, report)
        image = self.app.client_manager.sdk_connection.image.get_image(
            image_id
        )
        shown = {
            'backup_id': backup.id,
            'disk_format': image.disk_format,
            'image_id': image.id,
            'image_name': image.name,
            'image_status': image.status,
            'size': image.size,
        }
        return self.dict2columns(shown)
