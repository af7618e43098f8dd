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
import contextlib
import errno
import fcntl
import heapq
import os
import pathlib
import secrets
import sys
import typing

from oslo_log import log as logging

from ekko_nova.backup.store import base
from ekko_nova.backup.store import naming
from ekko_nova import block
from ekko_nova import exception

__all__ = ('DirectoryStore',)

LOG = logging.getLogger(__name__)

_INCOMPLETE: typing.Final = '+incomplete'

#: Entries of one directory that ``list`` sorts at a time, about 20 MiB. One
#: with more is read several times over rather than held in memory.
_BATCH: typing.Final = 128 * 1024

#: How often ``put`` makes a directory anew that a ``delete`` elsewhere found
#: empty and removed.
_DIRECTORY_RACES: typing.Final = 64

_FULL: typing.Final = frozenset((errno.ENOSPC, errno.EDQUOT))
_DENIED: typing.Final = frozenset(
    (
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EXDEV,
        errno.ENAMETOOLONG,
    )
)


def _sync(directory: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directory(path: str) -> None:
    """Make a directory and all that it lies in, each durably."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_directory(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
    _sync(os.path.dirname(path))


def _write(descriptor: int, data: block.Buffer) -> None:
    """Write all of ``data``, durably."""
    with memoryview(data).cast('B') as rest:
        written = 0
        while written < len(rest):
            written += os.write(descriptor, rest[written:])
    os.fsync(descriptor)


class DirectoryStore(base.Store):
    """A directory, made with mode 0700 if it is not there.

    :param path: of the directory
    :raises exception.InvalidOption: ``path`` is something else
    :raises exception.StoreDenied: it cannot be made
    """

    properties = base.Properties(
        persistent=True, shared=True, max_object_size=sys.maxsize
    )

    def __init__(self, path: str) -> None:
        self._root = os.path.abspath(path)
        self._incomplete = os.path.join(self._root, _INCOMPLETE)
        with self._errors():
            try:
                _make_directory(self._root)
            except NotADirectoryError as e:
                raise self._not_a_directory() from e
            if not os.path.isdir(self._root):
                raise self._not_a_directory()
        self._remove_abandoned()

    def _not_a_directory(self) -> exception.InvalidOption:
        return exception.InvalidOption(
            'store', self.url, 'name a directory, or one that can be made'
        )

    @property
    def url(self) -> str:
        return pathlib.Path(self._root).as_uri()

    def put(
        self, name: str, data: block.Buffer, *, if_absent: bool = False
    ) -> None:
        target = self._path(name)
        with self._errors(), self._incomplete_file(data) as incomplete:
            try:
                self._give_name(incomplete, target, if_absent=if_absent)
            except FileExistsError as e:
                raise exception.ObjectExists(self.url, name) from e
            except (IsADirectoryError, NotADirectoryError) as e:
                raise exception.InvalidName(
                    'object', name, 'part of it is the name of another object'
                ) from e

    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        with self._errors(name), open(self._path(name), 'rb') as file:
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
            for name in self._walk('', prefix):
                # Deleted, meanwhile, is as good as not there.
                with contextlib.suppress(FileNotFoundError):
                    status = os.stat(os.path.join(self._root, name))
                    yield base.ObjectStat(name, status.st_size, None)
            self._check_root()

    def stat(self, name: str) -> base.ObjectStat:
        path = self._path(name)
        with self._errors(name):
            if os.path.isdir(path):
                raise exception.ObjectMissing(self.url, name)
            return base.ObjectStat(name, os.stat(path).st_size, None)

    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._errors():
            # An object inside what is an object itself, or the other way
            # round, is not there.
            with contextlib.suppress(
                FileNotFoundError, NotADirectoryError, IsADirectoryError
            ):
                os.unlink(path)
            # Not only after a removal: one that an earlier, failed call made
            # must be durable as well.
            self._sync_up(os.path.dirname(path))
            self._remove_empty(os.path.dirname(path))
            self._check_root()

    def _path(self, name: str) -> str:
        return os.path.join(self._root, naming.check(name))

    @contextlib.contextmanager
    def _errors(self, name: str | None = None) -> Iterator[None]:
        """Let no ``OSError`` through.

        :param name: the object that must be there
        """
        try:
            yield
        except OSError as e:
            absent = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
            if name is not None and isinstance(e, absent):
                self._check_root()
                raise exception.ObjectMissing(self.url, name) from e
            reason = e.strerror or str(e)
            if e.errno in _FULL:
                raise exception.StoreFull(self.url, reason) from e
            if e.errno in _DENIED:
                raise exception.StoreDenied(self.url, reason) from e
            raise exception.StoreUnavailable(self.url, reason) from e

    def _check_root(self) -> None:
        """Tell a store without objects from one that was unmounted."""
        if not os.path.isdir(self._root):
            raise exception.StoreUnavailable(
                self.url, 'the directory is not there any more'
            )

    @contextlib.contextmanager
    def _incomplete_file(self, data: block.Buffer) -> Iterator[str]:
        """A locked file that holds ``data``, removed unless renamed."""
        _make_directory(self._incomplete)
        while True:
            path = os.path.join(self._incomplete, secrets.token_hex(16))
            descriptor = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
            )
            with os.fdopen(descriptor, 'wb', buffering=0):
                try:
                    if not self._lock(descriptor):
                        continue
                    _write(descriptor, data)
                    yield path
                    return
                finally:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)

    @staticmethod
    def _lock(descriptor: int) -> bool:
        """Whether we got the lock before somebody took us for dead."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return os.fstat(descriptor).st_nlink > 0

    def _remove_abandoned(self) -> None:
        """Remove what processes that died left; readers may not be able to."""
        try:
            for name in os.listdir(self._incomplete):
                path = os.path.join(self._incomplete, name)
                # NFS demands a file open for writing for an exclusive lock.
                with open(path, 'r+b', buffering=0) as file:
                    if self._lock(file.fileno()):
                        os.unlink(path)
                        LOG.info('removed incomplete object %s', path)
        except OSError as e:
            LOG.debug('incomplete objects in %s stay: %s', self._root, e)

    def _give_name(
        self, incomplete: str, target: str, *, if_absent: bool
    ) -> None:
        publish = os.link if if_absent else os.rename
        for _ in range(_DIRECTORY_RACES):
            _make_directory(os.path.dirname(target))
            try:
                publish(incomplete, target)
            except FileNotFoundError:
                self._check_root()
                continue
            self._sync_up(os.path.dirname(target))
            return
        raise exception.StoreUnavailable(
            self.url, f'the directory of {target} keeps being removed'
        )

    def _sync_up(self, directory: str) -> None:
        """Make a directory's names durable, and those of all around it.

        Whoever made the directory may not have come to sync its name yet.
        """
        while True:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                _sync(directory)
            if directory == self._root:
                return
            directory = os.path.dirname(directory)

    def _remove_empty(self, directory: str) -> None:
        # OSError: not empty, already gone, not ours to remove. All are well.
        with contextlib.suppress(OSError):
            while directory != self._root:
                os.rmdir(directory)
                directory = os.path.dirname(directory)

    def _walk(self, directory: str, prefix: str) -> Iterator[str]:
        """Names below ``directory``, which is '' or ends in '/'."""
        for name in self._entries(directory, prefix):
            if name.endswith('/'):
                yield from self._walk(name, prefix)
            else:
                yield name

    def _entries(self, directory: str, prefix: str) -> Iterator[str]:
        """What is in ``directory`` and may lead to ``prefix``, ascending.

        A directory sorts, and is named, with its '/', because that is where
        the names below it sort: 'a-b' is before 'a/b', 'a0' after it.
        """
        last = ''
        while True:
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                os.scandir(os.path.join(self._root, directory)) as entries,
            ):
                batch = heapq.nsmallest(
                    _BATCH,
                    (
                        name
                        for name in self._named(directory, entries)
                        if name > last
                        and (name.startswith(prefix) or prefix.startswith(name))
                    ),
                )
                ...
