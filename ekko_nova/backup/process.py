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
    """

    host: str
    boot: str
    pid: int
    started: int


#: Of a backup that waits for the process that will write it.
NOBODY: typing.Final = Process('', '', 0, 0)


def _started(pid: int) -> int | None:
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold spaces; field 22 counts from behind it
    # (proc(5)).
    fields = stat.rpartition(')')[2].split()
    return None if fields[0] == 'Z' else int(fields[19])


def _boot() -> str:
    return pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()


def current() -> Process:
    """This process."""
    pid = os.getpid()
    return Process(socket.gethostname(), _boot(), pid, _started(pid) or 0)


def is_here(process: Process) -> bool:
    """Whether the process certainly runs: on this host, at this moment."""
    return process.host == socket.gethostname() and not is_gone(process)


def is_gone(process: Process) -> bool:
    """Whether the process certainly does not run any more.

    False if it runs, and false if it is on another host: nobody can tell.
    """
    if process.host != socket.gethostname():
        return False
    if process.boot != _boot():
        return True
    return _started(process.pid) != process.started
