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


"""``ekko-manage instance``: what a compute host is to do."""

import argparse
import importlib
import typing
import warnings

from cliff import show

from ekko_nova.cmd import base
from ekko_nova import exception

__all__ = ('Backup', 'Cancel', 'Restore')


class InstanceCommand(base.Command):
    """A command for a compute host, sent over Nova's RPC."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'server', metavar='SERVER', help='UUID of the instance'
        )
        parser.add_argument(
            '--nova-config-file',
            metavar='PATH',
            action='append',
            help='configuration of nova-api, with its databases and its '
            'message queue; may be given more than once (default: '
            '/etc/nova/nova.conf)',
        )
        return parser

    def controller(self, parsed_args: argparse.Namespace) -> typing.Any:
        """What asks the compute hosts."""
        try:
            # What Nova's libraries warn of is for those who write them.
            warnings.simplefilter('ignore')
            # Before any of Nova is imported: left to choose, it patches the
            # library.
            backend = importlib.import_module('oslo_service.backend')
            backend.init_backend(backend.BackendType.THREADING)
            module = importlib.import_module('ekko_nova.compute.controller')
        except ModuleNotFoundError as e:
            raise exception.NovaMissing(str(e.name)) from e
        return module.Controller(
            parsed_args.nova_config_file or ['/etc/nova/nova.conf']
        )

    def take_action(self, parsed_args: argparse.Namespace) -> typing.Any:
        raise NotImplementedError


def _add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--wait', action='store_true', help='return when it has ended'
    )


def _columns(asked: typing.Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (
        ('id', 'server', 'project'),
        (asked.backup, asked.instance, asked.project),
    )


class Backup(InstanceCommand, show.ShowOne):
    """Have a compute host take a backup of an instance.

    Only what changed since the last one is read and stored, wherever Nova
    can tell. The store is the one in the configuration of that host.

    Examples::

        ekko-manage instance backup 5d3c… --wait
        ekko-manage instance backup 5d3c… --full --no-quiesce -f value -c id
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--full',
            action='store_true',
            help='read and store everything, referring to no older backup',
        )
        parser.add_argument(
            '--quiesce',
            action=argparse.BooleanOptionalAction,
            help='freeze the file systems of the guest for the moment the '
            'backup begins; default: if its image says that it has an agent',
        )
        _add_wait(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[typing.Any, typing.Any]:
        controller = self.controller(parsed_args)
        asked = controller.create_backup(
            parsed_args.server,
            full=parsed_args.full,
            quiesce=parsed_args.quiesce,
        )
        if parsed_args.wait:
            controller.wait(asked)
        return _columns(asked)


class Restore(InstanceCommand, show.ShowOne):
    """Have a compute host restore an instance in place.

    The backup is written beside the disks and verified while the instance
    runs; then it is stopped, the disks are exchanged, and it starts again.
    What the disks held is gone; addresses, volumes and image stay.

    Examples::

        ekko-manage instance restore 5d3c… 77f0… --wait
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('backup', metavar='BACKUP', help='id of a backup')
        _add_wait(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[typing.Any, typing.Any]:
        controller = self.controller(parsed_args)
        asked = controller.restore_backup(
            parsed_args.server, parsed_args.backup
        )
        if parsed_args.wait:
            controller.wait(asked)
        return _columns(asked)


class Cancel(InstanceCommand):
    """Have a compute host end a backup of an instance.

    It is listed as an error from then on; the instance is as before.

    Examples::

        ekko-manage instance cancel 5d3c… 77f0…
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument('backup', metavar='BACKUP', help='id of a backup')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        self.controller(parsed_args).cancel_backup(
            parsed_args.server, parsed_args.backup
        )
