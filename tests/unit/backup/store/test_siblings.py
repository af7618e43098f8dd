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

"""Which stores there are where each project has its own."""

import pathlib

import fixtures

from ekko_nova.backup.store import load
from ekko_nova import exception
from tests import base


class DirectoryTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def siblings(self, path: str) -> list[str]:
        return load.siblings(f'file://{self.root}/{path}', {}, '{project}')

    def test_found(self) -> None:
        for name in ('ekko-b', 'ekko-a.d', 'ekko-', 'ekko', 'other-c'):
            (self.root / name).mkdir()
        (self.root / 'ekko-file').touch()
        self.assertEqual(['a.d', 'b'], self.siblings('ekko-{project}'))
        self.assertEqual(['ekko-a'], self.siblings('{project}.d'))
        self.assertEqual(['a'], self.siblings('ekko-{project}.d'))

    def test_below(self) -> None:
        (self.root / 'a/x').mkdir(parents=True)
        (self.root / 'b').mkdir()
        self.assertEqual(['a'], self.siblings('{project}/x'))

    def test_none_yet(self) -> None:
        self.assertEqual([], self.siblings('nowhere/{project}'))

    def test_a_store_that_is_one_process_s_own(self) -> None:
        self.assertRaises(
            exception.InvalidOption,
            *(load.siblings, 'memory:///{project}', {}, '{project}'),
        )
