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

"""Whether an operator can hold it back: each option by itself."""

from collections.abc import Iterator
from concurrent import futures
import contextlib
import dataclasses
import os
import pathlib
import subprocess
import tempfile
import time
import typing

from oslo_utils import units

from benchmarks import data
from benchmarks import measure
from benchmarks.peers import base
from benchmarks.peers import ekko
from benchmarks.peers import swift
from benchmarks import report

__all__ = ('measured',)

#: What is said of a row, and the options that make it.
_DIRECTORY: typing.Final[tuple[tuple[str, dict[str, object]], ...]] = (
    ('as it comes', {}),
    ('bandwidth_limit_mib = 200', {'bandwidth_limit_mib': 200}),
    ('bandwidth_limit_mib = 100', {'bandwidth_limit_mib': 100}),
    ('workers = 1', {'workers': 1}),
)
_SECONDS: typing.Final = 2.0
_READ: typing.Final = 2 * units.Gi
_SWIFT: typing.Final[tuple[tuple[str, dict[str, object]], ...]] = (
    ('as it comes, Swift', {}),
    ('puts = 1, Swift', {'puts': 1}),
)


def measured(
    source: pathlib.Path, place: base.Place, runs: int
) -> Iterator[report.Sample]:
    """A full backup with each option, and others beside it."""
    for _ in range(runs):
        for name, options in _DIRECTORY:
            with _system(ekko.Ekko, source, place, options) as system:
                yield report.Sample('hold back', name, system.backup())
        for name, options in _SWIFT:
            with _system(ekko.EkkoSwift, source, place, options) as system:
                yield report.Sample('hold back', name, system.backup())
            swift.remove(place.environment, 'ekko')
        yield from _processors(source, place)
        yield from _disks(source, place)


def _processors(
    source: pathlib.Path, place: base.Place
) -> Iterator[report.Sample]:
    """Seconds in which two others do a second of work each."""
    workload = 'others that compute'
    yield report.Sample(workload, 'no backup', _compute())
    for nice in (0, 10, 19):
        with _system(ekko.Ekko, source, place, {}) as system:
            system.prefix = ('nice', '-n', str(nice))
            with _backing_up(system):
                usage = _compute()
        yield report.Sample(workload, f'nice = {nice}', usage)


def _disks(source: pathlib.Path, place: base.Place) -> Iterator[report.Sample]:
    """Seconds in which another reads 2 GiB of the same disk, uncached."""
    workload = 'another that reads'
    other = place.directory / 'other'
    with other.open('wb') as file:
        for _ in range(_READ // units.Mi):
            file.write(os.urandom(units.Mi))
    data.forget(other)
    yield report.Sample(workload, 'no backup', _read(other))
    for name, words in (
        ('io_priority = normal', ('ionice', '-c', '2', '-n', '4')),
        ('io_priority = low', ('ionice', '-c', '2', '-n', '7')),
        ('io_priority = idle', ('ionice', '-c', '3')),
    ):
        with _system(ekko.Ekko, source, place, {}) as system:
            system.prefix = words
            with _backing_up(system):
                usage = _read(other)
        yield report.Sample(workload, name, usage)
    other.unlink()


@contextlib.contextmanager
def _system(
    kind: type[ekko.Ekko],
    source: pathlib.Path,
    place: base.Place,
    options: dict[str, object],
) -> Iterator[ekko.Ekko]:
    with tempfile.TemporaryDirectory(dir=place.directory) as directory:
        own = dataclasses.replace(place, directory=pathlib.Path(directory))
        system = kind(own, **options)
        system.take_image(source)
        data.forget(system.image)
        yield system


@contextlib.contextmanager
def _backing_up(system: ekko.Ekko) -> Iterator[None]:
    with futures.ThreadPoolExecutor(1) as pool:
        backup = pool.submit(system.backup)
        # Python has to start.
        time.sleep(1)
        yield
        backup.result()


#: So many seconds of work.
_WORK: typing.Final = """
import sys, time
end = float(sys.argv[1])
while time.process_time() < end:
    pass
"""


def _compute() -> measure.Usage:
    began = time.monotonic()
    both = [
        subprocess.Popen(['python3', '-c', _WORK, str(_SECONDS)])
        for _ in range(2)
    ]
    for each in both:
        each.wait()
    wall = (time.monotonic() - began) / _SECONDS
    return measure.Usage(wall, 1.0)


def _read(path: pathlib.Path) -> measure.Usage:
    return measure.run(
        ['dd', f'if={path}', 'of=/dev/null', 'bs=256k', 'iflag=direct']
    )
