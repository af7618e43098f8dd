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

"""Temporary directories, and those of processes that were killed."""

import pathlib
import stat
import subprocess
import sys

import fixtures

from ekko_nova.backup import temporary
from ekko_nova import exception
from tests import base

_DIE_WITHIN = """
import os, pathlib, sys
from ekko_nova.backup import temporary
with temporary.directory(pathlib.Path(sys.argv[1])) as path:
    (path / 'file').touch()
    os._exit(0)
"""


class DirectoryTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.parent = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def found(self) -> set[pathlib.Path]:
        return set(self.parent.iterdir())

    def test_it_is_private_and_goes_away(self) -> None:
        with temporary.directory(self.parent) as path:
            self.assertEqual(0o700, stat.S_IMODE(path.stat().st_mode))
            (path / 'file').touch()
        self.assertEqual(set(), self.found())

    def test_it_goes_away_with_an_error(self) -> None:
        def fail() -> None:
            with temporary.directory(self.parent):
                raise RuntimeError

        self.assertRaises(RuntimeError, fail)
        self.assertEqual(set(), self.found())

    def test_those_in_use_stay(self) -> None:
        with temporary.directory(self.parent) as one:
            with temporary.directory(self.parent) as two:
                self.assertEqual({one, two}, self.found())
            self.assertEqual({one}, self.found())

    def test_what_a_process_left_goes(self) -> None:
        argv = [sys.executable, '-c', _DIE_WITHIN, str(self.parent)]
        subprocess.run(argv, check=True)
        [left] = self.found()
        with temporary.directory(self.parent) as path:
            self.assertNotEqual(left, path)
            self.assertEqual({path}, self.found())

    def test_what_is_not_ours_stays(self) -> None:
        with temporary.directory(self.parent) as path:
            ours = path.name
        others = {
            self.parent / '.ekko-backups',
            self.parent / '.ekko-01234567-elsewhere',
            self.parent / 'ekko-nova',
        }
        for other in others:
            other.mkdir()
        link = self.parent / ours
        link.symlink_to(self.parent / '.ekko-backups')
        with temporary.directory(self.parent) as path:
            self.assertEqual({path, link, *others}, self.found())

    def test_where_it_cannot_be(self) -> None:
        nowhere = self.parent / 'nowhere'

        def enter() -> None:
            with temporary.directory(nowhere):
                pass

        error = self.assertRaises(exception.TargetFailed, enter)
        self.assertEqual(str(nowhere), error.target)
