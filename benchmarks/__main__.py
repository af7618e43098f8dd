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

"""Measure ekko-nova beside others, in one run.

Compares every restored image with what was backed up. What is not installed
is left out, and said so. Never run it beside anything else.
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import platform
import sys
import tempfile
import typing

from benchmarks import chart
from benchmarks import data
from benchmarks import goals
from benchmarks import hold_back
from benchmarks import live
from benchmarks import manifests
from benchmarks import nova
from benchmarks import offline
from benchmarks.peers import base
from benchmarks.peers import borg
from benchmarks.peers import cinder
from benchmarks.peers import ekko
from benchmarks.peers import restic
from benchmarks import report
from benchmarks import scale
from tests.functional import swift

_SYSTEMS: typing.Final[tuple[type[base.System], ...]] = (
    ekko.Ekko,
    restic.Restic,
    borg.Borg,
    cinder.CinderPosix,
    ekko.EkkoSwift,
    cinder.CinderSwift,
)


def _offline(
    args: argparse.Namespace, place: base.Place
) -> Iterator[report.Sample]:
    yield from offline.measured(
        _installed(args.systems), _image(args), place, args.runs
    )


def _installed(wanted: list[str]) -> list[type[base.System]]:
    found = []
    for system in _SYSTEMS:
        if wanted and system.name not in wanted:
            continue
        if missing := system.missing():
            sys.stderr.write(f'without {system.name}: no {missing}\n')
        else:
            found.append(system)
    return found


def _image(args: argparse.Namespace) -> pathlib.Path:
    source: pathlib.Path = args.cache / 'disk.raw'
    data.make_image(source)
    return source


_Workload: typing.TypeAlias = Callable[
    [argparse.Namespace, base.Place], Iterator[report.Sample]
]

_WORKLOADS: typing.Final[dict[str, _Workload]] = {
    'offline': _offline,
    'live': lambda args, place: live.measured(_image(args), place, args.runs),
    'written': lambda args, place: scale.written(place, args.runs),
    'no-change': lambda args, place: scale.no_change(place, args.runs),
    'chain': lambda args, place: scale.chain(_image(args), place, args.runs),
    'list': lambda args, place: scale.listing(place, args.runs),
    'at-once': lambda args, place: scale.at_once(place, args.runs),
    'manifests': lambda args, place: manifests.measured(
        place.directory, args.runs
    ),
    'hold-back': lambda args, place: hold_back.measured(
        _image(args), place, args.runs
    ),
    'nova': lambda args, _: nova.measured(_image(args), args.runs),
}


def _machine() -> dict[str, typing.Any]:
    with open('/proc/cpuinfo') as file:
        models = [
            line.split(':')[1].strip() for line in file if 'name' in line
        ]
    return {
        'cpus': os.cpu_count(),
        'model': models[0] if models else platform.machine(),
        'memory': os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser('tools/bench', description=__doc__)
    parser.add_argument(
        'workloads',
        nargs='*',
        metavar='WORKLOAD',
        help=f'default: all of {", ".join(_WORKLOADS)}',
    )
    parser.add_argument(
        '--runs',
        type=int,
        default=3,
        metavar='N',
        help='of each thing; the median counts (default: %(default)s)',
    )
    parser.add_argument(
        '--system',
        action='append',
        default=[],
        dest='systems',
        metavar='NAME',
        help='of the workload offline, only this one; may be given more than '
        f'once: {", ".join(system.name for system in _SYSTEMS)}',
    )
    parser.add_argument(
        '--cache',
        type=pathlib.Path,
        default=pathlib.Path('.cache/bench'),
        metavar='DIRECTORY',
        help='where all of it happens (default: %(default)s)',
    )
    parser.add_argument(
        '--with',
        type=pathlib.Path,
        action='append',
        default=[],
        dest='earlier',
        metavar='FILE',
        help='what --json wrote of an earlier run, for one table and picture '
        'of both; may be given more than once',
    )
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE')
    parser.add_argument('--svg', type=pathlib.Path, metavar='FILE')
    return parser


@contextlib.contextmanager
def _place(cache: pathlib.Path) -> Iterator[base.Place]:
    """A directory, and a Swift."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='run-', dir=cache) as directory:
        server = swift.Swift()
        server.setUp()
        try:
            yield base.Place(
                pathlib.Path(directory).absolute(),
                server.environment,
                server.processes,
            )
        finally:
            server.cleanUp()


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    for name in args.workloads:
        if name not in _WORKLOADS:
            parser.error(f'no workload {name}: {", ".join(_WORKLOADS)}')
    samples = []
    with _place(args.cache) as place:
        for name in args.workloads or _WORKLOADS:
            for sample in _WORKLOADS[name](args, place):
                samples.append(sample)
                sys.stderr.write(
                    f'{sample.workload:26} {sample.system:24} '
                    f'{sample.usage.wall:7.2f} s  {sample.usage.cpu:6.2f} CPU '
                    f'{sample.usage.rss >> 20:5} MiB\n'
                )
    rows = report.joined(
        *map(report.read_json, args.earlier), report.collected(samples)
    )
    print(report.table(rows))
    print(goals.judged(rows))
    if args.json:
        report.write_json(args.json, _machine(), rows)
    if args.svg:
        chart.draw(args.svg, rows)


if __name__ == '__main__':
    main()
