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

"""Who writes a backup, and whether they are still alive.

A record in the making names its process, so that the next run can tell a
backup in progress from what a crash left, without waiting for a timeout
where both run on one host.
"""

import dataclasses
import os
import pathlib
import socket
import typing

__all__ = ('NOBODY', 'Process', 'current', 'is_gone', 'is_here')


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """A process, told apart from any later one of the same number.

    :ivar host: host name
    :ivar boot: Linux's random boot id
    :ivar pid: process id
    :ivar started: clock ticks from boot to the start of the process
    :ivar namespace: of process ids, as the kernel numbers it; the same number
        is another process in another one
    :ivar machine: the id in ``/etc/machine-id``; a host name alone may be
        that of several machines or containers
    """

    host: str
    boot: str
    pid: int
    started: int
    namespace: int | None = None
    machine: str | None = None


#: Of a backup that waits for the process that will write it.
NOBODY: typing.Final = Process('', '', 0, 0)


#: With hidepid, as systemd's ProtectProc= mounts /proc, others' processes are
#: as if they did not exist (proc(5)).
_HIDDEN: typing.Final = -1


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _started(pid: int) -> int | None:
    """When it was, ``None`` if it runs no more; of one we may not see, -1."""
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return _HIDDEN if _exists(pid) else None
    # The name in parentheses may hold spaces; field 22 counts from behind it
    # (proc(5)).
    fields = stat.rpartition(')')[2].split()
    return None if fields[0] == 'Z' else int(fields[19])


def _boot() -> str:
    return pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()


def _namespace() -> int:
    return os.stat('/proc/self/ns/pid').st_ino


def _machine() -> str | None:
    try:
        return pathlib.Path('/etc/machine-id').read_text().strip() or None
    except OSError:
        return None


def current() -> Process:
    """This process."""
    pid = os.getpid()
    return Process(
        socket.gethostname(),
        _boot(),
        pid,
        _started(pid) or 0,
        _namespace(),
        _machine(),
    )


def is_here(process: Process) -> bool:
    """Whether the process certainly runs: on this host, at this moment."""
    return (
        process.host == socket.gethostname()
        and process.boot == _boot()
        and process.namespace == _namespace()
        and _started(process.pid) == process.started
    )


def is_gone(process: Process) -> bool:
    """Whether the process certainly does not run any more.

    False if it runs, and false if nobody can tell: on another machine, or in
    another container.
    """
    if process.host != socket.gethostname():
        return False
    if process.boot != _boot():
        # This machine was started anew, unless it is another one of the name.
        return process.machine is not None and process.machine == _machine()
    return process.namespace == _namespace() and _started(process.pid) not in (
        process.started,
        _HIDDEN,
    )
