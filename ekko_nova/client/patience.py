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

"""Who waits for work of minutes is not put off by a service that is away."""

from collections.abc import Callable
import time
import typing

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import exceptions

__all__ = ('PATIENCE', 'look')

#: Seconds that a service may be away.
PATIENCE: typing.Final = 60.0

#: Seconds between two attempts.
_INTERVAL: typing.Final = 1.0

_T = typing.TypeVar('_T')


def look(ask: Callable[[], _T], patience: float = PATIENCE) -> _T:
    """What a service answers, as soon as it can.

    :param ask: changes nothing: it may be called again and again
    :param patience: seconds
    :raises Exception: that of ``ask``, if it is not the service's absence,
        or if that lasts
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return ask()
        except (
            exceptions.HttpException,
            # While a token is renewed.
            ksa_exceptions.HttpError,
            ksa_exceptions.ConnectionError,
        ) as e:
            if not _is_away(e) or time.monotonic() > deadline:
                raise
        time.sleep(_INTERVAL)


def _is_away(error: Exception) -> bool:
    match error:
        case exceptions.HttpException():
            return (error.status_code or 0) >= 500
        case ksa_exceptions.HttpError():
            return bool(error.http_status >= 500)
    return True
