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

"""The user guide, run: what its terminal shows is what a terminal shows.

::

    .tox/cloud/bin/python -m tests.cloud.guide

runs every command of the guide and writes what it says into the page.
"""

from collections.abc import Iterator
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import typing

from tests.cloud import onebox
from tests.cloud import projects

__all__ = ('PAGES', 'Command', 'commands', 'normal', 'run')

_DOC: typing.Final = pathlib.Path(__file__).parents[2] / 'doc' / 'source'

PAGES: typing.Final = (_DOC / 'user' / 'backups.rst',)

_BLOCK: typing.Final = '.. code-block:: console\n'
_INDENT: typing.Final = '   '
_USERS: typing.Final = {'$': 'demo', '#': 'admin'}

#: What differs from run to run, and what stands for it.
_VARYING: typing.Final = (
    (r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', 'UUID'),
    (r'\b[0-9a-f]{32}\b', 'ID'),
    (r'\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b', 'MAC'),
    (r'\d{4}-\d\d-\d\d[T ][0-9:.+Z]+', 'TIME'),
    (r'req-UUID', 'REQUEST'),
    (r'\d+(\.\d+)+', 'N'),
    (r'\d+', 'N'),
    # Columns are as wide as what is in them.
    (r'[+-]*--[+-]*', '--'),
    (r' +', ' '),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """A line that somebody types, and what the page says it prints.

    :ivar line: number of its line in the page, from 0
    :ivar prompt: of a tenant ``$``, of an administrator ``#``
    """

    line: int
    prompt: str
    text: str
    output: tuple[str, ...]


def commands(page: str) -> Iterator[Command]:
    """The commands in the console blocks of a page."""
    lines = page.splitlines(keepends=True)
    number = 0
    while number < len(lines):
        if lines[number] != _BLOCK:
            number += 1
            continue
        number += 2
        while number < len(lines) and lines[number].startswith(_INDENT):
            begin = number
            number += 1
            while number < len(lines) and _is_output(lines[number]):
                number += 1
            text = lines[begin][len(_INDENT) :].rstrip('\n')
            yield Command(
                begin,
                text[0],
                text[2:],
                tuple(
                    line[len(_INDENT) :].rstrip('\n')
                    for line in lines[begin + 1 : number]
                ),
            )


def _is_output(line: str) -> bool:
    prompts = tuple(f'{_INDENT}{prompt} ' for prompt in _USERS)
    return line.startswith(_INDENT) and not line.startswith(prompts)


def run(command: Command, project: str) -> tuple[str, ...]:
    """Type it; returns what the terminal shows.

    :param project: the tenant's
    """
    user = _USERS[command.prompt]
    variables = onebox.environment(user)
    if user == 'demo':
        variables['OS_PROJECT_NAME'] = project
    done = subprocess.run(
        ['/bin/sh', '-c', command.text],
        check=False,
        env={
            'PATH': f'{onebox.ROOT}/venv/bin:{os.environ["PATH"]}',
            'LANG': 'C.UTF-8',
            'HOME': os.environ.get('HOME', '/'),
            'COLUMNS': '79',
            'PYTHONWARNINGS': 'ignore',
            **variables,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    # A block ends at an empty line.
    return tuple(line for line in lines if line)


def normal(output: tuple[str, ...]) -> list[str]:
    """The same without what differs from run to run."""
    text = '\n'.join(output)
    for pattern, word in _VARYING:
        text = re.sub(pattern, word, text)
    return [line.strip() for line in text.splitlines()]


def _rewrite(path: pathlib.Path, project: str) -> None:
    page = path.read_text()
    lines: list[str | None] = list(page.splitlines(keepends=True))
    for command in commands(page):
        sys.stderr.write(f'{command.prompt} {command.text}\n')
        said = run(command, project)
        begin = command.line + 1
        for number in range(begin, begin + len(command.output)):
            lines[number] = None
        shown = ''.join(f'{_INDENT}{line}\n' for line in said)
        lines[command.line] = f'{lines[command.line]}{shown}'
    path.write_text(''.join(line for line in lines if line is not None))


if __name__ == '__main__':
    for _page in PAGES:
        with projects.project() as _project:
            _rewrite(_page, _project)
