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

"""Small JSON documents that notice damage to any of their bytes.

A document is written in one canonical way (keys sorted, two spaces of
indent, ASCII) and carries the SHA-256 of itself without that member. Reading
demands the canonical form, so no byte can change unseen, white space
included.
"""

import hashlib
import json
import typing

from ekko_nova import exception

__all__ = ('Document', 'seal', 'unseal')

#: What JSON objects are, read with the standard library.
Document: typing.TypeAlias = dict[str, typing.Any]

_SEAL = 'sha256'


def _canonical(document: Document) -> bytes:
    text = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=True)
    return text.encode('ascii') + b'\n'


def seal(document: Document) -> bytes:
    """The bytes to store."""
    digest = hashlib.sha256(_canonical(document)).hexdigest()
    return _canonical({**document, _SEAL: digest})


def unseal(name: str, data: bytes) -> Document:
    """The document again.

    :param name: of the object, for the error
    :raises exception.ObjectDamaged: a byte is not what was written
    """
    try:
        document = json.loads(data)
        del document[_SEAL]
    except (ValueError, AttributeError, KeyError, TypeError) as e:
        raise exception.ObjectDamaged(
            name, 'it must be a JSON document with a checksum'
        ) from e
    if seal(document) != data:
        raise exception.ObjectDamaged(
            name, 'its checksum must match its content'
        )
    return typing.cast(Document, document)
