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

"""Disks that no guest has open: ``qemu-nbd`` on a socket of its own.

A server runs without ``--persistent``, so that it ends with its last client:
if we are killed the kernel closes our connections, and it follows. (Linux's
PR_SET_PDEATHSIG would follow the thread that started it, not the process.)
Should we be killed before we connect, one is left that listens on
``<socket directory>/ekko-*.sock`` and keeps the image from being opened for
writing until somebody ends it; ``pgrep -f ekko-.*sock`` finds it.

What keeps a shut-off guest's incremental right is the order of these, all
under a lock that keeps the guest off: :func:`ekko_nova.virt.image.add_bitmap`
of the new bitmap, then :func:`serve` with the old one until everything is
read, and only when the backup is durable
:func:`ekko_nova.virt.image.remove_bitmap` of the old.
"""

from collections.abc import Iterator
import contextlib
import logging
import os
import secrets
import subprocess
import tempfile
import typing

from ekko_nova import block
from ekko_nova import direct
from ekko_nova import exception
from ekko_nova import memory
from ekko_nova.virt import file_target
from ekko_nova.virt import image
from ekko_nova.virt import nbd
from ekko_nova.virt import nbd_target

__all__ = ('create_target', 'serve')

LOG = logging.getLogger(__name__)

EXPORT = 'disk'
TERMINATE_SECONDS = 30.0
STDERR_MAX = 4096


@contextlib.contextmanager
def serve(
    path: str,
    format: str,
    *,
    bitmap: str | None = None,
    socket_directory: str,
    connections: int = 4,
    disk: str | None = None,
) -> Iterator[nbd.NbdSource]:
    """Read an image, and what it is backed by, while no guest runs on it.

    A guest cannot be started on it meanwhile.

    :param bitmap: a dirty bitmap of the image, for an incremental
    :param socket_directory: where the socket is made; give it a short name
    :param disk: what messages call the disk, its path by default
    :raises exception.InvalidSource: a running QEMU has the image open, or
        there is no such image
    :raises exception.BitmapUnusable: the image has no such bitmap, or it
        missed writes
    :raises exception.HypervisorFailed: qemu-nbd could not serve it
    """
    path = os.path.abspath(path)
    disk = disk or path
    found = image.info(path, format)
    options = ['--read-only', _cache(path, found.backing)]
    if bitmap is not None:
        _require_bitmap(found.bitmaps, bitmap, disk)
        options.append(f'--bitmap={bitmap}')
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            _running(path, format, options, socket_directory, connections)
        )
        source = nbd.NbdSource(
            server.socket,
            EXPORT,
            disk=disk,
            bitmap=bitmap,
            connections=connections,
            liveness=lambda: server.check(exception.SourceLost, disk),
        )
        with server.starting(exception.SourceLost):
            stack.enter_context(source)
        yield source


def _require_bitmap(
    bitmaps: tuple[image.BitmapInfo, ...], bitmap: str, disk: str
) -> None:
    """See that the image itself has the bitmap, and that it is complete.

    qemu-nbd looks for it down the backing chain too, as far as QEMU 7.2 and
    beyond: it would pass off the bitmap of a backing file, which knows
    nothing of what was written since, as that of the disk.
    """
    found = next((each for each in bitmaps if each.name == bitmap), None)
    if found is None:
        reason = 'the image has no such bitmap'
    elif found.inconsistent:
        reason = 'QEMU did not save it when it last closed the image'
    elif not found.recording:
        reason = 'it does not record'
    elif found.partial:
        reason = 'it continues that of an image beneath'
    else:
        return
    raise exception.BitmapUnusable(disk, bitmap, reason)


@contextlib.contextmanager
def create_target(
    path: str,
    format: str,
    size: int,
    socket_directory: str,
    *,
    connections: int = 4,
) -> Iterator[block.BlockTarget]:
    """Create an image and write it; it is removed again if the body raises.

    :param format: 'qcow2'; or 'raw', for a file or an existing block device
    :param size: of the disk in bytes
    :raises exception.TargetExists: something is there
    :raises exception.TargetFailed: it cannot be created, or not written
    :raises exception.HypervisorFailed: qemu-nbd could not serve it
    """
    path = os.path.abspath(path)
    if format == 'raw':
        with file_target.FileTarget(path, size) as raw:
            yield raw
        return
    image.create(path, format, size)
    try:
        file_target.sync_directory(path)
        with _writable(path, format, socket_directory, connections) as target:
            yield target
    except BaseException:
        os.unlink(path)
        raise


@contextlib.contextmanager
def _writable(
    path: str, format: str, socket_directory: str, connections: int
) -> Iterator[nbd_target.NbdTarget]:
    options = [_cache(path), '--discard=unmap', '--detect-zeroes=off']
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            _running(path, format, options, socket_directory, connections)
        )
        target = nbd_target.NbdTarget(
            server.socket,
            EXPORT,
            target=path,
            connections=connections,
            liveness=lambda: server.check(exception.TargetFailed, path),
        )
        with server.starting(exception.TargetFailed):
            stack.enter_context(target)
        yield target


def _cache(*paths: str | None) -> str:
    """Past the page cache, if the file systems let us; either can be flushed.

    Cold, 2 GiB are read in two thirds of the time, and written in half.
    """
    if all(direct.is_supported(path) for path in paths if path is not None):
        return '--cache=none'
    return '--cache=writeback'


class _Server:
    """A qemu-nbd process and its last words."""

    def __init__(
        self,
        path: str,
        socket: str,
        process: subprocess.Popen[bytes],
        stderr: typing.BinaryIO,
    ) -> None:
        self.socket = socket
        self._path = path
        self._process = process
        self._stderr = stderr

    def _complaint(self) -> str:
        # Not read(): the process shares the file's position.
        said = os.pread(self._stderr.fileno(), STDERR_MAX, 0)
        return said.decode(errors='replace').strip()

    def check(
        self,
        error: type[exception.SourceLost | exception.TargetFailed],
        name: str,
    ) -> None:
        """Raise the error if the process has ended."""
        status = self._process.poll()
        if status is not None:
            raise error(
                name,
                f'qemu-nbd ended with status {status}: {self._complaint()}',
            )

    @contextlib.contextmanager
    def starting(self, error: type[exception.EkkoError]) -> Iterator[None]:
        """If it does not come up, say why instead of the error."""
        try:
            yield
        except error as lost:
            raise image.failure(
                self._path, self._complaint() or str(lost), self._failed
            ) from lost

    def _failed(self, reason: str) -> exception.HypervisorFailed:
        return exception.HypervisorFailed(f'qemu-nbd of {self._path}', reason)


@contextlib.contextmanager
def _running(
    path: str,
    format: str,
    options: list[str],
    socket_directory: str,
    connections: int,
) -> Iterator[_Server]:
    socket = os.path.join(
        os.path.abspath(socket_directory), f'ekko-{secrets.token_hex(4)}.sock'
    )
    nbd.check_socket_path(socket)
    argv = [
        'qemu-nbd',
        f'--socket={socket}',
        f'--shared={connections}',
        f'--export-name={EXPORT}',
        f'--format={format}',
        *options,
        path,
    ]
    with tempfile.TemporaryFile() as stderr:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={
                    'GLIBC_TUNABLES': memory.TUNABLES,
                    **os.environ,
                    'LC_ALL': 'C',
                },
                # Ctrl-C on a terminal is for us alone.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise exception.HypervisorFailed(
                'qemu-nbd', 'it is not installed; install qemu-utils'
            ) from error
        try:
            LOG.debug('qemu-nbd serves image=%s socket=%s', path, socket)
            yield _Server(path, socket, process, stderr)
        finally:
            _end(process)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(socket)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(TERMINATE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
