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

"""The API described in OpenAPI 3.1, made of what it is checked with."""

import typing

from ekko_nova.api import microversion
from ekko_nova.api import routes
from ekko_nova.api.schemas import base

__all__ = ('document',)

_COMMON: typing.Final = (400, 401, 403, 404, 406, 500)

_MEANINGS: typing.Final = {
    400: 'The request is not well-formed.',
    401: 'There is no valid token.',
    403: 'A policy or a quota does not allow it.',
    404: 'There is no such thing that who asks may see.',
    406: 'There is no such version.',
    409: 'It is not possible in the present state.',
    413: 'A quota of Nova or Glance does not allow it.',
    500: 'Something is wrong with the service.',
    503: 'The store or every compute host is away; try again later.',
    504: 'The compute host does not answer; it may have begun.',
}

_VERSION: typing.Final = {
    'name': microversion.HEADER,
    'in': 'header',
    'required': False,
    'description': 'The microversions to speak, such as "instance-backup '
    '1.0"; those of other services do not matter here.',
    'schema': {'type': 'string'},
}

_BACKUP: typing.Final = {
    'name': 'backup',
    'in': 'path',
    'required': True,
    'description': 'Id of a backup.',
    'schema': base.UUID,
}


def document(url: str) -> dict[str, typing.Any]:
    """The description.

    :param url: of this version of the API
    """
    paths: dict[str, dict[str, typing.Any]] = {}
    for operation in routes.OPERATIONS:
        path = operation.path.replace('<uuid:backup>', '{backup}')
        paths.setdefault(path, {})[operation.method.lower()] = _operation(
            operation, path
        )
    return {
        'openapi': '3.1.0',
        'info': {
            'title': 'Instance backup',
            'version': microversion.text(microversion.MAXIMUM),
            'license': {
                'name': 'Apache-2.0',
                'identifier': 'Apache-2.0',
            },
        },
        'servers': [{'url': url}],
        'security': [{'token': []}],
        'paths': paths,
        'components': {
            'schemas': {'Error': base.ERROR, 'NoToken': base.NO_TOKEN},
            'securitySchemes': {
                'token': {
                    'type': 'apiKey',
                    'in': 'header',
                    'name': 'X-Auth-Token',
                }
            },
        },
    }


def _operation(
    operation: routes.Operation, path: str
) -> dict[str, typing.Any]:
    parameters: list[dict[str, typing.Any]] = [_VERSION]
    if '{backup}' in path:
        parameters.append(_BACKUP)
    parameters += [
        {'name': name, 'in': 'query', 'required': False, 'schema': schema}
        for name, schema in operation.query.items()
    ]
    done: dict[str, typing.Any] = {'description': 'It is done, or begun.'}
    if operation.answer is not None:
        done['content'] = _json(operation.answer)
    result: dict[str, typing.Any] = {
        'operationId': operation.rule,
        'summary': (operation.handler.__doc__ or '').strip(),
        'parameters': parameters,
        'responses': {
            str(operation.status): done,
            **{
                str(status): {
                    'description': _MEANINGS[status],
                    'content': _json({'$ref': _error(status)}),
                }
                for status in (*_COMMON, *operation.errors)
            },
        },
    }
    if operation.body is not None:
        result['requestBody'] = {
            'required': True,
            'content': _json(operation.body),
        }
    return result


def _error(status: int) -> str:
    # That one is keystonemiddleware's.
    name = 'NoToken' if status == 401 else 'Error'
    return f'#/components/schemas/{name}'


def _json(schema: base.Schema) -> dict[str, typing.Any]:
    return {'application/json': {'schema': schema}}
