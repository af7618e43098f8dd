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

"""Objects as files of a directory, local or on a network filesystem.

An object is written to a file in ``+incomplete``, synced, and then given its
name in one step, so nobody ever sees a part of it. ``+`` cannot stand in an
object's name; a file with it in its path is none of ours and not listed.

The writer holds ``flock`` on its file until the name is given. A file there
that can be locked was therefore left by a process that died; the next one to
open the store removes it.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import errno
import fcntl
import io
import logging
import os
import pathlib
import secrets
import stat
import sys
import typing

from ekko_nova.backup.store import base
from ekko_nova.backup.store import location as store_location
from ekko_nova.backup.store import naming
from ekko_nova.backup.store import walk
from ekko_nova import block
from ekko_nova import direct
from ekko_nova import exception

__all__ = ('DirectoryStore',)

LOG = logging.getLogger(__name__)

_INCOMPLETE: typing.Final = '+incomplete'

#: How often ``put`` makes a directory anew that a ``delete`` elsewhere found
#: empty and removed.
_DIRECTORY_RACES: typing.Final = 64

_ABSENT: typing.Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.EISDIR))
_FULL: typing.Final = frozenset((errno.ENOSPC, errno.EDQUOT))
_DENIED: typing.Final = frozenset(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV, errno.ENAMETOOLONG)
)


def _sync(directory: pathlib.Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directory(path: pathlib.Path) -> None:
    """Make a directory and all that it lies in, each durably."""
    try:
        path.mkdir(0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(0o700)
    _sync(path.parent)


def _write(path: pathlib.Path, descriptor: int, data: block.Buffer) -> None:
    """Write all of ``data``, durably."""
    with direct.DirectFile(path, descriptor) as file:
        file.write(0, data)
    os.fsync(descriptor)


def _create(path: pathlib.Path) -> io.FileIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return os.fdopen(os.open(path, flags, 0o600), 'wb', buffering=0)


def _lock(descriptor: int) -> bool:
    """Whether we got the lock, and the file still has a name."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def _remove_abandoned(path: pathlib.Path) -> None:
    """Remove an incomplete object unless somebody is writing it."""
    try:
        # NFS wants a file open for writing before it locks it exclusively.
        with path.open('r+b', buffering=0) as file:
            if _lock(file.fileno()):
                path.unlink()
                LOG.info('removed incomplete object %s', path)
    except OSError as e:
        LOG.debug('incomplete object %s stays: %s', path, e)


class DirectoryStore(base.Store):
    """A directory, made with mode 0700 if it is not there.

    :param path: of the directory
    :raises exception.InvalidOption: ``path`` is something else
    :raises exception.StoreDenied: it cannot be made
    """

    properties = base.Properties(
        persistent=True, shared=True, max_object_size=sys.maxsize
    )

    def __init__(self, path: str | pathlib.Path) -> None:
        self._root = pathlib.Path(path).absolute()
        self._incomplete = self._root / _INCOMPLETE
        with self._errors():
            with contextlib.suppress(NotADirectoryError):
                _make_directory(self._root)
            if not self._root.is_dir():
                raise exception.InvalidOption(
                    'store', self.url, 'name a directory; this is none'
                )
            self._identity = self._root_identity()
        # Who may only read can still list and restore.
        with contextlib.suppress(OSError):
            for abandoned in self._incomplete.iterdir():
                _remove_abandoned(abandoned)

    @classmethod
    def open(
        cls, location: store_location.Location, environment: Mapping[str, str]
    ) -> typing.Self:
        if location.host or not location.path.startswith('/'):
            raise exception.InvalidOption(
                'store', location, 'write file:///PATH'
            )
        return cls(location.path)

    @classmethod
    def siblings(
        cls,
        location: store_location.Location,
        environment: Mapping[str, str],
        placeholder: str,
    ) -> Iterator[str]:
        before, _, after = location.path.partition(placeholder)
        parent, _, start = before.rpartition('/')
        end, _, rest = after.partition('/')
        try:
            found = sorted(os.listdir(parent or '/'))
        except FileNotFoundError:
            return
        except OSError as e:
            raise exception.StoreDenied(str(location), str(e)) from e
        for name in found:
            middle = name.removeprefix(start).removesuffix(end)
            path = pathlib.Path(f'{parent}/{start}{middle}{end}', rest)
            whole = f'{start}{middle}{end}'
            if middle and name == whole and path.is_dir():
                yield middle

    @property
    def url(self) -> str:
        return self._root.as_uri()

    def put(
        self, name: str, data: block.Buffer, *, if_absent: bool = False
    ) -> None:
        target = self._path(name)
        self._check_root()
        with self._errors(), self._incomplete_file(data) as incomplete:
            try:
                self._give_name(incomplete, target, if_absent=if_absent)
            except FileExistsError as e:
                # It may be from a call that failed before that was durable.
                self._sync_up(target.parent)
                raise exception.ObjectExists(self.url, name) from e
            except (IsADirectoryError, NotADirectoryError) as e:
                raise exception.InvalidName(
                    'object', name, 'an object cannot lie inside another'
                ) from e

    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        with self._errors(name), self._path(name).open('rb') as file:
            rest = max(0, os.fstat(file.fileno()).st_size - offset)
            wanted = rest if length is None else min(length, rest)
            file.seek(offset)
            data = file.read(wanted)
        if len(data) != wanted:
            raise exception.StoreUnavailable(
                self.url, f'{name} ended after {len(data)} of {wanted} bytes'
            )
        return data

    def list(self, prefix: str = '') -> Iterator[base.ObjectStat]:
        naming.check_prefix(prefix)
        with self._errors():
            for name in walk.walk(self._root, prefix):
                # Deleted meanwhile is as good as not there.
                with contextlib.suppress(FileNotFoundError):
                    size = (self._root / name).stat().st_size
                    yield base.ObjectStat(name, size, None)
        self._check_root()

    def stat(self, name: str) -> base.ObjectStat:
        with self._errors(name):
            status = self._path(name).stat()
        if stat.S_ISDIR(status.st_mode):
            raise exception.ObjectMissing(self.url, name)
        return base.ObjectStat(name, status.st_size, None)

    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._errors():
            # With a directory or a file in its place, it is not there either.
            with contextlib.suppress(
                FileNotFoundError, IsADirectoryError, NotADirectoryError
            ):
                path.unlink()
            # Even if it was gone: a call that failed half-way may have
            # removed it without making that durable.
            self._sync_up(path.parent)
            self._remove_empty(path.parent)
        self._check_root()

    def _path(self, name: str) -> pathlib.Path:
        return self._root / naming.check(name)

    @contextlib.contextmanager
    def _errors(self, name: str | None = None) -> Iterator[None]:
        """Let no ``OSError`` through.

        :param name: the object that is missing if a file is
        """
        try:
            yield
        except OSError as e:
            if name is not None and e.errno in _ABSENT:
                self._check_root()
                raise exception.ObjectMissing(self.url, name) from e
            reason = e.strerror or str(e)
            if e.errno in _FULL:
                raise exception.StoreFull(self.url, reason) from e
            if e.errno in _DENIED:
                raise exception.StoreDenied(self.url, reason) from e
            raise exception.StoreUnavailable(self.url, reason) from e

    def _root_identity(self) -> tuple[int, int]:
        status = self._root.stat()
        return status.st_dev, status.st_ino

    def _check_root(self) -> None:
        """Tell a store without objects from one that was unmounted."""
        with self._errors():
            if self._root_identity() == self._identity:
                return
        raise exception.StoreUnavailable(
            self.url, 'another directory has taken its place'
        )

    @contextlib.contextmanager
    def _incomplete_file(self, data: block.Buffer) -> Iterator[pathlib.Path]:
        """A locked file with ``data`` in it, removed unless it is renamed."""
        _make_directory(self._incomplete)
        while True:
            path = self._incomplete / secrets.token_hex(16)
            with _create(path) as file:
                try:
                    # Between its making and its locking, somebody may have
                    # taken the file for abandoned.
                    if not _lock(file.fileno()):
                        continue
                    _write(path, file.fileno(), data)
                    yield path
                    return
                finally:
                    path.unlink(missing_ok=True)

    def _give_name(
        self,
        incomplete: pathlib.Path,
        target: pathlib.Path,
        *,
        if_absent: bool,
    ) -> None:
        for _ in range(_DIRECTORY_RACES):
            try:
                _make_directory(target.parent)
                if if_absent:
                    target.hardlink_to(incomplete)
                else:
                    incomplete.rename(target)
            except FileNotFoundError:
                self._check_root()
                continue
            self._sync_up(target.parent)
            return
        raise exception.StoreUnavailable(
            self.url, f'the directory of {target.name} keeps being removed'
        )

    def _sync_up(self, directory: pathlib.Path) -> None:
        """Make the names in a directory durable, and its own name too.

        Somebody else may have made it and not synced its name yet.
        """
        while True:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                _sync(directory)
            if directory == self._root:
                return
            directory = directory.parent

    def _remove_empty(self, directory: pathlib.Path) -> None:
        # Not empty, already gone, not ours to remove: each is well.
        with contextlib.suppress(OSError):
            while directory != self._root:
                directory.rmdir()
                directory = directory.parent
