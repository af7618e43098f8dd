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

"""Disks behind an NBD server on a unix socket, read or written by libnbd.

Plain blocking requests, one per connection at a time: several threads on
several connections read more than one gigabyte a second, at a quarter of the
processor time that libnbd's asynchronous calls cost from Python.

Memory held here at most: connections x min(longest read, 32 MiB), besides
what ``read`` returns.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import os
import socket as sockets
import threading
import time
import typing

import nbd
from oslo_utils import units

from ekko_nova import block
from ekko_nova import exception
from ekko_nova.virt import block_status

__all__ = ('NbdSource', 'NbdTarget', 'check_socket_path')

BASE_ALLOCATION = nbd.CONTEXT_BASE_ALLOCATION
DIRTY_BITMAP = 'qemu:dirty-bitmap:'
DIRTY = 1

# QEMU's largest payload of one request (NBD_MAX_BUFFER_SIZE).
REQUEST = 32 * units.Mi
# Requests without payload are only bound to 32 bits, but a server keeps other
# work of its event loop waiting while it walks the metadata of the range.
RANGE = 2 * units.Gi
# sun_path has 108 bytes, the last of them zero.
SOCKET_PATH_MAX = 107

CONNECT_SECONDS = 30.0
CONNECT_RETRY_SECONDS = 0.01


def check_socket_path(path: str) -> None:
    """Refuse a path that the kernel would not take as a unix socket.

    :raises exception.InvalidOption: it is too long
    """
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise exception.InvalidOption(
            'socket path',
            path,
            f'a unix socket path has at most {SOCKET_PATH_MAX} bytes; '
            'choose a socket directory with a shorter name',
        )


def _split(offset: int, length: int, step: int) -> Iterator[tuple[int, int]]:
    end = offset + length
    for start in range(offset, end, step):
        yield start, min(step, end - start)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    """An NBD handle, and a second descriptor of its socket.

    libnbd locks a handle for as long as a request lasts: only through the
    socket can another thread end a request whose server does not answer.
    """

    handle: typing.Any
    socket: sockets.socket

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(sockets.SHUT_RDWR)

    def close(self) -> None:
        """Disconnect; libnbd 1.14 frees a handle with its last reference."""
        with contextlib.suppress(nbd.Error):
            if self.handle.aio_is_ready():
                self.handle.shutdown()
        self.cut()
        self.socket.close()


class _Export:
    """One export, over a bounded number of equal connections.

    :param failure: makes the error that a broken connection amounts to
    :param liveness: raises when the server is gone for good. With it, a
        socket that does not listen yet is waited for.
    """

    def __init__(
        self,
        path: str,
        name: str,
        contexts: tuple[str, ...],
        failure: Callable[[str], exception.EkkoError],
        liveness: Callable[[], None] | None,
    ) -> None:
        check_socket_path(path)
        self._path = path
        self._name = name
        self._contexts = contexts
        self._failure = failure
        self._liveness = liveness
        self._changed = threading.Condition()
        self._all: list[_Connection] = []
        self._idle: list[_Connection] = []
        self._closed = False

    def open(self, connections: int) -> typing.Any:
        """Connect, and return a handle to ask for the export's properties.

        A server that does not promise that connections see each other's
        writes and flushes gets a single one.
        """
        try:
            first = self._connect()
            wanted = connections if first.can_multi_conn() else 1
            for _ in range(1, wanted):
                self._connect()
        except (nbd.Error, OSError) as error:
            self.close()
            raise self._failure(_reason(error)) from error
        except BaseException:
            self.close()
            raise
        return first

    def _connect(self) -> typing.Any:
        deadline = time.monotonic() + CONNECT_SECONDS
        handle = nbd.NBD()
        handle.set_export_name(self._name)
        for context in self._contexts:
            handle.add_meta_context(context)
        connection = _Connection(handle, self._dial(deadline))
        self._all.append(connection)
        self._idle.append(connection)
        # A server at its limit of clients accepts, but never negotiates.
        handle.aio_connect_socket(os.dup(connection.socket.fileno()))
        while handle.aio_is_connecting():
            left = deadline - time.monotonic()
            if left <= 0 or not handle.poll(int(left * 1000) + 1):
                raise TimeoutError('the NBD server does not answer')
        return handle

    def _dial(self, deadline: float) -> sockets.socket:
        while True:
            endpoint = sockets.socket(sockets.AF_UNIX)
            try:
                endpoint.connect(self._path)
                return endpoint
            except (FileNotFoundError, ConnectionRefusedError):
                endpoint.close()
                if self._liveness is None or time.monotonic() > deadline:
                    raise
                self._liveness()
                time.sleep(CONNECT_RETRY_SECONDS)
            except BaseException:
                endpoint.close()
                raise

    @contextlib.contextmanager
    def borrow(self) -> Iterator[typing.Any]:
        """A handle for one request; its failures become ours."""
        connection = self._take(1)[0]
        try:
            yield connection.handle
        except nbd.Error as error:
            raise self._failure(_reason(error)) from error
        finally:
            self._give([connection])

    @contextlib.contextmanager
    def borrow_all(self) -> Iterator[list[typing.Any]]:
        """Every handle, once no request is under way."""
        connections = self._take(len(self._all))
        try:
            yield [connection.handle for connection in connections]
        except nbd.Error as error:
            raise self._failure(_reason(error)) from error
        finally:
            self._give(connections)

    def _take(self, count: int) -> list[_Connection]:
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or len(self._idle) >= count
            )
            if self._closed:
                raise self._failure('the connection was closed')
            taken = self._idle[-count:]
            del self._idle[-count:]
            return taken

    def _give(self, connections: list[_Connection]) -> None:
        with self._changed:
            self._idle.extend(connections)
            self._changed.notify_all()

    def close(self) -> None:
        """Close every connection, ending the requests under way."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
            for connection in set(self._all).difference(self._idle):
                connection.cut()
            self._changed.wait_for(lambda: len(self._idle) == len(self._all))
        for connection in self._all:
            connection.close()
        self._all.clear()
        self._idle.clear()


def _reason(error: nbd.Error | OSError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error.string)


class NbdSource:
    """An export that is read, as a :class:`ekko_nova.block.BlockSource`.

    A context manager: connected from enter to exit. :meth:`close` may be
    called by any thread, to end the requests of all others.

    :param socket: path of the server's unix socket
    :param export: name of the export
    :param disk: what messages call the disk
    :param bitmap: name of the dirty bitmap, as the server exports it;
        without one every byte counts as dirty
    :param connections: how many requests may be in flight
    :param liveness: raises SourceLost when what serves the disk is gone. If
        given, a server that does not listen yet is waited for.
    :raises exception.InvalidOption: the socket's path is too long
    """

    def __init__(
        self,
        socket: str,
        export: str,
        *,
        disk: str,
        bitmap: str | None = None,
        connections: int = 4,
        liveness: Callable[[], None] | None = None,
    ) -> None:
        self._disk = disk
        self._bitmap = bitmap
        self._connections = connections
        self._liveness = liveness
        self._dirty = None if bitmap is None else DIRTY_BITMAP + bitmap
        contexts = (BASE_ALLOCATION, self._dirty)
        self._export = _Export(
            socket, export, tuple(filter(None, contexts)), self._lost, liveness
        )
        self._allocation = False
        self._size = 0

    def __enter__(self) -> typing.Self:
        """Connect.

        :raises exception.SourceLost: there is no such server or export
        :raises exception.BitmapUnusable: the server does not export the
            bitmap
        """
        handle = self._export.open(self._connections)
        try:
            self._size = handle.get_size()
            self._allocation = handle.can_meta_context(BASE_ALLOCATION)
            if self._dirty and not handle.can_meta_context(self._dirty):
                raise exception.BitmapUnusable(
                    self._disk, self._bitmap or '', 'the server has no such'
                )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect; reads under way in other threads end as SourceLost."""
        self._export.close()

    def _lost(self, reason: str) -> exception.SourceLost:
        return exception.SourceLost(self._disk, reason)

    @property
    def size(self) -> int:
        """Virtual size of the disk in bytes."""
        return self._size

    def extents(self) -> Iterator[block.Extent]:
        """Cover the disk from 0 to ``size``: ascending, no gap, no overlap.

        :raises exception.SourceLost: the server stopped describing it
        """
        return block_status.coalesce(self._extents())

    def _extents(self) -> Iterator[block.Extent]:
        offset = 0
        while offset < self._size:
            start = offset
            runs = self._status(offset, min(RANGE, self._size - offset))
            for length, allocation, dirty in runs:
                yield block.Extent(
                    offset,
                    length,
                    dirty=bool(dirty & DIRTY),
                    # A hole may show what lay there before; only the ZERO
                    # bit promises what it reads as.
                    zero=bool(allocation & nbd.STATE_ZERO),
                )
                offset += length
            if offset == start:
                raise self._lost(
                    f'its extents end at byte {offset} of {self._size}'
                )

    def _status(
        self, offset: int, length: int
    ) -> Iterator[tuple[int, int, int]]:
        """Ask once; what comes back covers at most what was asked."""
        replies: dict[str, list[int]] = {}

        def keep(
            context: str, offset: int, entries: list[int], error: object
        ) -> None:
            replies[context] = entries

        if self._allocation or self._dirty:
            with self._export.borrow() as handle:
                handle.block_status(length, offset, keep)
        allocation = replies.get(BASE_ALLOCATION, [])
        if not self._allocation:
            allocation = [length, 0]
        dirty = [length, DIRTY]
        if self._dirty:
            dirty = replies.get(self._dirty, [])
        try:
            yield from block_status.intersect(
                block_status.clip(allocation, length),
                block_status.clip(dirty, length),
            )
        except ValueError as error:
            raise self._lost(str(error)) from error

    def read(self, offset: int, length: int) -> block.Buffer:
        """Read exactly ``length`` bytes; safe to call from many threads.

        :raises exception.SourceLost: the disk cannot be read any more
        """
        if length <= REQUEST:
            return self._pread(offset, length)
        data = bytearray(length)
        for start, step in _split(offset, length, REQUEST):
            position = start - offset
            data[position : position + step] = self._pread(start, step)
        return data

    def _pread(self, offset: int, length: int) -> bytearray:
        with self._export.borrow() as handle:
            return typing.cast(bytearray, handle.pread(length, offset))

    def check(self) -> None:
        """Confirm, after the last read, that the server was there for all.

        :raises exception.SourceLost: a connection ended, or the liveness
            callable says that what served the disk is gone
        """
        with self._export.borrow_all() as handles:
            for handle in handles:
                handle.pread(min(self._size, 4 * units.Ki), 0)
        if self._liveness is not None:
            self._liveness()


class NbdTarget:
    """An export that is written, as a :class:`ekko_nova.block.BlockTarget`.

    A context manager: connected from enter to exit. Exit does not flush.

    :param socket: path of the server's unix socket
    :param export: name of the export
    :param target: what messages call the disk
    :param connections: how many requests may be in flight
    :param liveness: raises when what serves the disk is gone. If given, a
        server that does not listen yet is waited for.
    :raises exception.InvalidOption: the socket's path is too long
    """

    def __init__(
        self,
        socket: str,
        export: str,
        *,
        target: str,
        connections: int = 4,
        liveness: Callable[[], None] | None = None,
    ) -> None:
        self._target = target
        self._connections = connections
        self._export = _Export(socket, export, (), self._failed, liveness)
        self._size = 0
        self._can_zero = False

    def __enter__(self) -> typing.Self:
        """Connect.

        :raises exception.TargetFailed: there is no such export, or it cannot
            be written, or not made durable
        """
        handle = self._export.open(self._connections)
        try:
            self._size = handle.get_size()
            self._can_zero = handle.can_zero()
            if handle.is_read_only():
                raise self._failed('it is read-only')
            if not handle.can_flush():
                raise self._failed('its server cannot flush')
        except BaseException:
            self._export.close()
            raise
        return self

    def __exit__(self, *unused: object) -> None:
        self._export.close()

    def _failed(self, reason: str) -> exception.TargetFailed:
        return exception.TargetFailed(self._target, reason)

    @property
    def size(self) -> int:
        """Capacity in bytes."""
        return self._size

    def write(self, offset: int, data: block.Buffer) -> None:
        """Write all of ``data``; safe to call from many threads.

        :raises exception.TargetFailed: the bytes could not be written
        """
        view = memoryview(data)
        for start, step in _split(0, len(view), REQUEST):
            with self._export.borrow() as handle:
                handle.pwrite(view[start : start + step], offset + start)

    def zero(self, offset: int, length: int) -> None:
        """Make the range read as zeros, without allocating if it can.

        :raises exception.TargetFailed: the range could not be zeroed
        """
        if not self._can_zero:
            for start, step in _split(offset, length, units.Mi):
                self.write(start, bytes(step))
            return
        for start, step in _split(offset, length, RANGE):
            with self._export.borrow() as handle:
                handle.zero(step, start)

    def flush(self) -> None:
        """Return once everything written before is durable.

        One connection flushes for all: there is more than one only if the
        server promises so (multi-conn).

        :raises exception.TargetFailed: it is not
        """
        with self._export.borrow() as handle:
            handle.flush()
