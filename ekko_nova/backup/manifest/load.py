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

"""Manifest drivers, by name or by the first bytes of a file."""

from collections.abc import Iterator
import contextlib
import pathlib
import typing

from ekko_nova.backup.manifest import base
from ekko_nova.backup import plugin
from ekko_nova import exception

__all__ = ('driver', 'open')

_NAMESPACE: typing.Final = 'ekko_nova.backup.manifest'


def driver(name: str) -> base.Driver:
    """A manifest driver.

    :raises exception.DriverMissing: none of this name is installed
    """
    found = plugin.load(_NAMESPACE, name)
    return typing.cast('type[base.Driver]', found)()


def open(path: pathlib.Path) -> base.Reader:
    """Open a manifest with the driver whose magic it begins with.

    :raises exception.InvalidOption: the file cannot be read
    :raises exception.ObjectDamaged: it is no manifest, or a damaged one
    :raises exception.UnknownFormat: it is of a version not known here
    """
    drivers = list(_installed())
    try:
        with path.open('rb') as file:
            start = file.read(max(len(each.magic) for each in drivers))
        for each in drivers:
            if start.startswith(each.magic):
                return each.open(path)
    except OSError as e:
        raise exception.InvalidOption(
            'manifest file', path, e.strerror or str(e)
        ) from e
    raise exception.ObjectDamaged(str(path), 'it is no manifest')


def _installed() -> Iterator[base.Driver]:
    for name in plugin.names(_NAMESPACE):
        # One that lacks a library must not keep the others from reading.
        with contextlib.suppress(exception.DriverMissing):
            yield driver(name)
