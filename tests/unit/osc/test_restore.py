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

"""Restores at the command line."""

import itertools
import typing

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions
import requests

from ekko_nova.osc.v1 import restore
from tests.unit.client import service
from tests.unit.osc import commands

_SUCCESS: typing.Final = {'result': 'Success'}


class InPlaceCase(commands.CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.service.answers[f'POST {self.one}/restore'] = service.Answer(
            202, {'server': {'id': 'a-server'}}
        )

    def restore(self, *words: str) -> dict[str, typing.Any]:
        columns, values = self.run_command(
            restore.RestoreBackup, 'monday', *words
        )
        return dict(zip(columns, values, strict=True))

    def refused(self, *words: str) -> str:
        return str(
            self.assertRaises(exceptions.CommandError, self.restore, *words)
        )


class InPlaceTest(InPlaceCase):
    def test_options_of_a_new_server(self) -> None:
        for words in (
            ('--flavor', 'm1'),
            ('--network', 'private'),
            ('--port', 'a-port'),
            ('--no-network',),
            ('--key-name', 'key'),
            ('--availability-zone', 'nova'),
            ('--host', 'c1'),
            ('--security-group', 'group'),
            ('--user-data', 'file'),
            ('--config-drive',),
            ('--property', 'a=b'),
        ):
            self.assertIn(f'{words[0]} is for a new', self.refused(*words))

    def test_a_project_is_none_of_those(self) -> None:
        message = self.refused('--new-server', 'x', '--project', 'another')
        self.assertIn('--project is for a restore in place', message)

    def test_another_server(self) -> None:
        self.server.id = 'another-server'
        self.assertIn('not of another-server', self.refused('--server', 'web'))


class WaitTest(InPlaceCase):
    """Looks at the server, and at what Nova tells of the action."""

    def setUp(self) -> None:
        super().setUp()
        self.looks = 0

    def happens(
        self,
        *steps: tuple[str | None, dict[str, typing.Any] | Exception | None],
    ) -> None:
        """The task of the server and the event, at one look after the other.

        Then it stays so.
        """
        self.looks = 0

        def look(_: object) -> typing.Any:
            task, event = steps[min(self.looks, len(steps) - 1)]
            self.looks += 1
            if isinstance(event, Exception):
                raise event
            self.server.task_state = task
            self.set_events(*[event] if event else [])
            return self.server

        self.compute.get_server.side_effect = look

    def test_success(self) -> None:
        for steps in (
            # As a rule, and as Nova has the two in a row.
            [('rebuilding', None), ('rebuilding', {'result': None})],
            [('rebuilding', {'result': None}), (None, {'result': None})],
            [('rebuilding', {'result': None}), ('powering-off', _SUCCESS)],
        ):
            self.happens(*steps, (None, _SUCCESS))
            self.assertEqual('a-server', self.restore('--wait')['server_id'])

    def test_failure(self) -> None:
        failed = {'result': 'Error', 'details': 'no space left'}
        self.happens(('rebuilding', {'result': None}), (None, failed))
        self.assertIn('no space left', self.refused('--wait'))

    def test_nova_compute_dies(self) -> None:
        for event in (None, {'result': None}):
            self.happens(('rebuilding', event), (None, event))
            message = self.refused('--wait')
            self.assertIn('interrupted', message)
            self.assertIn('server a-server is ACTIVE', message)
            self.assertGreater(self.looks, 5)

    def test_what_follows_an_interruption(self) -> None:
        """Nova starts the guest again; then nobody is at it."""
        unknown = {'result': None}
        steps: list[tuple[str | None, dict[str, typing.Any]]] = [
            *[(None, unknown)] * 5,
            *[('reboot_started_hard', unknown)] * 5,
            (None, unknown),
        ]
        self.happens(*steps)
        self.assertIn('interrupted', self.refused('--wait'))
        self.assertGreater(self.looks, 2 * 5 + 5)

    def test_nova_api_is_away_for_a_while(self) -> None:
        response = requests.Response()
        response.status_code = 503
        away = sdk_exceptions.HttpException(response=response)
        self.happens(
            *[('rebuilding', away)] * 2,
            ('rebuilding', {'result': None}),
            *[(None, away)] * 2,
            (None, _SUCCESS),
        )
        self.assertEqual('a-server', self.restore('--wait')['server_id'])

    def test_a_new_server_is_looked_at_the_same_way(self) -> None:
        response = requests.Response()
        response.status_code = 503
        away = sdk_exceptions.HttpException(response=response)
        made = {'id': 'a-server', 'image_id': 'i', 'admin_password': 'p'}
        self.service.answers[f'POST {self.one}/servers'] = service.Answer(
            202, {'server': made}
        )
        self.compute.find_flavor.return_value.id = 'm1'
        answers = itertools.chain([self.server, away], [self.server] * 9)
        self.server.status = 'BUILD'

        def look(_: object) -> typing.Any:
            answer = next(answers)
            if isinstance(answer, Exception):
                self.server.status = 'ACTIVE'
                raise answer
            return answer

        self.compute.get_server.side_effect = look
        shown = self.restore(
            *('--new-server', 'x', '--flavor', 'm1', '--wait'),
            *('--port', 'one', '--port', 'two', '--property', 'a=b'),
        )
        self.assertEqual('ACTIVE', shown['server_status'])
        wanted = self.service.asked[-1].body['server']
        self.assertEqual(
            [{'port': 'one'}, {'port': 'two'}], wanted['networks']
        )
        self.assertEqual({'a': 'b'}, wanted['metadata'])
