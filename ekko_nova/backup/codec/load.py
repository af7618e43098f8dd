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

"""Codec drivers by name."""

import typing

from ekko_nova.backup.codec import base
from ekko_nova.backup import plugin

__all__ = ('compression', 'encryption', 'key_provider', 'needs_key')

_COMPRESSION: typing.Final = 'ekko_nova.backup.compression'
_ENCRYPTION: typing.Final = 'ekko_nova.backup.encryption'
_KEY_PROVIDER: typing.Final = 'ekko_nova.backup.key_provider'


def compression(name: str, level: int | None = None) -> base.Compression:
    """A compression driver.

    :raises exception.DriverMissing: none of this name is installed
    :raises exception.InvalidOption: it has no such level
    """
    driver = plugin.load(_COMPRESSION, name)
    return typing.cast('type[base.Compression]', driver)(level)


def encryption(name: str, key: bytes = b'') -> base.Encryption:
    """An encryption driver for one backup.

    :param key: 32 bytes; left out for a driver that needs none
    :raises exception.DriverMissing: none of this name is installed
    """
    driver = plugin.load(_ENCRYPTION, name)
    return typing.cast('type[base.Encryption]', driver)(key)


def needs_key(name: str) -> bool:
    """Whether an encryption driver works with a key at all.

    :raises exception.DriverMissing: none of this name is installed
    """
    driver = plugin.load(_ENCRYPTION, name)
    return typing.cast('type[base.Encryption]', driver).needs_key


def key_provider(name: str, location: str) -> base.KeyProvider:
    """A key provider.

    :param location: where its keys are, in its own words
    :raises exception.DriverMissing: none of this name is installed
    :raises exception.InvalidOption: there are no usable keys
    """
    driver = plugin.load(_KEY_PROVIDER, name)
    return typing.cast('type[base.KeyProvider]', driver)(location)
