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

"""Private directories that outlive nobody.

A process that is killed leaves its directories. Each is locked (``flock``)
while its process lives, so that the next to make one beside it can tell which
are left over, and removes them.
"""

from collections.abc import Iterator
import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import socket
import tempfile

from ekko_nova import exception

__all__ = ('collect', 'directory')


def _prefix() -> str:
    """What the directories of this host are called, and nothing else is.

    Another host's locks may not be seen here, on NFS for one.
    """
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()
    return f'.ekko-{host[:8]}-'


@contextlib.contextmanager
def directory(parent: pathlib.Path | None = None) -> Iterator[pathlib.Path]:
    """A directory that only this user can enter, removed at the end.

    :param parent: where it is made; ``None`` for the system's choice
    :raises exception.TargetFailed: it cannot be made
    """
    with contextlib.ExitStack() as stack:
        try:
            where = parent or pathlib.Path(tempfile.gettempdir())
            collect(where)
            path, descriptor = _make(where)
        except OSError as e:
            raise exception.TargetFailed(
                str(parent or 'a temporary directory'), e.strerror or str(e)
            ) from e
        stack.callback(os.close, descriptor)
        stack.callback(shutil.rmtree, path, ignore_errors=True)
        yield path


def collect(parent: pathlib.Path) -> None:
    """Remove what processes of ours that were killed have left."""
    for path in parent.glob(f'{_prefix()}*'):
        # Somebody else's, or just removed: none of our business.
        with contextlib.suppress(OSError):
            descriptor = _open(path)
            try:
                mine = os.fstat(descriptor).st_uid == os.geteuid()
                if mine and _lock(descriptor, fcntl.LOCK_EX):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _make(parent: pathlib.Path) -> tuple[pathlib.Path, int]:
    """A new directory, and the descriptor that holds its lock."""
    while True:
        path = pathlib.Path(tempfile.mkdtemp(prefix=_prefix(), dir=parent))
        # Between its making and its locking, somebody may have taken it for
        # a leftover.
        with contextlib.suppress(FileNotFoundError):
            descriptor = _open(path)
            if _lock(descriptor, fcntl.LOCK_SH):
                return path, descriptor
            os.close(descriptor)


def _open(path: pathlib.Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _lock(descriptor: int, operation: int) -> bool:
    """Whether we got the lock, and the directory is still there."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0
