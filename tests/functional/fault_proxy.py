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

"""Stands between a client and an HTTP server, and fails when told to."""

import collections
import dataclasses
from http import client as http_client
from http import server as http_server
import socket
import ssl
import sys
import threading
import time
import typing

import fixtures

__all__ = (
    'CutReply',
    'CutRequest',
    'FalseChecksum',
    'Fault',
    'FaultProxy',
    'FlipBit',
    'IgnoreRange',
    'Interim',
    'Refuse',
    'StallReply',
)


@dataclasses.dataclass(frozen=True, slots=True)
class Refuse:
    """Answer without asking the server."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Interim:
    """Say that the reply is still to come, some time before it does."""

    status: int


@dataclasses.dataclass(frozen=True, slots=True)
class CutRequest:
    """Pass this many bytes of the body on, then hang up on both."""

    after: int


@dataclasses.dataclass(frozen=True, slots=True)
class CutReply:
    """Let the server do it, pass this many bytes on, then hang up.

    With ``None`` not even the head of the reply is passed on.
    """

    after: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class StallReply:
    """Let the server do it, pass this many bytes on, then no more."""

    after: int


@dataclasses.dataclass(frozen=True, slots=True)
class FlipBit:
    """Pass the body on with its first bit turned over."""


@dataclasses.dataclass(frozen=True, slots=True)
class FalseChecksum:
    """Let the server do it, and change the ETag of its reply."""


@dataclasses.dataclass(frozen=True, slots=True)
class IgnoreRange:
    """Ask the server for all of it, whatever part was wanted."""


Fault: typing.TypeAlias = (
    Refuse
    | Interim
    | CutRequest
    | CutReply
    | StallReply
    | FlipBit
    | FalseChecksum
    | IgnoreRange
)

#: What concerns one connection and not the message.
_HOP_BY_HOP: typing.Final = frozenset(
    ('connection', 'keep-alive', 'transfer-encoding')
)


class _Server(http_server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(
                self.socket,
                server_side=True,
                # In the thread of the connection, not in that of "accept".
                do_handshake_on_connect=False,
            )
        self.upstream = upstream
        self.faults: dict[str, collections.deque[Fault]] = {}
        self.requests: list[tuple[str, str]] = []
        self.connections = 0
        self.lock = threading.Lock()

    def take(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.requests.append((method, path))
            faults = self.faults.get(method)
            return faults.popleft() if faults else None

    def count(self, change: int) -> None:
        with self.lock:
            self.connections += change

    def handle_error(
        self,
        request: socket.socket | tuple[bytes, socket.socket],
        client_address: object,
    ) -> None:
        # The client hangs up as it likes, often because we made it.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(http_server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    timeout = 120
    server: _Server

    def handle(self) -> None:
        self.server.count(1)
        try:
            super().handle()
        finally:
            self.server.count(-1)

    def log_message(self, format: str, *args: object) -> None:
        return

    def _pass_on(self) -> None:
        fault = self.server.take(self.command, self.path)
        length = int(self.headers.get('Content-Length', '0'))
        match fault:
            case Refuse():
                self.rfile.read(length)
                headers = [*fault.headers, ('Content-Length', '0')]
                self._reply(fault.status, headers, b'')
                return
            case CutRequest():
                self._send_upstream(self.rfile.read(fault.after)).close()
                self.close_connection = True
                return
            case FlipBit():
                body = bytearray(self.rfile.read(length))
                body[0] ^= 0x80
            case IgnoreRange():
                body = bytearray(self.rfile.read(length))
                del self.headers['Range']
            case _:
                body = bytearray(self.rfile.read(length))
        if isinstance(fault, Interim):
            self.send_response_only(fault.status)
            self.end_headers()
            time.sleep(0.3)
        upstream = self._send_upstream(bytes(body))
        try:
            response = upstream.getresponse()
            self._answer(fault, response, response.read())
        finally:
            upstream.close()

    def _send_upstream(self, body: bytes) -> http_client.HTTPConnection:
        upstream = http_client.HTTPConnection(
            '127.0.0.1', self.server.upstream, timeout=60
        )
        upstream.putrequest(
            self.command, self.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body or None)
        return upstream

    def _answer(
        self,
        fault: Fault | None,
        response: http_client.HTTPResponse,
        body: bytes,
    ) -> None:
        headers = [
            (name, 'f' * 32 if self._is_false(fault, name) else value)
            for name, value in response.getheaders()
            if name.lower() not in _HOP_BY_HOP
        ]
        match fault:
            case CutReply(None):
                self.close_connection = True
            case CutReply(int(after)):
                self._reply(response.status, headers, body[:after])
                self.close_connection = True
            case StallReply():
                self._reply(response.status, headers, body[: fault.after])
                # Until the client has lost patience.
                self.rfile.read(1)
                self.close_connection = True
            case _:
                self._reply(response.status, headers, body)

    @staticmethod
    def _is_false(fault: Fault | None, name: str) -> bool:
        return isinstance(fault, FalseChecksum) and name.lower() == 'etag'

    def _reply(
        self, status: int, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


for _method in ('DELETE', 'GET', 'HEAD', 'POST', 'PUT'):
    setattr(_Handler, f'do_{_method}', _Handler._pass_on)


class FaultProxy(fixtures.Fixture):
    """A proxy on a port of its own that leads to another port of this host.

    :param tls: what clients speak to it, if they do not speak plainly
    :ivar port: where it listens, on 127.0.0.1
    """

    def __init__(
        self, upstream: int, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__()
        self._upstream = upstream
        self._tls = tls

    def _setUp(self) -> None:
        self._server = _Server(self._upstream, self._tls)
        self.addCleanup(self._server.server_close)
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self._server.shutdown)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def inject(self, method: str, *faults: Fault) -> None:
        """Let these happen to the next requests of a method, in order."""
        with self._server.lock:
            self._server.faults.setdefault(method, collections.deque()).extend(
                faults
            )

    def pending(self) -> list[Fault]:
        """Faults that have not happened yet."""
        with self._server.lock:
            return [f for some in self._server.faults.values() for f in some]

    def requests(self, method: str, part: str = '') -> int:
        """How many requests there were whose path has this in it."""
        with self._server.lock:
            return sum(
                one == method and part in path
                for one, path in self._server.requests
            )

    def connections(self) -> int:
        """How many clients' connections are open."""
        with self._server.lock:
            return self._server.connections
