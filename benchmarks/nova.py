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

On the cloud that tools/onebox/up has brought up. Its Swift stands back as far
as Linux has it: elsewhere it would have processors of its own.
"""

from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import typing

import psutil

from benchmarks import measure
from benchmarks.peers import ekko
from benchmarks import report
from ekko_nova import client
from tests.cloud import onebox

__all__ = ('measured',)

_STATUS: typing.Final = (
    pathlib.Path(__file__).parents[1] / 'tools' / 'onebox' / 'status'
)
_PING: typing.Final = pathlib.Path(__file__).parent / 'ping.py'
_SECONDS: typing.Final = 15.0
_HOST: typing.Final = 'c1'


def measured(source: pathlib.Path, runs: int) -> Iterator[report.Sample]:
    """Median round trips, with and without a backup of a server.

    A backup into a directory is the data path alone, and the last row tells
    what any such work on the same processors does, wherever it comes from.

    :param source: a disk to compress
    """
    if subprocess.run([_STATUS], check=False, capture_output=True).returncode:
        sys.stderr.write('without nova: no cloud is up, see tools/onebox\n')
        return
    with contextlib.ExitStack() as stack:
        admin = stack.enter_context(onebox.connect('admin'))
        demo = stack.enter_context(onebox.connect('demo'))
        wanted = onebox.Wanted(flavor='ekko.2', host=_HOST)
        server = stack.enter_context(
            onebox.created('bench', demo, admin, wanted)
        )
        _fill(server)
        stack.enter_context(_swift_stands_back())
        for _ in range(runs):
            yield _sample('no backup')
            with _backups(demo, server):
                yield _sample('ekko-nova, full backups')
            with _into_a_directory(source):
                yield _sample('ekko-nova, into a directory')
            with _meanwhile(
                lambda: _nicely('zstd', '-1', '-T2', '-q', '-c', source)
            ):
                yield _sample('zstd -1 -T2, as nice')


@contextlib.contextmanager
def _swift_stands_back() -> Iterator[None]:
    _schedule_swift(os.SCHED_IDLE)
    try:
        yield
    finally:
        _schedule_swift(os.SCHED_OTHER)


def _schedule_swift(policy: int) -> None:
    for process in psutil.process_iter(['cmdline']):
        if any('/swift-' in word for word in process.info['cmdline'] or ()):
            for thread in process.threads():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setscheduler(thread.id, policy, os.sched_param(0))


def _fill(server: onebox.Server) -> None:
    """Stop a server, and write to its disk."""
    disk = server.disks()['vda']
    server.owner.compute.stop_server(server.id)
    server.wait('SHUTOFF')
    # 960 MiB, so that a backup takes a while.
    for offset in range(1024, 1984, 64):
        command = f'write -s /dev/urandom {offset}M 64M'
        onebox.run(_HOST, 'qemu-io', '-f', 'qcow2', '-c', command, disk)


def _sample(name: str) -> report.Sample:
    done = subprocess.run(
        [
            onebox.ROOT / 'venv' / 'bin' / 'python',
            # Not the modules beside the script, one of which is called nova.
            *('-P', '-W', 'ignore', _PING),
            onebox.ROOT / 'etc' / 'nova' / 'nova.conf',
            *(_HOST, str(_SECONDS)),
        ],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return report.Sample(
        'nova-compute, RPC', name, measure.Usage(float(done.stdout), 0.0)
    )


@contextlib.contextmanager
def _meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Again and again, until the context ends; what it raises is raised."""
    enough = threading.Event()

    def act() -> None:
        while not enough.is_set():
            action()

    with futures.ThreadPoolExecutor() as pool:
        acting = pool.submit(act)
        try:
            yield
        finally:
            enough.set()
            acting.result()


@contextlib.contextmanager
def _backups(demo: typing.Any, server: onebox.Server) -> Iterator[None]:
    """One full backup after the other, all the time."""
    api = client.attach(demo)
    taken = []

    def take() -> None:
        taken.append(api.create_backup(server_id=server.id, type='full'))
        api.wait_for_backup(taken[-1])

    try:
        with _meanwhile(take):
            yield
    finally:
        for backup in taken:
            api.delete_backup(backup)
            api.wait_for_backup_deleted(backup)


@contextlib.contextmanager
def _into_a_directory(source: pathlib.Path) -> Iterator[None]:
    """The same data path, and no Swift beside it."""
    parent = source.parent.absolute()
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        store = pathlib.Path(directory, 'store')
        command = ekko.manage(
            ekko.configure(pathlib.Path(directory)),
            *('backup', source, '--full', '--store', f'file://{store}'),
        )

        def take() -> None:
            _nicely(*command)
            shutil.rmtree(store)

        with _meanwhile(take):
            yield


def _nicely(*argv: str | os.PathLike[str]) -> None:
    """Run a command with the priority of a backup."""
    subprocess.run(
        ['nice', '-n', '10', *argv], check=True, stdout=subprocess.DEVNULL
    )
