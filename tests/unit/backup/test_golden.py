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


"""What earlier versions stored restores, bit for bit, for ever."""

import hashlib
import json
import pathlib
import shutil

import fixtures
from oslo_utils import units

from ekko_nova.backup.codec import key_file
from ekko_nova.backup.store import directory
from tests import base
from tests import disks
from tests import engine

_GOLDEN = pathlib.Path(__file__).parents[2] / 'golden'


class GoldenTest(base.TestCase):
    def test_every_set_restores(self) -> None:
        formats = sorted(_GOLDEN.glob('format-*'))
        self.assertNotEqual([], formats)
        for found in formats:
            self._restore_all(found)

    def _restore_all(self, found: pathlib.Path) -> None:
        # A checkout may not keep modes, nor be ours to write to.
        copy = (
            pathlib.Path(self.useFixture(fixtures.TempDir()).path) / found.name
        )
        shutil.copytree(found, copy)
        (copy / 'key').chmod(0o600)
        provider = key_file.KeyFile(str(copy / 'key'))
        expected = json.loads((copy / 'expected.json').read_text())
        for name, backups in expected.items():
            line = engine.Line(
                directory.DirectoryStore(str(copy / name)),
                disks.MemoryDisk(0),
            ).with_settings(key_provider=provider)
            self.assertEqual(
                sorted(backups),
                sorted(record.id for record in line.available()),
            )
            for backup, digest in backups.items():
                with self.subTest(f'{found.name} {name}'):
                    restored = line.restore(backup)
                    self.assertEqual(
                        digest, hashlib.sha256(restored).hexdigest()
                    )
                    self.assertEqual([], line.findings(backup))
            with self.subTest(f'{found.name} {name} goes on'):
                self._go_on(line)

    def _go_on(self, line: engine.Line) -> None:
        """The next backup is an incremental, with the settings of today."""
        parent = line.available()[-1]
        line.restore_in_place(parent.id)
        # Every segment is compared with what was stored then.
        line = line.with_settings(
            encryption=parent.disks[0].manifest_encryption,
            audit_segments=100,
        )
        line.disk.write(units.Mi, b'x' * 512)
        for changed in (16 * units.Ki, 0):
            [disk] = line.backup(only_incremental=True).disks
            self.assertEqual(changed, disk.changed_bytes)
        line.tracked = None
        line.backup()
        for backup, content in line.contents.items():
            self.assert_same_bytes(content, line.restore(backup))
            self.assertEqual([], line.findings(backup))
