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

"""The directories of jobs: room, locks, leftovers."""

import os
import pathlib
import threading
import typing

import fixtures
from oslo_utils import units

from ekko_nova import exception
from ekko_nova.virt import scratch
from tests import base


class ScratchCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.places = self.make_places()

    def make_places(self, **limits: int) -> scratch.Places:
        limits = {'margin': units.Mi, **limits}
        return scratch.Places(self.root / 's', self.root / 't', **limits)

    def found(self) -> list[str]:
        return [str(path) for path in self.root.glob('*/*')]

    def free(self) -> int:
        status = os.statvfs(self.root)
        return status.f_bavail * status.f_frsize


class DirectoryTest(ScratchCase):
    def test_removed_with_all_in_it(self) -> None:
        with scratch.job_directory(self.places, None, sizes=0) as directory:
            pathlib.Path(directory.socket).touch()
            pathlib.Path(directory.scratch_file('vda')).write_bytes(b'old')
            self.assertEqual(2, len(self.found()))
        self.assertEqual([], self.found())

    def test_removed_after_an_error(self) -> None:
        def fail() -> None:
            with scratch.job_directory(self.places, None, sizes=0):
                raise ValueError

        self.assertRaises(ValueError, fail)
        self.assertEqual([], self.found())

    def test_one_place_for_both(self) -> None:
        places = scratch.Places(self.root / 's', self.root / 's', margin=0)
        with scratch.job_directory(places, None, sizes=0) as directory:
            self.assertEqual(
                pathlib.Path(directory.socket).parent, directory.scratch
            )

    def test_a_place_that_cannot_be_made(self) -> None:
        (self.root / 't').write_text('a file')
        context = scratch.job_directory(self.places, None, sizes=0)
        self.assertRaises(exception.HypervisorFailed, context.__enter__)
        self.assertEqual([], self.found())

    def test_a_path_too_long_for_a_socket(self) -> None:
        places = scratch.Places(self.root / ('s' * 100), self.root / 't')
        context = scratch.job_directory(places, None, sizes=0)
        self.assertRaises(exception.InvalidOption, context.__enter__)
        self.assertEqual([], self.found())


class RoomTest(ScratchCase):
    """What is needed: min(limit, sizes) + margin."""

    def _begin(self, sizes: int, **limits: int) -> None:
        places = self.make_places(**limits)
        with scratch.job_directory(places, None, sizes=sizes):
            pass

    def test_small_disks_need_their_size(self) -> None:
        self._begin(units.Mi, limit=1024 * units.Ti)

    def test_large_disks_need_the_limit(self) -> None:
        self._begin(1024 * units.Ti, limit=units.Mi)

    def test_too_little(self) -> None:
        more = self.free() + units.Gi
        for sizes, limits in (
            (more, {'limit': more}),
            (0, {'margin': more}),
            (more - 2 * units.Gi, {'limit': more, 'margin': 4 * units.Gi}),
        ):
            error = self.assertRaises(
                exception.ScratchFull, self._begin, sizes, **limits
            )
            self.assertEqual(str(self.root / 't'), error.directory)
        self.assertEqual([], self.found())


class WatchTest(ScratchCase):
    def _watched(
        self,
        places: scratch.Places,
        spoil: typing.Callable[[scratch.JobDirectory], None],
        stop: typing.Callable[[], None] = lambda: None,
    ) -> str:
        """What is said when the room ends; ``stop`` was called by then."""
        stopped = threading.Event()

        def stop_and_tell() -> None:
            stopped.set()
            stop()

        with (
            scratch.job_directory(self.places, None, sizes=0) as directory,
            scratch.watched(places, directory, stop_and_tell) as check,
        ):
            check()
            spoil(directory)
            self.assertTrue(stopped.wait(30))
            return self.assertRaises(exception.ScratchFull, check).reason

    def _fill(self, directory: scratch.JobDirectory) -> None:
        path = pathlib.Path(directory.scratch_file('vda'))
        path.write_bytes(b'x' * units.Mi)

    def test_the_limit(self) -> None:
        places = self.make_places(limit=units.Mi - 1)
        self.assertIn('limit', self._watched(places, self._fill))

    def test_the_limit_is_on_all_files(self) -> None:
        def spoil(directory: scratch.JobDirectory) -> None:
            for target in ('vda', 'vdb'):
                path = pathlib.Path(directory.scratch_file(target))
                path.write_bytes(b'x' * units.Mi)

        places = self.make_places(limit=3 * units.Mi // 2)
        self.assertIn('limit', self._watched(places, spoil))

    def test_a_hole_takes_nothing(self) -> None:
        def spoil(directory: scratch.JobDirectory) -> None:
            path = pathlib.Path(directory.scratch_file('vda'))
            with path.open('wb') as file:
                file.truncate(units.Gi)
            self.assertEqual(0, directory.used())
            self._fill(directory)

        places = self.make_places(limit=units.Mi - 1)
        self._watched(places, spoil)

    def test_others_use_the_file_system(self) -> None:
        """Less than half of the margin is left, whoever took it."""
        places = self.make_places(margin=4 * self.free())
        self.assertIn('are left', self._watched(places, lambda _: None))

    def test_a_watch_that_fails(self) -> None:
        def spoil(directory: scratch.JobDirectory) -> None:
            directory.scratch.rmdir()

        self.assertIn('watched', self._watched(self.places, spoil))

    def test_a_job_that_cannot_be_ended(self) -> None:
        def stop() -> None:
            raise exception.HypervisorFailed('ending', 'no answer')

        places = self.make_places(limit=1)
        self._watched(places, self._fill, stop)
        self.assertIn('no answer', self.log.output)

    def test_a_job_that_cannot_be_ended_at_once(self) -> None:
        """It is tried again, and not any more once it has succeeded."""
        self.useFixture(
            fixtures.MonkeyPatch('ekko_nova.virt.scratch._AGAIN_SECONDS', 0.01)
        )
        calls: list[bool] = []
        enough = threading.Event()

        def stop() -> None:
            calls.append(True)
            if len(calls) < 3:
                raise exception.HypervisorFailed('ending', 'no answer')
            enough.set()

        places = self.make_places(limit=1)
        with (
            scratch.job_directory(self.places, None, sizes=0) as directory,
            scratch.watched(places, directory, stop) as check,
        ):
            self._fill(directory)
            self.assertTrue(enough.wait(30))
            self.assertRaises(exception.ScratchFull, check)
        self.assertEqual(3, len(calls))

    def test_room_enough(self) -> None:
        calls: list[bool] = []
        with (
            scratch.job_directory(self.places, None, sizes=0) as directory,
            scratch.watched(
                self.places, directory, lambda: calls.append(True)
            ) as check,
        ):
            self._fill(directory)
            check()
        self.assertEqual([], calls)
        self.assertNotIn(
            'ekko-scratch', [t.name for t in threading.enumerate()]
        )


class LeftoversTest(ScratchCase):
    def test_none(self) -> None:
        scratch.collect(self.places)
        self.assertEqual([], self.found())

    def test_of_a_process_that_is_gone(self) -> None:
        child = os.fork()
        if not child:
            directory = scratch.job_directory(self.places, None, sizes=0)
            directory.__enter__()
            os._exit(0)
        os.waitpid(child, 0)
        self.assertEqual(2, len(self.found()))
        (pathlib.Path(self.found()[0]) / 'vda.qcow2').write_text('old')
        scratch.collect(self.places)
        self.assertEqual([], self.found())

    def test_others_are_left_alone(self) -> None:
        """Sockets of offline reads, and what has another name."""
        self.places.sockets.mkdir()
        (self.places.sockets / 'ekko-1.sock').touch()
        (self.places.sockets / 'theirs').mkdir()
        with scratch.job_directory(self.places, None, sizes=0) as directory:
            self.assertTrue(scratch.is_in_use(directory.scratch))
            scratch.collect(self.places)
            self.assertEqual(4, len(self.found()))
        self.assertFalse(scratch.is_in_use(directory.scratch))
        self.assertEqual(2, len(self.found()))
