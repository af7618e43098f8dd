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

"""Rows of figures, and what becomes of them: a table, JSON, a picture."""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import json
import pathlib
import statistics
import typing

from oslo_utils import units

from benchmarks import measure

__all__ = (
    'Row',
    'Sample',
    'collected',
    'joined',
    'read_json',
    'table',
    'write_json',
)


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one thing.

    :ivar workload: such as ``full``
    :ivar system: who did it
    :ivar stored: bytes that it added to the store
    :ivar objects: the same
    """

    workload: str
    system: str
    usage: measure.Usage
    stored: int | None = None
    objects: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """The medians of all measurements of one thing, and the worst memory."""

    workload: str
    system: str
    runs: int
    wall: float
    fastest: float
    slowest: float
    cpu: float
    server_cpu: float
    rss: int
    stored: int | None
    objects: int | None


def collected(samples: Iterable[Sample]) -> list[Row]:
    """A row for each thing that was measured, in the order it came up."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.workload, sample.system), []).append(sample)
    rows = []
    for (workload, system), group in groups.items():
        walls = [each.usage.wall for each in group]
        rows.append(
            Row(
                workload,
                system,
                len(group),
                statistics.median(walls),
                min(walls),
                max(walls),
                statistics.median(each.usage.cpu for each in group),
                statistics.median(each.usage.server_cpu for each in group),
                max(each.usage.rss for each in group),
                _median(each.stored for each in group),
                _median(each.objects for each in group),
            )
        )
    return rows


def _median(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known)) if known else None


_HEADS: typing.Final = (
    'workload',
    'system',
    'wall s',
    'from … to',
    'CPU s',
    'Swift CPU s',
    'RSS MiB',
    'stored MiB',
    'objects',
)


def _seconds(value: float) -> str:
    return f'{value:.2f}' if value >= 0.05 else f'{value:.4f}'


def _cells(row: Row) -> Sequence[str]:
    return (
        row.workload,
        row.system,
        _seconds(row.wall),
        f'{_seconds(row.fastest)} … {_seconds(row.slowest)}',
        f'{row.cpu:.2f}',
        f'{row.server_cpu:.2f}' if row.server_cpu else '',
        f'{row.rss / units.Mi:.0f}' if row.rss else '',
        '' if row.stored is None else f'{row.stored / units.Mi:.1f}',
        '' if row.objects is None else f'{row.objects}',
    )


def table(rows: Iterable[Row]) -> str:
    """The rows as a table in reStructuredText."""
    lines = [_HEADS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = '  '.join('=' * width for width in widths)
    text = [
        '  '.join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    return '\n'.join([rule, text[0], rule, *text[1:], rule, ''])


def write_json(
    path: pathlib.Path, machine: dict[str, typing.Any], rows: Iterable[Row]
) -> None:
    """All of it, for programs."""
    document = {
        'machine': machine,
        'rows': [dataclasses.asdict(row) for row in rows],
    }
    path.write_text(json.dumps(document, indent=2) + '\n')


def read_json(path: pathlib.Path) -> list[Row]:
    """The rows that :func:`write_json` has written."""
    return [Row(**row) for row in json.loads(path.read_text())['rows']]


def joined(*runs: Iterable[Row]) -> list[Row]:
    """The rows of several runs; of the same thing, the last."""
    found = {(row.workload, row.system): row for run in runs for row in run}
    return list(found.values())
