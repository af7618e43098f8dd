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

"""The pull job against real libvirt and QEMU."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import itertools
import pathlib
import shutil
import subprocess
import sys
import typing

import fixtures
import libvirt
from oslo_utils import units

from ekko_nova import exception
from ekko_nova.virt import checkpoint
from ekko_nova.virt import domain as domains
from ekko_nova.virt import job
from ekko_nova.virt import nbd
from ekko_nova.virt import scratch
from tests import base
from tests.functional import libvirtd

BLOCK = 64 * units.Ki

#: Begins a job, and is gone.
_DIE = """
import os
import pathlib
import sys
from ekko_nova.virt import domain as domains, job, scratch
uri, name, *places = sys.argv[1:]
with domains.Hypervisor(uri) as hypervisor:
    domain = hypervisor.lookup(name)
    disks = domain.disks()
    with job.pull_job(
        domain,
        [job.DiskPlan(disks[0], None, track=True)],
        disks[1:],
        bitmap='ekko-1',
        places=scratch.Places(*map(pathlib.Path, places), margin=0),
    ):
        os._exit(0)
"""

_libvirtd = libvirtd.Libvirtd()


def setUpModule() -> None:
    _libvirtd.setUp()


def tearDownModule() -> None:
    _libvirtd.cleanUp()


class FaultyObject:
    """An object of libvirt's; one of the calls made through it fails.

    :param fault: is asked at each call, before and after it is done
    """

    def __init__(
        self, real: typing.Any, fault: Callable[[str, bool], None]
    ) -> None:
        self._real = real
        self._fault = fault

    def __getattr__(self, name: str) -> typing.Any:
        value = getattr(self._real, name)
        return self._call(name, value) if callable(value) else value

    def _call(
        self, name: str, function: Callable[..., typing.Any]
    ) -> Callable[..., typing.Any]:
        def call(*arguments: typing.Any) -> typing.Any:
            self._fault(name, False)
            result = function(*arguments)
            self._fault(name, True)
            if isinstance(result, libvirt.virDomainCheckpoint):
                return FaultyObject(result, self._fault)
            return result

        return call


class Fault:
    """Makes the n-th call fail, once, done or not."""

    def __init__(self, number: int, done: bool) -> None:
        self._number = number
        self._done = done
        self.calls = 0
        self.what: str | None = None

    def __call__(self, name: str, done: bool) -> None:
        self.calls += not done
        if done == self._done and self.calls == self._number:
            self._number = 0
            self.what = name
            raise libvirt.libvirtError(f'injected into {name}')


class JobCase(base.TestCase):
    """A guest with two qcow2 disks, a raw one and a CD-ROM."""

    def setUp(self) -> None:
        super().setUp()
        self.root = _libvirtd.root / self.id().rpartition('.')[2]
        self.root.mkdir(mode=0o755)
        disks = [
            ('vda', self.image('vda.qcow2'), 'qcow2'),
            ('vdb', self.image('vdb.qcow2'), 'qcow2'),
            ('vdc', self.image('vdc.raw'), 'raw'),
        ]
        self.guest = self.useFixture(
            libvirtd.Guest(
                _libvirtd,
                self.root.name,
                disks,
                cdrom=self.image('cdrom.raw'),
            )
        )
        self.guest.start()
        self.domain = domains.Domain(self.guest.domain)
        self.places = scratch.Places(
            self.root / 's', self.root / 'scratch', margin=64 * units.Mi
        )

    def image(self, name: str) -> pathlib.Path:
        path = self.root / name
        argv = ['qemu-img', 'create', '-q', '-f', path.suffix[1:]]
        subprocess.run([*argv, path, '8M'], check=True)
        return path

    def plans(self, since: str | None = None) -> list[job.DiskPlan]:
        return [
            job.DiskPlan(disk, since, track=True)
            if disk.format == 'qcow2'
            else job.DiskPlan(disk, None, track=False)
            for disk in self.domain.disks()
            if not disk.unfit
        ]

    @contextlib.contextmanager
    def job(
        self,
        bitmap: str,
        since: str | None = None,
        domain: domains.Domain | None = None,
        **options: typing.Any,
    ) -> Iterator[job.PullJob]:
        with job.pull_job(
            domain or self.domain,
            self.plans(since),
            [disk for disk in self.domain.disks() if disk.unfit],
            bitmap=bitmap,
            places=self.places,
            **options,
        ) as pull:
            yield pull

    def assert_nothing_left(self, message: str = '') -> None:
        """No checkpoint, job, scratch file or socket."""
        self.assertEqual((), self.domain.checkpoints(), message)
        self.assertIsNone(self.domain.backup_xml(), message)
        self.assertFalse(self.domain.has_job(), message)
        for place in (self.places.sockets, self.places.scratch):
            if place.exists():
                self.assertEqual([], list(place.iterdir()), message)


def dirty(source: nbd.NbdSource) -> list[tuple[int, int]]:
    """The dirty runs, whatever they are cut into."""
    runs: list[tuple[int, int]] = []
    for extent in source.extents():
        if not extent.dirty:
            continue
        if runs and sum(runs[-1]) == extent.offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + extent.length)
        else:
            runs.append((extent.offset, extent.length))
    return runs


class ReadingTest(JobCase):
    def test_all_disks_are_of_one_instant(self) -> None:
        targets = ('vda', 'vdb', 'vdc')
        for target in targets:
            self.guest.write(target, 0, units.Mi, 1)
        with self.job('ekko-1') as pull:
            for target in targets:
                self.guest.write(target, 0, 2 * units.Mi, 2)
            for plan in self.plans():
                with pull.source(plan) as source:
                    self.assertEqual(8 * units.Mi, source.size)
                    self.assertEqual([(0, 8 * units.Mi)], dirty(source))
                    self.assertEqual(
                        b'\1' * units.Mi + bytes(7 * units.Mi),
                        bytes(source.read(0, 8 * units.Mi)),
                    )
                    source.check()
        self.assert_nothing_left()

    def test_exactly_what_was_written_since(self) -> None:
        with self.job('ekko-1'):
            # After the instant, though during the job.
            self.guest.write('vda', 0, BLOCK, 1)
        self.guest.write('vda', 3 * BLOCK + 512, 512, 2)
        self.guest.write('vdb', 8 * units.Mi - 512, 512, 3)
        checkpoint.redefine(self.domain, 'ekko-1', ['vda', 'vdb'])
        found = {}
        with self.job('ekko-2', 'ekko-1') as pull:
            self.guest.write('vda', 9 * BLOCK, BLOCK, 4)
            for plan in self.plans('ekko-1'):
                with pull.source(plan) as source:
                    found[plan.disk.target] = dirty(source)
        self.assertEqual([(0, BLOCK), (3 * BLOCK, BLOCK)], found['vda'])
        self.assertEqual([(8 * units.Mi - BLOCK, BLOCK)], found['vdb'])
        self.assertEqual([(0, 8 * units.Mi)], found['vdc'])

        for name in ('ekko-1', 'ekko-2'):
            checkpoint.delete_bitmap(self.domain, name, self.domain.disks())
        self.assert_nothing_left()
        for disk in self.domain.disks():
            self.assertEqual((), self.domain.bitmaps(disk))

    def test_on_only_one_of_two_disks(self) -> None:
        """The parent's bitmap of one disk is gone: it alone is read whole."""
        with self.job('ekko-1'):
            pass
        vda, vdb, vdc, _ = self.domain.disks()
        checkpoint.delete_bitmap(self.domain, 'ekko-1', [vdb])
        self.assertRaises(
            exception.HypervisorFailed,
            checkpoint.redefine,
            self.domain,
            'ekko-1',
            ['vda', 'vdb'],
        )
        checkpoint.forget(self.domain)
        checkpoint.redefine(self.domain, 'ekko-1', ['vda'])
        plans = [
            job.DiskPlan(vda, 'ekko-1', track=True),
            job.DiskPlan(vdb, None, track=True),
        ]
        others = [disk for disk in self.domain.disks() if disk.target > 'vdb']
        others += [disk for disk in self.domain.disks() if disk.unfit]
        with job.pull_job(
            self.domain,
            plans,
            others,
            bitmap='ekko-2',
            places=self.places,
        ) as pull:
            found = []
            for plan in plans:
                with pull.source(plan) as source:
                    found.append(dirty(source))
        self.assertEqual([[], [(0, 8 * units.Mi)]], found)
        self.assertEqual((), self.domain.bitmaps(vdc))


class InterferenceTest(JobCase):
    def test_a_job_that_was_replaced_is_not_ours(self) -> None:
        theirs = self.root / 'theirs'
        theirs.mkdir()
        theirs.chmod(0o777)
        with self.job('ekko-1') as pull:
            pull.check('vda')
            self.guest.domain.abortJob()
            while self.domain.has_job():
                pass
            self.guest.domain.backupBegin(
                '<domainbackup mode="pull"><server transport="unix" '
                f'socket="{theirs}/nbd"/></domainbackup>',
                None,
            )
            self.assertRaises(exception.SourceLost, pull.check, 'vda')
        # Ours has ended; theirs is not ours to end.
        self.assertTrue(self.domain.has_job())
        self.guest.domain.abortJob()

    def test_what_is_read_of_a_dying_job_does_not_count(self) -> None:
        """QEMU ends a job's copying before libvirt ends its serving.

        Between the two, reads return what the guest writes now.
        """
        plan = self.plans()[0]
        for number in range(30):
            name = f'ekko-{number}'
            self.guest.write('vda', 0, BLOCK, 1)
            with self.job(name) as pull, pull.source(plan) as source:
                self.guest.domain.abortJob()
                self.guest.write('vda', 0, BLOCK, 2)
                try:
                    read = bytes(source.read(0, BLOCK))
                    source.check()
                except exception.SourceLost:
                    continue
                finally:
                    checkpoint.delete_bitmap(
                        self.domain, name, self.domain.disks()
                    )
                self.assertTrue(read == b'\1' * BLOCK, f'round {number}')

    def test_a_job_that_ended(self) -> None:
        plan = self.plans()[0]
        with self.job('ekko-1') as pull, pull.source(plan) as source:
            source.read(0, BLOCK)
            self.guest.domain.abortJob()
            while self.domain.has_job():
                pass
            self.assertRaises(exception.SourceLost, pull.check, 'vda')
            self.assertRaises(exception.SourceLost, source.check)
            self.assertRaises(exception.SourceLost, source.read, 0, BLOCK)

    def test_a_guest_that_has_just_stopped(self) -> None:
        plans = self.plans()
        self.guest.stop()
        self.plans = lambda since=None: plans  # type: ignore[method-assign]
        self.assertRaises(
            exception.HypervisorFailed, self.job('ekko-1').__enter__
        )
        self.assert_nothing_left()

    def test_a_job_that_lives_is_not_recovered(self) -> None:
        with self.job('ekko-1') as pull:
            for places in (self.places, self.other_places):
                job.recover(self.domain, places)
                self.assertRaises(
                    exception.JobRunning, job.require_none, self.domain
                )
                pull.check('vda')

    @property
    def other_places(self) -> scratch.Places:
        return scratch.Places(self.root / 'other', self.root / 'other')

    def test_libvirtd_dies(self) -> None:
        """The job lives on, but whether it is ours cannot be known."""
        stack = contextlib.ExitStack()
        pull = stack.enter_context(self.job('ekko-1'))
        self._restart_libvirtd()
        self.assertRaises(exception.SourceLost, pull.check, 'vda')
        self.useFixture(
            fixtures.MonkeyPatch('ekko_nova.virt.job._END_SECONDS', 1)
        )
        self.assertRaises(exception.HypervisorFailed, stack.close)
        self.assertIsNotNone(self.domain.backup_xml())
        job.recover(self.domain, self.places)
        self.assert_nothing_left()

    def test_libvirtd_is_back(self) -> None:
        """The job is ended by whoever began it, over a new connection."""
        domain = domains.Domain(self.guest.domain, _libvirtd.uri)
        with self.job('ekko-1', domain=domain) as pull:
            self._restart_libvirtd()
            self.assertRaises(exception.SourceLost, pull.check, 'vda')
        self.assert_nothing_left()

    def test_the_scratch_fills_while_libvirtd_is_away(self) -> None:
        self.places = dataclasses.replace(self.places, limit=units.Mi)
        domain = domains.Domain(self.guest.domain, _libvirtd.uri)
        plan = self.plans()[0]
        self.guest.write('vda', 0, 4 * units.Mi, 2)
        with self.job('ekko-1', domain=domain) as pull:
            with pull.source(plan) as source:
                self._restart_libvirtd()
                source.read(0, BLOCK)
                self.guest.write('vda', 0, 4 * units.Mi, 1)
                self._await_end_of(source)
                while self.domain.has_job():
                    pass
            self.assertRaises(exception.ScratchFull, pull.source, plan)
        self.assert_nothing_left()

    def _await_end_of(self, source: nbd.NbdSource) -> None:
        with contextlib.suppress(exception.SourceLost):
            while True:
                source.read(0, BLOCK)

    def _begin_and_die(self) -> None:
        subprocess.run(
            [
                *(sys.executable, '-c', _DIE),
                *(_libvirtd.uri, self.guest.name),
                *(self.places.sockets, self.places.scratch),
            ],
            check=True,
        )

    def test_both_die(self) -> None:
        self._begin_and_die()
        self._restart_libvirtd()
        self.assertIsNotNone(self.domain.backup_xml())
        job.recover(self.domain, self.places)
        self.assert_nothing_left()
        self.assertIn('left behind', self.log.output)

    def test_the_places_were_changed_meanwhile(self) -> None:
        self._begin_and_die()
        job.recover(self.domain, self.other_places)
        self.assertIsNone(self.domain.backup_xml())
        job.require_none(self.domain)
        # The files stay where nobody looks any more.
        shutil.rmtree(self.places.sockets)
        shutil.rmtree(self.places.scratch)
        self.assert_nothing_left()

    def test_a_job_of_another_program(self) -> None:
        theirs = self.root / 'ekko-ours'
        theirs.mkdir()
        theirs.chmod(0o777)
        self.guest.domain.backupBegin(
            '<domainbackup mode="pull"><server transport="unix" '
            f'socket="{theirs}/nbd"/></domainbackup>',
            None,
        )
        job.recover(self.domain, self.places)
        self.assertRaises(exception.JobRunning, job.require_none, self.domain)
        self.assertTrue(self.domain.has_job())
        self.guest.domain.abortJob()

    def _restart_libvirtd(self) -> None:
        _libvirtd.restart()
        self.guest.domain = _libvirtd.connection.lookupByName(self.guest.name)
        self.domain = domains.Domain(self.guest.domain)


class FaultTest(JobCase):
    """For every n, libvirt fails our n-th call, having done it or not."""

    def _use(self, domain: domains.Domain) -> None:
        with self.job('ekko-1', domain=domain, freeze=True) as pull:
            for plan in self.plans():
                with pull.source(plan) as source:
                    source.read(0, BLOCK)
                    source.check()

    def _sweep(self, done: bool) -> list[str]:
        failed: list[str] = []
        for number in itertools.count(1):
            domain = domains.Domain(self.guest.domain)
            fault = Fault(number, done)
            domain._domain = FaultyObject(self.guest.domain, fault)
            with contextlib.suppress(exception.EkkoError):
                self._use(domain)
            if fault.calls < number:
                return failed
            failed.append(str(fault.what))
            message = f'call {number}, {fault.what}, done: {done}'
            self.assert_nothing_left(message)
            checkpoint.delete_bitmap(
                self.domain, 'ekko-1', self.domain.disks()
            )
        raise AssertionError

    def test_before_it_is_done(self) -> None:
        self._check(self._sweep(done=False))

    def test_after_it_is_done(self) -> None:
        self._check(self._sweep(done=True))

    def _check(self, failed: list[str]) -> None:
        for name in (
            'abortJob',
            'backupBegin',
            'backupGetXMLDesc',
            'delete',
            'listAllCheckpoints',
        ):
            self.assertIn(name, failed)
