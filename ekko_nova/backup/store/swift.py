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

"""Objects in a container of OpenStack Swift.

Each call makes one request; whoever wants more attempts has them made by
:mod:`.retry`.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import hashlib
from http import client as http_client
import json
import threading
import typing
from urllib import parse as urlparse

from oslo_utils import units
from urllib3 import exceptions as urllib3_exceptions

from ekko_nova.backup.store import base
from ekko_nova.backup.store import http_errors
from ekko_nova.backup.store import location as store_location
from ekko_nova.backup.store import naming
from ekko_nova.backup.store import swift_account
from ekko_nova.backup.store import swift_connections
from ekko_nova import block
from ekko_nova import exception

__all__ = ('SwiftStore',)

#: Objects per request of a listing, about 1 MiB of JSON.
_PAGE: typing.Final = 4096

#: What Swift allows, in bytes of UTF-8.
_LONGEST_CONTAINER: typing.Final = 256
_LONGEST_OBJECT: typing.Final = 1024

#: All replicas are asked and the one written last answers, so that an object
#: that was overwritten is read as it is now.
_NEWEST: typing.Final = {'X-Newest': 'true'}

#: What requests, urllib3, the socket and the decoding of a mutilated reply
#: raise. requests' own errors are OSErrors.
_TRANSPORT: typing.Final = (
    OSError,
    http_client.HTTPException,
    urllib3_exceptions.HTTPError,
    ValueError,
    KeyError,
    TypeError,
)

#: How often an object is looked for before it is missing. While it is being
#: overwritten, an object server may find the old file gone before it has seen
#: the new one (seen in Swift 2.30, with one replica), and says 404.
_LOOKS: typing.Final = 3


class _BeyondEnd(Exception):
    """A range begins where the object has ended."""


class SwiftStore(base.Store):
    """A container, or the part of it under a prefix.

    The container is made when the first object is put.

    :param container: 1 to 256 bytes of UTF-8 without ``/``
    :param prefix: what stands before every name, with a ``/`` between
    :param page: objects per request of a listing
    :raises exception.InvalidOption: Swift has no such names
    """

    properties = base.Properties(
        persistent=True,
        shared=True,
        max_object_size=5 * units.Gi,
        # Container servers that were busy or away hear of an object later.
        consistent_list=False,
        # An object server looks whether the object is there when a PUT begins
        # and not again when it ends (seen in Swift 2.30).
        exclusive_put=False,
    )

    def __init__(
        self,
        account: swift_account.SwiftAccount,
        container: str,
        prefix: str = '',
        *,
        page: int = _PAGE,
    ) -> None:
        self._account = account
        self._container = container
        self._prefix = f'{prefix.strip("/")}/' if prefix.strip('/') else ''
        self._page = page
        self._connections = swift_connections.Connections(account.session)
        self._local = threading.local()
        self._check_names()

    def _check_names(self) -> None:
        path = f'{self._container}/{self._prefix}'
        longest = _LONGEST_OBJECT - naming.MAX_LENGTH
        if (
            not 0 < len(self._container.encode()) <= _LONGEST_CONTAINER
            or '/' in self._container
            or len(self._prefix.encode()) > longest
            # urllib3 resolves them before it sends a request, as RFC 3986
            # wants it, and so they cannot be expressed.
            or {'.', '..'} & set(path.split('/'))
        ):
            raise exception.InvalidOption(
                'store',
                self.url,
                f'a container has 1 to {_LONGEST_CONTAINER} bytes, a prefix '
                f'at most {longest}, and no part of either is "." or ".."',
            )

    @classmethod
    def open(
        cls, location: store_location.Location, environment: Mapping[str, str]
    ) -> typing.Self:
        return cls.at(location, swift_account.from_environment(environment))

    @classmethod
    def at(
        cls,
        location: store_location.Location,
        account: swift_account.SwiftAccount,
    ) -> typing.Self:
        """The store that a URL names, in an account known otherwise.

        :raises exception.InvalidOption: the URL is not usable
        """
        container, _, prefix = location.path.lstrip('/').partition('/')
        if location.host or not container:
            raise exception.InvalidOption(
                'store', location, 'write swift:///CONTAINER[/PREFIX]'
            )
        return cls(account, container, prefix)

    @classmethod
    def siblings(
        cls,
        location: store_location.Location,
        environment: Mapping[str, str],
        placeholder: str,
    ) -> Iterator[str]:
        container = location.path.lstrip('/').partition('/')[0]
        start, found, end = container.partition(placeholder)
        if not found:
            raise exception.InvalidOption(
                'store', location, f'{placeholder} must be in a container'
            )
        with cls.open(location, environment) as store:
            for name in store.containers(start):
                if name.endswith(end) and len(name) > len(start + end):
                    yield name.removeprefix(start).removesuffix(end)

    def containers(self, prefix: str) -> Iterator[str]:
        """The containers of the account whose names begin so."""
        marker = ''
        while True:
            page = [
                name for (name,) in self._listed('', prefix, marker, 'name')
            ]
            if not page:
                return
            yield from page
            marker = page[-1]

    @property
    def url(self) -> str:
        path = f'{self._container}/{self._prefix}'.rstrip('/')
        return f'swift:///{urlparse.quote(path)}'

    def put(
        self, name: str, data: block.Buffer, *, if_absent: bool = False
    ) -> None:
        content = bytes(data)
        # What is missing when an object is put is its container.
        with contextlib.suppress(exception.ObjectMissing):
            self._put(name, content, if_absent=if_absent)
            return
        try:
            self._call('PUT', name, self._container)
            self._put(name, content, if_absent=if_absent)
        except exception.ObjectMissing as e:
            raise exception.StoreUnavailable(
                self.url, 'it has no such account, or lost the new container'
            ) from e

    def _put(self, name: str, data: bytes, *, if_absent: bool) -> None:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        reply = self._call_object(
            'PUT',
            name,
            {
                'ETag': md5,
                'Content-Type': 'application/octet-stream',
                **({'If-None-Match': '*'} if if_absent else {}),
            },
            data,
        )
        confirmed = reply.headers.get('etag', '').strip('"')
        if confirmed != md5:
            raise exception.StoreUnavailable(
                self.url, f'it stored {name} as {confirmed}, not as {md5}'
            )

    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        if length == 0:
            self.stat(name)
            return b''
        last = '' if length is None else offset + length - 1
        whole = offset == 0 and length is None
        ranged = {} if whole else {'Range': f'bytes={offset}-{last}'}
        try:
            reply = self._look('GET', name, {**_NEWEST, **ranged})
        except _BeyondEnd:
            return b''
        data = reply.content
        with self._errors(name):
            expected = int(reply.headers['content-length'])
        if len(data) != expected:
            raise exception.StoreUnavailable(
                self.url, f'{name} ended after {len(data)} of {expected} bytes'
            )
        if 'content-range' not in reply.headers:
            data = data[offset:][:length]
        return data

    def list(self, prefix: str = '') -> Iterator[base.ObjectStat]:
        naming.check_prefix(prefix)
        marker = ''
        while page := self._list_page(self._prefix + prefix, marker):
            for found in page:
                name = found.name.removeprefix(self._prefix)
                if naming.is_valid(name):
                    yield dataclasses.replace(found, name=name)
            marker = page[-1].name

    def stat(self, name: str) -> base.ObjectStat:
        headers = self._look('HEAD', name, _NEWEST).headers
        with self._errors(name):
            size = int(headers['content-length'])
            return base.ObjectStat(name, size, headers['etag'].strip('"'))

    def delete(self, name: str) -> None:
        with contextlib.suppress(exception.ObjectMissing):
            self._call_object('DELETE', name)

    def reauthenticate(self) -> None:
        token = getattr(self._local, 'token', None)
        if token is not None:
            self._account.forget(token)

    def close(self) -> None:
        self._connections.close()

    def _list_page(
        self, prefix: str, marker: str
    ) -> Sequence[base.ObjectStat]:
        """Objects by their full names, none after the last page."""
        try:
            return tuple(
                base.ObjectStat(*found)
                for found in self._listed(
                    self._container, prefix, marker, 'name', 'bytes', 'hash'
                )
            )
        except exception.ObjectMissing as e:
            # Of the container, that is; a store without one is new and empty.
            if marker:
                raise exception.StoreUnavailable(
                    self.url, 'the container vanished while it was listed'
                ) from e
            return ()

    def _listed(
        self, container: str, prefix: str, marker: str, *members: str
    ) -> Sequence[tuple[typing.Any, ...]]:
        """A page of what a container holds, or without one the account.

        :returns: of each entry, these members
        """
        query = {
            'format': 'json',
            'limit': str(self._page),
            'marker': marker,
            'prefix': prefix,
        }
        reply = self._call('GET', prefix, container, query=query)
        if reply.status == 204:
            return ()
        with self._errors(prefix):
            return [
                tuple(entry[member] for member in members)
                for entry in json.loads(reply.content)
            ]

    def _look(
        self, method: str, name: str, headers: Mapping[str, str]
    ) -> swift_connections.Reply:
        """Read an object, or make sure that it is missing."""
        for _ in range(_LOOKS - 1):
            with contextlib.suppress(exception.ObjectMissing):
                return self._call_object(method, name, headers)
        return self._call_object(method, name, headers)

    def _call_object(
        self,
        method: str,
        name: str,
        headers: Mapping[str, str] | None = None,
        data: bytes = b'',
    ) -> swift_connections.Reply:
        full_name = self._prefix + naming.check(name)
        return self._call(
            method,
            name,
            self._container,
            full_name,
            headers=headers,
            data=data,
        )

    def _call(
        self,
        method: str,
        name: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes = b'',
    ) -> swift_connections.Reply:
        """Make one request.

        :param name: what it is about, for messages
        :param path: below the account
        """
        access = self._account.access(self.url)
        self._local.token = access.token
        url = '/'.join(
            [access.endpoint, *map(urlparse.quote, filter(None, path))]
        )
        if query is not None:
            url += '?' + urlparse.urlencode(
                {key: value for key, value in query.items() if value},
                quote_via=urlparse.quote,
            )
        with self._errors(name):
            reply = self._connections.request(
                method,
                url,
                {'X-Auth-Token': access.token, **(headers or {})},
                data=data,
                decode=query is not None,
            )
        if reply.status == 416:
            raise _BeyondEnd
        if not 200 <= reply.status < 300:
            raise http_errors.from_status(
                self.url, name, reply.status, reply.reason, reply.headers
            )
        return reply

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Let no error of the transport through."""
        try:
            yield
        except _TRANSPORT as e:
            reason = f'{type(e).__name__}: {e}'
            if 'certificate verify' in reason.lower():
                raise exception.StoreDenied(self.url, reason) from e
            raise exception.StoreUnavailable(self.url, reason) from e
