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

"""Commands of ``openstack instance backup``, and what they talk to."""

import types
import typing
from unittest import mock

import fixtures
from openstack.compute.v2 import _proxy as compute_proxy
from openstack.compute.v2 import server as servers
from openstack.compute.v2 import server_action
from openstack import exceptions as sdk_exceptions
from openstack.identity.v3 import _proxy as identity_proxy
from openstack.identity.v3 import project as projects

from tests import base
from tests.unit.client import service

__all__ = ('PROJECT', 'CommandCase')

#: ID of the one that is called "another".
PROJECT: typing.Final = '0123456789abcdef0123456789abcdef'


class CommandCase(base.TestCase):
    """Runs commands against a service that has one backup.

    :ivar compute: double of openstacksdk's for Nova
    :ivar server: what it shows; the backup is of it
    :ivar identity: double of openstacksdk's for Keystone
    """

    def setUp(self) -> None:
        super().setUp()
        for name in (
            'client.patience._INTERVAL',
            'client.proxy._INTERVAL',
            'osc.v1.base.INTERVAL',
        ):
            self.useFixture(fixtures.MonkeyPatch(f'ekko_nova.{name}', 0.001))
        self.server = servers.Server(
            id='a-server', name='web', status='ACTIVE', task_state=None
        )
        self.compute = mock.create_autospec(compute_proxy.Proxy, instance=True)
        self.compute.get_server.side_effect = lambda _: self.server
        self.compute.find_server.side_effect = lambda *_, **__: self.server
        self.identity = mock.create_autospec(
            identity_proxy.Proxy, instance=True
        )
        self.identity.find_project.side_effect = self._project
        self.service = service.Service()
        self.backup = service.backup(server_id='a-server')
        self.uuid = self.backup['id']
        self.one = f'/backups/{self.uuid}'
        self.service.list_of(self.backup)
        self.service.answers[f'GET {self.one}'] = service.Answer(
            body={'backup': self.backup}
        )
        self.app = types.SimpleNamespace(
            client_manager=types.SimpleNamespace(
                instance_backup=self.service.connect(),
                sdk_connection=types.SimpleNamespace(
                    compute=self.compute, identity=self.identity
                ),
            )
        )

    def run_command(self, command: typing.Any, *words: str) -> typing.Any:
        """Type it; returns what it would print."""
        one = command(self.app, None)
        return one.take_action(one.get_parser('it').parse_args(words))

    def _project(self, name_or_id: str) -> projects.Project | None:
        if name_or_id in ('another', PROJECT):
            return projects.Project(id=PROJECT, name='another')
        if name_or_id == 'of-two-domains':
            raise sdk_exceptions.DuplicateResource('More than one Project')
        return None

    def set_events(self, *events: dict[str, typing.Any]) -> None:
        """What Nova tells of the action that somebody waits for."""
        self.compute.get_server_action.side_effect = lambda *_: (
            server_action.ServerAction(events=list(events))
        )
