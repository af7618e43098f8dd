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

"""A Swift of our own: Debian's servers on loopback, for the tests' lifetime.

One proxy, account, container and object server and a memcached for tokens,
with one replica and tempauth. They run under the distribution's Python, find
their configuration in a directory of their own, and log to files there.
"""

import atexit
from collections.abc import Mapping
import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import typing
from urllib import error as url_error
from urllib import parse as url_parse
from urllib import request as url_request

import fixtures
import testtools

__all__ = ('Swift', 'missing', 'shared')

_PYTHON: typing.Final = '/usr/bin/python3'
_PROGRAMS: typing.Final = (
    '/usr/bin/swift-account-server',
    '/usr/bin/swift-container-server',
    '/usr/bin/swift-object-server',
    '/usr/bin/swift-proxy-server',
    '/usr/bin/memcached',
)
_KINDS: typing.Final = ('account', 'container', 'object', 'proxy')

#: Seconds for all servers to answer, on a machine that does other things too.
_PATIENCE: typing.Final = 90

#: Somebody else may take a port between our choice and its use.
_ATTEMPTS: typing.Final = 3

#: Swift's own programs read /etc/swift/swift.conf and log to syslog.
_LAUNCH: typing.Final = """
import logging, runpy, sys
from swift.common import utils
utils.set_swift_dir(sys.argv.pop(1))
utils.ThreadSafeSysLogHandler = lambda **kwargs: logging.NullHandler()
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name='__main__')
"""

_MAKE_RING: typing.Final = """
import sys
from swift.common.ring import RingBuilder
for kind, port in zip(sys.argv[2::2], sys.argv[3::2]):
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    builder.add_dev({
        'region': 1, 'zone': 1, 'weight': 1.0, 'device': 'disk', 'meta': '',
        'ip': '127.0.0.1', 'port': int(port),
        'replication_ip': '127.0.0.1', 'replication_port': int(port),
    })
    builder.rebalance()
    builder.get_ring().save(f'{sys.argv[1]}/{kind}.ring.gz')
"""

_SWIFT_CONF: typing.Final = """
[swift-hash]
swift_hash_path_prefix = ekko
swift_hash_path_suffix = nova

[storage-policy:0]
name = one
default = yes
"""

_DEFAULTS: typing.Final = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {root}/etc
devices = {root}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_level = INFO
"""

_STORAGE: typing.Final = """
[pipeline:main]
pipeline = healthcheck {kind}-server

[filter:healthcheck]
use = egg:swift#healthcheck

[app:{kind}-server]
use = egg:swift#{kind}
"""

_PROXY: typing.Final = """
[pipeline:main]
pipeline = healthcheck cache tempauth proxy-server

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
memcache_max_connections = 20
connect_timeout = 20
pool_timeout = 20
io_timeout = 20
error_suppression_interval = 0

[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
user_test_guest = guest

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


def missing() -> str | None:
    """What this machine lacks to run Swift, if anything."""
    for program in _PROGRAMS:
        if not pathlib.Path(program).exists():
            return (
                f'{program} is missing: install swift-proxy, swift-account, '
                'swift-container, swift-object and memcached'
            )
    if _place() is None:
        return 'no temporary directory has user extended attributes'
    return None


def _place() -> str | None:
    """A directory for temporary files where Swift can keep metadata."""
    for candidate in (tempfile.gettempdir(), '/var/tmp', '.'):
        with (
            contextlib.suppress(OSError),
            tempfile.NamedTemporaryFile(dir=candidate) as file,
        ):
            os.setxattr(file.fileno(), 'user.swift.metadata', b'1')
            return str(pathlib.Path(candidate).absolute())
    return None


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(contextlib.closing(socket.socket()))
            for _ in range(number)
        ]
        for one in sockets:
            one.bind(('127.0.0.1', 0))
        return [one.getsockname()[1] for one in sockets]


class Swift(fixtures.Fixture):
    """Running servers.

    :ivar port: of the proxy server, on 127.0.0.1
    :ivar root: all that the servers write; their logs are in ``log``
    """

    def _setUp(self) -> None:
        place = _place()
        if place is None:
            raise RuntimeError(missing())
        self.root = pathlib.Path(tempfile.mkdtemp('.swift', dir=place))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.addCleanup(self._stop)
        for directory in ('etc', 'devices/disk', 'log'):
            (self.root / directory).mkdir(parents=True)
        for attempt in range(_ATTEMPTS):
            try:
                self._start()
                return
            except RuntimeError as e:
                self._stop()
                if attempt == _ATTEMPTS - 1:
                    raise RuntimeError(f'{e}\n{self.logs()}') from e

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables with which a client reaches it."""
        return self.environment_through(self.port)

    def environment_through(self, port: int) -> Mapping[str, str]:
        """The same by another port of this host that leads here.

        The account's URL that tempauth hands out follows the ``Host`` of the
        request for a token, and so leads to that port as well.
        """
        return {
            'ST_AUTH': f'http://127.0.0.1:{port}/auth/v1.0',
            'ST_USER': 'test:tester',
            'ST_KEY': 'testing',
        }

    def expire_tokens(self) -> None:
        """Let no token be valid any more that was handed out until now."""
        url, token = self._token()
        while self._is_valid(url, token):
            # Not "flush_all": it knows whole seconds only, and so leaves
            # what should go, or takes what comes later. The crawler passes
            # over what is in use at the moment, hence the loop.
            for line in self._ask_memcached('lru_crawler metadump all'):
                key = line.split()[0].removeprefix('key=')
                self._ask_memcached(f'delete {url_parse.unquote(key)}')

    def _token(self) -> tuple[str, str]:
        """The account's URL and the token that its user has at present."""
        request = url_request.Request(
            self.environment['ST_AUTH'],
            headers={
                'X-Auth-User': self.environment['ST_USER'],
                'X-Auth-Key': self.environment['ST_KEY'],
            },
        )
        with url_request.urlopen(request, timeout=_PATIENCE) as reply:
            return reply.headers['X-Storage-Url'], reply.headers[
                'X-Auth-Token'
            ]

    @staticmethod
    def _is_valid(url: str, token: str) -> bool:
        request = url_request.Request(
            url, headers={'X-Auth-Token': token}, method='HEAD'
        )
        try:
            with url_request.urlopen(request, timeout=_PATIENCE):
                return True
        except url_error.HTTPError as e:
            e.close()
            if e.code == 401:
                return False
            raise

    def _ask_memcached(self, command: str) -> list[str]:
        """The lines of an answer but the last one."""
        address = ('127.0.0.1', self._ports['memcached'])
        lines: list[str] = []
        with (
            socket.create_connection(address, timeout=10) as memcached,
            memcached.makefile('rwb') as stream,
        ):
            stream.write(f'{command}\r\n'.encode())
            stream.flush()
            for line in stream:
                text = line.decode().strip()
                if text in {'END', 'DELETED', 'NOT_FOUND'}:
                    return lines
                lines.append(text)
        raise RuntimeError(f'memcached: {command}: {lines}')

    def logs(self) -> str:
        """The last lines of every server's log."""
        parts = []
        for path in sorted((self.root / 'log').iterdir()):
            lines = path.read_text(errors='replace').splitlines()[-20:]
            parts.append('\n'.join([f'== {path.name}', *lines]))
        return '\n'.join(parts)

    @property
    def processes(self) -> tuple[int, ...]:
        """The servers' process ids; each has children."""
        return tuple(each.pid for each in self._processes.values())

    @property
    def port(self) -> int:
        return self._ports['proxy']

    def _start(self) -> None:
        names = (*_KINDS, 'memcached')
        self._ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self._configure()
        user = pwd.getpwuid(os.getuid()).pw_name
        self._run(
            'memcached',
            [
                '/usr/bin/memcached',
                '--listen=127.0.0.1',
                f'--port={self._ports["memcached"]}',
                '--memory-limit=16',
                f'--user={user}',
            ],
        )
        etc = self.root / 'etc'
        for kind in _KINDS:
            program = [f'/usr/bin/swift-{kind}-server', f'{etc}/{kind}.conf']
            self._run(
                kind,
                [_PYTHON, '-I', '-c', _LAUNCH, str(etc), *program, '-v'],
            )
        deadline = time.monotonic() + _PATIENCE
        for kind in _KINDS:
            self._await(kind, deadline)

    def _configure(self) -> None:
        etc = self.root / 'etc'
        (etc / 'swift.conf').write_text(_SWIFT_CONF)
        user = pwd.getpwuid(os.getuid()).pw_name
        for kind in _KINDS:
            text = _DEFAULTS + (_PROXY if kind == 'proxy' else _STORAGE)
            (etc / f'{kind}.conf').write_text(
                text.format(
                    port=self._ports[kind],
                    memcached=self._ports['memcached'],
                    kind=kind,
                    user=user,
                    root=self.root,
                )
            )
        rings = [
            text
            for kind in ('account', 'container', 'object')
            for text in (kind, str(self._ports[kind]))
        ]
        made = subprocess.run(
            [_PYTHON, '-I', '-c', _MAKE_RING, str(etc), *rings],
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
        )
        if made.returncode:
            raise RuntimeError(f'no rings: {made.stderr.decode()}')

    def _run(self, name: str, command: list[str]) -> None:
        with (self.root / 'log' / name).open('ab') as log:
            # None of them is to outlive a test process that was killed.
            self._processes[name] = subprocess.Popen(
                ['setpriv', '--pdeathsig', 'KILL', *command],
                cwd=self.root,
                env={'PATH': '/usr/bin:/bin', 'LANG': 'C.UTF-8'},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _await(self, kind: str, deadline: float) -> None:
        url = f'http://127.0.0.1:{self._ports[kind]}/healthcheck'
        while True:
            with (
                contextlib.suppress(OSError, url_error.URLError),
                url_request.urlopen(url, timeout=5),
            ):
                return
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f'Swift: {name} ended by itself')
            if time.monotonic() > deadline:
                raise RuntimeError(f'Swift: {kind} does not answer')
            time.sleep(0.05)

    def _stop(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()


_shared: list[Swift] = []


def shared() -> Swift:
    """The one that all tests of this process use; ends with the process.

    :raises unittest.SkipTest: this machine cannot run one
    """
    if not _shared:
        lacking = missing()
        if lacking:
            raise testtools.TestCase.skipException(lacking)
        swift = Swift()
        swift.setUp()
        atexit.register(swift.cleanUp)
        _shared.append(swift)
    return _shared[0]
