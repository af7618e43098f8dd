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

"""Images made and read by QEMU's own tools, for tests to compare with."""

import os
import pathlib
import shutil
import subprocess
import time

import fixtures
import testtools

from ekko_nova import block

KI = 1024
MI = 1024 * KI


def run(*argv: object) -> str:
    return subprocess.run(
        [str(argument) for argument in argv],
        check=True,
        stdout=subprocess.PIPE,
        encoding='utf-8',
    ).stdout


def qemu_io(path: object, *commands: str, format: str = 'qcow2') -> None:
    options = [word for command in commands for word in ('-c', command)]
    run('qemu-io', '-f', format, *options, path)


class QemuNbd(fixtures.Fixture):
    """A server for tests to be rough with; ``socket``, ``process``."""

    def __init__(self, socket: str, *arguments: object) -> None:
        self.socket = socket
        self._arguments = [str(argument) for argument in arguments]

    def _setUp(self) -> None:
        self.process = subprocess.Popen(
            ['qemu-nbd', '--persistent', '-k', self.socket, *self._arguments]
        )
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        while not self._listens():
            if self.process.poll() is not None:
                raise RuntimeError(f'qemu-nbd {self._arguments} ended')
            time.sleep(0.01)

    def _listens(self) -> bool:
        # Flags of a socket that accepts connections.
        sockets = pathlib.Path('/proc/net/unix').read_text().splitlines()
        return any(
            ' 00010000 ' in line and line.endswith(' ' + self.socket)
            for line in sockets
        )


def break_bitmaps(path: str) -> None:
    """Leave the bitmaps of a qcow2 as a QEMU that is killed does."""
    with QemuNbd(f'{path}.sock', '-f', 'qcow2', path) as server:
        # It listens before it opens the image, and answers after.
        run('qemu-img', 'info', f'nbd+unix:///?socket={server.socket}')
        server.process.kill()
        server.process.wait()


class ImageTestCase(testtools.TestCase):
    """A directory for images, and what is true of all of them."""

    def setUp(self) -> None:
        super().setUp()
        for tool in ('qemu-img', 'qemu-io', 'qemu-nbd'):
            if shutil.which(tool) is None:
                self.skipTest(f'{tool} is not installed (qemu-utils)')
        self.directory = self.useFixture(fixtures.TempDir()).path

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def qcow2(self, name: str, size: int, *options: str) -> str:
        path = self.path(name)
        run('qemu-img', 'create', '-q', '-f', 'qcow2', *options, path, size)
        return path

    def raw(self, name: str, size: int) -> str:
        path = self.path(name)
        with open(path, 'xb') as file:
            file.truncate(size)
        return path

    def content(self, path: str, format: str = 'qcow2') -> bytes:
        """What the disk holds, according to qemu-img."""
        copy = path + '.content'
        run('qemu-img', 'convert', '-f', format, '-O', 'raw', path, copy)
        try:
            return pathlib.Path(copy).read_bytes()
        finally:
            os.unlink(copy)

    def assert_same(self, expected: block.Buffer, actual: bytes) -> None:
        """Without printing megabytes where they differ."""
        self.assertEqual(len(expected), len(actual))
        if expected != actual:
            pairs = enumerate(zip(expected, actual, strict=True))
            place = next(n for n, (left, right) in pairs if left != right)
            self.fail(f'differs from byte {place} on')

    def assert_cover(self, extents: list[block.Extent], size: int) -> None:
        end = 0
        for extent in extents:
            self.assertEqual(end, extent.offset)
            self.assertGreater(extent.length, 0)
            end = extent.end
        self.assertEqual(size, end)

    def assert_describes(
        self, extents: list[block.Extent], content: bytes
    ) -> None:
        """No extent promises zeros where there are none."""
        self.assert_cover(extents, len(content))
        for extent in extents:
            if extent.zero:
                self.assertFalse(any(content[extent.offset : extent.end]))

    def assert_watched(
        self, extents: list[block.Extent], before: bytes, after: bytes
    ) -> None:
        """Wherever the disk changed, its extents say that it is dirty."""
        for extent in extents:
            if not extent.dirty:
                place = slice(extent.offset, extent.end)
                self.assert_same(before[place], after[place])
