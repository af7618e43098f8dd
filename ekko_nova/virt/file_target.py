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

"""A raw file or a block device that is written without QEMU."""

import contextlib
import ctypes
import errno
import os
import stat
import typing

from oslo_utils import units

from ekko_nova import block
from ekko_nova import direct
from ekko_nova import exception
from ekko_nova.virt import intervals

__all__ = ('FileTarget',)

# linux/falloc.h
_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_ZERO_RANGE = 0x10

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.c_int64,
)


def _fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2), of which Python knows only the mode that allocates."""
    while _libc.fallocate(descriptor, mode, offset, length) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


class FileTarget:
    """A :class:`ekko_nova.block.BlockTarget` over a new file or a device.

    A context manager. A regular file is created on enter, sparse and
    readable by its owner only, and removed again if the body raises. A block
    device must be there, large enough, and in nobody's use.

    :param path: of a file that does not exist, or of a block device
    :param size: in bytes; of a larger device, the rest is not touched
    """

    def __init__(self, path: str, size: int) -> None:
        self._path = os.path.abspath(path)
        self._size = size
        self._descriptor = -1
        self._file: direct.DirectFile
        self._opened = contextlib.ExitStack()
        self._created = False

    def __enter__(self) -> typing.Self:
        """Open.

        :raises exception.TargetExists: a regular file or the like is there
        :raises exception.TargetFailed: it cannot be created or opened, or
            the device is too small
        """
        try:
            self._open()
        except BaseException as error:
            self._close(remove=True)
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise
        return self

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_EXCL
        try:
            self._keep(os.open(self._path, flags | os.O_CREAT, 0o600))
        except FileExistsError as error:
            if not stat.S_ISBLK(os.stat(self._path).st_mode):
                raise exception.TargetExists(self._path) from error
            # Of a device, O_EXCL asks that nobody has it mounted.
            self._keep(os.open(self._path, flags))
            self._require_capacity()
        else:
            self._created = True
            os.ftruncate(self._descriptor, self._size)
        self._file = self._opened.enter_context(
            direct.DirectFile(self._path, self._descriptor)
        )

    def _keep(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._opened.callback(os.close, descriptor)

    def _require_capacity(self) -> None:
        capacity = os.lseek(self._descriptor, 0, os.SEEK_END)
        if capacity < self._size:
            raise exception.TargetFailed(
                self._path, f'it has {capacity} bytes, the disk {self._size}'
            )

    def __exit__(self, kind: object, *unused: object) -> None:
        self._close(remove=kind is not None)

    def _close(self, *, remove: bool) -> None:
        self._opened.close()
        self._descriptor = -1
        if remove and self._created:
            os.unlink(self._path)

    def _failed(self, error: OSError) -> exception.TargetFailed:
        return exception.TargetFailed(self._path, error.strerror or str(error))

    @property
    def size(self) -> int:
        """Capacity in bytes."""
        return self._size

    def write(self, offset: int, data: block.Buffer) -> None:
        """Write all of ``data``; safe to call from many threads.

        :raises exception.TargetFailed: the bytes could not be written
        """
        try:
            self._file.write(offset, data)
        except OSError as error:
            raise self._failed(error) from error

    def zero(self, offset: int, length: int) -> None:
        """Make the range read as zeros, without allocating if it can.

        :raises exception.TargetFailed: the range could not be zeroed
        """
        for mode in (_PUNCH_HOLE | _KEEP_SIZE, _ZERO_RANGE | _KEEP_SIZE):
            try:
                _fallocate(self._descriptor, mode, offset, length)
                return
            except OSError as error:
                # The filesystem or device has no such operation, or not on
                # boundaries as these (EINVAL).
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise self._failed(error) from error
        for start, step in intervals.split(offset, length, units.Mi):
            self.write(start, bytes(step))

    def flush(self) -> None:
        """Return once everything written is durable, and the file's name too.

        :raises exception.TargetFailed: it is not
        """
        try:
            os.fdatasync(self._descriptor)
            if self._created:
                sync_directory(self._path)
        except OSError as error:
            raise self._failed(error) from error


def sync_directory(path: str) -> None:
    """Make the name of a new file durable."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
