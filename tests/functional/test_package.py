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

"""What a package of the sources contains."""

import pathlib
import subprocess
import typing

from tests import base

_ROOT: typing.Final = pathlib.Path(__file__).parents[2]

#: What setuptools and pbr take along by themselves, or have no use for.
_BY_THEMSELVES: typing.Final = frozenset(
    {
        '.gitignore',
        'LICENSE',
        'MANIFEST.in',
        'README.md',
        'ekko_nova',
        'nova',
        'pyproject.toml',
        'setup.cfg',
    }
)


class SourcesTest(base.TestCase):
    def test_nothing_is_forgotten(self) -> None:
        if not (_ROOT / '.git').exists():
            self.skipTest('only a clone knows its files: .git is missing')
        listed = subprocess.run(
            ['git', '-c', f'safe.directory={_ROOT}', 'ls-files'],
            cwd=_ROOT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        here = {path.partition('/')[0] for path in listed.splitlines()}
        named = set((_ROOT / 'MANIFEST.in').read_text().split())
        self.assertEqual(set(), here - named - _BY_THEMSELVES)
