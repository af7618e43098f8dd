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

"""What api-ref says of the API is what the API does."""

import json
import pathlib
import re
import typing

import jsonschema
import yaml

from ekko_nova.api import routes
from tests import base

_ROOT: typing.Final = pathlib.Path(__file__).parents[3]
_V1: typing.Final = _ROOT / 'api-ref' / 'source' / 'v1'
_METHOD: typing.Final = re.compile(r'\.\. rest_method:: (\w+) (\S+)\n')
_PARAMETER: typing.Final = re.compile(r'^   - (\w+): ([\w-]+)$', re.MULTILINE)
#: What every operation may answer.
_COMMON: typing.Final = {400, 401, 403, 404, 406, 500}


class _Page:
    """What is said of one operation."""

    def __init__(self, text: str) -> None:
        # The heading of the next one comes after all of this one's lists.
        self.request, _, self.response = text.partition('Response\n~~~')

    def statuses(self, kind: str) -> set[int]:
        block = re.search(
            rf'rest_status_code:: {kind} status.yaml\n\n((?: +- \d+\n)+)',
            self.request,
        )
        return {
            int(code) for code in re.findall(r'\d+', block[1] if block else '')
        }

    @staticmethod
    def parameters(text: str) -> dict[str, str]:
        """Names, and where they are described."""
        return dict(_PARAMETER.findall(text))

    @staticmethod
    def sample(text: str) -> typing.Any:
        found = re.search(r'literalinclude:: (samples/\S+)', text)
        return json.loads((_V1 / found[1]).read_text()) if found else None


def _pages() -> dict[tuple[str, str], _Page]:
    pages = {}
    for path in sorted(_V1.glob('*.inc')):
        _, *parts = _METHOD.split(path.read_text())
        while parts:
            method, url, text, *parts = parts
            pages[method, url] = _Page(text)
    return pages


def _key(operation: routes.Operation) -> tuple[str, str]:
    path = operation.path.replace('<uuid:backup>', '{backup_id}')
    return operation.method, f'/v1{path}'


def _members(schema: typing.Any) -> dict[str, bool]:
    """Members of a body, and of what is in it; whether each must be there."""
    if schema is None:
        return {}
    [(key, inner), *rest] = schema['properties'].items()
    found = {name: name in schema['required'] for name, _ in rest}
    found[key] = True
    inner = inner.get('items', inner)
    for name, described in inner['properties'].items():
        if described != {'not': {}}:
            found[name] = name in inner.get('required', [])
    return found


class ApiRefTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.pages = _pages()
        self.described = yaml.safe_load((_V1 / 'parameters.yaml').read_text())

    def test_operations(self) -> None:
        wanted = {_key(operation) for operation in routes.OPERATIONS}
        versions = {('GET', '/'), ('GET', '/v1/')}
        self.assertEqual(wanted | versions, set(self.pages))

    def test_statuses(self) -> None:
        for operation in routes.OPERATIONS:
            page = self.pages[_key(operation)]
            self.assertEqual({operation.status}, page.statuses('success'))
            said = page.statuses('error')
            self.assertEqual(set(operation.errors), said - _COMMON)
            self.assertLessEqual({401, 403}, said)

    def test_requests(self) -> None:
        for operation in routes.OPERATIONS:
            page = self.pages[_key(operation)]
            wanted = {
                'path': {'backup_id': True}
                if '{' in _key(operation)[1]
                else {},
                'query': dict.fromkeys(operation.query, False),
                'body': _members(operation.body),
            }
            said: dict[str, dict[str, bool]] = {where: {} for where in wanted}
            for name, key in page.parameters(page.request).items():
                entry = self.described[key]
                said[entry['in']][name] = entry['required']
            self.assertEqual(wanted, said, str(_key(operation)))

    def test_answers(self) -> None:
        for operation in routes.OPERATIONS:
            page = self.pages[_key(operation)]
            said = page.parameters(page.response)
            if said:
                self.assertEqual(
                    set(_members(operation.answer)),
                    set(said),
                    str(_key(operation)),
                )
            else:
                self.assertEqual(
                    operation.answer is not None,
                    'Show a backup' in page.response,
                )

    def test_samples(self) -> None:
        shown = set()
        for operation in routes.OPERATIONS:
            page = self.pages[_key(operation)]
            for text, schema in (
                (page.request, operation.body),
                (page.response, operation.answer),
            ):
                sample = page.sample(text)
                if sample is not None:
                    jsonschema.validate(
                        sample,
                        schema or {},
                        format_checker=jsonschema.FormatChecker(),
                    )
                    shown.add(_key(operation))
        self.assertGreater(len(shown), len(routes.OPERATIONS) / 2)

    def test_nothing_is_left_over(self) -> None:
        text = ''.join(path.read_text() for path in _V1.glob('*.inc'))
        used = {key for _, key in _PARAMETER.findall(text)}
        self.assertEqual(set(self.described), used)
        for sample in (_V1 / 'samples').iterdir():
            self.assertIn(f'samples/{sample.name}\n', text)
