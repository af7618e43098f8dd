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

"""The disk of a running guest.

The guest has no kernel: it shows its BIOS, and what is written to its disk is
written through QEMU's device, as a guest's driver would have it done. Ours
and virtnbdbackup's both read by dirty bitmaps, through libvirt.
"""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import typing

import libvirt

from benchmarks import data
from benchmarks import measure
from benchmarks.peers import base
from benchmarks.peers import ekko
from benchmarks.peers import swift
from benchmarks import report
from tests.functional import libvirtd

__all__ = (
    'Guest',
    'Ours',
    'converted',
    'empty',
    'measured',
    'once',
    'running',
    'systems',
)


class Guest:
    """A running guest with one disk.

    :ivar image: qcow2
    """

    def __init__(
        self, daemon: libvirtd.Libvirtd, name: str, image: pathlib.Path
    ) -> None:
        self.name = name
        self.image = image
        self.uri = daemon.uri
        shutil.chown(image, 'libvirt-qemu')
        self._guest = libvirtd.Guest(daemon, name, [('vda', image, 'qcow2')])
        self._guest.setUp()
        self._guest.start()

    def write(self, writes: tuple[data.Write, ...], seed: str) -> None:
        """Write as the guest would."""
        with tempfile.NamedTemporaryFile(dir=self.image.parent) as part:
            os.chmod(part.name, 0o644)
            for write in writes:
                part.seek(0)
                part.truncate()
                part.write(write.data(seed))
                part.flush()
                self._guest.write_file(
                    *('vda', write.offset, write.length),
                    pathlib.Path(part.name),
                )
        self._guest.flush('vda')

    def stop(self) -> None:
        """End it, so that its image can be looked at."""
        self._guest.stop()

    def remove(self) -> None:
        """Forget it."""
        self._guest.cleanUp()


class Ours(ekko.Ekko):
    """ekko-nova, to a directory, compressed and encrypted."""

    def __init__(self, place: base.Place, guest: Guest) -> None:
        super().__init__(
            place,
            # Where QEMU's user may write.
            scratch_directory=guest.image.parent / 'scratch',
            socket_directory=guest.image.parent / 'scratch',
        )
        self._guest = guest

    def backup(self) -> measure.Usage:
        return self.take(
            *('--domain', self._guest.name, '--connect', self._guest.uri)
        )


class OursToSwift(Ours, ekko.EkkoSwift):
    """The same to Swift."""


class Virtnbdbackup(base.System):
    """To a directory, neither compressed nor encrypted: its defaults."""

    name = 'virtnbdbackup'
    commands = ('virtnbdbackup', 'virtnbdrestore')

    def __init__(self, place: base.Place, guest: Guest) -> None:
        super().__init__(place)
        self._guest = guest
        self._level = 'full'
        # It wants both with every URI that is not of the system's libvirtd,
        # which asks for neither.
        self._where = ('-U', guest.uri, '--user', 'x', '--password', 'x')

    def backup(self) -> measure.Usage:
        usage = self.run(
            *('virtnbdbackup', *self._where, '-d', self._guest.name),
            *('-l', self._level, '-o', self.store),
            # Where QEMU's user may write.
            *('-f', self._guest.image.parent / 'scratch' / 'virtnbd'),
            *('--scratchdir', self._guest.image.parent / 'scratch'),
        )
        self._level = 'inc'
        return usage

    def restore(self, target: pathlib.Path) -> measure.Usage:
        output = target.with_suffix('.d')
        output.mkdir()
        usage = self.run(
            *('virtnbdrestore', *self._where),
            *('-i', self.store, '-o', output),
        )
        [restored] = output.glob(f'{self._guest.image.name}*')
        restored.rename(target)
        return usage


System: typing.TypeAlias = Ours | OursToSwift | Virtnbdbackup


@contextlib.contextmanager
def running(
    daemon: libvirtd.Libvirtd, make: typing.Callable[[pathlib.Path], None]
) -> Iterator[Guest]:
    """A guest whose image ``make`` made."""
    with tempfile.TemporaryDirectory(dir=daemon.root) as directory:
        os.chmod(directory, 0o755)
        image = pathlib.Path(directory, 'disk.qcow2')
        make(image)
        scratch = image.parent / 'scratch'
        scratch.mkdir()
        shutil.chown(scratch, 'libvirt-qemu')
        guest = Guest(daemon, f'bench-{image.parent.name}', image)
        try:
            yield guest
        finally:
            guest.remove()


def converted(source: pathlib.Path) -> typing.Callable[[pathlib.Path], None]:
    """Makes a qcow2 image of a raw one."""

    def make(image: pathlib.Path) -> None:
        subprocess.run(
            ['qemu-img', 'convert', '-O', 'qcow2', source, image], check=True
        )

    return make


def empty(size: str) -> typing.Callable[[pathlib.Path], None]:
    """Makes a qcow2 image without data."""

    def make(image: pathlib.Path) -> None:
        subprocess.run(
            ['qemu-img', 'create', '-q', '-f', 'qcow2', image, size],
            check=True,
        )

    return make


def systems() -> list[type[System]]:
    found: list[type[System]] = [Ours, OursToSwift]
    if Virtnbdbackup.missing() is None:
        found.append(Virtnbdbackup)
    return found


_SCATTERED: typing.Final = 'live: 1,024 × 64 KiB'
#: What happens to the disk between two backups.
_CHANGES: typing.Final = (
    (_SCATTERED, data.SCATTERED),
    ('live: 64 MiB in one place', data.CONTIGUOUS),
    ('live: no change', ()),
)


def measured(
    source: pathlib.Path, place: base.Place, runs: int
) -> Iterator[report.Sample]:
    """A guest of 4 GiB, in turns."""
    found = systems()
    daemon = libvirtd.Libvirtd()
    daemon.setUp()
    try:
        for number in range(runs):
            for system in base.in_turns(found, number):
                with running(daemon, converted(source)) as guest:
                    yield from once(
                        system, guest, place, _CHANGES, str(number)
                    )
            yield _job(daemon)
    finally:
        daemon.cleanUp()


def once(
    make: type[System],
    guest: Guest,
    place: base.Place,
    changes: tuple[tuple[str, tuple[data.Write, ...]], ...],
    seed: str,
) -> Iterator[report.Sample]:
    """Full, incrementals after changes, restore, of one system.

    :param changes: what happens to the disk, and what that is called
    """
    with tempfile.TemporaryDirectory(dir=place.directory) as directory:
        own = base.Place(
            pathlib.Path(directory), place.environment, place.servers
        )
        system = make(own, guest)
        before = base.Stored(0, 0)
        for workload, writes in (('live: full', ()), *changes):
            if writes:
                guest.write(writes, f'{seed} {workload}')
            data.forget(guest.image)
            usage = system.backup()
            now = system.stored()
            added, before = now - before, now
            yield report.Sample(
                workload, system.name, usage, added.size, added.objects
            )
            if workload == _SCATTERED and isinstance(system, ekko.Ekko):
                yield report.Sample(
                    workload,
                    f'{system.name}, as its record says',
                    measure.Usage(system.seconds, 0.0),
                )
        data.forget(own.directory)
        target = own.directory / 'restored'
        usage = system.restore(target)
        guest.stop()
        if not data.same(guest.image, target):
            raise RuntimeError(f'{system.name} restored something else')
        yield report.Sample('live: restore', system.name, usage)
        if system.swift:
            swift.remove(place.environment, 'ekko')


_JOB: typing.Final = """
<domainbackup mode="pull"><server transport="unix" socket="{socket}"/>
<disks><disk name="vda" backup="yes" type="file" exportname="vda">
<driver type="qcow2"/><scratch file="{scratch}"/></disk></disks>
</domainbackup>
"""


def _job(daemon: libvirtd.Libvirtd) -> report.Sample:
    with running(daemon, empty('4G')) as guest:
        seconds = _job_alone(guest)
    return report.Sample(
        'live: no change', 'libvirt, job alone', measure.Usage(seconds, 0)
    )


def _job_alone(guest: Guest) -> float:
    """Seconds that libvirt needs to begin a job and to end it."""
    scratch = guest.image.parent / 'scratch'
    xml = _JOB.format(socket=scratch / 'socket', scratch=scratch / 'alone')
    connection = libvirt.open(guest.uri)
    try:
        domain = connection.lookupByName(guest.name)
        began = time.monotonic()
        domain.backupBegin(xml, None, 0)
        domain.abortJob()
        with contextlib.suppress(libvirt.libvirtError):
            while domain.backupGetXMLDesc():
                time.sleep(0.01)
        return time.monotonic() - began
    finally:
        connection.close()
