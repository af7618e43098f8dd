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

"""What only a store of files must mind."""

import errno
import os
import pathlib
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import typing

import fixtures

from ekko_nova.backup.store import directory
from ekko_nova import exception
from tests import base


class TestCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.parent = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.root = self.parent / 'store'
        self.store = directory.DirectoryStore(self.root)

    def files(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.root))
            for path in self.root.rglob('*')
            if path.is_file()
        )

    def names(self) -> list[str]:
        return [found.name for found in self.store.list()]


class TestOpening(TestCase):
    def test_makes_what_is_not_there(self) -> None:
        path = self.parent / 'several/new/ones'
        directory.DirectoryStore(path).put('a/b', b'1')
        for made in (path, path / 'a', path / 'a/b'):
            mode = stat.S_IMODE(made.stat().st_mode)
            self.assertEqual(0, mode & 0o077, str(made))

    def test_leaves_the_mode_of_what_is_there(self) -> None:
        self.root.chmod(0o2775)
        directory.DirectoryStore(self.root)
        self.assertEqual(0o2775, stat.S_IMODE(self.root.stat().st_mode))

    def test_refuses_what_is_no_directory(self) -> None:
        file = self.parent / 'file'
        file.touch()
        dangling = self.parent / 'link'
        dangling.symlink_to('nowhere')
        for path in (file, file / 'below', file / 'far/below', dangling):
            error = self.assertRaises(
                exception.InvalidOption, directory.DirectoryStore, path
            )
            self.assertIn(path.as_uri(), str(error))
        self.assertEqual(b'', file.read_bytes())

    def test_relative_paths_and_strange_ones(self) -> None:
        self.useFixture(fixtures.MonkeyPatch('os.getcwd', self.parent.__str__))
        path = self.parent / 'a b%c\u00fc'
        store = directory.DirectoryStore(str(path))
        store.put('a', b'1')
        self.assertEqual(b'1', (path / 'a').read_bytes())
        self.assertEqual(f'{self.parent.as_uri()}/a%20b%25c%C3%BC', store.url)


class TestIncomplete(TestCase):
    #: Ends by SIGKILL in the middle of a put.
    PROGRAM: typing.Final = textwrap.dedent("""
        import os, signal, sys
        from ekko_nova.backup.store import directory
        def die(descriptor):
            os.kill(os.getpid(), signal.SIGKILL)
        store = directory.DirectoryStore(sys.argv[1])
        store.put('first', b'')
        os.fsync = die
        store.put('a/b', b'x' * 100000)
    """)

    def test_a_process_that_dies_leaves_nothing_to_be_seen(self) -> None:
        died = subprocess.run(
            [sys.executable, '-c', self.PROGRAM, str(self.root)], check=False
        )
        self.assertEqual(-signal.SIGKILL, died.returncode)
        left, first = self.files()
        self.assertEqual(100_000, (self.root / left).stat().st_size)
        self.assertEqual(['first'], self.names())
        self.assertRaises(exception.ObjectMissing, self.store.get, 'a/b')

        directory.DirectoryStore(self.root)
        self.assertEqual([first], self.files())

    def test_what_somebody_is_writing_stays(self) -> None:
        self.store.put('a', b'0')
        writing = threading.Event()
        go_on = threading.Event()
        fsync = os.fsync

        def wait(descriptor: int) -> None:
            writing.set()
            go_on.wait(60)
            fsync(descriptor)

        thread = threading.Thread(target=self.store.put, args=('a', b'1'))
        with fixtures.MonkeyPatch('os.fsync', wait):
            thread.start()
            self.assertTrue(writing.wait(60))
            before = self.files()
            directory.DirectoryStore(self.root)
            after = self.files()
            go_on.set()
            thread.join()
        self.assertEqual(2, len(before))
        self.assertEqual(before, after)
        self.assertEqual(['a'], self.files())

    def test_taken_for_abandoned_before_it_was_locked(self) -> None:
        made: list[str] = []
        create = directory._create

        def create_and_lose(path: pathlib.Path) -> typing.Any:
            file = create(path)
            made.append(path.name)
            if len(made) < 3:
                directory._remove_abandoned(path)
            return file

        with fixtures.MonkeyPatch(
            'ekko_nova.backup.store.directory._create', create_and_lose
        ):
            self.store.put('a', b'1')
        self.assertEqual(3, len(set(made)))
        self.assertEqual(['a'], self.files())
        self.assertEqual(b'1', self.store.get('a'))

    def test_after_every_error_nothing_is_left(self) -> None:
        self.store.put('a', b'old')
        for call in ('os.pwrite', 'os.fsync', 'pathlib.Path.rename'):
            with fixtures.MonkeyPatch(call, _raising(errno.EIO)):
                self.assertRaises(
                    exception.StoreUnavailable, self.store.put, 'a', b'new'
                )
            self.assertEqual(['a'], self.files())
            self.assertEqual(b'old', self.store.get('a'))

    def test_who_may_only_read_can_open_it(self) -> None:
        self.store.put('a', b'1')
        (self.root / '+incomplete/left').write_bytes(b'half')
        with fixtures.MonkeyPatch(
            'pathlib.Path.unlink', _raising(errno.EROFS)
        ):
            store = directory.DirectoryStore(self.root)
        self.assertEqual(b'1', store.get('a'))
        self.assertEqual(['a'], [found.name for found in store.list()])


def _raising(number: int) -> typing.Callable[..., typing.Any]:
    def fail(*args: object, **kwargs: object) -> typing.NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


class TestErrors(TestCase):
    def test_what_they_mean(self) -> None:
        for number, kind in (
            (errno.ENOSPC, exception.StoreFull),
            (errno.EDQUOT, exception.StoreFull),
            (errno.EACCES, exception.StoreDenied),
            (errno.EPERM, exception.StoreDenied),
            (errno.EROFS, exception.StoreDenied),
            (errno.EXDEV, exception.StoreDenied),
            (errno.EIO, exception.StoreUnavailable),
            (errno.ESTALE, exception.StoreUnavailable),
        ):
            with fixtures.MonkeyPatch('os.fsync', _raising(number)):
                for verb, args in (
                    (self.store.put, ('a', b'1')),
                    (self.store.delete, ('a',)),
                ):
                    error = self.assertRaises(kind, verb, *args)
                    self.assertIn(os.strerror(number), str(error))
                    self.assertIn(self.store.url, str(error))
            self.assertEqual([], self.names())

    def test_a_file_that_shrinks_while_it_is_read(self) -> None:
        self.store.put('a', b'12345')
        fstat = os.fstat

        def shrink(descriptor: int) -> os.stat_result:
            status = fstat(descriptor)
            os.truncate(self.root / 'a', 2)
            return status

        with fixtures.MonkeyPatch('os.fstat', shrink):
            error = self.assertRaises(
                exception.StoreUnavailable, self.store.get, 'a'
            )
        self.assertIn('2 of 5', error.reason)

    def test_an_object_is_not_a_directory(self) -> None:
        self.store.put('a/b/c', b'1')
        for name in ('a', 'a/b', 'a/b/c/d', 'a/b/c/d/e'):
            error = self.assertRaises(
                exception.InvalidName, self.store.put, name, b'2'
            )
            self.assertEqual(name, error.name)
        self.assertEqual(['a/b/c'], self.files())

    def test_a_store_that_went_away_has_not_lost_its_objects(self) -> None:
        self.store.put('a', b'1')
        calls: tuple[typing.Callable[[], object], ...] = (
            lambda: self.store.put('b', b''),
            lambda: self.store.get('a'),
            lambda: self.store.stat('a'),
            self.names,
            lambda: self.store.delete('a'),
        )
        away = self.root.rename(self.parent / 'away')
        for call in calls:
            self.assertRaises(exception.StoreUnavailable, call)
        self.assertFalse(self.root.exists())
        # As after "umount": what lies beneath is another directory.
        self.root.mkdir()
        for call in calls:
            self.assertRaises(exception.StoreUnavailable, call)
        self.assertEqual([], list(self.root.iterdir()))

        self.root.rmdir()
        away.rename(self.root)
        self.assertEqual(['a'], self.names())


class TestDurability(TestCase):
    """By the order of calls; only a power cut would prove more."""

    def setUp(self) -> None:
        super().setUp()
        self.synced: list[str] = []
        fsync = os.fsync

        def record(descriptor: int) -> None:
            fsync(descriptor)
            path = os.readlink(f'/proc/self/fd/{descriptor}')
            self.synced.append(os.path.relpath(path, self.root))

        self.useFixture(fixtures.MonkeyPatch('os.fsync', record))

    def test_of_a_put(self) -> None:
        for if_absent in (False, True):
            self.synced.clear()
            self.store.put(f'x/y{if_absent}/z', b'1', if_absent=if_absent)
            content = next(
                place
                for place, path in enumerate(self.synced)
                if path.startswith('+incomplete/')
            )
            # The bytes first, then the name and those of its directories.
            self.assertEqual([f'x/y{if_absent}', 'x', '.'], self.synced[-3:])
            self.assertLess(content, len(self.synced) - 3)

    def test_of_what_an_earlier_put_has_left(self) -> None:
        """It was told that it failed, and cannot know how far it came."""
        self.store.put('x/y/z', b'1')
        self.synced.clear()
        self.assertRaises(
            exception.ObjectExists,
            self.store.put,
            *('x/y/z', b'1'),
            if_absent=True,
        )
        self.assertEqual(['x/y', 'x', '.'], self.synced[-3:])

    def test_of_new_directories_above_the_store(self) -> None:
        directory.DirectoryStore(self.root / 'new/er')
        self.assertEqual(['.', 'new'], self.synced)

    def test_of_a_delete(self) -> None:
        self.store.put('x/y/z', b'1')
        self.synced.clear()
        self.store.delete('x/y/z')
        self.assertEqual(['x/y', 'x', '.'], self.synced)
        self.assertFalse((self.root / 'x').exists())
        # Whether an earlier call came so far is not known.
        self.synced.clear()
        self.store.delete('x/y/z')
        self.assertEqual(['.'], self.synced)


class TestDirectories(TestCase):
    def test_empty_ones_are_removed(self) -> None:
        for name in ('a/b/c', 'a/b/d', 'a/e'):
            self.store.put(name, b'')
        self.store.delete('a/b/c')
        self.assertTrue((self.root / 'a/b').is_dir())
        self.store.delete('a/b/d')
        self.assertFalse((self.root / 'a/b').exists())
        self.store.delete('a/e')
        self.assertFalse((self.root / 'a').exists())
        self.assertTrue(self.root.is_dir())

    def test_one_that_is_removed_under_a_put_is_made_again(self) -> None:
        rename = pathlib.Path.rename
        races = [3]

        def race(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
            if races[0]:
                races[0] -= 1
                self.store._remove_empty(target.parent)
            return rename(source, target)

        with fixtures.MonkeyPatch('pathlib.Path.rename', race):
            self.store.put('a/b/c', b'1')
        self.assertEqual([0], races)
        self.assertEqual(['a/b/c'], self.files())

    def test_one_that_is_always_removed_is_an_error(self) -> None:
        def race(
            source: pathlib.Path, target: pathlib.Path
        ) -> typing.NoReturn:
            raise FileNotFoundError(errno.ENOENT, 'again')

        with fixtures.MonkeyPatch('pathlib.Path.rename', race):
            error = self.assertRaises(
                exception.StoreUnavailable, self.store.put, 'a/b', b'1'
            )
        self.assertIn('removed', error.reason)
        self.assertEqual([], self.files())
