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

"""The service as openstacksdk sees it: answers to requests, and no network."""

from collections.abc import Callable
import dataclasses
import json
import typing
from urllib import parse
import uuid

from keystoneauth1 import session as ksa_session
from keystoneauth1 import token_endpoint
from openstack import connection
import requests
from requests import adapters

from ekko_nova import client

__all__ = ('Answer', 'Asked', 'Service', 'backup')

_ROOT: typing.Final = 'http://cloud.example/instance-backup/v1'


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    body: typing.Any = None

    def __str__(self) -> str:
        return f'{self.method} {self.path}'


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What is said to one."""

    status: int = 200
    body: typing.Any = dataclasses.field(default_factory=dict)


_VERSION: typing.Final = Answer(
    body={
        'version': {
            'id': 'v1',
            'status': 'CURRENT',
            'links': [{'rel': 'self', 'href': _ROOT}],
        }
    }
)


class Service(adapters.BaseAdapter):
    """Answers requests.

    :ivar answers: a function, or an answer or exception, by method and path
    :ivar asked: what came
    """

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[
            str, Answer | Exception | Callable[[Asked], Answer]
        ] = {}
        self.asked: list[Asked] = []

    @property
    def said(self) -> list[str]:
        """Method and path of what came."""
        return [str(each) for each in self.asked]

    def connect(self) -> typing.Any:
        """The client for Python, talking to this."""
        http = requests.Session()
        http.mount('http://', self)
        session = ksa_session.Session(
            token_endpoint.Token(_ROOT, 'a-token'), session=http
        )
        self.answers['GET '] = _VERSION
        found = client.attach(
            connection.Connection(
                session=session,
                instance_backup_endpoint_override=_ROOT,
            )
        )
        self.asked.clear()
        return found

    def accept(self, backup: dict[str, typing.Any]) -> None:
        """Accept whatever is asked about a backup."""
        one = f'/backups/{backup["id"]}'
        for verb in ('cancel', 'verify', 'force-delete', 'reset-status'):
            self.answers[f'POST {one}/{verb}'] = Answer()
        self.answers[f'POST {one}/restore'] = Answer(
            body={'server': {'id': 'a-server'}}
        )
        self.answers[f'PATCH {one}'] = Answer(body={'backup': backup})
        self.answers[f'DELETE {one}'] = Answer(202)

    def list_of(self, *backups: dict[str, typing.Any]) -> None:
        """Have these be listed, by name if one is asked for."""

        def answer(asked: Asked) -> Answer:
            name = asked.query.get('name')
            found = [each for each in backups if name in (None, each['name'])]
            return Answer(body={'backups': found, 'backups_links': []})

        self.answers['GET /backups'] = answer

    def send(
        self, request: requests.PreparedRequest, *_: object, **__: object
    ) -> requests.Response:
        url = parse.urlsplit(request.url or '')
        body = typing.cast(bytes | None, request.body)
        asked = Asked(
            str(request.method),
            str(url.path).removeprefix(parse.urlsplit(_ROOT).path),
            dict(parse.parse_qsl(str(url.query), keep_blank_values=True)),
            json.loads(body) if body else None,
        )
        self.asked.append(asked)
        answer = self.answers.get(str(asked), Answer(404))
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, Answer):
            answer = answer(asked)
        response = requests.Response()
        response.request = request
        response.url = str(request.url)
        response.status_code = answer.status
        response.headers['Content-Type'] = 'application/json'
        response.headers['X-OpenStack-Request-Id'] = 'req-1'
        response._content = json.dumps(answer.body).encode()
        return response

    def close(self) -> None:
        pass


def backup(**facts: typing.Any) -> dict[str, typing.Any]:
    """A backup as the API shows it."""
    return {
        'id': str(uuid.uuid4()),
        'name': 'monday',
        'status': 'available',
        'project_id': 'own',
        'metadata': {},
        **facts,
    }
