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

"""Writing past the page cache."""

import errno
import os
import pathlib
import random
from unittest import mock

import fixtures
import hypothesis
from hypothesis import strategies

from ekko_nova import direct
from tests import base

_SIZE = 6 << 20

_WRITES = strategies.lists(
    strategies.tuples(
        strategies.one_of(
            strategies.integers(0, _SIZE // 512).map(lambda n: n * 512),
            strategies.integers(0, _SIZE),
        ),
        strategies.one_of(
            strategies.integers(0, 5 << 20), strategies.integers(0, 9000)
        ),
    ),
    max_size=6,
)


class DirectFileTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = self.useFixture(fixtures.TempDir()).path
        self.path = pathlib.Path(directory, 'file')

    def write(self, writes: list[tuple[int, int]]) -> None:
        """Write, by both kinds of descriptors, and compare."""
        self.path.write_bytes(b'')
        source = random.Random(0)
        expected = bytearray()
        with (
            self.path.open('r+b', buffering=0) as cached,
            direct.DirectFile(self.path, cached.fileno()) as file,
        ):
            for offset, length in writes:
                data = source.randbytes(length)
                if length:
                    expected.extend(bytes(max(0, offset - len(expected))))
                expected[offset : offset + length] = data
                # Of memory that is not aligned.
                file.write(offset, memoryview(b'x' + data)[1:])
        self.assertEqual(bytes(expected), self.path.read_bytes())

    @hypothesis.given(_WRITES)
    @hypothesis.settings(deadline=None, max_examples=40)
    def test_any_writes(self, writes: list[tuple[int, int]]) -> None:
        self.write(writes)

    def test_where_there_is_no_such_thing(self) -> None:
        real = os.open

        def refuse(path: str, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_DIRECT:
                raise OSError(errno.EINVAL, 'Invalid argument')
            return real(path, flags, mode)

        self.path.write_bytes(b'')
        with mock.patch.object(os, 'open', autospec=True, side_effect=refuse):
            self.assertFalse(direct.is_supported(self.path))
            self.write([(0, 5 << 20), (4096, 4096), (7, 100)])

    def test_where_blocks_are_larger_than_pages(self) -> None:
        real = os.pwrite
        refused = []

        def refuse(descriptor: int, data: bytes, offset: int) -> int:
            flags = pathlib.Path(f'/proc/self/fdinfo/{descriptor}').read_text()
            if int(flags.split()[3], 8) & os.O_DIRECT:
                refused.append(offset)
                raise OSError(errno.EINVAL, 'Invalid argument')
            return real(descriptor, data, offset)

        with mock.patch.object(
            os, 'pwrite', autospec=True, side_effect=refuse
        ):
            self.write([(0, 5 << 20), (4096, 4096), (7, 100)])
        self.assertEqual([0, 4096], refused)

    def test_errors_are_raised(self) -> None:
        self.path.write_bytes(b'')
        with (
            self.path.open('rb', buffering=0) as read_only,
            direct.DirectFile(self.path, read_only.fileno()) as file,
        ):
            error = self.assertRaises(OSError, file.write, 1, b'data')
        self.assertEqual(errno.EBADF, error.errno)
        error = self.assertRaises(OSError, file.write, 0, bytes(8192))
        self.assertEqual(errno.EBADF, error.errno)

    def test_no_descriptor_stays_open(self) -> None:
        self.write([(0, 4096)])
        before = len(os.listdir('/proc/self/fd'))
        self.write([(0, 4096)])
        self.assertEqual(before, len(os.listdir('/proc/self/fd')))

    def test_is_supported(self) -> None:
        self.assertFalse(direct.is_supported(self.path))
        self.path.write_bytes(b'')
        self.assertTrue(direct.is_supported(self.path))
        self.assertFalse(direct.is_supported('json:{"driver": "nbd"}'))
