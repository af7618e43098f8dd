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

import os

import fixtures

from ekko_nova import exception
from ekko_nova.virt import image
from tests.functional.virt import images

MI = images.MI


class InfoTest(images.ImageTestCase):
    def refused(self, path: str, *arguments: object) -> str:
        error = self.assertRaises(
            exception.InvalidSource, image.info, path, *arguments
        )
        self.assertEqual(path, error.source)
        return str(error)

    def test_raw(self) -> None:
        path = self.raw('a', MI + 512)
        self.assertEqual(
            image.ImageInfo(path, 'raw', MI + 512, None, False, None, ()),
            image.info(path),
        )

    def test_qcow2(self) -> None:
        base = self.qcow2('base', MI)
        path = self.qcow2('a', 2 * MI, '-b', base, '-F', 'qcow2')
        self.assertEqual(
            image.ImageInfo(path, 'qcow2', 2 * MI, '1.1', False, base, ()),
            image.info(path),
        )

    def test_relative_path_that_looks_like_a_protocol(self) -> None:
        self.raw('nbd:x', MI)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        self.assertEqual(self.path('nbd:x'), image.info('nbd:x').path)

    def test_old_qcow2(self) -> None:
        path = self.qcow2('a', MI, '-o', 'compat=0.10')
        self.assertEqual('0.10', image.info(path).compat)

    def test_external_data_file(self) -> None:
        data = self.path('data')
        path = self.qcow2('a', MI, '-o', f'data_file={data}')
        self.assertTrue(image.info(path).data_file)

    def test_named_format_wins_over_the_header(self) -> None:
        path = self.qcow2('a', 8 * MI)
        os.truncate(path, MI)
        found = image.info(path, 'raw')
        self.assertEqual(('raw', MI), (found.format, found.size))

    def test_only_qcow2_is_recognized(self) -> None:
        path = self.path('a')
        images.run('qemu-img', 'create', '-q', '-f', 'vdi', path, MI)
        os.truncate(path, MI)
        self.assertEqual('raw', image.info(path).format)

    def test_not_in_the_named_format(self) -> None:
        message = self.refused(self.raw('a', MI), 'qcow2')
        self.assertIn('not in qcow2 format', message)

    def test_missing(self) -> None:
        message = self.refused(self.path('a'))
        self.assertIn('No such file or directory; check the path', message)

    def test_empty(self) -> None:
        for format in (None, 'raw', 'qcow2'):
            with self.subTest(format=format):
                path = self.raw(f'a-{format}', 0)
                self.assertIn('it is empty', self.refused(path, format))

    def test_empty_disk(self) -> None:
        self.assertIn('it is empty', self.refused(self.qcow2('a', 0)))

    def test_size_is_no_multiple_of_512(self) -> None:
        message = self.refused(self.raw('a', MI + 1))
        self.assertIn('1048577 bytes is not a multiple of 512', message)

    def test_directory(self) -> None:
        self.assertIn('neither a regular file', self.refused(self.directory))

    def test_character_device(self) -> None:
        self.assertIn('neither a regular file', self.refused('/dev/zero'))

    def test_unreadable(self) -> None:
        path = self.raw('a', MI)
        os.chmod(path, 0)
        if os.geteuid() == 0:
            os.chmod(self.directory, 0o755)
            self.addCleanup(os.seteuid, 0)
            os.seteuid(65534)
        self.assertIn('Permission denied', self.refused(path))

    def test_torn_header(self) -> None:
        path = self.qcow2('a', MI)
        os.truncate(path, 16)
        self.assertIn('name a sound image', self.refused(path))

    def test_locked(self) -> None:
        path = self.qcow2('a', MI)
        server = images.QemuNbd(self.path('s'), '-f', 'qcow2', path)
        self.useFixture(server)

        message = self.refused(path)

        self.assertIn('in use by a running QEMU', message)
        self.assertIn('--domain', message)
        self.assertEqual(MI, image.info(path, in_use=True).size)

    def test_tool_missing(self) -> None:
        path = self.raw('a', MI)
        self.useFixture(fixtures.EnvironmentVariable('PATH', self.directory))
        error = self.assertRaises(exception.HypervisorFailed, image.info, path)
        self.assertIn('install qemu-utils', str(error))

    def test_tool_hangs(self) -> None:
        path = self.raw('a', MI)
        tool = self.path('qemu-img')
        with open(tool, 'w') as file:
            file.write('#!/bin/sh\nexec sleep 600\n')
        os.chmod(tool, 0o700)
        search = f'{self.directory}:{os.environ["PATH"]}'
        self.useFixture(fixtures.EnvironmentVariable('PATH', search))
        self.useFixture(
            fixtures.MonkeyPatch('ekko_nova.virt.image.TIMEOUT_SECONDS', 0.1)
        )
        error = self.assertRaises(exception.HypervisorFailed, image.info, path)
        self.assertIn('no answer', str(error))


class BitmapTest(images.ImageTestCase):
    def test_add_and_remove(self) -> None:
        path = self.qcow2('a', MI)
        image.add_bitmap(path, 'one')
        image.add_bitmap(path, '--two', 4096)

        self.assertEqual(
            {
                image.BitmapInfo('one', 65536, True, False),
                image.BitmapInfo('--two', 4096, True, False),
            },
            set(image.info(path).bitmaps),
        )

        image.remove_bitmap(path, 'one')
        image.remove_bitmap(path, '--two')

        self.assertEqual((), image.info(path).bitmaps)

    def test_twice(self) -> None:
        path = self.qcow2('a', MI)
        image.add_bitmap(path, 'b')
        error = self.assertRaises(
            exception.HypervisorFailed, image.add_bitmap, path, 'b'
        )
        self.assertIn('already exists', str(error))

    def test_remove_what_is_not_there(self) -> None:
        path = self.qcow2('a', MI)
        error = self.assertRaises(
            exception.HypervisorFailed, image.remove_bitmap, path, 'b'
        )
        self.assertIn('not found', str(error))

    def test_killed_writer_leaves_it_inconsistent(self) -> None:
        path = self.qcow2('a', MI)
        image.add_bitmap(path, 'b')
        images.break_bitmaps(path)

        (bitmap,) = image.info(path).bitmaps
        self.assertTrue(bitmap.inconsistent)

        image.remove_bitmap(path, 'b')
        self.assertEqual((), image.info(path).bitmaps)

    def test_disabled_does_not_record(self) -> None:
        path = self.qcow2('a', MI)
        image.add_bitmap(path, 'b')
        images.run('qemu-img', 'bitmap', '--disable', path, 'b')
        (bitmap,) = image.info(path).bitmaps
        self.assertFalse(bitmap.recording)

    def test_locked(self) -> None:
        path = self.qcow2('a', MI)
        self.useFixture(
            images.QemuNbd(self.path('s'), '-r', '-f', 'qcow2', path)
        )
        self.assertRaises(exception.InvalidSource, image.add_bitmap, path, 'b')


class CreateTest(images.ImageTestCase):
    def test_qcow2(self) -> None:
        path = self.path('a')
        image.create(path, 'qcow2', MI + 512)

        created = image.info(path)
        self.assertEqual(('qcow2', MI + 512), (created.format, created.size))
        self.assertEqual('1.1', created.compat)
        self.assertEqual(0o600, os.stat(path).st_mode & 0o777)

    def test_overwrites_nothing(self) -> None:
        path = self.path('a')
        with open(path, 'w') as file:
            file.write('precious')
        self.assertRaises(
            exception.TargetExists, image.create, path, 'qcow2', MI
        )
        with open(path) as file:
            self.assertEqual('precious', file.read())

    def test_no_such_directory(self) -> None:
        self.assertRaises(
            exception.TargetFailed, image.create, self.path('d/a'), 'raw', MI
        )

    def test_refused_by_qemu(self) -> None:
        path = self.path('a')
        self.assertRaises(
            exception.TargetFailed, image.create, path, 'qcow2', 1 << 62
        )
        self.assertFalse(os.path.exists(path))
