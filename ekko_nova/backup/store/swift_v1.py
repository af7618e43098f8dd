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

"""Swift's own v1 protocol (tempauth), for keystoneauth.

python-swiftclient has such a plugin as well, ``v1password``, for whoever
names it; but to import it is to import all of swiftclient, see
:mod:`.swift_connections`.
"""

import dataclasses
import typing

from keystoneauth1 import exceptions
from keystoneauth1 import plugin
from keystoneauth1 import session as keystone_session

__all__ = ('Password',)


@dataclasses.dataclass(frozen=True, slots=True)
class _Granted:
    url: str
    token: str = dataclasses.field(repr=False)


class Password(plugin.BaseAuthPlugin):
    """A user's name and key, for a token and the URL of an account.

    Of a token that has run out Swift says so, and a new one is asked for.

    :param auth_url: such as ``http://HOST:8080/auth/v1.0``
    """

    def __init__(self, auth_url: str, user: str, key: str) -> None:
        super().__init__()
        self.auth_url = auth_url
        self.user = user
        self.key = key
        self._granted: _Granted | None = None

    def get_token(self, session: keystone_session.Session) -> str:
        return self._get(session).token

    def get_endpoint(
        self, session: keystone_session.Session, **kwargs: typing.Any
    ) -> str:
        return self._get(session).url

    def invalidate(self) -> bool:
        had = self._granted is not None
        self._granted = None
        return had

    def _get(self, session: keystone_session.Session) -> _Granted:
        if self._granted is None:
            reply = session.get(
                self.auth_url,
                headers={'X-Auth-User': self.user, 'X-Auth-Key': self.key},
                authenticated=False,
                # It would log the key.
                log=False,
            )
            headers = reply.headers
            url = headers.get('X-Storage-Url')
            token = headers.get('X-Storage-Token', headers.get('X-Auth-Token'))
            if not url or not token:
                raise exceptions.InvalidResponse(reply)
            self._granted = _Granted(url, token)
        return self._granted
