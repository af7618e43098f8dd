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

"""Drivers by name, found through entry points."""

import functools
import typing

import stevedore
from stevedore import exception as stevedore_exception

from ekko_nova import exception

__all__ = ('load', 'names')


@functools.cache
def names(namespace: str) -> tuple[str, ...]:
    """The names of all drivers installed in a namespace, ascending."""
    manager: stevedore.ExtensionManager[object] = stevedore.ExtensionManager(
        namespace
    )
    return tuple(sorted(set(manager.entry_points_names())))


@functools.cache
def load(namespace: str, name: str) -> type[object]:
    """The class of a driver.

    :raises exception.DriverMissing: it is not installed, or not usable
    """
    try:
        manager: stevedore.DriverManager[object] = stevedore.DriverManager(
            namespace, name, on_missing_entrypoints_callback=None
        )
    except stevedore_exception.NoMatches as e:
        known = ', '.join(names(namespace)) or 'none'
        raise exception.DriverMissing(namespace, name, known) from e
    except (ImportError, AttributeError) as e:
        known = f'{", ".join(names(namespace))}, but it needs more: {e}'
        raise exception.DriverMissing(namespace, name, known) from e
    return typing.cast('type[object]', manager.driver)
