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

"""borg, with chunks of 4 MiB, compressed and not encrypted."""

import pathlib

from benchmarks import measure
from benchmarks.peers import base

__all__ = ('Borg',)


class Borg(base.System):
    name = 'borg'
    commands = ('borg',)

    def __init__(self, place: base.Place) -> None:
        super().__init__(place)
        self._taken = 0

    def prepare(self) -> None:
        self._borg('init', '--encryption', 'none', str(self.store))

    def backup(self) -> measure.Usage:
        self._taken += 1
        return self._borg(
            'create',
            *('--chunker-params', 'fixed,4194304'),
            *('--compression', 'zstd,1'),
            f'{self.store}::{self._taken}',
            str(self.image),
        )

    def restore(self, target: pathlib.Path) -> measure.Usage:
        script = f'borg extract --stdout --sparse "$0" > "{target}"'
        return self._run('sh', '-c', script, f'{self.store}::{self._taken}')

    def _borg(self, *argv: str) -> measure.Usage:
        return self._run('borg', *argv)

    def _run(self, *argv: str) -> measure.Usage:
        return self.run(
            *argv,
            BORG_BASE_DIR=str(self.place.directory / 'borg'),
            BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK='yes',
            BORG_RELOCATED_REPO_ACCESS_IS_OK='yes',
        )
