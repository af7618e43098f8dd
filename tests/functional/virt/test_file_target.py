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

import concurrent.futures
import os
import random
import shutil
import subprocess

from ekko_nova import exception
from ekko_nova.virt import file_target
from tests.functional.virt import images

KI = images.KI
MI = images.MI


class Stop(Exception):
    """Raised by a test in the middle of writing."""


class FileTest(images.ImageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.file = self.path('a')

    def read(self) -> bytes:
        with open(self.file, 'rb') as file:
            return file.read()

    def allocated(self) -> int:
        return os.stat(self.file).st_blocks * 512

    def test_what_is_written_is_there(self) -> None:
        data = random.Random(0).randbytes(3 * MI)
        with file_target.FileTarget(self.file, 8 * MI + 512) as target:
            target.write(512, data)
            target.write(8 * MI, memoryview(data)[1:513])
            target.zero(MI, MI)
            target.zero(2 * MI + 1024, 512)
            target.flush()
            self.assertEqual(8 * MI + 512, target.size)

        expected = bytearray(8 * MI + 512)
        expected[512 : 512 + len(data)] = data
        expected[8 * MI :] = data[1:513]
        expected[MI : 2 * MI] = bytes(MI)
        expected[2 * MI + 1024 : 2 * MI + 1536] = bytes(512)
        self.assert_same(expected, self.read())

    def test_eight_threads(self) -> None:
        with (
            file_target.FileTarget(self.file, 16 * MI) as target,
            concurrent.futures.ThreadPoolExecutor(8) as pool,
        ):
            for n in range(16):
                pool.submit(target.write, n * MI, bytes([n]) * MI)
        self.assert_same(
            b''.join(bytes([n]) * MI for n in range(16)), self.read()
        )

    def test_zeros_of_a_tebibyte_allocate_nothing(self) -> None:
        with file_target.FileTarget(self.file, 1 << 40) as target:
            target.zero(0, target.size)
            target.flush()
        self.assertEqual(1 << 40, os.stat(self.file).st_size)
        self.assertEqual(0, self.allocated())

    def test_zeros_release_what_was_written(self) -> None:
        with file_target.FileTarget(self.file, 8 * MI) as target:
            target.write(0, b'x' * 8 * MI)
            target.flush()
            full = self.allocated()
            target.zero(0, 8 * MI)
        self.assertLess(self.allocated(), full)
        self.assert_same(bytes(8 * MI), self.read())

    def test_only_its_owner_can_read_it(self) -> None:
        with file_target.FileTarget(self.file, MI):
            self.assertEqual(0o600, os.stat(self.file).st_mode & 0o777)

    def test_removed_when_the_body_raises(self) -> None:
        def write() -> None:
            with file_target.FileTarget(self.file, MI) as target:
                target.write(0, bytes(512))
                raise Stop

        self.assertRaises(Stop, write)
        self.assertFalse(os.path.exists(self.file))

    def test_overwrites_nothing(self) -> None:
        with open(self.file, 'w') as file:
            file.write('precious')
        self.assertRaises(
            exception.TargetExists,
            file_target.FileTarget(self.file, MI).__enter__,
        )
        self.assertEqual(b'precious', self.read())

    def test_does_not_follow_a_link(self) -> None:
        os.symlink(self.path('elsewhere'), self.file)
        self.assertRaises(
            exception.TargetFailed,
            file_target.FileTarget(self.file, MI).__enter__,
        )
        self.assertFalse(os.path.exists(self.path('elsewhere')))

    def test_no_such_directory(self) -> None:
        target = file_target.FileTarget(self.path('d/a'), MI)
        self.assertRaises(exception.TargetFailed, target.__enter__)

    def test_larger_than_the_filesystem_can_hold(self) -> None:
        target = file_target.FileTarget(self.file, (1 << 63) - 512)
        self.assertRaises(exception.TargetFailed, target.__enter__)
        self.assertFalse(os.path.exists(self.file))

    def test_character_device(self) -> None:
        self.assertRaises(
            exception.TargetExists,
            file_target.FileTarget('/dev/null', MI).__enter__,
        )


class MountedTestCase(images.ImageTestCase):
    """Needs to mount filesystems and to attach loop devices."""

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest('mounting needs root')

    def attempt(self, *argv: str) -> str:
        done = subprocess.run(
            argv, check=False, capture_output=True, text=True
        )
        if done.returncode != 0:
            self.skipTest(f'{argv[0]} is not permitted here: {done.stderr}')
        return done.stdout.strip()


class FullFilesystemTest(MountedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.mount = self.path('full')
        os.mkdir(self.mount)
        self.attempt('mount', '-t', 'tmpfs', '-o', 'size=1M', 'x', self.mount)
        self.addCleanup(images.run, 'umount', self.mount)

    def test_write(self) -> None:
        path = os.path.join(self.mount, 'a')

        def write() -> None:
            with file_target.FileTarget(path, 8 * MI) as target:
                target.write(0, b'x' * 4 * MI)

        error = self.assertRaises(exception.TargetFailed, write)

        self.assertIn('No space left on device', str(error))
        self.assertEqual(path, error.target)
        self.assertEqual([], os.listdir(self.mount))


class BlockDeviceTest(MountedTestCase):
    def attach(self, size: int) -> str:
        self.backing = self.path('backing')
        with open(self.backing, 'wb') as file:
            file.write(b'x' * size)
        device = self.attempt('losetup', '--find', '--show', self.backing)
        self.addCleanup(images.run, 'losetup', '--detach', device)
        return device

    def read(self) -> bytes:
        with open(self.backing, 'rb') as file:
            return file.read()

    def test_the_rest_of_a_larger_device_is_not_touched(self) -> None:
        device = self.attach(8 * MI)
        with file_target.FileTarget(device, 4 * MI) as target:
            target.write(0, b'y' * MI)
            target.zero(MI, 3 * MI)
            target.flush()
            self.assertEqual(4 * MI, target.size)

        self.assert_same(
            b'y' * MI + bytes(3 * MI) + b'x' * 4 * MI, self.read()
        )

    def test_stays_when_the_body_raises(self) -> None:
        device = self.attach(MI)

        def write() -> None:
            with file_target.FileTarget(device, MI):
                raise Stop

        self.assertRaises(Stop, write)
        self.assertTrue(os.path.exists(device))

    def test_too_small(self) -> None:
        device = self.attach(MI)
        error = self.assertRaises(
            exception.TargetFailed,
            file_target.FileTarget(device, MI + 512).__enter__,
        )
        self.assertIn('1048576 bytes', str(error))

    def test_mounted(self) -> None:
        device = self.attach(8 * MI)
        if shutil.which('mkfs.ext4') is None:
            self.skipTest('mkfs.ext4 is not installed (e2fsprogs)')
        images.run('mkfs.ext4', '-q', device)
        mount = self.path('mount')
        os.mkdir(mount)
        self.attempt('mount', device, mount)
        self.addCleanup(images.run, 'umount', mount)

        error = self.assertRaises(
            exception.TargetFailed,
            file_target.FileTarget(device, MI).__enter__,
        )

        self.assertIn('busy', str(error))

    def test_zeros_where_no_operation_fits(self) -> None:
        # fallocate(2) wants whole sectors of a device: written instead.
        device = self.attach(MI)
        with file_target.FileTarget(device, MI) as target:
            target.zero(100, 1000)
            target.flush()
        self.assert_same(
            b'x' * 100 + bytes(1000) + b'x' * (MI - 1100), self.read()
        )
