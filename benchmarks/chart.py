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

"""Bars, in SVG: wall seconds, a group for each workload."""

from collections.abc import Iterable
from collections.abc import Iterator
import pathlib
import typing
from xml.sax import saxutils

from benchmarks import report

__all__ = ('draw',)

_WIDTH: typing.Final = 860
_LEFT: typing.Final = 220
_BAR: typing.Final = 16
_GAP: typing.Final = 14
#: Ours stand out.
_OURS: typing.Final = '#d9480f'
_OTHERS: typing.Final = '#868e96'


def draw(path: pathlib.Path, rows: Iterable[report.Row]) -> None:
    """Write the picture."""
    groups: dict[str, list[report.Row]] = {}
    for row in rows:
        groups.setdefault(row.workload, []).append(row)
    parts: list[str] = []
    top = _GAP
    for workload, group in groups.items():
        parts.append(_text(8, top + _BAR - 3, workload, 'font-weight="bold"'))
        top += _BAR + 4
        parts.extend(_bars(group, top))
        top += len(group) * (_BAR + 3) + _GAP
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" '
        f'height="{top}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + '\n'.join(parts)
        + '\n</svg>\n'
    )


def _bars(group: list[report.Row], top: float) -> Iterator[str]:
    longest = max(row.wall for row in group)
    scale = (_WIDTH - _LEFT - 80) / longest
    for row in sorted(group, key=lambda row: row.wall):
        colour = _OURS if row.system.startswith('ekko') else _OTHERS
        width = max(1.0, row.wall * scale)
        yield _text(24, top + _BAR - 4, row.system)
        yield (
            f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" '
            f'height="{_BAR}" fill="{colour}"/>'
        )
        yield _text(_LEFT + width + 6, top + _BAR - 4, f'{row.wall:.2f} s')
        top += _BAR + 3


def _text(x: float, y: float, text: str, more: str = '') -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {more}>{saxutils.escape(text)}</text>'
    )
