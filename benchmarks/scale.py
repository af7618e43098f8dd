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

"""What must not grow: with the disk, the chain, the number of backups."""

from collections.abc import Iterator
from concurrent import futures
import contextlib
import dataclasses
import itertools
import json
import pathlib
import tempfile
import time
import typing

from oslo_utils import units

from benchmarks import data
from benchmarks import live
from benchmarks import measure
from benchmarks.peers import base
from benchmarks.peers import ekko
from benchmarks import report
from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import record as records
from ekko_nova.backup.store import directory as directories
from tests.functional import libvirtd

__all__ = ('at_once', 'chain', 'listing', 'no_change', 'written')

_INCREMENTALS: typing.Final = 50
_BACKUPS: typing.Final = 10_000
_TOGETHER: typing.Final = 10


@contextlib.contextmanager
def _ours(place: base.Place, size: int | None = None) -> Iterator[ekko.Ekko]:
    """With an empty image of a size, in bytes, if one is given."""
    with tempfile.TemporaryDirectory(dir=place.directory) as directory:
        system = ekko.Ekko(
            dataclasses.replace(place, directory=pathlib.Path(directory))
        )
        if size is not None:
            live.empty(str(size))(system.image)
        yield system


def no_change(place: base.Place, runs: int) -> Iterator[report.Sample]:
    """An incremental of a disk to which nothing was written."""
    sizes = {'4 GiB': 4 * units.Gi, '1 TiB': units.Ti}
    with contextlib.ExitStack() as stack:
        systems = {
            name: stack.enter_context(_ours(place, size))
            for name, size in sizes.items()
        }
        for system in systems.values():
            system.backup()
        for _ in range(runs):
            for name, system in systems.items():
                yield report.Sample(
                    'no change, disk off', name, system.backup()
                )
    yield from _no_change_live(place, sizes, runs)


def _no_change_live(
    place: base.Place, sizes: dict[str, int], runs: int
) -> Iterator[report.Sample]:
    daemon = libvirtd.Libvirtd()
    daemon.setUp()
    try:
        with contextlib.ExitStack() as stack:
            systems = {}
            for name, size in sizes.items():
                directory = pathlib.Path(
                    stack.enter_context(
                        tempfile.TemporaryDirectory(dir=place.directory)
                    )
                )
                guest = stack.enter_context(
                    live.running(daemon, live.empty(str(size)))
                )
                own = dataclasses.replace(place, directory=directory)
                systems[name] = live.Ours(own, guest)
                systems[name].backup()
            for _ in range(runs):
                for name, system in systems.items():
                    yield report.Sample(
                        'no change, guest runs', name, system.backup()
                    )
    finally:
        daemon.cleanUp()


def written(place: base.Place, runs: int) -> Iterator[report.Sample]:
    """A guest of 64 GiB, of which 1 GiB is written between two backups."""
    writes = tuple(
        data.Write(number * units.Gi, 16 * units.Mi) for number in range(64)
    )
    daemon = libvirtd.Libvirtd()
    daemon.setUp()
    try:
        for number in range(runs):
            for system in live.systems():
                with live.running(daemon, live.empty('64G')) as guest:
                    for sample in live.once(
                        system,
                        guest,
                        place,
                        (('64 GiB: 1 GiB written', writes),),
                        str(number),
                    ):
                        if sample.workload.startswith('64'):
                            yield sample
    finally:
        daemon.cleanUp()


def chain(
    source: pathlib.Path, place: base.Place, runs: int
) -> Iterator[report.Sample]:
    """Restore the same disk after 1 and after 50 incrementals.

    And delete the oldest backup of the long line, again and again.
    """
    with _ours(place) as short, _ours(place) as long:
        for system, count in ((short, 1), (long, _INCREMENTALS)):
            system.take_image(source)
            system.backup()
            for number in range(count):
                system.write(data.SCATTERED[number::count], 'chain')
                system.backup()
        for _ in range(runs):
            for name, system in (('1', short), ('50', long)):
                usage = _restored(system)
                yield report.Sample('restore after incrementals', name, usage)
        for _ in range(runs):
            usage = long.delete(long.taken.pop(0))
            yield report.Sample('delete the oldest of 51', long.name, usage)
        _restored(long)


def _restored(system: ekko.Ekko) -> measure.Usage:
    target = system.place.directory / 'restored.raw'
    data.forget(system.store)
    usage = system.restore(target)
    if not data.same(system.image, target):
        raise RuntimeError('something else was restored')
    target.unlink()
    return usage


def listing(place: base.Place, runs: int) -> Iterator[report.Sample]:
    """List 10,000 backups of 100 servers."""
    with _ours(place, units.Gi) as system:
        usage = system.backup()
        found = json.loads(usage.output)
        with directories.DirectoryStore(str(system.store)) as store:
            catalog = catalogs.Catalog(store)
            record = catalog.get(found['id'])
            for number in range(_BACKUPS):
                catalog.put(_another(record, number))
        for _ in range(runs):
            usage = system.list()
            if len(json.loads(usage.output)) <= _BACKUPS:
                raise RuntimeError('not all are listed')
            yield report.Sample('list 10,000 backups', system.name, usage)


def _another(record: records.Record, number: int) -> records.Record:
    return dataclasses.replace(
        record,
        id=f'{number:08x}-0000-4000-8000-000000000000',
        server=f'server-{number % 100}',
    )


#: 64 MiB in one place.
_PART: typing.Final = tuple(
    data.Write(number * units.Mi, units.Mi) for number in range(64)
)


def at_once(place: base.Place, runs: int) -> Iterator[report.Sample]:
    """Ten disks of one host, 64 MiB of each: two at a time, and all at once.

    Two are what nova-compute takes at a time unless ``max_backups`` says
    otherwise.
    """
    with contextlib.ExitStack() as stack:
        systems = [
            stack.enter_context(_ours(place, units.Gi))
            for _ in range(_TOGETHER)
        ]
        for number, (name, limit) in itertools.product(
            range(runs), (('max_backups = 2', 2), ('max_backups = 10', 10))
        ):
            for system in systems:
                system.write(_PART, f'{number} {limit}')
            yield report.Sample(
                'ten disks of a host', name, _together(systems, limit)
            )


def _together(systems: list[ekko.Ekko], limit: int) -> measure.Usage:
    began = time.monotonic()
    with futures.ThreadPoolExecutor(limit) as pool:
        usages = list(pool.map(ekko.Ekko.backup, systems))
    wall = time.monotonic() - began
    highest = sorted(each.rss for each in usages)[-limit:]
    return measure.Usage(
        wall, sum(each.cpu for each in usages), rss=sum(highest)
    )
