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


"""Where blocks go that the guest overwrites while a backup reads them.

QEMU copies a block into the scratch file before the guest may overwrite it.
If that fails, **the guest's write fails** (QEMU 7.2 under libvirt 9.0), so
the space must never run out: a job is not begun without room for it, and is
ended when it comes close to the end of its room. Ending a job costs the
backup, and nothing else.

The space is watched by looking at the files, several times a second.
libvirt's block threshold events would need an event loop in this process and
fire once only; the price of looking is the margin: what a guest overwrites
between two looks must fit in.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import os
import pathlib
import secrets
import shutil
import threading
import typing

from oslo_log import log as logging
from oslo_utils import units

from ekko_nova import exception
from ekko_nova.virt import nbd

__all__ = ('JobDirectory', 'Places', 'job_directory', 'remove', 'watched')

LOG = logging.getLogger(__name__)

_PREFIX: typing.Final = 'ekko-'
_LOOK_SECONDS: typing.Final = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """Where a host keeps what a job needs.

    Both directories must be reachable for QEMU's user; if this process is
    not root they must be writable for that user too, for instance
    ``libvirt-qemu:nova`` with mode 2770.

    :ivar sockets: directory; short, a socket's path has 107 bytes at most
    :ivar scratch: directory with room for what guests overwrite meanwhile
    :ivar limit: bytes that one job's scratch files may take
    :ivar margin: bytes that must stay free beyond that
    """

    sockets: pathlib.Path
    scratch: pathlib.Path
    limit: int = 16 * units.Gi
    margin: int = units.Gi


@dataclasses.dataclass(frozen=True, slots=True)
class JobDirectory:
    """The private directories of one job.

    :ivar socket: path of the NBD server's socket
    :ivar scratch: directory of the scratch files
    """

    socket: str
    scratch: pathlib.Path

    def scratch_file(self, target: str) -> str:
        """Where a disk's overwritten blocks go."""
        return str(self.scratch / f'{target}.qcow2')

    def used(self) -> int:
        """Bytes that the scratch files take."""
        total = 0
        for path in self.scratch.iterdir():
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_blocks * 512
        return total


@contextlib.contextmanager
def job_directory(
    places: Places, owner: tuple[int, int] | None
) -> Iterator[JobDirectory]:
    """Directories for one job, removed at the end with all in them.

    :param owner: user and group of the QEMU that writes into them
    :raises exception.ScratchFull: there is not enough room to begin
    :raises exception.OperatorNeeded: they cannot be made
    """
    name = _PREFIX + secrets.token_hex(4)
    socket = str(places.sockets / name / 'nbd')
    nbd.check_socket_path(socket)
    with contextlib.ExitStack() as stack:
        for parent in {places.sockets, places.scratch}:
            stack.enter_context(_private(parent, name, owner))
        _require_room(places)
        yield JobDirectory(socket, places.scratch / name)


def remove(places: Places, name: str) -> None:
    """Remove the directories of a job whose process is gone."""
    for parent in {places.sockets, places.scratch}:
        shutil.rmtree(parent / name, ignore_errors=True)


@contextlib.contextmanager
def _private(
    parent: pathlib.Path, name: str, owner: tuple[int, int] | None
) -> Iterator[None]:
    path = parent / name
    try:
        # QEMU's user must be able to pass through, but not to list.
        parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        path.mkdir(mode=0o770)
    except OSError as e:
        raise exception.HypervisorFailed(
            f'making the directory {path}', str(e.strerror)
        ) from e
    try:
        if owner and os.geteuid() == 0:
            os.chown(path, *owner)
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _require_room(places: Places) -> None:
    free = shutil.disk_usage(places.scratch).free
    if free < places.margin:
        raise exception.ScratchFull(
            str(places.scratch),
            f'{free // units.Mi} MiB are free, {places.margin // units.Mi} '
            'MiB must stay free',
        )


@contextlib.contextmanager
def watched(
    places: Places, directory: JobDirectory, stop: Callable[[], None]
) -> Iterator[Callable[[], None]]:
    """Watch the scratch files; call ``stop`` before they fill their room.

    Yields a function that raises ``ScratchFull`` if that has happened.
    """
    ended = threading.Event()
    full: list[exception.ScratchFull] = []

    def look() -> None:
        while not ended.wait(_LOOK_SECONDS):
            try:
                reason = _reason_to_stop(places, directory)
            except OSError as e:
                # What cannot be watched may fill.
                reason = f'it cannot be watched: {e}'
            if reason:
                full.append(exception.ScratchFull(str(places.scratch), reason))
                LOG.error('ending a backup, the scratch is full: %s', reason)
                try:
                    stop()
                except exception.EkkoError as e:
                    LOG.error('the guest may see failing writes: %s', e)
                return

    def check() -> None:
        if full:
            raise full[0]

    thread = threading.Thread(target=look, name='ekko-scratch')
    thread.start()
    try:
        yield check
    finally:
        ended.set()
        thread.join()


def _reason_to_stop(places: Places, directory: JobDirectory) -> str | None:
    used = directory.used()
    if used > places.limit:
        return f'{used // units.Mi} MiB are used, more than the limit'
    free = shutil.disk_usage(places.scratch).free
    if free < places.margin // 2:
        return f'{free // units.Mi} MiB are left'
    return None
