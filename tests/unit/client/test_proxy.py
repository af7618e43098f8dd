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

"""The client for Python, as the service hears it."""

import typing
import uuid

import fixtures
from openstack import exceptions
import requests

from tests import base
from tests.unit.client import service

_ANOTHER: typing.Final = {'project_id': 'another'}


class ProxyCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ('patience', 'proxy'):
            self.useFixture(
                fixtures.MonkeyPatch(
                    f'ekko_nova.client.{name}._INTERVAL', 0.01
                )
            )
        self.service = service.Service()
        self.api = self.service.connect()
        self.backup = service.backup()
        self.uuid = self.backup['id']
        self.one = f'/backups/{self.uuid}'
        self.service.list_of(self.backup)
        self.shown(self.backup)

    def shown(self, *answers: typing.Any) -> None:
        """What is said of the backup, one time after the other."""
        left = list(answers)

        def answer(_: service.Asked) -> service.Answer:
            now = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(now, Exception):
                raise now
            if isinstance(now, service.Answer):
                return now
            return service.Answer(body={'backup': now})

        self.service.answers[f'GET {self.one}'] = answer


class FindTest(ProxyCase):
    def test_by_id(self) -> None:
        self.assertEqual(self.uuid, self.api.find_backup(self.uuid).id)
        self.assertEqual([f'GET {self.one}'], self.service.said)

    def test_by_name(self) -> None:
        self.assertEqual(self.uuid, self.api.find_backup('monday').id)
        [asked] = self.service.asked
        self.assertEqual({'name': 'monday'}, asked.query)

    def test_a_name_that_looks_like_an_id(self) -> None:
        name = str(uuid.uuid4())
        self.service.list_of(service.backup(name=name, id=self.uuid))
        self.assertEqual(self.uuid, self.api.find_backup(name).id)

    def test_what_would_be_the_list(self) -> None:
        """In a URL these are not part of the id."""
        for word in ('', '.', '#42', '?name=monday', '../backups', 'a/b'):
            self.assertIsNone(self.api.find_backup(word), word)
            self.assertRaises(
                exceptions.NotFoundException,
                self.api.find_backup,
                word,
                ignore_missing=False,
            )
            for ask in (
                self.api.get_backup,
                self.api.update_backup,
                self.api.cancel_backup,
                self.api.restore_backup,
            ):
                self.assertRaises(exceptions.NotFoundException, ask, word)
            self.api.delete_backup(word)
        self.assertEqual(
            set(), {said for said in self.service.said if 'GET' not in said}
        )
        self.service.list_of(service.backup(name='#42', id=self.uuid))
        self.assertEqual(self.uuid, self.api.find_backup('#42').id)

    def test_several(self) -> None:
        others = [service.backup(), service.backup()]
        self.service.list_of(*others)
        error = self.assertRaises(
            exceptions.DuplicateResource, self.api.find_backup, 'monday'
        )
        for each in others:
            self.assertIn(each['id'], str(error))


class ProjectTest(ProxyCase):
    """Every operation of an administrator's may be for another project."""

    def setUp(self) -> None:
        super().setUp()
        self.service.accept(self.backup)

    def all_of_them(self, **project: str) -> None:
        api = self.api
        api.find_backup('monday', **project)
        backup = api.find_backup(self.uuid, **project)
        api.update_backup(self.uuid, name='tuesday', **project)
        for each in (backup, self.uuid):
            api.get_backup(each, **project)
            api.cancel_backup(each, **project)
            api.verify_backup(each, deep=True, **project)
            api.reset_backup_status(each, 'error', **project)
            api.restore_backup(each, **project)
            api.delete_backup(each, **project)
            api.delete_backup(each, force=True, **project)
        api.wait_for_backup(self.uuid, **project)
        done = {'status': 'done', 'findings': []}
        self.shown({**self.backup, 'verification': done})
        api.wait_for_verification(self.uuid, **project)
        self.shown(service.Answer(404))
        api.wait_for_backup_deleted(self.uuid, **project)

    def test_another(self) -> None:
        self.all_of_them(**_ANOTHER)
        for asked in self.service.asked:
            self.assertEqual(
                'another', asked.query.get('project_id'), str(asked)
            )

    def test_their_own(self) -> None:
        self.all_of_them()
        for asked in self.service.asked:
            self.assertNotIn('project_id', asked.query, str(asked))

    def test_what_is_sent(self) -> None:
        self.api.update_backup(self.uuid, name='tuesday', **_ANOTHER)
        self.api.verify_backup(self.uuid, deep=True, **_ANOTHER)
        self.assertEqual(
            [{'backup': {'name': 'tuesday'}}, {'verify': {'deep': True}}],
            [asked.body for asked in self.service.asked],
        )


class DeleteTest(ProxyCase):
    def test_what_is_gone_already(self) -> None:
        for force in (False, True):
            self.api.delete_backup(self.uuid, force=force)
            self.assertRaises(
                exceptions.NotFoundException,
                self.api.delete_backup,
                self.uuid,
                ignore_missing=False,
                force=force,
            )
        self.assertEqual(
            [f'DELETE {self.one}'] * 2 + [f'POST {self.one}/force-delete'] * 2,
            self.service.said,
        )

    def test_what_is_refused(self) -> None:
        for verb in (f'DELETE {self.one}', f'POST {self.one}/force-delete'):
            self.service.answers[verb] = service.Answer(409)
        for force in (False, True):
            self.assertRaises(
                exceptions.ConflictException,
                self.api.delete_backup,
                self.uuid,
                force=force,
            )


class WaitTest(ProxyCase):
    def test_a_service_that_is_away_for_a_while(self) -> None:
        self.shown(
            {**self.backup, 'status': 'creating'},
            service.Answer(503),
            requests.ConnectionError(),
            service.Answer(502),
            self.backup,
        )
        found = self.api.wait_for_backup(self.uuid)
        self.assertEqual('available', found.status)
        self.assertEqual(5, len(self.service.asked))

    def test_a_service_that_is_away_for_long(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch('ekko_nova.client.patience.PATIENCE', 0.1)
        )
        self.shown(service.Answer(503, {'error': {'message': 'full moon'}}))
        error = self.assertRaises(
            exceptions.HttpException, self.api.wait_for_backup, self.uuid
        )
        self.assertEqual(503, error.status_code)
        self.assertIn('full moon', str(error))

    def test_no_longer_than_somebody_wants_to_wait(self) -> None:
        self.shown(service.Answer(503))
        self.assertRaises(
            exceptions.HttpException,
            self.api.wait_for_backup_deleted,
            self.uuid,
            timeout=0.1,
        )

    def test_gone_is_an_answer(self) -> None:
        self.shown(service.Answer(503), service.Answer(404))
        self.api.wait_for_backup_deleted(self.uuid)
