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

"""What a command costs: time, processors, memory.

Memory is the sum of the resident sets of all its processes at the worst
moment, seen at 50 Hz; shared pages count once for each process, so that it is
too high rather than too low. What servers do for it that were there before is
counted apart.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import threading
import time
import typing

import psutil

__all__ = ('Usage', 'run', 'timed')

_INTERVAL: typing.Final = 0.02


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """What something cost.

    :ivar wall: seconds
    :ivar cpu: seconds of processors, of the command
    :ivar server_cpu: the same, of the servers it used
    :ivar rss: bytes; 0 if nobody looked
    :ivar output: what it wrote to its standard output
    """

    wall: float
    cpu: float
    server_cpu: float = 0.0
    rss: int = 0
    output: str = dataclasses.field(default='', repr=False, compare=False)


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    servers: Sequence[int] = (),
    preexec: Callable[[], None] | None = None,
) -> Usage:
    """Run a command to its end.

    :param env: more variables
    :param servers: processes that work for it, with their descendants
    :raises subprocess.CalledProcessError: it failed; it was told what it said
    """
    with (
        tempfile.TemporaryFile('w+') as output,
        tempfile.TemporaryFile('w+') as errors,
    ):
        served = _cpu_of(servers)
        began = time.monotonic()
        with subprocess.Popen(
            [os.fspath(word) for word in argv],
            env={**_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            preexec_fn=preexec,  # noqa: PLW1509
        ) as process:
            peak = _Peak(process.pid)
            _, status, spent = os.wait4(process.pid, 0)
            wall = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            rss = peak.stop()
        output.seek(0)
        said = output.read()
        if process.returncode != 0:
            errors.seek(0)
            sys.stderr.write(said[-2000:] + errors.read()[-4000:])
            raise subprocess.CalledProcessError(process.returncode, argv)
    return Usage(
        wall,
        spent.ru_utime + spent.ru_stime,
        _cpu_of(servers) - served,
        max(rss, spent.ru_maxrss * 1024),
        said,
    )


def _environment() -> dict[str, str]:
    """Ours, and Python programs may keep what they compile, as always."""
    result = dict(os.environ)
    result.pop('PYTHONDONTWRITEBYTECODE', None)
    return result


@contextlib.contextmanager
def timed() -> typing.Iterator[Callable[[], float]]:
    """Seconds of the context; asked for when it has ended."""
    began = time.monotonic()
    ended: list[float] = []
    yield lambda: ended[0] - began
    ended.append(time.monotonic())


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu_of(servers: Sequence[int]) -> float:
    total = 0.0
    for server in servers:
        for process in _family(server):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
    return total


class _Peak:
    """Watches the memory of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._highest = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._stopped.set()
        self._thread.join()
        return self._highest

    def _watch(self) -> None:
        while not self._stopped.wait(_INTERVAL):
            now = 0
            for process in _family(self._pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    now += process.memory_info().rss
            self._highest = max(self._highest, now)
