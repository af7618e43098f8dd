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
import contextlib
import dataclasses
import pathlib
import subprocess
import tempfile
import threading
import time
import typing

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
        yield report.Sample('another beside it', 'no backup', _other(10.0))
        for nice in (0, 10, 19):
            with _system(ekko.Ekko, source, place, {}) as system:
                system.prefix = ('nice', '-n', str(nice))
                yield report.Sample(
                    'another beside it', f'nice = {nice}', _beside(system)
                )


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
        yield system


def _beside(system: ekko.Ekko) -> measure.Usage:
    """What another process that wants a processor needs meanwhile."""
    running = threading.Thread(target=system.backup)
    running.start()
    time.sleep(1)
    usage = _other(3.0)
    running.join()
    return usage


#: So many seconds of work, if a processor is free.
_WORK: typing.Final = """
import sys, time
end = float(sys.argv[1])
while time.process_time() < end:
    pass
"""


def _other(seconds: float) -> measure.Usage:
    """Wall seconds for a second of work, with two that work at once."""
    began = time.monotonic()
    both = [
        subprocess.Popen(['python3', '-c', _WORK, str(seconds / 2)])
        for _ in range(2)
    ]
    for each in both:
        each.wait()
    return measure.Usage((time.monotonic() - began) / (seconds / 2), seconds)
