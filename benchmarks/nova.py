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

"""Whether nova-compute answers as before while it takes a backup.

On the cloud that tools/onebox/up has brought up: a round trip is a server's
diagnostics, which nova-api asks nova-compute for over RPC.
"""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time
import typing

from benchmarks import measure
from benchmarks import report
from ekko_nova import client
from tests.cloud import onebox

__all__ = ('measured',)

_STATUS: typing.Final = (
    pathlib.Path(__file__).parents[1] / 'tools' / 'onebox' / 'status'
)
_SECONDS: typing.Final = 15.0
_PAUSE: typing.Final = 0.1


def measured(runs: int) -> Iterator[report.Sample]:
    """Median round trips, with and without a backup of another server.

    The third row tells how much of that any work on the same processors does,
    whatever it is and wherever it comes from.
    """
    if subprocess.run([_STATUS], check=False, capture_output=True).returncode:
        sys.stderr.write('without nova: no cloud is up, see tools/onebox\n')
        return
    with contextlib.ExitStack() as stack:
        admin = stack.enter_context(onebox.connect('admin'))
        demo = stack.enter_context(onebox.connect('demo'))
        wanted = onebox.Wanted(flavor='ekko.2', host='c1')
        asked, saved = (
            stack.enter_context(onebox.created(name, demo, admin, wanted))
            for name in ('bench-asked', 'bench-saved')
        )
        _fill(saved)
        for _ in range(runs):
            yield _sample('no backup', asked)
            with _backups(demo, saved):
                yield _sample('ekko-nova, full backups', asked)
            with _busy():
                yield _sample('busy loops, as nice', asked)


def _fill(server: onebox.Server) -> None:
    """Stop a server, and write to its disk."""
    disk = server.disks()['vda']
    server.owner.compute.stop_server(server.id)
    server.wait('SHUTOFF')
    # 960 MiB, so that a backup takes a while.
    for offset in range(1024, 1984, 64):
        command = f'write -s /dev/urandom {offset}M 64M'
        onebox.run('c1', 'qemu-io', '-f', 'qcow2', '-c', command, disk)


def _sample(name: str, server: onebox.Server) -> report.Sample:
    times = []
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        began = time.monotonic()
        server.admin.compute.get_server_diagnostics(server.id)
        times.append(time.monotonic() - began)
        time.sleep(_PAUSE)
    return report.Sample(
        'nova-compute, round trip',
        name,
        measure.Usage(statistics.median(times), 0.0),
    )


@contextlib.contextmanager
def _backups(demo: typing.Any, server: onebox.Server) -> Iterator[None]:
    """One full backup after the other, all the time."""
    api = client.attach(demo)
    enough = threading.Event()
    taken = []

    def take() -> None:
        while not enough.is_set():
            taken.append(api.create_backup(server_id=server.id, type='full'))
            api.wait_for_backup(taken[-1])

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
        for backup in taken:
            api.delete_backup(backup)
            api.wait_for_backup_deleted(backup)


@contextlib.contextmanager
def _busy() -> Iterator[None]:
    """As many processes as there are processors, that do nothing but run."""
    command = ['nice', '-n', '10', 'sh', '-c', 'while :; do :; done']
    processes = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
