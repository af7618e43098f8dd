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

"""Of what is made of a backup."""

import typing

from ekko_nova.api.schemas import base

__all__ = (
    'CREATE_IMAGE',
    'CREATE_SERVER',
    'IMAGE',
    'RESTORE',
    'RESTORED',
    'SERVER',
)

RESTORE: typing.Final = base.body('restore', {'server_id': base.UUID})

RESTORED: typing.Final[base.Schema] = {
    'type': 'object',
    'required': ['server'],
    'properties': {
        'server': {
            'type': 'object',
            'required': ['id'],
            'properties': {'id': base.UUID},
        }
    },
}

#: What Nova's ``POST /servers`` takes, but for the disks. Nova itself looks
#: at the rest.
CREATE_SERVER: typing.Final[base.Schema] = {
    'type': 'object',
    'required': ['server'],
    'additionalProperties': False,
    'properties': {
        'server': {
            'type': 'object',
            'required': ['name', 'flavorRef', 'networks'],
            'properties': {
                'name': base.NAME,
                'flavorRef': {
                    'type': 'string',
                    'minLength': 1,
                    'maxLength': 255,
                    # Nova looks for whatever it is given in its database,
                    # which does not take everything.
                    'pattern': '^[a-zA-Z0-9. _-]+' + base.END,
                },
                'networks': {
                    'anyOf': [
                        {'type': 'string', 'enum': ['auto', 'none']},
                        {'type': 'array', 'items': {'type': 'object'}},
                    ]
                },
                'imageRef': {'not': {}},
                'block_device_mapping': {'not': {}},
                'block_device_mapping_v2': {'not': {}},
                'min_count': {'not': {}},
                'max_count': {'not': {}},
                'return_reservation_id': {'not': {}},
            },
        }
    },
}

SERVER: typing.Final[base.Schema] = {
    'type': 'object',
    'required': ['server'],
    'properties': {
        'server': {
            'type': 'object',
            'required': ['id', 'image_id'],
            'properties': {
                'id': base.UUID,
                'image_id': base.UUID,
                'admin_password': {'type': ['string', 'null']},
            },
        }
    },
}

#: What Glance keeps of an image by itself; a property cannot be called so.
_GLANCE_S: typing.Final = (
    'checksum',
    'container_format',
    'created_at',
    'direct_url',
    'disk_format',
    'file',
    'id',
    'locations',
    'min_disk',
    'min_ram',
    'name',
    'os_hash_algo',
    'os_hash_value',
    'os_hidden',
    'owner',
    'protected',
    'schema',
    'self',
    'size',
    'status',
    'stores',
    'tags',
    'updated_at',
    'virtual_size',
    'visibility',
)

CREATE_IMAGE: typing.Final = base.body(
    'image',
    {
        'name': base.NAME,
        'disk': {'type': 'string', 'minLength': 1, 'maxLength': 64},
        'properties': {
            **base.METADATA,
            'propertyNames': {
                **base.METADATA['propertyNames'],
                'not': {'enum': list(_GLANCE_S)},
            },
        },
    },
    'name',
)

IMAGE: typing.Final[base.Schema] = {
    'type': 'object',
    'required': ['image'],
    'properties': {
        'image': {
            'type': 'object',
            'required': ['id'],
            'properties': {'id': base.UUID},
        }
    },
}
