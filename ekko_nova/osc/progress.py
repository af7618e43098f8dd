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

"""How far long work is, where somebody sits and looks."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import sys
import typing

__all__ = ('bar',)

_WIDTH: typing.Final = 40


def _nowhere(percent: int) -> None:
    del percent


@contextlib.contextmanager
def bar(what: str) -> Iterator[Callable[[int], None]]:
    """A function that shows percents; on a terminal, else nowhere."""
    if not sys.stderr.isatty():
        yield _nowhere
        return

    def show(percent: int) -> None:
        done = _WIDTH * percent // 100
        blocks = '#' * done + ' ' * (_WIDTH - done)
        sys.stderr.write(f'\r{what} [{blocks}] {percent:3} %')
        sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write('\r\x1b[K')
        sys.stderr.flush()
