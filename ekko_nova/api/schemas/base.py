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

"""Words that more than one schema needs."""

import typing

__all__ = (
    'END',
    'ERROR',
    'LINKS',
    'METADATA',
    'NAME',
    'NO_TOKEN',
    'UUID',
    'Schema',
    'body',
    'nullable',
)

Schema: typing.TypeAlias = dict[str, typing.Any]

#: Python's ``$`` would match in front of a newline, too.
END: typing.Final = r'$(?!\n)'

UUID: typing.Final[Schema] = {
    'type': 'string',
    'format': 'uuid',
    # As Nova writes them; "format" lets pass any letters and digits.
    'pattern': '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' + END,
}

NAME: typing.Final[Schema] = {
    'type': 'string',
    'minLength': 1,
    'maxLength': 255,
    # Something to be seen, and nothing that moves a cursor.
    'pattern': r'^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*' + END,
}

METADATA: typing.Final[Schema] = {
    'type': 'object',
    'maxProperties': 128,
    'propertyNames': {'pattern': '^[a-zA-Z0-9-_:. ]{1,255}' + END},
    'additionalProperties': {'type': 'string', 'maxLength': 255},
}

LINKS: typing.Final[Schema] = {
    'type': 'array',
    'items': {
        'type': 'object',
        'required': ['rel', 'href'],
        'properties': {
            'rel': {'type': 'string'},
            'href': {'type': 'string', 'format': 'uri'},
        },
    },
}

ERROR: typing.Final[Schema] = {
    'type': 'object',
    'required': ['error'],
    'properties': {
        'error': {
            'type': 'object',
            'required': ['code', 'title', 'name', 'message', 'request_id'],
            'properties': {
                'code': {'type': 'integer'},
                'title': {'type': 'string'},
                'name': {'type': 'string'},
                'message': {'type': 'string'},
                'request_id': {'type': ['string', 'null']},
            },
        }
    },
}


#: What keystonemiddleware answers, before we are asked.
NO_TOKEN: typing.Final[Schema] = {
    'type': 'object',
    'required': ['error'],
    'properties': {
        'error': {
            'type': 'object',
            'required': ['code', 'title', 'message'],
        }
    },
}


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    return {'anyOf': [schema, {'type': 'null'}]}


def body(key: str, properties: dict[str, Schema], *required: str) -> Schema:
    """The body of a request: an object with one member, an object."""
    return {
        'type': 'object',
        'required': [key],
        'additionalProperties': False,
        'properties': {
            key: {
                'type': 'object',
                'required': list(required),
                'additionalProperties': False,
                'properties': properties,
            }
        },
    }
