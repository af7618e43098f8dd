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

"""ekko-manage when the machine fails it: no room, no permission, signals.

Each time: what was stored is as it was, and nothing new is left anywhere:
no object, bitmap, file, socket or process.
"""

from collections.abc import Callable
import contextlib
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import fixtures
from oslo_utils import units

from tests.functional import test_manage

_NOISE = 48 * units.Mi

#: ekko-manage that gets a signal while libnbd waits for an answer: what runs
#: first then is the callback.
_WITHIN_A_CALLBACK = textwrap.dedent("""
    import os
    import sys
    import threading

    from ekko_nova.cmd import manage
    from ekko_nova.virt import nbd

    ask = nbd.Export.status


    def ask_until_it_comes(export, offset, length):
        strike = (os.getpid(), int(sys.argv[1]))
        threading.Timer(0.2, os.kill, strike).start()
        while True:
            ask(export, offset, length)


    nbd.Export.status = ask_until_it_comes
    sys.exit(manage.main(sys.argv[2:]))
""")


class FaultCase(test_manage.ManageCase):
    """A qcow2 with a backup, and a look at what is left behind.

    :ivar backup: its id
    """

    def setUp(self) -> None:
        super().setUp()
        self.temporary = self.root / 'tmp'
        self.temporary.mkdir()
        self.useFixture(
            fixtures.EnvironmentVariable('TMPDIR', str(self.temporary))
        )
        self.disk = self.source()
        self.place_store()
        self.backup = self.manage('backup', self.disk)['id']
        self.remember()

    def source(self) -> pathlib.Path:
        return self.image('disk.qcow2')

    def place_store(self) -> None:
        pass

    def remember(self) -> None:
        """What there is now is what there must be later."""
        self.stored = self.contents(self.store)
        self.known = self.bitmaps(self.disk)

    def assert_as_before(self) -> None:
        self.assertEqual(self.stored, self.contents(self.store))
        self.assertEqual(self.known, self.bitmaps(self.disk))
        self.assert_nothing_about()

    def assert_nothing_about(self) -> None:
        self.assertEqual([], list(self.temporary.iterdir()))
        self.assertEqual([], list(self.root.rglob('.ekko-*')))
        self.assertEqual([], self.processes())

    def processes(self) -> list[str]:
        """Command lines that name a file of this test."""
        found = []
        for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
            try:
                line = path.read_bytes().replace(b'\0', b' ').decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(self.root) in line:
                found.append(line)
        return found

    def refused(
        self, status: int, *words: str | pathlib.Path, names: str
    ) -> str:
        line = super().refused(status, *words, names=names)
        self.assert_as_before()
        return line

    def mount(self, path: pathlib.Path, size: str) -> None:
        path.mkdir(exist_ok=True)
        argv = ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'none']
        subprocess.run([*argv, str(path)], check=True)
        self.addCleanup(subprocess.check_call, ['umount', str(path)])


class StoreTest(FaultCase):
    """The store lies on a filesystem of its own."""

    def place_store(self) -> None:
        self.mount(self.store, '4m')

    def test_read_only(self) -> None:
        subprocess.run(['mount', '-o', 'remount,ro', self.store], check=True)
        self.write(self.disk, 2)
        store = str(self.store)
        self.refused(7, 'backup', self.disk, names=store)
        self.refused(7, 'delete', self.backup, names=store)
        # To read it is enough that it can be read.
        self.assertEqual([], self.manage('verify', '--deep', self.backup))
        self.assertEqual(1, len(self.manage('list')))

    def test_full(self) -> None:
        noise = self.root / 'noise'
        noise.write_bytes(random.Random(1).randbytes(8 * units.Mi))
        argv = ['qemu-io', '-f', 'qcow2', '-c', f'write -s {noise} 8M 8M']
        subprocess.run(
            [*argv, str(self.disk)], check=True, stdout=subprocess.DEVNULL
        )
        self.refused(7, 'backup', self.disk, names=str(self.store))
        self.refused(7, 'backup', '--full', self.disk, names=str(self.store))
        self.assertEqual([], self.manage('verify', '--deep', self.backup))

    def test_without_room_for_a_byte(self) -> None:
        filler = self.store / '+filler'
        with filler.open('wb', buffering=0) as file:
            while file.tell() < 4 * units.Mi:
                try:
                    file.write(bytes(4 * units.Ki))
                except OSError:
                    break
        self.remember()
        self.refused(7, 'backup', self.disk, names=str(self.store))
        filler.unlink()
        self.manage('backup', self.disk)


class MachineTest(FaultCase):
    """What else a command needs cannot be had."""

    def test_a_target_without_room(self) -> None:
        place = self.root / 'small'
        self.mount(place, '1m')
        for format in ('raw', 'qcow2'):
            self.refused(
                *(7, 'restore', self.backup, '--output', place / 'out'),
                *('--format', format),
                names=str(place),
            )
            self.assertEqual([], list(place.iterdir()))

    def test_a_target_nowhere(self) -> None:
        output = self.root / 'nowhere/out'
        for format in ('raw', 'qcow2'):
            self.refused(
                *(7, 'restore', self.backup, '--output', output),
                *('--format', format),
                names=str(output.parent),
            )

    def _configured(self, text: str) -> pathlib.Path:
        path = self.root / 'ekko.conf'
        path.write_text(f'[ekko]\n{text}\n')
        self.before = ['--config-file', str(path)]
        return path

    def test_no_room_for_manifests(self) -> None:
        place = self.root / 'small'
        self.mount(place, '4k')
        (place / 'filler').write_bytes(bytes(4 * units.Ki))
        output = self.root / 'out'
        for where in (place, self.root / 'nowhere'):
            self._configured(f'temporary_directory = {where}')
            self.refused(7, 'backup', self.disk, names=str(where))
            self.refused(
                *(7, 'restore', self.backup, '--output', output),
                names=str(where),
            )
            self.assertFalse(output.exists())

    def test_configurations(self) -> None:
        for path in (self.root / 'missing', self.root, self.disk):
            self.before = ['--config-file', str(path)]
            self.refused(3, 'list', names=str(path))
        for text, name in (
            ('workers = many', 'workers'),
            ('segment_size_mib = 3', 'segment_size_mib'),
            ('encryption = aes-gcm', 'key file'),
        ):
            self._configured(text)
            self.refused(3, 'backup', self.disk, names=name)
        self._configured('compression = nonesuch')
        self.refused(7, 'backup', self.disk, names='nonesuch')

    def test_names_of_sets(self) -> None:
        for name in ('', 'a b', '../a', 'x' * 300):
            self.refused(
                3, 'backup', self.disk, '--set', name, names=repr(name)
            )

    def test_sizes_of_manifests(self) -> None:
        output = self.root / 'manifest'
        for size in ('0', '-1', str(1 << 40)):
            self.refused(
                *(3, 'manifest', 'generate', '--output', output),
                *('--size-gib', size),
                names=size,
            )
            self.assertFalse(output.exists())

    def test_unknown_manifests(self) -> None:
        for driver in ('sqlite', 'osdk'):
            path = self.root / driver
            self.manage(
                *('manifest', 'generate', '--size-gib', '1'),
                *('--driver', driver, '--output', path),
            )
            self._make_newer(path)
            line = self.refused(6, 'manifest', 'dump', path, names=str(path))
            self.assertIn('version 9', line)

    def _make_newer(self, path: pathlib.Path) -> None:
        if path.name == 'sqlite':
            with sqlite3.connect(path) as connection:
                connection.execute('PRAGMA user_version = 9')
            connection.close()
        else:
            data = bytearray(path.read_bytes())
            data[4:6] = (9).to_bytes(2, 'little')
            path.write_bytes(data)

    def test_an_object_that_is_gone(self) -> None:
        [path] = self.store.glob('sets/*/*/00000000')
        path.unlink()
        self.stored = self.contents(self.store)
        name = str(path.relative_to(self.store))
        output = self.root / 'out'
        self.refused(6, 'restore', self.backup, '--output', output, names=name)
        for depth in ((), ('--deep',)):
            done = self.run_manage('verify', *depth, self.backup)
            self.assertEqual(6, done.returncode)
            self.assertIn(name, done.stdout)

    def test_what_nobody_foresaw(self) -> None:
        """An error of the program is one line too, and says where to look."""
        argv = [test_manage.COMMAND, 'show', self.backup, *self.options]
        buffered = dict(os.environ)
        buffered.pop('PYTHONUNBUFFERED', None)
        with pathlib.Path('/dev/full').open('wb') as full:
            done = subprocess.run(
                argv,
                stdout=full,
                stderr=subprocess.PIPE,
                env=buffered,
                check=False,
            )
        self.assertEqual(1, done.returncode)
        [line] = done.stderr.decode().splitlines()
        self.assertTrue(line.startswith('ekko-manage: '), line)
        self.assertIn('--debug', line)

    def test_debug_shows_where(self) -> None:
        self.before = ['--debug']
        done = self.run_manage('show', 'no-such')
        self.assertEqual(3, done.returncode)
        self.assertIn('Traceback', done.stderr)
        last = done.stderr.splitlines()[-1]
        self.assertTrue(last.startswith('ekko-manage: '), last)


class SignalTest(FaultCase):
    """Signals hit while it works, wherever that is."""

    def source(self) -> pathlib.Path:
        raw = self.root / 'noise.raw'
        raw.write_bytes(random.Random(2).randbytes(_NOISE))
        path = self.root / 'disk.qcow2'
        argv = ['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2']
        subprocess.run([*argv, str(raw), str(path)], check=True)
        return path

    def setUp(self) -> None:
        super().setUp()
        # What a shell runs in the background ignores Ctrl-C, and so do the
        # processes that it starts, unless somebody says otherwise.
        heeded = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, heeded)

    def _hit(
        self,
        number: signal.Signals,
        begun: Callable[[], bool],
        *words: str | pathlib.Path,
    ) -> tuple[int, str]:
        """Send a signal once it has begun; returns its end and last words."""
        argv = [test_manage.COMMAND, *self.before, *words, *self.options]
        with subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            while process.poll() is None and not begun():
                time.sleep(0.001)
            process.send_signal(number)
            said = process.communicate()[1]
        return process.returncode, said

    def _slow(self) -> None:
        """Have a backup take long enough to be hit in the middle."""
        path = self.root / 'ekko.conf'
        path.write_text(
            '[ekko]\ncompression = lzma\nworkers = 1\nsegment_size_mib = 1\n'
        )
        self.before = ['--config-file', str(path)]

    def _stores(self) -> bool:
        objects = self.store.glob('sets/*/*/*')
        return any(self.backup not in path.parts for path in objects)

    def test_a_backup(self) -> None:
        self._slow()
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            code, said = self._hit(
                number, self._stores, 'backup', '--full', self.disk
            )
            self.assertEqual(status, code, said)
            self.assertNotIn('Traceback', said)
            self.assert_as_before()
        self.assertEqual(
            'incremental', self.manage('backup', self.disk)['type']
        )

    def test_a_backup_within_a_callback_of_libnbd(self) -> None:
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            argv = [sys.executable, '-c', _WITHIN_A_CALLBACK, str(number)]
            done = subprocess.run(
                [*argv, 'backup', '--full', self.disk, *self.options],
                check=False,
                capture_output=True,
                text=True,
            )
            self.assertEqual(status, done.returncode, done.stderr)
            self.assertIn('nothing was left behind', done.stderr)
            self.assertNotIn('Traceback', done.stderr)
            self.assert_as_before()

    def test_a_backup_that_is_killed(self) -> None:
        self._slow()
        code, _ = self._hit(
            signal.SIGKILL, self._stores, 'backup', '--full', self.disk
        )
        self.assertEqual(-signal.SIGKILL, code)
        # Its qemu-nbd ends with its last client.
        while self.processes():
            time.sleep(0.01)
        self.assertEqual(2, len(self.bitmaps(self.disk)))
        self.assertNotEqual([], list(self.temporary.iterdir()))
        self.assertEqual([], self.manage('verify', '--deep', self.backup))

        two = self.manage('backup', self.disk)
        self.assertEqual('incremental', two['type'])
        self.assertEqual(self.backup, two['parent'])
        self.assertEqual([f'ekko-{two["id"]}'], self.bitmaps(self.disk))
        owners = {path.name for path in self.store.glob('sets/*/*')}
        self.assertEqual({self.backup, two['id']}, owners)
        self.assertEqual([], list((self.store / '+incomplete').iterdir()))
        self.assert_nothing_about()
        output = self.root / 'out'
        self.manage('restore', two['id'], '--output', output)
        self.same(self.disk, output)

    def test_a_restore(self) -> None:
        output = self.root / 'out'
        for format in ('raw', 'qcow2'):
            for number, status in (
                (signal.SIGINT, 130),
                (signal.SIGTERM, 143),
            ):
                code = 0
                # The quicker of the two may be the restore.
                for _ in range(20):
                    code, said = self._hit(
                        *(number, self._restores),
                        *('restore', self.backup, '--output', output),
                        *('--format', format),
                    )
                    self.assertNotIn('Traceback', said)
                    self.assert_as_before()
                    if code:
                        break
                    output.unlink()
                self.assertEqual(status, code, said)
                self.assertFalse(output.exists())

    def test_a_restore_that_is_killed(self) -> None:
        output = self.root / 'out'
        for _ in range(20):
            code, _said = self._hit(
                *(signal.SIGKILL, self._restores),
                *('restore', self.backup, '--output', output),
            )
            if code:
                break
            output.unlink()
        self.assertEqual(-signal.SIGKILL, code)
        self.assertFalse(output.exists())
        self.assertNotEqual([], list(self.root.glob('.ekko-*/out')))
        self.manage('restore', self.backup, '--output', output)
        self.same(self.disk, output)
        self.assert_as_before()

    def _restores(self) -> bool:
        for path in self.root.glob('.ekko-*/out'):
            with contextlib.suppress(FileNotFoundError):
                return path.stat().st_blocks * 512 > units.Mi
        return False
