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

"""Cinder's chunked driver, from PyPI, with zstd; not encrypted.

Its chunks are 50 MiB for both stores, the default of its Swift driver.
"""

import os
import pathlib
import typing

from benchmarks import measure
from benchmarks.peers import base
from benchmarks.peers import swift

__all__ = ('CinderPosix', 'CinderSwift')

#: An environment with cinder and zstd.
_PYTHON: typing.Final = os.environ.get('BENCH_CINDER', 'cinder-python')
_DRIVER: typing.Final = pathlib.Path(__file__).parent / 'cinder_driver.py'


class CinderPosix(base.System):
    name = 'Cinder, POSIX'
    commands = (_PYTHON,)

    def __init__(self, place: base.Place) -> None:
        super().__init__(place)
        self._taken = 0
        self._state = place.directory / 'state'
        self._state.mkdir()

    @property
    def where(self) -> str:
        return str(self.store)

    def backup(self) -> measure.Usage:
        parent = ['--parent', self._id()] if self._taken else []
        self._taken += 1
        return self._drive('backup', self.image, *parent)

    def restore(self, target: pathlib.Path) -> measure.Usage:
        return self._drive('restore', target)

    def _id(self) -> str:
        return f'{self._taken:08}-0000-4000-8000-000000000000'

    def _drive(
        self, action: str, image: pathlib.Path, *more: str
    ) -> measure.Usage:
        return self.run(
            *(_PYTHON, '-P', _DRIVER, action, '--store', self.where),
            *('--state', self._state, '--image', image),
            *('--id', self._id(), *more),
        )


class CinderSwift(CinderPosix):
    name = 'Cinder, Swift'
    swift = True
    where = 'swift'

    def stored(self) -> base.Stored:
        return swift.stored(self.place.environment, 'cinder')
