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

"""What an HTTP status means to a store's caller."""

from collections.abc import Mapping
import datetime
from email import utils as email_utils
import typing

from ekko_nova import exception

__all__ = ('from_status', 'retry_after')

#: Too large for the quota, and no room on the disks.
_FULL: typing.Final = frozenset((413, 507))

#: Of those from 200 to 499: timeout, conflict of two writes within the clock's
#: resolution, checksum wrong on arrival, too early, too many, and Swift's own
#: rate limit and client disconnect.
_LATER: typing.Final = frozenset((408, 409, 422, 425, 429, 498, 499))


def from_status(
    store: str,
    name: str,
    status: int,
    reason: str,
    headers: Mapping[str, str],
) -> exception.EkkoError:
    """The error to raise for a request that was refused.

    :param store: what messages call it
    :param name: what the request was about
    :param headers: of the reply, in lower case or of a mapping without case
    """
    reason = f'{status} {reason} for {name}'
    if status == 401:
        return exception.StoreUnauthorized(store, reason)
    if status == 404:
        return exception.ObjectMissing(store, name)
    if status == 412:
        return exception.ObjectExists(store, name)
    if status in _FULL:
        return exception.StoreFull(store, reason)
    if status in _LATER or status >= 500 or status < 200:
        return exception.StoreUnavailable(
            store,
            reason,
            retry_after(
                headers.get('retry-after', ''),
                datetime.datetime.now(datetime.UTC),
            ),
        )
    return exception.StoreDenied(store, reason)


def retry_after(value: str, now: datetime.datetime) -> float | None:
    """Seconds from ``now``, of either form that ``Retry-After`` has."""
    if value.isdecimal():
        return float(value)
    try:
        then = email_utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    return max(0.0, (then - now).total_seconds())
