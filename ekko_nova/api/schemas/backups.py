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

"""Of backups themselves."""

import typing

from ekko_nova.api.schemas import base
from ekko_nova.api import states

__all__ = (
    'BACKUP',
    'CREATE',
    'LIST',
    'LISTED',
    'PROJECT',
    'RESET_STATUS',
    'SHOWN',
    'SORT_KEYS',
    'UPDATE',
    'VERIFY',
)

_STATUS: typing.Final[base.Schema] = {
    'type': 'string',
    'enum': [str(status) for status in states.Status],
}

_TIME: typing.Final[base.Schema] = {'type': 'string', 'format': 'date-time'}

_TEXT: typing.Final[base.Schema] = {'type': 'string', 'maxLength': 1024}

SORT_KEYS: typing.Final = (
    'created_at',
    'name',
    'server_id',
    'size',
    'status',
    'stored_bytes',
)

CREATE: typing.Final = base.body(
    'backup',
    {
        'server_id': base.UUID,
        'name': base.nullable(base.NAME),
        'description': base.nullable(_TEXT),
        'metadata': base.METADATA,
        'type': {
            'type': 'string',
            'enum': ['auto', 'full', 'incremental'],
            'default': 'auto',
        },
        'quiesce': base.nullable({'type': 'boolean'}),
    },
    'server_id',
)

UPDATE: typing.Final = base.body(
    'backup',
    {
        'name': base.nullable(base.NAME),
        'description': base.nullable(_TEXT),
        'metadata': base.METADATA,
    },
)

VERIFY: typing.Final = base.body(
    'verify', {'deep': {'type': 'boolean', 'default': False}}
)

RESET_STATUS: typing.Final = base.body(
    'reset_status',
    {'status': {'type': 'string', 'enum': ['available', 'error']}},
    'status',
)

#: Every query may name the project, which administrators need to.
PROJECT: typing.Final[dict[str, base.Schema]] = {
    'project_id': {
        'type': 'string',
        'pattern': '^[a-zA-Z0-9-]{1,64}' + base.END,
    }
}

LIST: typing.Final[dict[str, base.Schema]] = {
    **PROJECT,
    'server': base.UUID,
    'status': _STATUS,
    'name': {'type': 'string', 'maxLength': 255},
    'since': _TIME,
    'all_projects': {'type': 'string', 'enum': ['true', 'false']},
    'marker': base.UUID,
    'limit': {'type': 'string', 'pattern': '^[1-9][0-9]{0,8}' + base.END},
    'sort': {
        'type': 'string',
        'pattern': '^(KEY)(:(asc|desc))?(,(KEY)(:(asc|desc))?)*'.replace(
            'KEY', '|'.join(SORT_KEYS)
        )
        + base.END,
    },
}

_BYTES: typing.Final[base.Schema] = {'type': 'integer', 'minimum': 0}

_STRING: typing.Final[base.Schema] = {'type': 'string'}

_SUMMARY: typing.Final[dict[str, base.Schema]] = {
    'id': base.UUID,
    'name': base.nullable(_STRING),
    'description': base.nullable(_STRING),
    'metadata': {'type': 'object', 'additionalProperties': _STRING},
    'project_id': _STRING,
    'server_id': base.UUID,
    'server_name': base.nullable(_STRING),
    'status': _STATUS,
    'error': base.nullable(_STRING),
    'type': base.nullable({'type': 'string', 'enum': ['full', 'incremental']}),
    'created_at': _TIME,
    'updated_at': _TIME,
    'finished_at': base.nullable(_TIME),
    'size': _BYTES,
    'stored_bytes': _BYTES,
    'progress': {'type': 'integer', 'minimum': 0, 'maximum': 100},
    'links': base.LINKS,
}

_DISK: typing.Final[base.Schema] = {
    'type': 'object',
    'required': ['name', 'role', 'size', 'type', 'full_reason'],
    'properties': {
        'name': _STRING,
        'role': _STRING,
        'size': _BYTES,
        'type': {'type': 'string', 'enum': ['full', 'incremental']},
        'full_reason': base.nullable(_STRING),
        'read_bytes': _BYTES,
        'changed_bytes': _BYTES,
        'stored_bytes': _BYTES,
        'encrypted': {'type': 'boolean'},
    },
}

_WORK: typing.Final[base.Schema] = base.nullable(
    {
        'type': 'object',
        'required': ['status'],
        'properties': {
            'status': {
                'type': 'string',
                'enum': ['queued', 'running', 'done', 'failed'],
            },
            'percent': base.nullable({'type': 'integer'}),
            'updated_at': _TIME,
            'request_id': base.nullable(_STRING),
            'error': base.nullable(_STRING),
        },
    }
)

_DETAIL: typing.Final[dict[str, base.Schema]] = {
    **_SUMMARY,
    'parent_id': base.nullable(base.UUID),
    'quiesced': {'type': 'boolean'},
    'not_quiesced': base.nullable(_STRING),
    'seconds': base.nullable({'type': 'number'}),
    'remaining_seconds': base.nullable({'type': 'integer'}),
    'warning': base.nullable(_STRING),
    'disks': {'type': 'array', 'items': _DISK},
    'skipped': {'type': 'array', 'items': {'type': 'object'}},
    'instance': {'type': 'object'},
    'verification': _WORK,
    'export': _WORK,
    'deletion': _WORK,
}

BACKUP: typing.Final[base.Schema] = {
    'type': 'object',
    'required': list(_DETAIL),
    'properties': _DETAIL,
}

SHOWN: typing.Final[base.Schema] = {
    'type': 'object',
    'required': ['backup'],
    'properties': {'backup': BACKUP},
}

LISTED: typing.Final[base.Schema] = {
    'type': 'object',
    'required': ['backups', 'backups_links'],
    'properties': {
        'backups': {
            'type': 'array',
            'items': {
                'type': 'object',
                'required': list(_SUMMARY),
                'properties': _SUMMARY,
            },
        },
        'backups_links': base.LINKS,
    },
}
