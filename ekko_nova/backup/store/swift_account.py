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

"""Where a Swift account is, and the tokens that open it."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import threading
import typing

from keystoneauth1 import exceptions as keystone_exceptions
from keystoneauth1 import loading
from keystoneauth1 import plugin
from keystoneauth1 import session as keystone_session

from ekko_nova.backup.store import swift_connections
from ekko_nova.backup.store import swift_v1
from ekko_nova import exception

__all__ = ('Access', 'SwiftAccount', 'from_environment')

_VARIABLES: typing.Final = (
    'set OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME, '
    'or OS_AUTH_URL, OS_APPLICATION_CREDENTIAL_ID and '
    'OS_APPLICATION_CREDENTIAL_SECRET, or ST_AUTH, ST_USER and ST_KEY'
)

_PASSWORD: typing.Final = (
    ('OS_USERNAME', 'OS_USER_ID'),
    ('OS_PASSWORD',),
    ('OS_PROJECT_NAME', 'OS_PROJECT_ID', 'OS_TENANT_NAME', 'OS_TENANT_ID'),
)

#: As oslo_utils.strutils has it, which compiles a hundred regular expressions
#: when it is imported, longer than a backup without changes reads.
_TRUE: typing.Final = frozenset(('1', 't', 'true', 'on', 'y', 'yes'))

#: One variable of each line is needed, though the plugin itself does not miss
#: it, or complains of another.
_NEEDED: typing.Final = {
    'password': _PASSWORD,
    'v3password': _PASSWORD,
    'v3applicationcredential': (('OS_APPLICATION_CREDENTIAL_SECRET',),),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """What a request to Swift needs.

    :ivar endpoint: URL of the account
    """

    endpoint: str
    token: str = dataclasses.field(repr=False)


class SwiftAccount:
    """An account, reached through any keystoneauth plugin.

    One token serves all threads.

    :param session: its ``verify``, ``cert`` and ``timeout`` hold for Swift as
        well as for authentication
    :param endpoint_override: URL of the account instead of the catalogue's
    """

    def __init__(
        self,
        session: keystone_session.Session,
        *,
        region_name: str | None = None,
        interface: str = 'public',
        endpoint_override: str | None = None,
    ) -> None:
        self.session = session
        self._region_name = region_name
        self._interface = interface
        self._endpoint_override = endpoint_override
        self._token: str | None = None
        self._lock = threading.Lock()

    def access(self, store: str) -> Access:
        """The account's URL and a token, a new one if there is none.

        :param store: what messages call it
        :raises exception.StoreUnauthorized: wrong credentials
        :raises exception.StoreUnavailable: no answer
        :raises exception.StoreDenied: no object store in the catalogue
        """
        with self._lock, _errors(store):
            self._token = self.session.get_token()
            endpoint = self._endpoint_override or self.session.get_endpoint(
                service_type='object-store',
                region_name=self._region_name,
                interface=self._interface,
            )
        if not endpoint or not self._token:
            raise exception.StoreDenied(
                store,
                f'no {self._interface} endpoint of an object store in '
                f'{self._region_name or "any region"}',
            )
        return Access(endpoint.rstrip('/'), self._token)

    def forget(self, token: str) -> None:
        """Let no new request use ``token``.

        One that has been replaced by now is forgotten already: of many
        threads whose token ran out, one obtains the next.
        """
        with self._lock:
            if token == self._token:
                self._token = None
                self.session.invalidate()


@contextlib.contextmanager
def _errors(store: str) -> Iterator[None]:
    try:
        yield
    except keystone_exceptions.Unauthorized as e:
        raise exception.StoreUnauthorized(store, str(e)) from e
    except keystone_exceptions.SSLError as e:
        raise exception.StoreDenied(store, str(e)) from e
    except (
        keystone_exceptions.ConnectionError,
        keystone_exceptions.DiscoveryFailure,
        keystone_exceptions.HttpServerError,
        keystone_exceptions.RequestTimeout,
        keystone_exceptions.RetriableConnectionFailure,
        keystone_exceptions.TooManyRequests,
    ) as e:
        # What could not be sent is behind an UnknownConnectionError.
        if swift_connections.tells_a_header(getattr(e, 'original', None)):
            raise exception.StoreDenied(
                store, 'a user or password cannot be sent as it is'
            ) from None
        raise exception.StoreUnavailable(store, str(e)) from e
    except keystone_exceptions.ClientException as e:
        raise exception.StoreDenied(store, str(e)) from e


def from_environment(environment: Mapping[str, str]) -> SwiftAccount:
    """The account that ``OS_*``, or else ``ST_*`` variables speak of.

    ``OS_AUTH_TYPE`` may name any keystoneauth plugin; its options are then in
    variables of the same names. ``OS_REGION_NAME``, ``OS_INTERFACE``,
    ``OS_STORAGE_URL``, ``OS_CACERT``, ``OS_CERT``, ``OS_KEY``,
    ``OS_INSECURE`` and ``OS_TIMEOUT`` (seconds) are heeded with either kind.

    :raises exception.InvalidOption: a variable is missing or wrong
    """
    given = {name: value for name, value in environment.items() if value}
    if 'OS_AUTH_URL' in given or 'OS_AUTH_TYPE' in given:
        auth = _keystone(given)
    else:
        auth = _v1(given)
    insecure = given.get('OS_INSECURE', '').strip().lower() in _TRUE
    cert, key = given.get('OS_CERT'), given.get('OS_KEY')
    return SwiftAccount(
        keystone_session.Session(
            auth,
            verify=not insecure and given.get('OS_CACERT', True),
            cert=(cert, key) if cert and key else cert,
            timeout=_seconds(given),
        ),
        region_name=given.get('OS_REGION_NAME'),
        interface=given.get('OS_INTERFACE')
        or given.get('OS_ENDPOINT_TYPE', 'public'),
        endpoint_override=given.get('OS_STORAGE_URL'),
    )


def _seconds(given: Mapping[str, str]) -> float | None:
    text = given.get('OS_TIMEOUT')
    try:
        return None if text is None else float(text)
    except ValueError as e:
        raise exception.InvalidOption(
            'OS_TIMEOUT', text, 'write a number of seconds'
        ) from e


def _keystone(given: Mapping[str, str]) -> plugin.BaseAuthPlugin:
    if any(name.startswith('OS_APPLICATION_CREDENTIAL_') for name in given):
        default = 'v3applicationcredential'
    else:
        default = 'password'
    auth_type = given.get('OS_AUTH_TYPE', default)
    for names in _NEEDED.get(auth_type, ()):
        if not given.keys() & set(names):
            raise _missing(names[0])

    def value(option: loading.Opt) -> str | None:
        names = (option.dest, *(old.dest for old in option.deprecated))
        found = (given.get(f'OS_{name.upper()}') for name in names)
        return next(filter(None, found), None)

    try:
        return _loader(auth_type).load_from_options_getter(value)
    except keystone_exceptions.MissingRequiredOptions as e:
        raise _missing(f'OS_{e.options[0].dest.upper()}') from e
    except keystone_exceptions.AuthPluginException as e:
        raise exception.InvalidOption('OS_AUTH_TYPE', auth_type, str(e)) from e


def _v1(given: Mapping[str, str]) -> plugin.BaseAuthPlugin:
    for name in ('ST_AUTH', 'ST_USER', 'ST_KEY'):
        if name not in given:
            raise _missing(name)
    for name in ('ST_USER', 'ST_KEY'):
        if not _fits_a_header(given[name]):
            # Not what it is: messages end up in logs.
            raise exception.InvalidOption(
                'variable',
                name,
                'it has a line break, white space around it, or characters '
                'beyond Latin-1; write it without',
            )
    return swift_v1.Password(
        given['ST_AUTH'], given['ST_USER'], given['ST_KEY']
    )


def _fits_a_header(value: str) -> bool:
    return (
        value == value.strip() and value.isprintable() and max(value) <= '\xff'
    )


def _loader(auth_type: str) -> loading.BaseLoader[plugin.BaseAuthPlugin]:
    return loading.get_plugin_loader(auth_type)


def _missing(name: str) -> exception.InvalidOption:
    return exception.InvalidOption(
        'variable', name, f'it is not set; {_VARIABLES}'
    )
