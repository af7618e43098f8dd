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

"""The URL by which an operator names a store, taken apart."""

import dataclasses
import re
import typing
from urllib import parse as urlparse

from ekko_nova import exception

__all__ = ('ACCEPTED', 'Location', 'parse')

ACCEPTED: typing.Final = (
    'write file:///PATH or swift:///CONTAINER[/PREFIX], '
    'with what is not a letter or digit percent-encoded'
)

#: Drivers go by their own name except where the world knows another.
_DRIVERS: typing.Final = {'file': 'directory'}

_URL: typing.Final = re.compile(
    r'(?P<scheme>[a-z][a-z0-9+.-]*):(?://(?P<host>[^/?#]*))?(?P<path>[^?#]*)'
)


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """Where a store is.

    :ivar url: as it was written
    :ivar driver: name of the entry point
    :ivar host: what stands between ``//`` and the next ``/``, or ``''``
    :ivar path: the rest, with its leading ``/``
    """

    url: str
    driver: str
    host: str
    path: str

    def __str__(self) -> str:
        return self.url


def parse(text: str) -> Location:
    """Take a store's URL apart; what it may hold is the driver's affair.

    :raises exception.InvalidOption: it is no such URL
    """
    match = _URL.fullmatch(text)
    if match is None:
        raise exception.InvalidOption('store', text, ACCEPTED)
    scheme, host, path = match['scheme'], match['host'] or '', match['path']
    try:
        host = urlparse.unquote(host, errors='strict')
        path = urlparse.unquote(path, errors='strict')
    except UnicodeDecodeError as e:
        raise exception.InvalidOption(
            'store', text, 'what is percent-encoded must be UTF-8'
        ) from e
    if '\0' in host + path:
        raise exception.InvalidOption('store', text, 'leave out the %00')
    return Location(text, _DRIVERS.get(scheme, scheme), host, path)
