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

"""Our own microversions: ``OpenStack-API-Version: instance-backup 1.0``.

Version history:

* 1.0: the first
"""

import re
import typing

from ekko_nova.api import errors

__all__ = ('HEADER', 'MAXIMUM', 'MINIMUM', 'SERVICE', 'requested')

HEADER: typing.Final = 'OpenStack-API-Version'
SERVICE: typing.Final = 'instance-backup'
MINIMUM: typing.Final = (1, 0)
MAXIMUM: typing.Final = (1, 0)

_VERSION: typing.Final = re.compile(r'(\d{1,4})\.(\d{1,4})')


def text(version: tuple[int, int]) -> str:
    """As it is written, such as 1.0."""
    return f'{version[0]}.{version[1]}'


def requested(header: str | None) -> tuple[int, int]:
    """The version that a request asks for; the lowest if it does not say.

    :param header: may speak of other services, too, with commas between
    :raises errors.ApiError: there is no such version
    """
    for part in (header or '').split(','):
        service, _, version = part.strip().partition(' ')
        if service.lower() == SERVICE:
            return _parse(version.strip())
    return MINIMUM


def _parse(version: str) -> tuple[int, int]:
    if version.lower() == 'latest':
        return MAXIMUM
    match = _VERSION.fullmatch(version)
    if match is None:
        raise errors.ApiError(
            400,
            'InvalidVersion',
            f'{version!r} is no version; write one such as {text(MAXIMUM)}, '
            'or latest',
        )
    found = (int(match[1]), int(match[2]))
    if not MINIMUM <= found <= MAXIMUM:
        raise errors.ApiError(
            406,
            'UnknownVersion',
            f'version {version} is not supported; choose one from '
            f'{text(MINIMUM)} to {text(MAXIMUM)}',
        )
    return found
