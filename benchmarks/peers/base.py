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

"""What every system has to do, so that all do the same."""

import abc
import collections
from collections.abc import Sequence
import dataclasses
import os
import pathlib
import shutil
import subprocess
import typing

from benchmarks import data
from benchmarks import measure

__all__ = ('Place', 'Stored', 'System', 'in_turns', 'stored_in')

_System = typing.TypeVar('_System')


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """What a store holds.

    :ivar size: bytes
    """

    size: int
    objects: int

    def __sub__(self, other: 'Stored') -> 'Stored':
        return Stored(self.size - other.size, self.objects - other.objects)


def stored_in(directory: pathlib.Path) -> Stored:
    """All files below a directory."""
    sizes = [
        path.stat().st_size for path in directory.rglob('*') if path.is_file()
    ]
    return Stored(sum(sizes), len(sizes))


def in_turns(systems: Sequence[_System], number: int) -> Sequence[_System]:
    """Each begins once, so that the noise of a machine hits all of them."""
    turns = collections.deque(systems)
    turns.rotate(-number)
    return turns


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a system works, and with what.

    :ivar directory: empty; the system's own
    :ivar environment: how Swift is reached
    :ivar servers: Swift's processes
    """

    directory: pathlib.Path
    environment: typing.Mapping[str, str] = dataclasses.field(
        default_factory=dict
    )
    servers: tuple[int, ...] = ()


class System(abc.ABC):
    """One that backs up a disk image that nobody else uses.

    :cvar name: in the tables
    :ivar image: the disk, in the format that the system does best with
    """

    name: typing.ClassVar[str]
    #: Commands without which it cannot be measured.
    commands: typing.ClassVar[tuple[str, ...]] = ()
    swift: typing.ClassVar[bool] = False

    def __init__(self, place: Place) -> None:
        self.place = place
        self.image = place.directory / 'disk.raw'
        self.store = place.directory / 'store'
        self.store.mkdir()

    @classmethod
    def missing(cls) -> str | None:
        """What is not installed, if anything."""
        for command in cls.commands:
            if shutil.which(command) is None:
                return command
        return None

    def take_image(self, source: pathlib.Path) -> None:
        """Make :attr:`image` of a raw one."""
        subprocess.run(
            ['cp', '--sparse=always', source, self.image], check=True
        )

    def write(self, writes: tuple[data.Write, ...], seed: str) -> None:
        """Write to the image, between two backups."""
        with self.image.open('rb+') as file:
            for write in writes:
                os.pwrite(file.fileno(), write.data(seed), write.offset)
            os.fsync(file.fileno())

    def prepare(self) -> None:  # noqa: B027  most need none
        """Make the repository, if there is to be one."""

    @abc.abstractmethod
    def backup(self) -> measure.Usage:
        """Take one: the first is full, the others are incremental."""

    @abc.abstractmethod
    def restore(self, target: pathlib.Path) -> measure.Usage:
        """Write what the last backup holds to a raw file."""

    def stored(self) -> Stored:
        """What is stored now."""
        return stored_in(self.store)

    def run(
        self, *argv: str | os.PathLike[str], **variables: str
    ) -> measure.Usage:
        """Run a command of the system's."""
        return measure.run(
            argv,
            env={**self.place.environment, **variables},
            servers=self.place.servers,
        )
