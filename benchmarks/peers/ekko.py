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

"""ekko-nova, compressed and encrypted."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing

from benchmarks import data
from benchmarks import measure
from benchmarks.peers import base
from benchmarks.peers import swift

__all__ = ('Ekko', 'EkkoSwift', 'configure', 'manage')

_MANAGE: typing.Final = pathlib.Path(sys.executable).parent / 'ekko-manage'


def configure(directory: pathlib.Path, **options: object) -> pathlib.Path:
    """A configuration file that has everything encrypted.

    :param options: more for ``[ekko]``
    """
    key = directory / 'key'
    key.write_text(f'{os.urandom(32).hex()}\n')
    key.chmod(0o600)
    lines = [
        '[ekko]',
        'encryption = aes-gcm',
        f'key_file = {key}',
        *(f'{name} = {value}' for name, value in options.items()),
    ]
    path = directory / 'ekko.conf'
    path.write_text('\n'.join([*lines, '']))
    return path


def manage(conf: pathlib.Path, *argv: str | os.PathLike[str]) -> list[str]:
    """The command line of ekko-manage."""
    words = (_MANAGE, '--config-file', conf, *argv)
    return [os.fspath(word) for word in words]


class Ekko(base.System):
    """A qcow2 image, so that a bitmap tells what changed."""

    name = 'ekko-nova'
    commands = (str(_MANAGE),)
    #: In front of every command, such as nice(1).
    prefix: tuple[str, ...] = ()

    def __init__(self, place: base.Place, **options: object) -> None:
        super().__init__(place)
        self.image = place.directory / 'disk.qcow2'
        self._conf = configure(place.directory, **options)
        #: The ids of its backups.
        self.taken: list[str] = []
        #: How long the last one took, as its record says.
        self.seconds = 0.0

    @property
    def url(self) -> str:
        return f'file://{self.store}'

    def take_image(self, source: pathlib.Path) -> None:
        subprocess.run(
            ['qemu-img', 'convert', '-O', 'qcow2', source, self.image],
            check=True,
        )

    def write(self, writes: tuple[data.Write, ...], seed: str) -> None:
        commands = []
        with tempfile.TemporaryDirectory(dir=self.place.directory) as parts:
            for write in writes:
                part = pathlib.Path(parts, str(write.offset))
                part.write_bytes(write.data(seed))
                commands.append(
                    f'write -s {part} {write.offset} {write.length}\n'
                )
            subprocess.run(
                ['qemu-io', '-f', 'qcow2', self.image],
                input=''.join([*commands, 'flush\n']),
                check=True,
                stdout=subprocess.DEVNULL,
                text=True,
            )

    def backup(self) -> measure.Usage:
        return self.take(self.image)

    def take(self, *what: str | os.PathLike[str]) -> measure.Usage:
        """Back up what the words say."""
        usage = self._manage('backup', *what, '-f', 'json')
        said = json.loads(usage.output)
        self.taken.append(said['id'])
        self.seconds = said['seconds']
        return usage

    def restore(self, target: pathlib.Path) -> measure.Usage:
        return self._manage('restore', self.taken[-1], '--output', target)

    def delete(self, backup: str) -> measure.Usage:
        """Delete any backup."""
        return self._manage('delete', backup)

    def list(self) -> measure.Usage:
        """List all backups, as JSON."""
        return self._manage('list', '-f', 'json')

    def _manage(self, *argv: str | os.PathLike[str]) -> measure.Usage:
        return self.run(
            *self.prefix, *manage(self._conf, *argv, '--store', self.url)
        )


class EkkoSwift(Ekko):
    name = 'ekko-nova, Swift'
    swift = True
    url = 'swift:///ekko'

    def stored(self) -> base.Stored:
        return swift.stored(self.place.environment, 'ekko')
