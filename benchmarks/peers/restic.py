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

"""restic, with its own choice of chunks, compressed and encrypted."""

import pathlib
import typing

from benchmarks import measure
from benchmarks.peers import base

__all__ = ('Restic',)


class Restic(base.System):
    name = 'restic'
    commands = ('restic',)

    def prepare(self) -> None:
        self._restic('init', '--repository-version', '2')

    def backup(self) -> measure.Usage:
        return self._restic('backup', str(self.image))

    def restore(self, target: pathlib.Path) -> measure.Usage:
        # It writes what it is told to a path of its own making.
        usage = self._restic(
            'restore', 'latest', '--target', str(target.parent)
        )
        (target.parent / self.image.relative_to('/')).rename(target)
        return usage

    def _restic(self, *argv: str) -> measure.Usage:
        variables: dict[str, typing.Any] = {
            'RESTIC_REPOSITORY': str(self.store),
            'RESTIC_PASSWORD': 'benchmark',
        }
        return self.run('restic', '--no-cache', '--quiet', *argv, **variables)
