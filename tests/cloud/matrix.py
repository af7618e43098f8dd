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


"""The table of the lifecycle matrix: tools/onebox/lifecycle."""

import argparse
from collections.abc import Iterable
from concurrent import futures
import contextlib
import pathlib
import subprocess
import sys
import time
import traceback
import typing

from tests.cloud import lifecycle
from tests.cloud import onebox

_ROOT: typing.Final = pathlib.Path(__file__).parents[2]
_UP: typing.Final = _ROOT / 'tools' / 'onebox' / 'up'
_TABLE: typing.Final = _ROOT / 'doc' / 'source' / 'admin' / 'lifecycle.rst'

_HEAD: typing.Final = """\
=====================
A server's whole life
=====================

What becomes of a server's backups, event by event. Written by
``tools/onebox/lifecycle``, which tries each on a real OpenStack with two
compute hosts: data is written, backed up, more is written, the event happens,
more is written, and a second backup is taken. That is restored to a file and
compared with what the disk held when it was taken.

*incremental*: QEMU's dirty bitmap came through, and only what changed since
the first backup was read. *full*: the bitmap is gone, or cannot be trusted, so
that all of the disk was read; what did not change is still not stored again.
"""


def _run(row: lifecycle.Row) -> lifecycle.Outcome:
    with contextlib.ExitStack() as stack:
        demo, admin = (
            stack.enter_context(contextlib.closing(onebox.connect(user)))
            for user in ('demo', 'admin')
        )
        wanted = onebox.Wanted(nic=row.nic, host='c1')
        server = stack.enter_context(
            onebox.created(f'lifecycle-{row.name}', demo, admin, wanted)
        )
        return lifecycle.run(row, server)


def _tried(row: lifecycle.Row) -> lifecycle.Outcome | None:
    began = time.monotonic()
    outcome = None
    try:
        outcome = _run(row)
    except Exception:  # noqa: BLE001  the others are tried all the same
        traceback.print_exc()
    seconds = time.monotonic() - began
    print(f'{_line(row, outcome)}  ({seconds:.0f} s)', flush=True)
    return outcome


def _line(row: lifecycle.Row, outcome: lifecycle.Outcome | None) -> str:
    if outcome is None:
        return f'{row.title:36} FAILED'
    kind = outcome.type
    if outcome.reason:
        kind += f' ({_reason(outcome)})'
    identical = 'identical' if outcome.identical else 'DIFFERENT'
    line = f'{row.title:36} {kind:32} {identical}'
    return line if outcome.as_expected else f'{line}  NOT AS EXPECTED'


def _reason(outcome: lifecycle.Outcome) -> str:
    return (outcome.reason or '').removeprefix('vda: ').replace('_', ' ')


def _try_all(
    rows: Iterable[lifecycle.Row],
) -> list[tuple[lifecycle.Row, lifecycle.Outcome | None]]:
    rows = list(rows)
    together = [row for row in rows if not row.alone]
    with futures.ThreadPoolExecutor(2) as pool:
        found = dict(zip(together, pool.map(_tried, together), strict=True))
    for row in rows:
        if row not in found:
            found[row] = _tried(row)
    return [(row, found[row]) for row in rows]


def _table(
    outcomes: Iterable[tuple[lifecycle.Row, lifecycle.Outcome | None]],
) -> str:
    lines = [
        '.. list-table::',
        '   :header-rows: 1',
        '',
        '   * - event',
        '     - the next backup is',
        '     - because',
        '     - what it restores is',
    ]
    for row, outcome in outcomes:
        cells = (row.title, '—', 'the event failed', '—')
        if outcome is not None:
            cells = (
                row.title,
                outcome.type,
                _reason(outcome) or 'the bitmap is kept',
                'identical' if outcome.identical else '**different**',
            )
        lines += [
            f'   {"* -" if first else "  -"} {cell}'
            for first, cell in zip(
                (True, False, False, False), cells, strict=True
            )
        ]
    return '\n'.join(lines) + '\n'


def main() -> int:
    """Try what was asked for; 1 if anything was not as it should be."""
    parser = argparse.ArgumentParser(prog='lifecycle', description=__doc__)
    known = [row.name for row in (*lifecycle.ROWS, *lifecycle.SHARED)]
    parser.add_argument(
        'name',
        metavar='EVENT',
        nargs='*',
        help=f'which to try, by default all: {", ".join(known)}',
    )
    parser.add_argument(
        '--write-docs',
        action='store_true',
        help=f'write the table to {_TABLE.relative_to(_ROOT)}',
    )
    arguments = parser.parse_args()
    wanted = set(arguments.name or known)
    if unknown := wanted.difference(known):
        parser.error(f'no such event: {", ".join(sorted(unknown))}')
    outcomes = _try_all(row for row in lifecycle.ROWS if row.name in wanted)
    shared = [row for row in lifecycle.SHARED if row.name in wanted]
    if shared:
        # The hosts start anew.
        subprocess.run([_UP, '--shared'], check=True)
        outcomes += _try_all(shared)
        subprocess.run([_UP], check=True)
    if arguments.write_docs:
        _TABLE.write_text(f'{_HEAD}\n{_table(outcomes)}', encoding='utf-8')
    good = [
        outcome
        for _, outcome in outcomes
        if outcome is not None and outcome.as_expected
    ]
    print(f'{len(good)} of {len(outcomes)} events as expected')
    return 0 if len(good) == len(outcomes) else 1


if __name__ == '__main__':
    sys.exit(main())
