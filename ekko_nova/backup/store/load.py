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

"""A store by its URL, ready for use."""

from collections.abc import Mapping
import threading
import typing

from ekko_nova.backup import plugin
from ekko_nova.backup.store import base
from ekko_nova.backup.store import location as store_location
from ekko_nova.backup.store import retry

__all__ = ('NAMESPACE', 'open_store', 'siblings')

NAMESPACE: typing.Final = 'ekko_nova.backup.store'


def open_store(
    url: str,
    environment: Mapping[str, str],
    *,
    policy: retry.Policy = retry.DEFAULT,
    cancel: threading.Event | None = None,
) -> base.Store:
    """Open a store; what may succeed later is retried.

    :param url: such as ``file:///PATH`` or ``swift:///CONTAINER/PREFIX``
    :param environment: variables with credentials, such as ``OS_*``
    :param cancel: once set, nothing is waited for or retried any more
    :raises exception.InvalidOption: the URL or a variable is not usable
    :raises exception.DriverMissing: no driver for such a URL is installed
    """
    location = store_location.parse(url)
    driver = typing.cast(
        type[base.Store], plugin.load(NAMESPACE, location.driver)
    )
    return retry.RetryingStore(
        driver.open(location, environment), policy, cancel
    )


def siblings(
    url: str, environment: Mapping[str, str], placeholder: str
) -> list[str]:
    """What the placeholder in a URL stands for in stores that exist.

    :raises exception.InvalidOption: the driver cannot tell
    """
    location = store_location.parse(url)
    driver = typing.cast(
        type[base.Store], plugin.load(NAMESPACE, location.driver)
    )
    return list(driver.siblings(location, environment, placeholder))
