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

"""A disk that nobody uses: full, two incrementals, restore.

Systems take turns, so that the noise of the machine hits all of them.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import pathlib
import shutil

from benchmarks import data
from benchmarks import limits
from benchmarks.peers import base
from benchmarks.peers import swift
from benchmarks import report

__all__ = ('FULL', 'measured')

FULL = 'full'
_CHANGES = (
    ('1,024 × 64 KiB', data.SCATTERED),
    ('64 MiB in one place', data.CONTIGUOUS),
)
#: Of ours, by default.
_CONNECTIONS = 4


def measured(
    systems: Sequence[type[base.System]],
    source: pathlib.Path,
    places: base.Place,
    runs: int,
) -> Iterator[report.Sample]:
    """Everything that is measured, as it comes.

    :param places: below its directory each system gets one
    """
    for number in range(runs):
        for system in base.in_turns(systems, number):
            directory = places.directory / 'run'
            directory.mkdir()
            place = base.Place(directory, places.environment, places.servers)
            try:
                yield from _once(system(place), source, str(number))
            finally:
                shutil.rmtree(directory)
                for container in ('ekko', 'cinder') if system.swift else ():
                    swift.remove(places.environment, container)
        yield from _limits(source, places.directory)


def _once(
    system: base.System, source: pathlib.Path, seed: str
) -> Iterator[report.Sample]:
    system.take_image(source)
    system.prepare()
    before = system.stored()
    for workload, writes in ((FULL, ()), *_CHANGES):
        if writes:
            system.write(writes, f'{seed} {workload}')
        data.forget(system.image)
        usage = system.backup()
        now = system.stored()
        added = now - before
        before = now
        yield report.Sample(
            workload, system.name, usage, added.size, added.objects
        )
        if system.swift and system.name.startswith('ekko') and not writes:
            raw = limits.put(system.place, added, _CONNECTIONS)
            yield report.Sample(FULL, 'raw Swift puts', raw)
    data.forget(system.place.directory)
    target = system.place.directory / 'restored.raw'
    usage = system.restore(target)
    if not data.same(system.image, target):
        raise RuntimeError(f'{system.name} restored something else')
    yield report.Sample('restore', system.name, usage)


def _limits(
    source: pathlib.Path, directory: pathlib.Path
) -> Iterator[report.Sample]:
    target = directory / 'limit'
    try:
        data.forget(source)
        usage = limits.compress(source, target)
        stored = target.stat().st_size
        yield report.Sample(FULL, 'zstd -1 -T2', usage, stored, 1)
        target.unlink()
        yield report.Sample(FULL, 'computing alone', limits.compute(source))
        data.forget(source)
        yield report.Sample('restore', 'qemu-img', limits.copy(source, target))
    finally:
        target.unlink(missing_ok=True)
