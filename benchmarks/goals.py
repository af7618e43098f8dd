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

"""What is wanted, as ratios within one run, and what came of it."""

from collections.abc import Iterable
import dataclasses
import typing

from oslo_utils import units

from benchmarks import report

__all__ = ('judged',)


@dataclasses.dataclass(frozen=True, slots=True)
class _Goal:
    """That one figure is at most so many times another one.

    :ivar mine: workload and system
    :ivar theirs: the same; several systems: the best of them
    :ivar less: what is taken off mine first, as it is not ours to better
    """

    mine: tuple[str, str]
    theirs: tuple[str, tuple[str, ...]]
    limit: float
    less: tuple[str, str] | None = None


def _wall(
    workload: str, mine: str, limit: float, *theirs: str, of: str = ''
) -> _Goal:
    return _Goal((workload, mine), (of or workload, theirs), limit)


_OURS: typing.Final = 'ekko-nova'
_SWIFT: typing.Final = 'ekko-nova, Swift'

_GOALS: typing.Final = (
    _wall('full', _OURS, 0.5, 'borg'),
    _wall('full', _OURS, 0.25, 'Cinder, POSIX'),
    _wall('full', _OURS, 1.5, 'zstd -1 -T2'),
    _wall('full', _SWIFT, 1.3, 'raw Swift puts'),
    _wall('full', _SWIFT, 0.5, 'Cinder, Swift'),
    _wall('live: 1,024 × 64 KiB', _SWIFT, 1.0, 'virtnbdbackup'),
    # The data path: without the start of the program, which the record does
    # not know of, and without libvirt.
    _Goal(
        ('live: 1,024 × 64 KiB', f'{_SWIFT}, as its record says'),
        ('live: 1,024 × 64 KiB', ('virtnbdbackup',)),
        0.6,
        less=('live: no change', 'libvirt, job alone'),
    ),
    _wall('restore', _OURS, 0.8, 'restic', 'borg', 'Cinder, POSIX'),
    _wall('restore', _SWIFT, 0.8, 'Cinder, Swift'),
    _wall('live: restore', _OURS, 0.8, 'virtnbdbackup'),
    _wall('restore after incrementals', '50', 1.15, '1'),
    _wall('no change, disk off', '1 TiB', 1.5, '4 GiB'),
    _wall('no change, guest runs', '1 TiB', 1.5, '4 GiB'),
    _wall('nova-compute, RPC', f'{_OURS}, full backups', 1.2, 'no backup'),
    _wall('nova-compute, RPC', f'{_OURS}, into a directory', 1.2, 'no backup'),
)

#: Workload, system, figure, at most.
_BOUNDS: typing.Final = (
    ('manifest: write', 'sqlite', 'wall', 3.0),
    ('manifest: write', 'osdk', 'wall', 3.0),
    ('manifest: unpack', 'sqlite', 'wall', 1.5),
    ('manifest: unpack', 'osdk', 'wall', 1.5),
    ('manifest: write', 'sqlite', 'stored', 400 * units.Mi),
    ('manifest: write', 'osdk', 'stored', 400 * units.Mi),
    ('1,024 × 64 KiB', _OURS, 'stored', 1.05 * 64 * units.Mi),
    ('live: 1,024 × 64 KiB', _SWIFT, 'stored', 1.05 * 64 * units.Mi),
    ('ten disks of a host', 'max_backups = 2', 'rss', 600 * units.Mi),
)


def judged(rows: Iterable[report.Row]) -> str:
    """A line for each goal that can be judged by what was measured."""
    found = {(row.workload, row.system): row for row in rows}
    lines = []
    for goal in _GOALS:
        workload, systems = goal.theirs
        theirs = [
            found[workload, system].wall
            for system in systems
            if (workload, system) in found
        ]
        if {goal.mine, goal.less or goal.mine} <= found.keys() and theirs:
            mine, what = found[goal.mine].wall, ': '.join(goal.mine)
            if goal.less is not None:
                mine -= found[goal.less].wall
                what = f'{what} less {goal.less[1]}'
            what = f'{what} / {" or ".join(systems)}'
            lines.append(_line(what, mine / min(theirs), goal.limit))
    for workload, system, figure, limit in _BOUNDS:
        if (workload, system) in found:
            value = getattr(found[workload, system], figure)
            scale = 1 if figure == 'wall' else units.Mi
            unit = 's' if figure == 'wall' else 'MiB'
            lines.append(
                _line(
                    f'{workload}: {system}, {figure} in {unit}',
                    value / scale,
                    limit / scale,
                )
            )
    highest = [
        row
        for row in found.values()
        if row.system in (_OURS, _SWIFT) and row.rss
    ]
    if highest:
        row = max(highest, key=lambda row: row.rss)
        lines.append(
            _line(
                f'most memory, {row.workload}: {row.system}, in MiB',
                row.rss / units.Mi,
                200.0,
            )
        )
    return ''.join(lines)


def _line(what: str, value: float, limit: float) -> str:
    verdict = 'yes' if value <= limit else 'NO '
    return f'{verdict}  {value:8.2f}  (at most {limit:g})  {what}\n'
