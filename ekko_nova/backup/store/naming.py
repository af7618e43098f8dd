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

"""What an object may be called, the same in every driver."""

import re
import typing

from ekko_nova import exception

__all__ = ('MAX_LENGTH', 'check', 'check_prefix', 'is_valid')

#: Swift allows 1024 bytes, of which a store may spend some on its prefix.
MAX_LENGTH: typing.Final = 512

_COMPONENT: typing.Final = r'(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]{1,255}'
_NAME: typing.Final = re.compile(rf'(?:{_COMPONENT}/)*{_COMPONENT}')
_PREFIX: typing.Final = re.compile(
    rf'(?:{_COMPONENT}/)*[A-Za-z0-9._-]{{0,255}}'
)
_RULE: typing.Final = (
    f'use at most {MAX_LENGTH} characters; between "/" 1 to 255 letters, '
    'digits, ".", "_" and "-", but neither "." nor ".." alone'
)


def is_valid(name: str) -> bool:
    """Whether an object may be called so."""
    return len(name) <= MAX_LENGTH and _NAME.fullmatch(name) is not None


def check(name: str) -> str:
    """Return ``name`` if an object may be called so.

    :raises exception.InvalidName: it may not
    """
    if not is_valid(name):
        raise exception.InvalidName('object', name, _RULE)
    return name


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if an object's name may begin so.

    :raises exception.InvalidName: none may
    """
    if len(prefix) > MAX_LENGTH or not _PREFIX.fullmatch(prefix):
        raise exception.InvalidName('prefix', prefix, _RULE)
    return prefix
