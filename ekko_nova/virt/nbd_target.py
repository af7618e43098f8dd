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

"""A disk behind a writable NBD server on a unix socket."""

from collections.abc import Callable
import typing

from oslo_utils import units

from ekko_nova import block
from ekko_nova import exception
from ekko_nova.virt import intervals
from ekko_nova.virt import nbd

__all__ = ('NbdTarget',)


class NbdTarget:
    """An export that is written: a :class:`ekko_nova.block.BlockTarget`.

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
        self._export = nbd.Export(
            socket,
            export,
            contexts=(nbd.ALLOCATION,),
            failure=self._failed,
            liveness=liveness,
        )
        self._size = 0
        self._can_zero = False
        self._has_allocation = False

    def __enter__(self) -> typing.Self:
        """Connect.

        :raises exception.TargetFailed: there is no such export, or it cannot
            be written, or not made durable
        """
        self._export.open(self._connections)
        try:
            with self._export.borrow() as handle:
                if handle.is_read_only():
                    raise self._failed('it is read-only')
                if not handle.can_flush():
                    raise self._failed('its server cannot flush')
                self._size = handle.get_size()
                self._can_zero = handle.can_zero()
                self._has_allocation = handle.can_meta_context(nbd.ALLOCATION)
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
        for start, step in intervals.split(0, len(view), nbd.PAYLOAD_MAX):
            end = start + step
            with self._export.borrow() as handle:
                handle.pwrite(view[start:end], offset + start)

    def zero(self, offset: int, length: int) -> None:
        """Make the range read as zeros, without allocating if it can.

        :raises exception.TargetFailed: the range could not be zeroed
        """
        if not self._can_zero:
            for start, step in intervals.split(offset, length, units.Mi):
                self.write(start, bytes(step))
            return
        for start, step in intervals.split(offset, length, nbd.RANGE_MAX):
            # QEMU 7.2 allocates metadata for the zeros of an empty qcow2:
            # 128 MiB for 1 TiB.
            if not self._reads_as_zeros(start, step):
                with self._export.borrow() as handle:
                    handle.zero(step, start)

    def _reads_as_zeros(self, offset: int, length: int) -> bool:
        if not self._has_allocation:
            return False
        entries = self._export.status(offset, length).get(nbd.ALLOCATION, [])
        runs = tuple(intervals.clip(entries, length))
        return length == sum(
            run for run, flags in runs if flags & nbd.ALLOCATION_ZERO
        )

    def flush(self) -> None:
        """Return once everything written before is durable.

        One connection flushes for all: there is more than one only where the
        server promises that (multi-conn).

        :raises exception.TargetFailed: it is not
        """
        with self._export.borrow() as handle:
            handle.flush()
