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

A job needs at most as much as its disks hold, and is given no more than the
limit, so it begins if ``min(limit, sizes of its disks) + margin`` bytes are
free. It is ended when its files take more than the limit, or when, whoever
took the rest, less than half of the margin is free.

The space is watched by looking at the files, several times a second.
libvirt's block threshold events would need an event loop in this process and
fire once only, and they do not see what others write to the same file system;
the price of looking is the margin: what a guest overwrites between two looks
must fit in.

The directories of a job are locked while its process lives (``flock``), so
that those of a process that was killed are recognised, and removed. QEMU may
still write to a file there: it goes on, and the space is free once it closes.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import fcntl
import logging
import os
import pathlib
import re
import secrets
import shutil
import stat
import threading
import typing

from oslo_utils import units

from ekko_nova import exception
from ekko_nova.virt import nbd

__all__ = (
    'JobDirectory',
    'Places',
    'collect',
    'is_in_use',
    'is_left',
    'job_directory',
    'locked',
    'shortage',
    'watched',
)

LOG = logging.getLogger(__name__)

_PREFIX: typing.Final = 'ekko-'
_NAME: typing.Final = re.compile(_PREFIX + '[0-9a-f]{8}')
_SOCKET: typing.Final = 'nbd'
_LOOK_SECONDS: typing.Final = 0.1
#: Between two attempts to end a job.
_AGAIN_SECONDS: typing.Final = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """Where a host keeps what a job needs.

    Both directories must be reachable for QEMU's user. If this process is
    not root they must belong to that user and a group of ours, with mode
    0770, for instance ``libvirt-qemu:nova``.

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
    places: Places, owner: tuple[int, int] | None, *, sizes: int
) -> Iterator[JobDirectory]:
    """Directories for one job, removed at the end with all in them.

    :param sizes: of all its disks together, in bytes
    :param owner: user and group of the QEMU that writes into them
    :raises exception.ScratchFull: there is not enough room to begin
    :raises exception.OperatorNeeded: they cannot be made
    """
    name = _PREFIX + secrets.token_hex(4)
    socket = str(places.sockets / name / _SOCKET)
    nbd.check_socket_path(socket)
    with contextlib.ExitStack() as stack:
        for parent in {places.sockets, places.scratch}:
            stack.enter_context(_private(parent, name, owner))
        _require_room(places, sizes)
        yield JobDirectory(socket, places.scratch / name)


def collect(places: Places) -> None:
    """Remove what processes that were killed have left."""
    for parent in {places.sockets, places.scratch}:
        if not parent.is_dir():
            continue
        with locked(parent, fcntl.LOCK_EX):
            for path in parent.glob(f'{_PREFIX}*/'):
                if not is_in_use(path):
                    LOG.info('removing what a job left: path=%s', path)
                    shutil.rmtree(path, ignore_errors=True)


def is_left(socket: pathlib.Path, places: Places) -> bool:
    """Whether a job at this socket is one that a process of ours left.

    It may have had other places, if the configuration was changed; of those
    it has to be seen that the process does not live.
    """
    directory = socket.parent
    if socket.name != _SOCKET or not _NAME.fullmatch(directory.name):
        return False
    # os.access is false, too, for what is not there.
    known = directory.parent == places.sockets or os.access(directory, os.R_OK)
    return known and not is_in_use(directory)


def is_in_use(path: pathlib.Path) -> bool:
    """Whether the process lives that made this directory, or file."""
    try:
        with locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


@contextlib.contextmanager
def locked(path: pathlib.Path, operation: int) -> Iterator[None]:
    """With a lock on what others find by its name, see :func:`is_in_use`.

    :param operation: one of :func:`fcntl.flock`
    :raises OSError: it is not there, or is locked
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _private(
    parent: pathlib.Path, name: str, owner: tuple[int, int] | None
) -> Iterator[None]:
    path = parent / name
    with contextlib.ExitStack() as stack:
        try:
            # QEMU's user must be able to pass through, but not to list.
            parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            with locked(parent, fcntl.LOCK_SH):
                path.mkdir(mode=0o770)
                stack.callback(shutil.rmtree, path, ignore_errors=True)
                stack.enter_context(locked(path, fcntl.LOCK_SH))
            _share(path, owner)
        except OSError as e:
            raise exception.HypervisorFailed(
                f'making the directory {path}', e.strerror or str(e)
            ) from e
        yield


def _share(path: pathlib.Path, owner: tuple[int, int] | None) -> None:
    """Let QEMU's user into a directory, and nobody else.

    :param owner: user and group of QEMU
    :raises exception.HypervisorFailed: that takes a privilege we do not have
    """
    if owner is None or owner[0] == os.geteuid():
        return
    if os.geteuid() == 0:
        os.chown(path, *owner)
    elif path.parent.stat().st_mode & stat.S_IRWXO == 0:
        # Its parent keeps everybody else out. What QEMU makes in there
        # belongs to our group (setgid), so that we may connect to its socket.
        path.chmod(stat.S_ISGID | 0o777)
    else:
        raise exception.HypervisorFailed(
            f'sharing the directory {path} with QEMU',
            f'{path.parent} is open to others; as root, make it of the '
            f'owner {owner[0]}, the group {os.getegid()} and mode 0770',
        )


def _require_room(places: Places, sizes: int) -> None:
    needed = min(places.limit, sizes) + places.margin
    lacks = shortage(places.scratch, needed)
    if lacks is not None:
        raise exception.ScratchFull(str(places.scratch), lacks)


def shortage(directory: pathlib.Path, needed: int) -> str | None:
    """In words, that there are not as many bytes free; ``None`` if there are.

    :param needed: bytes
    """
    free = shutil.disk_usage(directory).free
    if free >= needed:
        return None
    return (
        f'{free // units.Mi} MiB are free, '
        f'{-(-needed // units.Mi)} MiB must be'
    )


@contextlib.contextmanager
def watched(
    places: Places, directory: JobDirectory, stop: Callable[[], None]
) -> Iterator[Callable[[], None]]:
    """Watch the scratch files; call ``stop`` before they fill their room.

    If that fails it is called again, until it succeeds or the context ends.

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
                while not _has_stopped(stop):
                    if ended.wait(_AGAIN_SECONDS):
                        break
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


def _has_stopped(stop: Callable[[], None]) -> bool:
    try:
        stop()
    except exception.EkkoError as e:
        LOG.error('the guest may see failing writes: %s', e)
        return False
    return True


def _reason_to_stop(places: Places, directory: JobDirectory) -> str | None:
    used = directory.used()
    if used > places.limit:
        return f'{used // units.Mi} MiB are used, more than the limit'
    free = shutil.disk_usage(places.scratch).free
    if free < places.margin // 2:
        return f'{free // units.Mi} MiB are left'
    return None
