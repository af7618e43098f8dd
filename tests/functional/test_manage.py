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

"""ekko-manage as people and scripts use it: a process, its output, its end."""

import hashlib
import json
import os
import pathlib
import pty
import random
import signal
import subprocess
import sys
import time
import typing

import fixtures
from oslo_utils import units

from ekko_nova.backup import document
from tests import base

COMMAND = pathlib.Path(sys.executable).with_name('ekko-manage')
_SIZE = 24 * units.Mi

_WITHOUT_LIBVIRT: typing.Final = """
import sys
sys.modules['libvirt'] = None
from ekko_nova.cmd import manage
sys.exit(manage.main())
"""


class ManageCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.store = self.root / 'store'
        self.options = ['--store', f'file://{self.store}']
        self.command = [str(COMMAND)]
        self.before: list[str] = []

    def run_manage(
        self, *words: str | pathlib.Path
    ) -> subprocess.CompletedProcess[str]:
        argv = [*self.command, *self.before, *map(str, words)]
        if 'generate' not in words:
            argv += self.options
        return subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
        )

    def manage(self, *words: str | pathlib.Path) -> typing.Any:
        done = self.run_manage(*words, '-f', 'json')
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def refused(
        self, status: int, *words: str | pathlib.Path, names: str
    ) -> str:
        """It ends so, with one line on standard error that names the thing."""
        done = self.run_manage(*words)
        self.assertEqual(status, done.returncode, done.stderr)
        self.assertEqual('', done.stdout)
        [line] = done.stderr.splitlines()
        self.assertTrue(line.startswith('ekko-manage: '), line)
        self.assertIn(names, line)
        return line

    def image(self, name: str, size: int = _SIZE) -> pathlib.Path:
        path = self.root / name
        format = path.suffix[1:]
        argv = ['qemu-img', 'create', '-q', '-f', format, str(path), str(size)]
        subprocess.run(argv, check=True)
        self.write(path, *range(1, 20, 3))
        return path

    def write(self, path: pathlib.Path, *mebibytes: int) -> None:
        """Write a different pattern into each of these."""
        argv = ['qemu-io', '-f', path.suffix[1:]]
        for number in mebibytes:
            argv += ['-c', f'write -P {number + 1} {number}M 300k']
        subprocess.run(
            [*argv, str(path)], check=True, stdout=subprocess.DEVNULL
        )

    def same(self, one: pathlib.Path, other: pathlib.Path) -> None:
        argv = ['qemu-img', 'compare', '-q', str(one), str(other)]
        self.assertEqual(0, subprocess.run(argv, check=False).returncode)

    def contents(self, directory: pathlib.Path) -> dict[str, str]:
        """Digests of all files by path; of lines that they are there.

        A line may go on naming what was removed.
        """
        return {
            str(path): ''
            if path.parent.name == 'lines'
            else hashlib.sha256(path.read_bytes()).hexdigest()
            for path in directory.rglob('*')
            if path.is_file()
        }

    def bitmaps(self, path: pathlib.Path) -> list[str]:
        argv = ['qemu-img', 'info', '-U', '--output=json', str(path)]
        info = json.loads(subprocess.check_output(argv))
        data = info['format-specific']['data']
        return [bitmap['name'] for bitmap in data.get('bitmaps', ())]


class LifeTest(ManageCase):
    def _life(self, path: pathlib.Path) -> None:
        one = self.manage('backup', path)
        copies = {one['id']: self.copy(path)}
        self.write(path, 2, 9)
        two = self.manage('backup', path)
        copies[two['id']] = self.copy(path)
        self.assertEqual(one['id'], two['parent'])
        self.assertEqual(one['set'], two['set'])
        # Twice 300 KiB touch ten blocks of 64 KiB.
        self.assertEqual(10 * 64 * units.Ki, two['changed_bytes'])
        self.check_all(copies)
        self.assertEqual(
            [one['id'], two['id']], [row['id'] for row in self.manage('list')]
        )
        self.assertEqual(two, self.manage('show', two['id']))
        self.manage('delete', one['id'])
        del copies[one['id']]
        self.check_all(copies)

    def copy(self, path: pathlib.Path) -> pathlib.Path:
        copy = self.root / f'copy-{time.monotonic_ns()}.raw'
        argv = ['qemu-img', 'convert', '-O', 'raw', str(path), str(copy)]
        subprocess.run(argv, check=True)
        return copy

    def check_all(self, copies: dict[str, pathlib.Path]) -> None:
        for backup, copy in copies.items():
            self.assertEqual([], self.manage('verify', backup))
            self.assertEqual([], self.manage('verify', '--deep', backup))
            for format in ('raw', 'qcow2'):
                output = self.root / f'restored.{format}'
                self.manage(
                    'restore', backup, '--output', output, '--format', format
                )
                self.same(copy, output)
                output.unlink()

    def test_qcow2(self) -> None:
        path = self.image('disk.qcow2')
        self._life(path)
        self.assertEqual(1, len(self.bitmaps(path)))

    def test_without_libvirt(self) -> None:
        """Disks that no guest uses need nothing of it, not even installed."""
        self.command = [sys.executable, '-c', _WITHOUT_LIBVIRT]
        self._life(self.image('disk.qcow2'))

    def test_raw(self) -> None:
        """Nothing is tracked, but what is stored is not stored again."""
        path = self.image('disk.raw')
        one = self.manage('backup', path)
        self.write(path, 2)
        copy = self.copy(path)
        two = self.manage('backup', path)
        self.assertEqual('disk: not_qcow2', two['full_reason'])
        self.assertEqual(one['id'], two['parent'])
        self.assertLessEqual(two['changed_bytes'], 4 * units.Mi)
        self.check_all({two['id']: copy})

    def test_backing_chain(self) -> None:
        beneath = self.image('beneath.qcow2')
        path = self.root / 'disk.qcow2'
        subprocess.run(
            [
                *('qemu-img', 'create', '-q', '-f', 'qcow2'),
                *('-F', 'qcow2', '-b', beneath, path),
            ],
            check=True,
        )
        self._life(path)

    def test_block_device(self) -> None:
        path = self.image('device.raw')
        made = subprocess.run(
            ['losetup', '--find', '--show', str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            self.skipTest(f'no loop device: {made.stderr.strip()}')
        device = pathlib.Path(made.stdout.strip())
        self.addCleanup(subprocess.check_call, ['losetup', '-d', str(device)])
        backup = self.manage('backup', device, '--set', 'device')
        self.assertEqual('device', backup['set'])
        copy = self.copy(device)
        device.write_bytes(b'\xee' * _SIZE)
        self.manage('restore', backup['id'], '--output', device)
        self.same(copy, device)

    def test_members_of_json(self) -> None:
        backup = self.manage('backup', self.image('disk.qcow2'))
        wanted = 'id set parent type full_reason status disks read_bytes '
        wanted += 'stored_bytes objects seconds'
        self.assertEqual(set(), set(wanted.split()) - set(backup))
        self.assertEqual('available', backup['status'])

    def test_full_again(self) -> None:
        path = self.image('disk.qcow2')
        self.manage('backup', path)
        backup = self.manage('backup', path, '--full')
        self.assertEqual('disk: requested', backup['full_reason'])
        self.assertIsNone(backup['parent'])
        self.assertEqual([], backup['disks'][0]['refers_to'])

    def test_configured_and_sealed(self) -> None:
        key = self.root / 'key'
        key.write_text('7f' * 32)
        key.chmod(0o600)
        configuration = self.root / 'ekko.conf'
        configuration.write_text(
            f'[ekko]\nstore = file://{self.store}\nencryption = aes-gcm\n'
            f'key_file = {key}\ncompression = zlib\nmanifest_driver = osdk\n'
            'digest = sha256\n'
        )
        self.before = ['--config-file', str(configuration)]
        self.options = []
        self._life(self.image('disk.qcow2'))

    def test_manifests(self) -> None:
        backup = self.manage('backup', self.image('disk.qcow2'))
        done = self.run_manage('manifest', 'dump', backup['id'], '-f', 'json')
        self.assertIn(backup['id'], done.stderr)
        rows = json.loads(done.stdout)
        # Of six segments the last is all zero, and the others have a layer.
        self.assertEqual(6, sum(row['count'] for row in rows))
        layers = [row for row in rows if row['layer'] is not None]
        self.assertEqual({backup['id']}, {row['backup'] for row in layers})
        codecs = {'zstd+none+blake3', 'none+none+blake3'}
        self.assertLessEqual({row['codec'] for row in layers}, codecs)
        for codec in codecs:
            self.assertIn(codec, done.stderr)
        for driver in ('sqlite', 'osdk'):
            path = self.root / driver
            made = self.manage(
                *('manifest', 'generate', '--size-gib', '8'),
                *('--driver', driver, '--output', path),
            )
            self.assertEqual(2048, made['segments'])
            self.assertEqual(2048, len(self.manage('manifest', 'dump', path)))

    def test_help(self) -> None:
        self.options = []
        for words in (
            *('backup', 'list', 'show', 'verify', 'delete', 'restore'),
            *('manifest dump', 'manifest generate'),
        ):
            done = self.run_manage(*words.split(), '--help')
            self.assertEqual(0, done.returncode)
            self.assertIn('Example', done.stdout)

    def test_a_bar_on_a_terminal_only(self) -> None:
        path = self.image('disk.qcow2')
        self.assertEqual('', self.run_manage('backup', path).stderr)
        ours, theirs = pty.openpty()
        argv = [str(COMMAND), 'backup', str(path), *self.options]
        with os.fdopen(ours, 'rb', buffering=0) as screen:
            subprocess.run(
                argv, stdout=subprocess.DEVNULL, stderr=theirs, check=True
            )
            self.assertIn(b'100%', screen.read(65536))
        os.close(theirs)


class RefusalTest(ManageCase):
    """Bad input: one clear line, and nothing lost or left behind."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = self.image('disk.qcow2')
        self.backup = self.manage('backup', self.disk)['id']
        self.stored = self.contents(self.store)
        self.known = self.bitmaps(self.disk)

    def refused(
        self, status: int, *words: str | pathlib.Path, names: str
    ) -> str:
        line = super().refused(status, *words, names=names)
        self.assertEqual(self.stored, self.contents(self.store))
        self.assertEqual(self.known, self.bitmaps(self.disk))
        self.assertEqual([], list(self.root.glob('.ekko-*')))
        return line

    def test_sources(self) -> None:
        missing = self.root / 'missing'
        self.refused(3, 'backup', missing, names=str(missing))
        empty = self.root / 'empty'
        empty.touch()
        self.refused(3, 'backup', empty, names=str(empty))
        odd = self.root / 'odd.raw'
        odd.write_bytes(b'x' * 1000)
        self.assertIn('512', self.refused(3, 'backup', odd, names=str(odd)))
        self.refused(3, 'backup', self.root, names=str(self.root))

    def test_a_source_in_use(self) -> None:
        socket = self.root / 'nbd'
        argv = ['qemu-nbd', '-f', 'qcow2', '-x', '', '-t', '-k', str(socket)]
        with subprocess.Popen([*argv, str(self.disk)]) as server:
            try:
                while not socket.exists():
                    time.sleep(0.02)
                line = self.refused(
                    3, 'backup', self.disk, names=str(self.disk)
                )
                self.assertIn('--domain', line)
            finally:
                server.terminate()

    def test_ids(self) -> None:
        output = self.root / 'out'
        for word in ('no-such', '../../etc', 'a/b'):
            for command in ('show', 'verify', 'delete'):
                self.refused(3, command, word, names=word)
            self.refused(3, 'restore', word, '--output', output, names=word)
            self.assertFalse(output.exists())

    def test_an_existing_target(self) -> None:
        self.refused(
            *(3, 'restore', self.backup, '--output', self.disk),
            names=str(self.disk),
        )

    def test_keys(self) -> None:
        public = self.root / 'public'
        public.write_text('11' * 32)
        public.chmod(0o644)
        short = self.root / 'short'
        short.write_text('11')
        short.chmod(0o600)
        for key in (self.root / 'nokey', public, short):
            self.refused(
                3, 'show', self.backup, '--key-file', key, names=str(key)
            )

    def test_the_wrong_key(self) -> None:
        keys = [self.root / 'one', self.root / 'two']
        for number, key in enumerate(keys):
            key.write_text(f'{number}5' * 32)
            key.chmod(0o600)
        configuration = self.root / 'ekko.conf'
        configuration.write_text('[ekko]\nencryption = aes-gcm\n')
        self.before = ['--config-file', str(configuration)]
        sealed = self.manage(
            'backup', self.disk, '--set', 'sealed', '--key-file', keys[0]
        )
        self.stored = self.contents(self.store)
        self.known = self.bitmaps(self.disk)
        output = self.root / 'out'
        other: list[str] = ['--key-file', str(keys[1])]
        for key_option in (other, other[:0]):
            self.refused(
                *(3, 'restore', sealed['id'], '--output', output),
                *key_option,
                names='key',
            )
            self.assertFalse(output.exists())

    def test_unknown_versions(self) -> None:
        [path] = (self.store / 'backups').rglob('*.json')
        value = document.unseal(path.name, path.read_bytes())
        path.write_bytes(document.seal({**value, 'format': 9}))
        self.stored = self.contents(self.store)
        line = self.refused(6, 'show', self.backup, names=path.name)
        self.assertIn('9', line)

    def test_a_damaged_record(self) -> None:
        """It is left out of the list, which says so; the others are in it."""
        other = self.image('other.qcow2')
        kept = self.manage('backup', other)['id']
        [path] = (self.store / 'backups').rglob(f'{self.backup}.json')
        path.write_bytes(b'{')
        done = self.run_manage('list', '-f', 'json')
        self.assertEqual(6, done.returncode, done.stderr)
        self.assertEqual(
            [kept], [row['id'] for row in json.loads(done.stdout)]
        )
        self.assertIn(f'{path.name} is damaged', done.stderr)

    def test_where_nova_is_not(self) -> None:
        self.options = []
        for words in (
            ('backup', 'a-server'),
            ('restore', 'a-server', self.backup),
            ('cancel', 'a-server', self.backup),
        ):
            line = self.refused(7, 'instance', *words, names='nova-api')
            self.assertIn('Nova is not installed here', line)
            self.assertIn('there is no module ', line)

    def test_stores(self) -> None:
        self.options = []
        self.refused(3, 'list', names='--store')
        for url in ('ftp://x/y', 'swift:///', 'nonsense'):
            done = self.run_manage('list', '--store', url)
            self.assertIn(done.returncode, (3, 7), url)
            [line] = done.stderr.splitlines()
            self.assertTrue(line.startswith('ekko-manage: '), line)
        self.refused(
            *(3, 'list', '--store', f'file://{self.disk}'),
            names=str(self.disk),
        )

    def _tmpfs(self, name: str, size: str) -> pathlib.Path:
        path = self.root / name
        path.mkdir()
        argv = [
            'mount',
            '-t',
            'tmpfs',
            '-o',
            f'size={size}',
            'none',
            str(path),
        ]
        subprocess.run(argv, check=True)
        self.addCleanup(subprocess.check_call, ['umount', str(path)])
        return path

    def test_a_full_store(self) -> None:
        place = self._tmpfs('small', '300k')
        disk = self.root / 'noise.raw'
        disk.write_bytes(random.Random(1).randbytes(4 * units.Mi))
        self.options = ['--store', f'file://{place}/s']
        self.refused(7, 'backup', disk, names=f'{place}/s')
        self.assertEqual([], self.manage('list'))
        left = [path for path in place.rglob('*') if path.is_file()]
        self.assertEqual([], left)

    def test_an_unwritable_store(self) -> None:
        place = self._tmpfs('readonly', '4m')
        subprocess.run(['mount', '-o', 'remount,ro', place], check=True)
        self.options = ['--store', f'file://{place}/s']
        self.refused(7, 'backup', self.disk, names=f'{place}/s')

    def test_a_full_target(self) -> None:
        place = self._tmpfs('small', '1m')
        output = place / 'out.raw'
        self.refused(
            7, 'restore', self.backup, '--output', output, names='out.raw'
        )
        self.assertEqual([], list(place.iterdir()))

    def test_options_that_do_not_go_together(self) -> None:
        self.refused(3, 'backup', self.disk, '--quiesce', names='--quiesce')
        self.assertEqual(2, self.run_manage('backup').returncode)


class SignalTest(ManageCase):
    """Interrupted at some moment: nothing is left but what was before."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = self.root / 'disk.raw'
        noise = random.Random(2).randbytes(8 * units.Mi)
        self.disk.write_bytes(noise * 24)
        self.backup = self.manage('backup', self.disk)['id']
        self.stored = self.contents(self.store)
        self._change(0)
        # What a shell runs in the background ignores Ctrl-C, and so do the
        # processes that it starts, unless somebody says otherwise.
        heeded = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, heeded)

    def _change(self, seed: int) -> None:
        with self.disk.open('r+b') as file:
            for offset in range(0, 192, 4):
                file.seek(offset * units.Mi)
                generator = random.Random(seed + offset)
                file.write(generator.randbytes(units.Mi))

    def _interrupted(
        self, number: signal.Signals, delay: float, *words: str | pathlib.Path
    ) -> int:
        # So that there are moments to be interrupted in.
        slow = self.root / 'slow.conf'
        slow.write_text('[ekko]\nbandwidth_limit_mib = 200\n')
        argv = [COMMAND, '--config-file', slow, *words, *self.options]
        with subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            time.sleep(delay)
            process.send_signal(number)
            said = process.communicate()[1]
        self.assertNotIn('Traceback', said)
        return process.returncode

    def _sweep(
        self,
        number: signal.Signals,
        status: int,
        check: typing.Callable[[], None],
        *words: str | pathlib.Path,
    ) -> None:
        """Interrupt later and later, until it is done before."""
        seen = set()
        # Python itself takes some time to start and to heed signals.
        delay = 0.4
        while 0 not in seen and delay < 10:
            seen.add(self._interrupted(number, delay, *words))
            check()
            delay *= 1.25
        self.assertIn(status, seen)

    def _only_the_backup(self) -> None:
        ids = [row['id'] for row in self.manage('list')]
        if ids == [self.backup]:
            self.assertEqual(self.stored, self.contents(self.store))
        for found in ids:
            self.assertEqual([], self.manage('verify', '--deep', found))

    def test_backup_and_ctrl_c(self) -> None:
        self._sweep(
            *(signal.SIGINT, 130, self._only_the_backup),
            *('backup', self.disk),
        )

    def test_backup_and_term(self) -> None:
        self._sweep(
            *(signal.SIGTERM, 143, self._only_the_backup),
            *('backup', self.disk),
        )

    def test_backup_and_kill(self) -> None:
        known = {self.backup, *self._killed()}
        two = self.manage('backup', self.disk)
        known.add(two['id'])
        self.assertEqual(known, {row['id'] for row in self.manage('list')})
        owners = {path.name for path in self.store.glob('sets/*/*')}
        self.assertEqual(known, owners)
        output = self.root / 'out.raw'
        self.manage('restore', two['id'], '--output', output)
        self.same(self.disk, output)

    def _killed(self) -> list[str]:
        """Kill a backup that has begun; returns those that were quicker."""
        done: list[str] = []
        for attempt in range(1, 10):
            before = set((self.store / 'backups').rglob('*.json'))
            argv = [str(COMMAND), 'backup', str(self.disk), *self.options]
            with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
                made: set[pathlib.Path] = set()
                while not made and process.poll() is None:
                    found = set((self.store / 'backups').rglob('*.json'))
                    made = found - before
                process.kill()
            if process.returncode == -signal.SIGKILL:
                return done
            done += [path.stem for path in made]
            self._change(1000 * attempt)
        raise AssertionError('every backup was done before it was killed')

    def test_restore_and_ctrl_c(self) -> None:
        output = self.root / 'out.raw'

        def check() -> None:
            self.assertEqual([], list(self.root.glob('.ekko-*')))
            if output.exists():
                self.assertEqual(192 * units.Mi, output.stat().st_size)

        self._sweep(
            *(signal.SIGINT, 130, check),
            *('restore', self.backup, '--output', output),
        )


class FlipTest(ManageCase):
    """One byte of any object changes: restore and verify name the object.

    Unless it only repeats what the store's listing says.
    """

    def _flip_all(self, backup: str) -> None:
        generator = random.Random(3)
        paths = [path for path in self.store.rglob('*') if path.is_file()]
        self.assertGreater(len(paths), 5)
        for path in paths:
            data = path.read_bytes()
            name = str(path.relative_to(self.store))
            last = len(data) - 1
            for position in {0, generator.randint(0, last), last}:
                changed = bytearray(data)
                changed[position] ^= 1 << generator.randrange(8)
                path.write_bytes(changed)
                if name.startswith(('index/', 'lines/')):
                    self._assert_restores(backup)
                else:
                    self._assert_named(name, backup)
            path.write_bytes(data)
        self.assertEqual([], self.manage('verify', '--deep', backup))

    def _assert_restores(self, backup: str) -> None:
        output = self.root / 'out.raw'
        self.manage('restore', backup, '--output', output)
        self.same(self.root / 'disk.qcow2', output)
        output.unlink()

    def _assert_named(self, name: str, backup: str) -> None:
        output = self.root / 'out.raw'
        done = self.run_manage('restore', backup, '--output', output)
        self.assertEqual(6, done.returncode, name)
        self.assertIn(name, done.stderr)
        self.assertFalse(output.exists())
        done = self.run_manage('verify', '--deep', backup, '-f', 'json')
        self.assertEqual(6, done.returncode, name)
        self.assertIn(name, done.stdout + done.stderr)

    def _two(self) -> str:
        disk = self.image('disk.qcow2')
        one = self.manage('backup', disk)
        self.write(disk, 2, 8)
        two = self.manage('backup', disk)
        # What is left is what the newer one needs, every byte of it.
        self.manage('delete', one['id'])
        return str(two['id'])

    def test_plain(self) -> None:
        self._flip_all(self._two())

    def test_the_next_backup_does_not_build_on_it(self) -> None:
        disk = self.image('disk.qcow2')
        one = self.manage('backup', disk)
        path = next(self.store.glob(f'sets/*/{one["id"]}/00000000'))
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        self.assertEqual(
            6, self.run_manage('verify', '--deep', one['id']).returncode
        )
        # Which would not see it.
        self.assertEqual(6, self.run_manage('verify', one['id']).returncode)
        two = self.manage('backup', disk)
        self.assertEqual('parent_damaged', two['disks'][0]['full_reason'], two)
        self.manage('restore', two['id'], '--output', self.root / 'two.raw')
        self.same(disk, self.root / 'two.raw')
        path.write_bytes(data)
        self.assertEqual([], self.manage('verify', '--deep', one['id']))
        self.assertEqual([], self.manage('verify', one['id']))

    def test_sealed(self) -> None:
        key = self.root / 'key'
        key.write_text('7f' * 32)
        key.chmod(0o600)
        configuration = self.root / 'ekko.conf'
        configuration.write_text(
            f'[ekko]\nencryption = aes-gcm\nkey_file = {key}\n'
        )
        self.before = ['--config-file', str(configuration)]
        self._flip_all(self._two())
