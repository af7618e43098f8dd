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

import hashlib
import json
import pathlib
import subprocess
import tempfile
import typing

from ekko_nova.backup import record as records
from tests.cloud import onebox

__all__ = ('JOBS', 'Backups', 'Failed', 'stopped_worker')

_ETC: typing.Final = onebox.ROOT / 'etc' / 'nova'
_MANAGE: typing.Final = onebox.ROOT / 'venv' / 'bin' / 'ekko-manage'
_NOVA: typing.Final = [
    *('--nova-config-file', str(_ETC / 'nova.conf')),
    *('--nova-config-file', str(_ETC / 'controller.conf')),
]
#: In brackets, so that a command line with the pattern is not meant itself.
_WORKER: typing.Final = '[e]kko_nova.compute.worker'
#: Sockets and scratch files of backups, in a host.
JOBS: typing.Final = '/var/lib/nova/ekko'


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

        record = onebox.wait_until(f'backup {backup} is {status}', reached)
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


def stopped_worker(server: onebox.Server, reads: bool = True) -> str:
    """Stop the worker of a server, as soon as there is one.

    :param reads: not before it reads the disks, and has let Nova go on
    :returns: its process, in the host; send it SIGCONT, or kill it
    """
    # At once: it does not live for long. A socket in state 03 is connected.
    condition = f"grep -q ' 03 .* {JOBS}/' /proc/net/unix" if reads else 'true'
    script = (
        f'until {condition} && pkill -STOP -f "{_WORKER}"; '
        f'do sleep 0.01; done; pgrep -f "{_WORKER}"'
    )
    return onebox.run(server.host, 'timeout', '60', 'sh', '-c', script).strip()
