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

"""A disk behind an NBD server on a unix socket, read through libnbd.

Plain blocking requests, one at a time on each connection: several threads on
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
import struct
import threading
import time
import typing

import nbd
from oslo_utils import units

from ekko_nova import block
from ekko_nova import exception
from ekko_nova.virt import intervals

__all__ = ('Export', 'NbdSource', 'check_socket_path')

ALLOCATION = nbd.CONTEXT_BASE_ALLOCATION
ALLOCATION_ZERO = nbd.STATE_ZERO
BITMAP_PREFIX = 'qemu:dirty-bitmap:'
BITMAP_DIRTY = 1

# QEMU's largest payload of one request (NBD_MAX_BUFFER_SIZE).
PAYLOAD_MAX = 32 * units.Mi
# Without payload only 32 bits bound a request, but while a server walks the
# metadata of the range, the rest of its event loop waits.
RANGE_MAX = 2 * units.Gi
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


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    """An NBD handle, and a second descriptor of its socket.

    libnbd locks a handle for as long as a request lasts: only through the
    socket can another thread end a request whose server does not answer.
    """

    handle: typing.Any
    socket: sockets.socket

    def say_goodbye(self) -> None:
        """Tell the server, and do not wait for it as shutdown() would."""
        with contextlib.suppress(nbd.Error):
            self.handle.aio_disconnect()

    def close(self) -> None:
        """End every request, and let libnbd notice so that it closes too.

        Its Python binding has no close(): a handle goes with the last
        reference to it, and a traceback may hold one for long.
        """
        with contextlib.suppress(OSError):
            self.socket.shutdown(sockets.SHUT_RDWR)
        with contextlib.suppress(nbd.Error):
            self.handle.poll(0)
        self.socket.close()


class Export:
    """One export of a server, over a bounded number of equal connections.

    :param path: the server's unix socket
    :param name: of the export
    :param contexts: meta contexts to ask for; whether they were granted is
        the caller's to see
    :param failure: makes the error that a broken connection amounts to
    :param liveness: raises when the server is gone for good. With it, a
        socket that does not listen yet is waited for.
    :raises exception.InvalidOption: the path is too long
    """

    def __init__(
        self,
        path: str,
        name: str,
        *,
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

    def open(self, connections: int) -> None:
        """Connect, all or nothing.

        A server that does not promise that connections see each other's
        writes and flushes (multi-conn) gets a single one.
        """
        try:
            with self._translated():
                first = self._connect()
                if first.can_multi_conn():
                    for _ in range(1, connections):
                        self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> typing.Any:
        deadline = time.monotonic() + CONNECT_SECONDS
        handle = nbd.NBD()
        handle.set_export_name(self._name)
        for context in self._contexts:
            handle.add_meta_context(context)
        connection = _Connection(handle, self._dial(deadline))
        self._all.append(connection)
        handle.aio_connect_socket(os.dup(connection.socket.fileno()))
        while handle.aio_is_connecting():
            # A server at its limit of clients accepts and says nothing.
            left = max(0, int((deadline - time.monotonic()) * 1000))
            if not handle.poll(left):
                raise TimeoutError('the NBD server does not answer')
        self._idle.append(connection)
        return handle

    def _dial(self, deadline: float) -> sockets.socket:
        while True:
            socket = sockets.socket(sockets.AF_UNIX)
            try:
                # connect(2) waits while the server's backlog is full; as
                # long as this says, where settimeout() would not wait.
                socket.setsockopt(
                    sockets.SOL_SOCKET, sockets.SO_SNDTIMEO, _timeval()
                )
                socket.connect(self._path)
                return socket
            except (FileNotFoundError, ConnectionRefusedError):
                socket.close()
                if self._liveness is None or time.monotonic() > deadline:
                    raise
            except BaseException:
                socket.close()
                raise
            self._liveness()
            time.sleep(CONNECT_RETRY_SECONDS)

    @contextlib.contextmanager
    def borrow(self) -> Iterator[typing.Any]:
        """A handle that is idle, for one request; its errors become ours."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._closed)
            if self._closed:
                raise self._failure('the connection was closed')
            connection = self._idle.pop()
        try:
            with self._translated():
                yield connection.handle
        finally:
            with self._changed:
                self._idle.append(connection)
                self._changed.notify()

    def status(self, offset: int, length: int) -> dict[str, list[int]]:
        """Ask once what a range is; by context, lengths and flags."""
        replies: dict[str, list[int]] = {}

        def keep(
            context: str, _offset: int, entries: list[int], _error: object
        ) -> None:
            replies[context] = entries

        with self.borrow() as handle:
            handle.block_status(length, offset, keep)
        return replies

    def check(self) -> None:
        """Read through every connection, once it has nothing else to do."""
        connections = tuple(self._all)
        if not connections:
            raise self._failure('the connection was closed')
        with self._translated():
            for connection in connections:
                handle = connection.handle
                handle.pread(min(handle.get_size(), 4 * units.Ki), 0)

    def close(self) -> None:
        """Disconnect, ending the requests under way in other threads."""
        with self._changed:
            self._closed = True
            for connection in self._idle:
                connection.say_goodbye()
            for connection in self._all:
                connection.close()
            self._idle.clear()
            self._all.clear()
            self._changed.notify_all()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except nbd.Error as error:
            raise self._failure(error.string) from error
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from error


def _timeval() -> bytes:
    seconds, fraction = divmod(CONNECT_SECONDS, 1)
    return struct.pack('ll', int(seconds), int(fraction * units.M))


class NbdSource:
    """An export that is read: a :class:`ekko_nova.block.BlockSource`.

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
        contexts = [ALLOCATION]
        if bitmap is not None:
            contexts.append(BITMAP_PREFIX + bitmap)
        self._export = Export(
            socket,
            export,
            contexts=tuple(contexts),
            failure=self._lost,
            liveness=liveness,
        )
        self._has_allocation = False
        self._size = 0

    def __enter__(self) -> typing.Self:
        """Connect.

        :raises exception.SourceLost: there is no such server or export
        :raises exception.BitmapUnusable: the server does not export the
            bitmap
        """
        self._export.open(self._connections)
        try:
            with self._export.borrow() as handle:
                self._size = handle.get_size()
                self._has_allocation = handle.can_meta_context(ALLOCATION)
                if self._bitmap is not None:
                    self._require_bitmap(handle, self._bitmap)
        except BaseException:
            self.close()
            raise
        return self

    def _require_bitmap(self, handle: typing.Any, bitmap: str) -> None:
        if not handle.can_meta_context(BITMAP_PREFIX + bitmap):
            raise exception.BitmapUnusable(
                self._disk, bitmap, 'the NBD server does not export it'
            )

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
        return intervals.coalesce(self._extents())

    def _extents(self) -> Iterator[block.Extent]:
        offset = 0
        while offset < self._size:
            start = offset
            runs = self._status(offset, min(RANGE_MAX, self._size - offset))
            for length, allocation, bitmap in runs:
                yield block.Extent(
                    offset,
                    length,
                    dirty=bool(bitmap & BITMAP_DIRTY),
                    # A hole may show what lay there before: only the ZERO
                    # bit promises what it reads as.
                    zero=bool(allocation & ALLOCATION_ZERO),
                )
                offset += length
            if offset == start:
                raise self._lost(
                    f'its extents end at byte {offset} of {self._size}'
                )

    def _status(
        self, offset: int, length: int
    ) -> Iterator[tuple[int, int, int]]:
        """Ask once; the answer covers as much as both contexts reach."""
        allocation, bitmap = [length, 0], [length, BITMAP_DIRTY]
        if self._has_allocation or self._bitmap is not None:
            replies = self._export.status(offset, length)
            if self._has_allocation:
                allocation = replies.get(ALLOCATION, [])
            if self._bitmap is not None:
                bitmap = replies.get(BITMAP_PREFIX + self._bitmap, [])
        try:
            yield from intervals.intersect(
                intervals.clip(allocation, length),
                intervals.clip(bitmap, length),
            )
        except ValueError as error:
            raise self._lost(str(error)) from error

    def read(self, offset: int, length: int) -> block.Buffer:
        """Read exactly ``length`` bytes; safe to call from many threads.

        :raises exception.SourceLost: the disk cannot be read any more
        """
        if length <= PAYLOAD_MAX:
            return self._read(offset, length)
        data = bytearray(length)
        for start, step in intervals.split(0, length, PAYLOAD_MAX):
            end = start + step
            data[start:end] = self._read(offset + start, step)
        return data

    def _read(self, offset: int, length: int) -> bytearray:
        with self._export.borrow() as handle:
            return typing.cast(bytearray, handle.pread(length, offset))

    def check(self) -> None:
        """Confirm, after the last read, that the server was there for all.

        :raises exception.SourceLost: a connection ended, or the liveness
            callable says that what served the disk is gone
        """
        self._export.check()
        if self._liveness is not None:
            self._liveness()
