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


"""A progress bar on a terminal, and silence in a pipe."""

import sys
import time
import typing

from oslo_utils import units

from ekko_nova.backup import progress

__all__ = ('Bar',)

_WIDTH: typing.Final = 30
_INTERVAL: typing.Final = 0.2


class Bar:
    """Draws how far an operation is; a context manager.

    ::

        vda [=============>                ]  45%  1843 MiB  412 MiB/s  0:05
    """

    def __init__(self, stream: typing.TextIO = sys.stderr) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._disk: str | None = None
        self._began = 0.0
        self._drawn = 0.0
        self._length = 0

    def __enter__(self) -> progress.Report:
        return self._draw if self._terminal else progress.silent

    def __exit__(self, *unused: object) -> None:
        self._clear()

    def _draw(self, now: progress.Progress) -> None:
        moment = time.monotonic()
        if now.disk != self._disk:
            self._disk = now.disk
            self._began = moment
        if moment - self._drawn < _INTERVAL and now.position < now.size:
            return
        self._drawn = moment
        line = self._line(now, moment - self._began)
        self._stream.write(f'\r{line:<{self._length}}')
        self._stream.flush()
        self._length = len(line)

    def _line(self, now: progress.Progress, seconds: float) -> str:
        share = now.position / now.size if now.size else 1.0
        done = int(share * _WIDTH)
        bar = ('=' * done + '>')[:_WIDTH]
        rate = now.moved / seconds if seconds else 0.0
        left = seconds / share - seconds if share else 0.0
        minutes, rest = divmod(int(left), 60)
        return (
            f'[{bar:<{_WIDTH}}] {share:4.0%}  {now.moved // units.Mi} MiB  '
            f'{rate / units.Mi:.0f} MiB/s  {minutes}:{rest:02} left  '
            f'{now.disk}'
        )

    def _clear(self) -> None:
        if self._length:
            self._stream.write('\r' + ' ' * self._length + '\r')
            self._stream.flush()
            self._length = 0
