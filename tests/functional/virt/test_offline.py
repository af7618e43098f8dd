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
import contextlib
import os
import pathlib
import random
import select
import signal
import subprocess
import sys
import typing

import fixtures

from ekko_nova import block
from ekko_nova import exception
from ekko_nova.virt import image
from ekko_nova.virt import nbd
from ekko_nova.virt import offline
from tests.functional.virt import images

KI = images.KI
MI = images.MI

SERVE_AND_WAIT = """
import sys
import typing
from ekko_nova.virt import offline
with offline.serve(sys.argv[1], 'raw', socket_directory=sys.argv[2]):
    print('ready', flush=True)
    sys.stdin.read()
"""


class Stop(Exception):
    """Raised by a test in the middle of something."""


class OfflineTestCase(images.ImageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.sockets = self.path('sockets')
        os.mkdir(self.sockets)

    def servers(self) -> list[int]:
        """Processes that serve, or are about to, on a socket of this test."""
        wanted = f'--socket={self.sockets}/ekko-'.encode()
        found = []
        for entry in pathlib.Path('/proc').glob('[0-9]*'):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if wanted in (entry / 'cmdline').read_bytes():
                    found.append(int(entry.name))
        return found

    def assert_nothing_left(self) -> None:
        self.assertEqual([], self.servers())
        self.assertEqual([], os.listdir(self.sockets))

    def serve(
        self, path: str, format: str = 'qcow2', **options: typing.Any
    ) -> contextlib.AbstractContextManager[nbd.NbdSource]:
        return offline.serve(
            path, format, socket_directory=self.sockets, **options
        )

    def refused(
        self,
        error: type[exception.EkkoError],
        path: str,
        format: str = 'qcow2',
        **options: typing.Any,
    ) -> str:
        context = self.serve(path, format, **options)
        raised = self.assertRaises(error, context.__enter__)
        self.assert_nothing_left()
        return str(raised)


class ServeTest(OfflineTestCase):
    def test_full(self) -> None:
        path = self.qcow2('a', 8 * MI + 512)
        images.qemu_io(path, 'write -P 1 1M 1M', 'write -P 2 8M 512')
        with self.serve(path) as source:
            extents = list(source.extents())
            content = bytes(source.read(0, source.size))
            source.check()

        self.assert_describes(extents, content)
        self.assert_same(self.content(path), content)
        self.assert_nothing_left()

    def test_raw(self) -> None:
        path = self.raw('a', MI)
        images.qemu_io(path, 'write -P 1 512 512', format='raw')
        with self.serve(path, 'raw') as source:
            self.assertEqual(b'\1' * 512, source.read(512, 512))

    def test_backing_chain(self) -> None:
        base = self.qcow2('base', MI)
        images.qemu_io(base, 'write -P 1 0 1M')
        path = self.qcow2('a', 2 * MI, '-b', base, '-F', 'qcow2')
        images.qemu_io(path, 'write -P 2 128k 64k')
        with self.serve(path) as source:
            extents = list(source.extents())
            content = bytes(source.read(0, source.size))

        self.assert_describes(extents, content)
        self.assert_same(self.content(path), content)

    def test_serves_eight_threads(self) -> None:
        path = self.raw('a', 32 * MI)
        data = random.Random(0).randbytes(32 * MI)
        pathlib.Path(path).write_bytes(data)
        with (
            self.serve(path, 'raw', connections=4) as source,
            concurrent.futures.ThreadPoolExecutor(8) as pool,
        ):
            read = pool.map(lambda n: source.read(n * MI, MI), range(32))
            self.assert_same(data, b''.join(read))

    def test_incrementals_miss_nothing(self) -> None:
        """The order of a shut-off guest's backups, over five rounds."""
        path = self.qcow2('a', 16 * MI)
        image.add_bitmap(path, 'ekko-0')
        copy = bytearray(self.content(path))
        for number in range(5):
            parent, new = f'ekko-{number}', f'ekko-{number + 1}'
            images.qemu_io(
                path,
                f'write -P {number + 1} {number * 300}k 700k',
                f'write -z {number}M 64k',
                f'discard {5 + number}M 64k',
            )
            image.add_bitmap(path, new)
            with self.serve(path, bitmap=parent) as source:
                for extent in source.extents():
                    if extent.dirty:
                        copy[extent.offset : extent.end] = source.read(
                            extent.offset, extent.length
                        )
                source.check()
            image.remove_bitmap(path, parent)

            self.assert_same(copy, self.content(path))
        (left,) = image.info(path).bitmaps
        self.assertEqual('ekko-5', left.name)

    def test_no_guest_starts_meanwhile(self) -> None:
        path = self.qcow2('a', MI)
        with self.serve(path):
            self.assertRaises(
                exception.InvalidSource, image.add_bitmap, path, 'b'
            )

    def test_server_killed_while_it_is_read(self) -> None:
        path = self.raw('a', MI)
        with self.serve(path, 'raw', disk='vda') as source:
            (server,) = self.servers()
            os.kill(server, signal.SIGKILL)
            error = self.assertRaises(exception.SourceLost, source.check)
            self.assertRaises(exception.SourceLost, source.read, 0, 512)

        self.assertEqual('vda', error.disk)
        self.assert_nothing_left()

    def test_body_raises(self) -> None:
        def read() -> None:
            with self.serve(self.qcow2('a', MI)):
                raise Stop

        self.assertRaises(Stop, read)
        self.assert_nothing_left()

    def test_we_are_killed(self) -> None:
        path = self.raw('a', MI)
        us = subprocess.Popen(
            [sys.executable, '-c', SERVE_AND_WAIT, path, self.sockets],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(us.communicate)
        self.addCleanup(us.kill)
        assert us.stdout is not None
        self.assertEqual(b'ready\n', us.stdout.readline())
        (server,) = self.servers()
        end = os.pidfd_open(server)
        self.addCleanup(os.close, end)
        self.addCleanup(self.kill, end)

        us.kill()

        self.assertEqual([end], select.select([end], [], [], 60)[0])
        self.assert_nothing_left()

    def kill(self, pidfd: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def test_server_that_does_not_want_to_end(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch(
                'ekko_nova.virt.offline.TERMINATE_SECONDS', 0.1
            )
        )
        with self.serve(self.raw('a', MI), 'raw'):
            (server,) = self.servers()
            os.kill(server, signal.SIGSTOP)

        self.assert_nothing_left()


class ServeRefusalTest(OfflineTestCase):
    def test_missing_image(self) -> None:
        self.refused(exception.InvalidSource, self.path('a'))

    def test_in_use(self) -> None:
        path = self.qcow2('a', MI)
        self.useFixture(images.QemuNbd(self.path('s'), '-f', 'qcow2', path))
        message = self.refused(exception.InvalidSource, path)
        self.assertIn('--domain', message)

    def test_backing_file_in_use(self) -> None:
        base = self.qcow2('base', MI)
        path = self.qcow2('a', MI, '-b', base, '-F', 'qcow2')
        self.useFixture(images.QemuNbd(self.path('s'), '-f', 'qcow2', base))
        message = self.refused(exception.InvalidSource, path)
        self.assertIn('--domain', message)

    def test_backing_file_missing(self) -> None:
        base = self.qcow2('base', MI)
        path = self.qcow2('a', MI, '-b', base, '-F', 'qcow2')
        os.unlink(base)
        message = self.refused(exception.HypervisorFailed, path)
        self.assertIn(f"Could not open '{base}'", message)

    def test_wrong_bitmap_name(self) -> None:
        path = self.qcow2('a', MI)
        image.add_bitmap(path, 'b')
        message = self.refused(exception.BitmapUnusable, path, bitmap='c')
        self.assertIn('no such bitmap', message)

    def test_bitmap_of_a_raw_image(self) -> None:
        path = self.raw('a', MI)
        self.refused(exception.BitmapUnusable, path, 'raw', bitmap='b')

    def test_bitmap_of_the_backing_file(self) -> None:
        """qemu-nbd would serve it, and every write would look clean."""
        base = self.qcow2('base', MI)
        image.add_bitmap(base, 'b')
        path = self.qcow2('a', MI, '-b', base, '-F', 'qcow2')
        images.qemu_io(path, 'write -P 1 0 64k')
        self.refused(exception.BitmapUnusable, path, bitmap='b')

    def test_inconsistent_bitmap(self) -> None:
        path = self.qcow2('a', MI)
        image.add_bitmap(path, 'b')
        server = images.QemuNbd(self.path('s'), '-f', 'qcow2', path)
        self.useFixture(server)
        # It listens before it opens the image and marks the bitmap.
        with nbd.NbdSource(self.path('s'), '', disk='a'):
            server.process.kill()
            server.process.wait()
        message = self.refused(exception.BitmapUnusable, path, bitmap='b')
        self.assertIn('did not save it', message)

    def test_bitmap_that_does_not_record(self) -> None:
        path = self.qcow2('a', MI)
        image.add_bitmap(path, 'b')
        images.run('qemu-img', 'bitmap', '--disable', path, 'b')
        message = self.refused(exception.BitmapUnusable, path, bitmap='b')
        self.assertIn('does not record', message)

    def test_socket_directory_missing(self) -> None:
        context = offline.serve(
            self.qcow2('a', MI),
            'qcow2',
            socket_directory=self.path('elsewhere'),
        )
        error = self.assertRaises(
            exception.HypervisorFailed, context.__enter__
        )
        self.assertIn('No such file or directory', str(error))
        self.assert_nothing_left()

    def test_socket_directory_with_a_long_name(self) -> None:
        directory = self.path('x' * 100)
        os.mkdir(directory)
        context = offline.serve(
            self.qcow2('a', MI), 'qcow2', socket_directory=directory
        )
        error = self.assertRaises(exception.InvalidOption, context.__enter__)
        self.assertIn('shorter', str(error))

    def test_server_does_not_listen(self) -> None:
        self.use_tool('sleep 600')
        self.useFixture(
            fixtures.MonkeyPatch('ekko_nova.virt.nbd.CONNECT_SECONDS', 0.1)
        )
        self.refused(exception.HypervisorFailed, self.qcow2('a', MI))

    def test_server_says_why_it_ends(self) -> None:
        self.use_tool('echo "the moon is full" >&2; exit 1')
        message = self.refused(exception.HypervisorFailed, self.qcow2('a', MI))
        self.assertIn('the moon is full', message)

    def test_tool_missing(self) -> None:
        tools = self.path('tools')
        os.mkdir(tools)
        os.symlink('/usr/bin/qemu-img', os.path.join(tools, 'qemu-img'))
        self.useFixture(fixtures.EnvironmentVariable('PATH', tools))
        message = self.refused(exception.HypervisorFailed, self.qcow2('a', MI))
        self.assertIn('install qemu-utils', message)

    def use_tool(self, script: str) -> None:
        """Run a shell script for qemu-nbd."""
        tool = self.path('qemu-nbd')
        with open(tool, 'w') as file:
            file.write(f'#!/bin/sh\n{script}\n')
        os.chmod(tool, 0o700)
        search = f'{self.directory}:{os.environ["PATH"]}'
        self.useFixture(fixtures.EnvironmentVariable('PATH', search))


class CreateTargetTest(OfflineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.file = self.path('a')

    def target(
        self, format: str, size: int
    ) -> contextlib.AbstractContextManager[block.BlockTarget]:
        return offline.create_target(self.file, format, size, self.sockets)

    def test_what_is_written_is_there(self) -> None:
        data = random.Random(0).randbytes(2 * MI)
        size = 8 * MI + 512
        for format in ('qcow2', 'raw'):
            with self.target(format, size) as target:
                self.assertEqual(size, target.size)
                target.write(MI, data)
                target.zero(4 * MI, 4 * MI + 512)
                target.flush()

            self.assert_same(
                bytes(MI) + data + bytes(size - 3 * MI),
                self.content(self.file, format),
            )
            self.assertEqual(0o600, os.stat(self.file).st_mode & 0o777)
            self.assert_nothing_left()
            os.unlink(self.file)

    def test_sound_afterwards(self) -> None:
        with self.target('qcow2', 8 * MI) as target:
            target.write(512, b'x' * MI)
            target.flush()
        images.run('qemu-img', 'check', '-q', '-f', 'qcow2', self.file)
        created = image.info(self.file)
        self.assertEqual(('qcow2', '1.1'), (created.format, created.compat))

    def test_removed_when_the_body_raises(self) -> None:
        def write(kind: str) -> None:
            with self.target(kind, MI) as target:
                target.write(0, bytes(512))
                raise Stop

        for kind in ('qcow2', 'raw'):
            self.assertRaises(Stop, write, kind)
            self.assertFalse(os.path.exists(self.file))
            self.assert_nothing_left()

    def test_server_killed(self) -> None:
        def write() -> None:
            with self.target('qcow2', MI) as target:
                (server,) = self.servers()
                os.kill(server, signal.SIGKILL)
                target.write(0, bytes(512))

        error = self.assertRaises(exception.TargetFailed, write)

        self.assertEqual(self.file, error.target)
        self.assertFalse(os.path.exists(self.file))
        self.assert_nothing_left()

    def test_overwrites_nothing(self) -> None:
        with open(self.file, 'w') as file:
            file.write('precious')
        for format in ('qcow2', 'raw'):
            self.assertRaises(
                exception.TargetExists, self.target(format, MI).__enter__
            )
        with open(self.file) as file:
            self.assertEqual('precious', file.read())

    def test_server_does_not_start(self) -> None:
        context = offline.create_target(
            self.file, 'qcow2', MI, self.path('elsewhere')
        )
        self.assertRaises(exception.HypervisorFailed, context.__enter__)
        self.assertFalse(os.path.exists(self.file))
