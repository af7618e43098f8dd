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

"""The sizes and shares that ekko-manage promises, on a disk of 4 GiB."""

import json
import pathlib
import random
import subprocess
import sys
import typing

import fixtures
from oslo_utils import units

from tests import base
from tests.functional import libvirtd

_COMMAND = str(pathlib.Path(sys.executable).with_name('ekko-manage'))
_WRITES = 1024
_WRITE = 64 * units.Ki

#: Whatever the size of the disk.
_PEAK = 256 * units.Mi

#: A small process between, because what a process grew to counts for those
#: that it starts as well, and this one may have grown.
_MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""

_libvirtd = libvirtd.Libvirtd()


def setUpModule() -> None:
    _libvirtd.setUp()


def tearDownModule() -> None:
    _libvirtd.cleanUp()


class ScaleTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.options = ['--store', f'file://{self.root}/store', '-f', 'json']

    def manage(self, *words: str) -> typing.Any:
        """Run it, and see that its memory stays within bounds."""
        done = subprocess.run(
            [
                *(sys.executable, '-c', _MEASURE),
                *(_COMMAND, *words, *self.options),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        peak = int(done.stderr.split()[-1]) * units.Ki
        self.assertLess(peak, _PEAK, words)
        return json.loads(done.stdout)

    def data(self) -> pathlib.Path:
        """4 GiB: half holes, a quarter noise, a quarter text."""
        raw = self.root / 'disk.raw'
        generator = random.Random(1)
        words = b' '.join(
            bytes(generator.choices(b'abcdefghijklmnop', k=7))
            for _ in range(20_000)
        )
        with raw.open('wb') as file:
            for number in range(256):
                file.seek(number * 16 * units.Mi)
                file.write(generator.randbytes(4 * units.Mi))
                text = words[generator.randrange(9000) :]
                file.write((text * 30)[: 4 * units.Mi])
            file.truncate(4 * units.Gi)
        path = _libvirtd.root / 'disk.qcow2'
        argv = ['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2']
        subprocess.run([*argv, str(raw), str(path)], check=True)
        raw.unlink()
        return path

    def write_at_random(self, guest: libvirtd.Guest) -> int:
        """1,024 random, aligned writes of 64 KiB; returns the bytes."""
        generator = random.Random(2)
        noise = [_libvirtd.root / f'noise-{number}' for number in range(64)]
        for path in noise:
            path.write_bytes(generator.randbytes(_WRITE))
        blocks = generator.sample(range(4 * units.Gi // _WRITE), _WRITES)
        for number, block in enumerate(blocks):
            content = noise[number % len(noise)]
            guest.write_file('vda', block * _WRITE, _WRITE, content)
        return _WRITES * _WRITE

    def test_what_an_incremental_costs(self) -> None:
        path = self.data()
        guest = self.useFixture(
            libvirtd.Guest(_libvirtd, 'large', [('vda', path, 'qcow2')])
        )
        guest.start()
        configuration = self.root / 'ekko.conf'
        configuration.write_text(
            f'[ekko]\nsocket_directory = {_libvirtd.root}/s\n'
            f'scratch_directory = {_libvirtd.root}/scratch\n'
            'audit_segments = 0\n'
        )
        domain = [
            *('--config-file', str(configuration), 'backup'),
            *('--domain', 'large', '--connect', _libvirtd.uri),
        ]
        full = self.manage(*domain)
        changed = self.write_at_random(guest)
        incremental = self.manage(*domain)
        guest.stop()
        self._assert_cheap(incremental, changed)
        self._assert_whole_without(full, incremental, path)

    def test_what_an_incremental_of_a_file_costs(self) -> None:
        path = self.data()
        full = self.manage('backup', str(path))
        segment = full['disks'][0]['segment_size']
        changed = self.write_into_file(path, segment)
        incremental = self.manage('backup', str(path))
        self._assert_cheap(incremental, changed)
        # Of the segment that was written anew, the full has the old one.
        removed = self._assert_whole_without(full, incremental, path)
        self.assertEqual(1, removed)
        gone = self.root / 'store/sets' / full['set'] / full['id'] / '00000000'
        self.assertFalse(gone.exists())

    def write_into_file(self, path: pathlib.Path, first: int) -> int:
        """All of the first bytes, then as above; returns the bytes."""
        generator = random.Random(2)
        noise = self.root / 'noise'
        noise.write_bytes(generator.randbytes(_WRITE))
        blocks = range(first // _WRITE, 4 * units.Gi // _WRITE)
        places = [
            (0, first),
            *(
                (block * _WRITE, _WRITE)
                for block in generator.sample(blocks, _WRITES)
            ),
        ]
        subprocess.run(
            ['qemu-io', '-f', 'qcow2', str(path)],
            input='\n'.join(
                f'write -s {noise} {offset} {length}'
                for offset, length in places
            ),
            check=True,
            text=True,
            stdout=subprocess.DEVNULL,
        )
        return sum(length for _, length in places)

    def _assert_cheap(
        self, incremental: dict[str, typing.Any], changed: int
    ) -> None:
        self.assertEqual('incremental', incremental['type'])
        self.assertLessEqual(incremental['changed_bytes'], 1.05 * changed)
        self.assertLessEqual(incremental['stored_bytes'], 1.05 * changed)
        self.assertLessEqual(incremental['objects'], 40)

    def _assert_whole_without(
        self,
        full: dict[str, typing.Any],
        incremental: dict[str, typing.Any],
        path: pathlib.Path,
    ) -> int:
        """Delete the full; returns how many objects of data that removed."""
        before = self._stored()
        [deleted] = self.manage('delete', full['id'])
        # What it had alone is gone, at least its manifest, and nothing else.
        self.assertLess(self._stored(), before)
        self.assertEqual(
            [], self.manage('verify', '--deep', incremental['id'])
        )
        output = self.root / 'restored.raw'
        self.manage('restore', incremental['id'], '--output', str(output))
        argv = ['qemu-img', 'compare', '-q', str(path), str(output)]
        self.assertEqual(0, subprocess.run(argv, check=False).returncode)
        return int(deleted['objects_removed'])

    def _stored(self) -> int:
        return sum(
            path.stat().st_size
            for path in (self.root / 'store').rglob('*')
            if path.is_file()
        )

    def test_a_disk_of_1_tib(self) -> None:
        path = self.root / 'large.raw'
        with path.open('wb') as file:
            file.truncate(units.Ti)
            for number in range(64):
                file.seek(number * 16 * units.Gi + 4096)
                file.write(b'here' * 1024)
        backup = self.manage('backup', str(path))
        self.assertLessEqual(backup['read_bytes'], 64 * units.Mi)
        self.assertEqual([], self.manage('verify', '--deep', backup['id']))
        output = self.root / 'restored.raw'
        self.manage('restore', backup['id'], '--output', str(output))
        argv = ['qemu-img', 'compare', '-q', str(path), str(output)]
        self.assertEqual(0, subprocess.run(argv, check=False).returncode)
