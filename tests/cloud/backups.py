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


"""Backups of the cloud's servers, as its operator takes them."""

from collections.abc import Callable
from concurrent import futures
import dataclasses
import hashlib
import json
import pathlib
import subprocess
import tempfile
import typing

from ekko_nova.backup import record as records
from tests.cloud import onebox

__all__ = ('Backups', 'Failed', 'Worker', 'stopped_worker')

_ETC: typing.Final = onebox.ROOT / 'etc' / 'nova'
_MANAGE: typing.Final = onebox.ROOT / 'venv' / 'bin' / 'ekko-manage'
_NOVA: typing.Final = [
    *('--nova-config-file', str(_ETC / 'nova.conf')),
    *('--nova-config-file', str(_ETC / 'controller.conf')),
]
#: Sockets and scratch files of backups, in a host.
_JOBS: typing.Final = '/var/lib/nova/ekko'


class Failed(Exception):
    """ekko-manage failed; what it said."""


def _manage(*words: str) -> str:
    done = subprocess.run(
        [_MANAGE, *words],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode != 0:
        raise Failed(done.stderr.strip())
    return done.stdout


class Backups:
    """Of one server."""

    def __init__(self, server: onebox.Server) -> None:
        self._server = server
        self._project = str(server.details().project_id)

    def create(self, *options: str) -> str:
        """Take one; returns its id when it is available."""
        return self._instance('backup', '--wait', *options)

    def begin(self, *options: str) -> str:
        """Have one taken; returns its id at once."""
        return self._instance('backup', *options)

    def restore(self, backup: str) -> None:
        """Restore the server in place."""
        self._instance('restore', backup, '--wait')

    def begin_restore(self, backup: str) -> None:
        """Have it restored in place."""
        self._instance('restore', backup)

    def cancel(self, backup: str) -> None:
        """Have one end."""
        _manage('instance', 'cancel', self._server.id, backup, *_NOVA)

    def show(self, backup: str) -> dict[str, typing.Any]:
        """Its record."""
        shown: dict[str, typing.Any] = json.loads(
            self._store('show', backup, '-f', 'json')
        )
        return shown

    def listed(self) -> list[dict[str, typing.Any]]:
        """Those of this server, oldest first."""
        found: list[dict[str, typing.Any]] = json.loads(
            self._store('list', '--server', self._server.id, '-f', 'json')
        )
        return found

    def wait(self, backup: str, status: str) -> dict[str, typing.Any]:
        """Its record, once it is so.

        :raises Failed: it has ended in another way
        """

        def reached() -> dict[str, typing.Any] | None:
            try:
                found = self.show(backup)
            except Failed:
                return None
            return found if found['status'] in records.ENDED else None

        record = onebox.wait_until(
            f'backup {backup} is {status}',
            reached,
            # Each look is a process that starts.
            pause=1,
        )
        if record['status'] != status:
            raise Failed(f'backup {backup} is not {status}: {record}')
        return record

    def digest(self, backup: str, disk: str = 'vda') -> str:
        """SHA-256 of a disk of a backup, restored to a file."""
        with tempfile.TemporaryDirectory() as directory:
            output = pathlib.Path(directory, 'disk.raw')
            self._store(
                *('restore', backup, '--disk', disk, '--output', str(output))
            )
            with output.open('rb') as file:
                return hashlib.file_digest(file, 'sha256').hexdigest()

    def _instance(self, verb: str, *words: str) -> str:
        return _manage(
            *('instance', verb, self._server.id, *words, *_NOVA),
            *('-f', 'value', '-c', 'id'),
        ).strip()

    def _store(self, *words: str) -> str:
        return _manage(
            *('--config-file', str(_ETC / 'ekko.conf')),
            *(*words, '--project', self._project),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Worker:
    """One that was stopped.

    :ivar host: where it is
    :ivar process: its number there
    :ivar directory: of its job with QEMU; empty if it has none
    """

    host: str
    process: str
    directory: str

    def signal(self, name: str) -> None:
        """Have it go on with ``CONT``, or ``KILL`` it."""
        onebox.run(self.host, 'kill', f'-{name}', self.process)

    def has_directory(self) -> bool:
        """Whether its job has left anything."""
        name = pathlib.PurePath(self.directory).name
        return name in onebox.run(self.host, 'ls', _JOBS).split()


_T = typing.TypeVar('_T')


def stopped_worker(
    server: onebox.Server, begin: Callable[[], _T], kind: str = 'backup'
) -> tuple[_T, Worker]:
    """Begin something, and stop the worker of the server that does it.

    :param begin: has it begun
    :param kind: the worker of a backup is not stopped before it reads the
        disks, and has let Nova go on; that of a restore as soon as there is
        one
    :returns: what ``begin`` returns, and the worker
    """
    # Looked for from before on: it does not live for long.
    with futures.ThreadPoolExecutor() as pool:
        worker = pool.submit(_stopped, server, kind)
        return begin(), worker.result()


def _stopped(server: onebox.Server, kind: str) -> Worker:
    # In brackets, so that the command line with the pattern is not meant.
    worker = f'[e]kko_nova.compute.worker [0-9]+ {kind} .*instance={server.id}'
    lines = [f'until pid=$(pgrep -f "{worker}"); do sleep 0.05; done']
    if kind == 'backup':
        # It holds its directory open; a socket in state 03 is connected.
        lines.append(
            f'until job=$(readlink /proc/$pid/fd/* | grep -m1 "^{_JOBS}/") && '
            'grep -q " 03 .* $job/" /proc/net/unix; do sleep 0.01; done'
        )
    lines.append('kill -STOP $pid; echo $pid $job')
    said = onebox.run(
        server.host, 'timeout', '60', 'sh', '-c', '\n'.join(lines)
    )
    process, _, directory = said.strip().partition(' ')
    return Worker(server.host, process, directory)
