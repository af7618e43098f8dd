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

"""Backups at the command line."""

import contextlib
import io
import typing

from openstack import exceptions as sdk_exceptions
from osc_lib import exceptions

from ekko_nova.osc.v1 import backup
from ekko_nova.osc.v1 import restore
from tests.unit.client import service
from tests.unit.osc import commands


class FindTest(commands.CommandCase):
    def refused(self, name: str) -> str:
        return str(
            self.assertRaises(
                exceptions.CommandError,
                self.run_command,
                backup.ShowBackup,
                name,
            )
        )

    def test_one(self) -> None:
        for name in (self.uuid, 'monday'):
            columns, values = self.run_command(backup.ShowBackup, name)
            shown = dict(zip(columns, values, strict=True))
            self.assertEqual(self.uuid, shown['id'])

    def test_none(self) -> None:
        for name in ('tuesday', '.', '#42', '?limit=1'):
            self.assertIn(f'the name or ID {name!r}', self.refused(name))

    def test_nothing(self) -> None:
        self.assertIn('is empty', self.refused(''))
        self.assertEqual([], self.service.asked)

    def test_several(self) -> None:
        others = [service.backup(), service.backup()]
        self.service.list_of(*others)
        message = self.refused('monday')
        for each in others:
            self.assertIn(each['id'], message)


class ProjectTest(commands.CommandCase):
    """Commands for a backup of another project."""

    def setUp(self) -> None:
        super().setUp()
        self.service.accept(self.backup)

    def test_all_commands(self) -> None:
        for command, words, last in (
            (backup.ShowBackup, (), f'GET {self.one}'),
            (backup.SetBackup, ('--name', 'x'), f'PATCH {self.one}'),
            (
                backup.SetBackup,
                ('--status', 'error'),
                f'POST {self.one}/reset-status',
            ),
            (backup.UnsetBackup, ('--name',), f'PATCH {self.one}'),
            (backup.CancelBackup, (), f'POST {self.one}/cancel'),
            (backup.VerifyBackup, (), f'POST {self.one}/verify'),
            (backup.DeleteBackup, (), f'DELETE {self.one}'),
            (
                backup.DeleteBackup,
                ('--force',),
                f'POST {self.one}/force-delete',
            ),
            (restore.RestoreBackup, (), f'POST {self.one}/restore'),
        ):
            for project in ('another', commands.PROJECT):
                self.service.asked.clear()
                self.run_command(
                    command, 'monday', '--project', project, *words
                )
                self.assertEqual(last, self.service.said[-1])
                for asked in self.service.asked:
                    self.assertEqual(
                        commands.PROJECT, asked.query['project_id'], str(asked)
                    )

    def test_waiting(self) -> None:
        self.service.answers[f'GET {self.one}'] = service.Answer(404)
        self.run_command(
            *(backup.DeleteBackup, 'monday', '--wait', '--project', 'another')
        )
        self.assertEqual(
            {'project_id': commands.PROJECT}, self.service.asked[-1].query
        )

    def test_list(self) -> None:
        self.run_command(backup.ListBackup, '--project', 'another')
        [asked] = self.service.asked
        self.assertEqual({'project_id': commands.PROJECT}, asked.query)

    def test_a_server_of_it(self) -> None:
        words = ('monday', '--server', 'web')
        self.run_command(restore.RestoreBackup, *words, '--project', 'another')
        self.compute.find_server.assert_called_once_with(
            'web', ignore_missing=False, all_projects=True
        )

    def test_one_that_is_gone(self) -> None:
        """Its backups are not."""
        gone = 'f' * 32
        self.run_command(backup.ListBackup, '--project', gone)
        [asked] = self.service.asked
        self.assertEqual({'project_id': gone}, asked.query)

    def test_who_may_not_look_for_projects(self) -> None:
        self.identity.find_project.side_effect = (
            sdk_exceptions.ForbiddenException()
        )
        self.run_command(backup.ListBackup, '--project', 'own')
        [asked] = self.service.asked
        self.assertEqual({'project_id': 'own'}, asked.query)

    def test_none_such(self) -> None:
        for name, said in (
            ('anothre', "'anothre'"),
            ('', "''"),
            ('of-two-domains', 'More than one'),
        ):
            error = self.assertRaises(
                exceptions.CommandError,
                self.run_command,
                *(backup.ShowBackup, 'monday', '--project', name),
            )
            self.assertIn(said, str(error))
        self.assertEqual([], self.service.asked)


class ListTest(commands.CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.backups = [service.backup() for _ in range(7)]
        self.service.answers['GET /backups'] = self._page

    def _page(self, asked: service.Asked) -> service.Answer:
        """Three at most."""
        ids = [each['id'] for each in self.backups]
        marker = asked.query.get('marker')
        first = ids.index(marker) + 1 if marker else 0
        last = first + min(int(asked.query.get('limit', 3)), 3)
        links = []
        if last < len(self.backups):
            query = f'marker={ids[last - 1]}'
            if 'limit' in asked.query:
                query += f'&limit={asked.query["limit"]}'
            href = f'http://cloud.example/instance-backup/v1/backups?{query}'
            links = [{'rel': 'next', 'href': href}]
        page = self.backups[first:last]
        return service.Answer(body={'backups': page, 'backups_links': links})

    def listed(self, *words: str) -> list[str]:
        _, rows = self.run_command(backup.ListBackup, *words)
        return [row[0] for row in rows]

    def test_limits(self) -> None:
        ids = [each['id'] for each in self.backups]
        for limit, requests in ((1, 1), (3, 1), (4, 2), (7, 3)):
            self.service.asked.clear()
            self.assertEqual(ids[:limit], self.listed('--limit', str(limit)))
            self.assertEqual(requests, len(self.service.asked))
        self.assertEqual(ids, self.listed('--limit', '5000'))
        self.assertEqual(ids, self.listed())

    def test_what_is_no_limit(self) -> None:
        for word in ('0', '-1', 'many', '1.5', ''):
            said = io.StringIO()
            with contextlib.redirect_stderr(said):
                self.assertRaises(SystemExit, self.listed, f'--limit={word}')
            self.assertIn('no positive number', said.getvalue())

    def test_an_empty_name_is_not_any(self) -> None:
        self.service.list_of(*self.backups)
        self.assertEqual([], self.listed('--name', ''))


class CreateTest(commands.CommandCase):
    def test_waiting_for_that_of_another_project(self) -> None:
        self.backup['project_id'] = 'another'
        self.service.answers['POST /backups'] = service.Answer(
            202, {'backup': self.backup}
        )
        columns, values = self.run_command(
            backup.CreateBackup, 'web', '--wait'
        )
        shown: dict[str, typing.Any] = dict(zip(columns, values, strict=True))
        self.assertEqual('available', shown['status'])
        self.assertEqual(
            {'project_id': 'another'}, self.service.asked[-1].query
        )
