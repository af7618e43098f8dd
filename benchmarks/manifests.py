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

"""A manifest of 2^24 segments, 64 TiB: write, read, compare, size, memory.

The time to write is the driver's alone: making up random digests takes as
long. Reading is once over all columns, and once over all numbers in them.
"""

from collections.abc import Iterator
import itertools
import pathlib
import sys
import time
import typing

from oslo_utils import units

from benchmarks import measure
from benchmarks import report
from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import generate
from ekko_nova.backup.manifest import load
from ekko_nova.backup.manifest import stripe

__all__ = ('measured',)

_SIZE: typing.Final = 64 * units.Ti
_SEGMENT: typing.Final = 4 * units.Mi


def measured(directory: pathlib.Path, runs: int) -> Iterator[report.Sample]:
    """Both drivers, in turns."""
    for number, driver in itertools.product(range(runs), ('sqlite', 'osdk')):
        files = [directory / f'{driver}-{seed}' for seed in (1, 2)]
        for file in files:
            file.unlink(missing_ok=True)
        yield _sample('write', driver, files[0], files[0])
        if number == 0:
            _sample('write', driver, files[1], files[1])
            files[1].rename(directory / f'{driver}-other')
        other = directory / f'{driver}-other'
        for action in ('read', 'unpack', 'compare'):
            yield _sample(action, driver, files[0], other)


def _sample(
    action: str, driver: str, file: pathlib.Path, other: pathlib.Path
) -> report.Sample:
    usage = measure.run(
        [
            *(sys.executable, '-m', 'benchmarks.manifests'),
            *(action, driver, file, other),
        ]
    )
    seconds = float(usage.output)
    size = file.stat().st_size if action == 'write' else None
    return report.Sample(
        f'manifest: {action}',
        driver,
        measure.Usage(seconds, usage.cpu, rss=usage.rss),
        size,
    )


class _Timed(base.Driver):
    """A driver, and how long it took."""

    magic = b''

    def __init__(self, driver: base.Driver) -> None:
        self._driver = driver
        self.seconds = 0.0

    def create(self, path: pathlib.Path, header: base.Header) -> base.Writer:
        return _TimedWriter(self, self._driver.create(path, header))

    def open(self, path: pathlib.Path) -> base.Reader:
        raise NotImplementedError


class _TimedWriter(base.Writer):
    def __init__(self, driver: _Timed, writer: base.Writer) -> None:
        self._driver = driver
        self._writer = writer

    def add(self, number: int, columns: base.Columns) -> None:
        began = time.perf_counter()
        self._writer.add(number, columns)
        self._driver.seconds += time.perf_counter() - began

    def finish(self) -> None:
        began = time.perf_counter()
        self._writer.finish()
        self._driver.seconds += time.perf_counter() - began

    def close(self) -> None:
        self._writer.close()


def _write(driver: str, path: pathlib.Path) -> float:
    timed = _Timed(load.driver(driver))
    generate.generate(
        timed, path, size=_SIZE, segment_size=_SEGMENT, seed=time.time_ns()
    )
    return timed.seconds


def _walk(
    path: pathlib.Path, look: typing.Callable[[base.Columns], object]
) -> float:
    began = time.perf_counter()
    with load.open(path) as manifest:
        for _, columns in manifest.stripes():
            look(columns)
    return time.perf_counter() - began


def _compare(path: pathlib.Path, other: pathlib.Path) -> float:
    began = time.perf_counter()
    with load.open(path) as one, load.open(other) as two:
        pairs = zip(one.stripes(), two.stripes(), strict=True)
        if any(mine == theirs for mine, theirs in pairs):
            raise RuntimeError('what differs is called the same')
    return time.perf_counter() - began


def _main(action: str, driver: str, file: str, other: str) -> None:
    path = pathlib.Path(file)
    match action:
        case 'write':
            seconds = _write(driver, path)
        case 'read':
            seconds = _walk(path, lambda _: None)
        case 'unpack':
            seconds = _walk(path, stripe.unpack)
        case _:
            seconds = _compare(path, pathlib.Path(other))
    print(seconds)


if __name__ == '__main__':
    _main(*sys.argv[1:])
