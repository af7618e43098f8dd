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

import testtools

from ekko_nova import exception
from ekko_nova.virt import image

# As QEMU 7.2 prints them, without what we do not read.
QCOW2 = {
    'virtual-size': 1073741824,
    'format': 'qcow2',
    'full-backing-filename': '/images/base.qcow2',
    'backing-filename': 'base.qcow2',
    'format-specific': {
        'type': 'qcow2',
        'data': {
            'compat': '1.1',
            'bitmaps': [
                {'flags': ['auto'], 'name': 'a', 'granularity': 65536},
                {
                    'flags': ['in-use', 'auto'],
                    'name': 'b',
                    'granularity': 4096,
                },
                {'flags': [], 'name': 'c', 'granularity': 512},
            ],
        },
    },
}
DATA_FILE = {
    'virtual-size': 1048576,
    'format': 'qcow2',
    'format-specific': {
        'data': {'compat': '1.1', 'data-file': 'd.raw', 'data-file-raw': True}
    },
}
RAW = {'virtual-size': 512, 'format': 'raw'}


class ParseInfoTest(testtools.TestCase):
    def test_qcow2_with_bitmaps(self) -> None:
        self.assertEqual(
            image.ImageInfo(
                path='/x',
                format='qcow2',
                size=1073741824,
                compat='1.1',
                data_file=False,
                backing='/images/base.qcow2',
                bitmaps=(
                    image.BitmapInfo('a', 65536, True, False),
                    image.BitmapInfo('b', 4096, True, True),
                    image.BitmapInfo('c', 512, False, False),
                ),
            ),
            image.parse_info('/x', QCOW2),
        )

    def test_external_data_file(self) -> None:
        self.assertTrue(image.parse_info('/x', DATA_FILE).data_file)

    def test_raw(self) -> None:
        self.assertEqual(
            image.ImageInfo('/x', 'raw', 512, None, False, None, ()),
            image.parse_info('/x', RAW),
        )


class FailureTest(testtools.TestCase):
    def failure(self, stderr: str) -> exception.EkkoError:
        return image.failure(
            '/x', stderr, lambda reason: exception.TargetFailed('/x', reason)
        )

    def test_lock_of_a_running_qemu(self) -> None:
        for lock in ('"write" lock', 'shared "write" lock'):
            error = self.failure(
                f"qemu-img: Could not open '/x': Failed to get {lock}\n"
                'Is another process using the image [/x]?\n'
            )
            self.assertIsInstance(error, exception.InvalidSource)
            self.assertIn('--domain', str(error))

    def test_anything_else_is_told_in_one_line(self) -> None:
        error = self.failure('first\n\nsecond\n')
        self.assertIsInstance(error, exception.TargetFailed)
        self.assertIn('(first; second)', str(error))

    def test_silence(self) -> None:
        self.assertIn('did not say why', str(self.failure('')))
