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

"""Requests to Swift, over connections that are kept.

They belong to no thread: whichever asks next takes the one that was used
last, so that threads which come and go do not connect anew.

Not swiftclient's: that imports python-keystoneclient where it is installed,
which takes as long as all else that a backup imports for Swift.
"""

from collections.abc import Mapping
import dataclasses
import typing

from keystoneauth1 import session as keystone_session
import requests
from requests import adapters

__all__ = ('Connections', 'Reply', 'tells_a_header')

#: Seconds to connect, and between two signs of life of a request.
_TIMEOUT: typing.Final = 60.0

#: How many are kept while nobody uses them.
_IDLE: typing.Final = 64

#: Whoever says so may answer before it has heard all of a request; what it
#: has not heard it might take for the next one.
_HALF_HEARD: typing.Final = frozenset((408, 499))


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    :ivar headers: without case
    :ivar content: as it was sent, whatever it was encoded with; nothing of
        replies that say that something is wrong with the server, or that
        another one follows
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    content: bytes


def tells_a_header(error: object) -> bool:
    """Whether its message has what is in a header: a token, a password."""
    return isinstance(error, requests.exceptions.InvalidHeader)


class Connections:
    """As many as there are requests at a time.

    :param settings: its ``verify``, ``cert`` and ``timeout`` hold
    """

    def __init__(self, settings: keystone_session.Session) -> None:
        self._settings = settings
        self._session = requests.Session()
        for scheme in ('http://', 'https://'):
            self._session.mount(
                scheme, adapters.HTTPAdapter(pool_maxsize=_IDLE)
            )

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        data: bytes = b'',
        decode: bool = False,
    ) -> Reply:
        """Make one request, over one connection, once.

        :param url: quoted, with the query if there is one
        :param decode: ask for the reply in fewer bytes, and unpack them
        :raises OSError: whatever requests raises
        :raises ValueError: a header cannot be sent as it is
        :raises urllib3.exceptions.HTTPError: the reply broke off
        """
        # Prepared without the session: cookies and what is in a ~/.netrc are
        # none of Swift's business.
        request = requests.Request(
            method,
            url,
            headers={
                'User-Agent': 'ekko-nova',
                'Accept-Encoding': 'gzip' if decode else 'identity',
                **headers,
            },
            data=data,
        )
        try:
            prepared = request.prepare()
        except requests.exceptions.InvalidHeader:
            # See tells_a_header().
            raise ValueError('a header cannot be sent as it is') from None
        settings = self._settings
        environment = self._session.merge_environment_settings(
            url, {}, True, settings.verify, settings.cert
        )
        reply = self._session.send(
            prepared,
            timeout=settings.timeout or _TIMEOUT,
            # The token would go along, to wherever it leads, and a DELETE
            # might become a GET.
            allow_redirects=False,
            **environment,
        )
        try:
            content = b''
            # Closed before it is read to the end, it takes its connection
            # along.
            if (
                # Behind an interim one comes the reply itself; http.client
                # knows that of 100 only (Python 3.11).
                200 <= reply.status_code < 500
                and reply.status_code not in _HALF_HEARD
            ):
                content = reply.raw.read(decode_content=decode)
        finally:
            reply.close()
        return Reply(reply.status_code, reply.reason, reply.headers, content)

    def close(self) -> None:
        """Hang up."""
        self._session.close()
