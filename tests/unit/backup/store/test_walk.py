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

"""Listing a tree of directories in the order of whole names."""

import pathlib
import tempfile

import fixtures
import hypothesis
from hypothesis import strategies

from ekko_nova.backup.store import walk
from tests import base

#: Few letters, so that names share much; both neighbours of "/" are in.
NAMES = strategies.lists(
    strategies.text('.-0a', min_size=1, max_size=3).filter(
        lambda text: text not in {'.', '..'}
    ),
    min_size=1,
    max_size=3,
).map('/'.join)


def _place(root: pathlib.Path, names: list[str]) -> list[str]:
    """Make as many of the files as can be beside each other."""
    placed = []
    for name in names:
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            continue
        if path.is_file():
            placed.append(name)
    return sorted(set(placed))


class TestWalk(base.TestCase):
    @hypothesis.settings(deadline=None)
    @hypothesis.given(
        strategies.lists(NAMES, max_size=40),
        strategies.integers(1, 5),
        NAMES,
    )
    def test_any_tree(self, names: list[str], batch: int, prefix: str) -> None:
        with (
            fixtures.MonkeyPatch('ekko_nova.backup.store.walk._BATCH', batch),
            tempfile.TemporaryDirectory() as directory,
        ):
            root = pathlib.Path(directory)
            placed = _place(root, names)
            self.assertEqual(placed, list(walk.walk(root, '')))
            for end in range(len(prefix) + 1):
                self.assertEqual(
                    [n for n in placed if n.startswith(prefix[:end])],
                    list(walk.walk(root, prefix[:end])),
                )

    def test_what_is_not_ours(self) -> None:
        root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        ours = _place(root, ['a', 'b/c'])
        for name in ('+incomplete/x', 'lost+found/y', 'b/z~', '\u00fc', 'a b'):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).touch()
        (root / 'empty').mkdir()
        self.assertEqual(ours, list(walk.walk(root, '')))

    def test_a_directory_goes_away_meanwhile(self) -> None:
        root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        _place(root, ['a/1', 'a/2', 'b/1', 'c/1'])
        stream = walk.walk(root, '')
        self.assertEqual('a/1', next(stream))
        (root / 'b/1').unlink()
        (root / 'b').rmdir()
        self.assertEqual(['a/2', 'c/1'], list(stream))
