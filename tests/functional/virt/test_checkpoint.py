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

"""Bitmaps and checkpoints through what else is done to a domain's disk."""

import pathlib
import subprocess

import libvirt
from oslo_utils import units

from ekko_nova import exception
from ekko_nova.virt import checkpoint
from ekko_nova.virt import decision
from ekko_nova.virt import disk as disks
from ekko_nova.virt import domain as domains
from ekko_nova.virt import image
from ekko_nova.virt import job
from ekko_nova.virt import nbd
from ekko_nova.virt import offline
from ekko_nova.virt import scratch
from tests import base
from tests.functional import libvirtd

BLOCK = 64 * units.Ki

_libvirtd = libvirtd.Libvirtd()

_SNAPSHOT = """\
<domainsnapshot>
  <disks>
    <disk name='vda' snapshot='external'><source file='{path}'/></disk>
  </disks>
</domainsnapshot>
"""


def setUpModule() -> None:
    _libvirtd.setUp()


def tearDownModule() -> None:
    _libvirtd.cleanUp()


class _Guest(libvirtd.Guest):
    """Its disk has a serial: whatever file it is in, it is the same."""

    def xml(self) -> str:
        return super().xml().replace('</disk>', '<serial>one</serial></disk>')


class CheckpointTest(base.TestCase):
    """A guest with one disk, and bitmap ekko-1 on it."""

    def setUp(self) -> None:
        super().setUp()
        name = '-'.join(self.id().split('.')[-2:])
        self.root = _libvirtd.root / name
        self.root.mkdir(mode=0o777)
        self.root.chmod(0o777)
        self.path = self.root / 'vda.qcow2'
        subprocess.run(
            ['qemu-img', 'create', '-q', '-f', 'qcow2', self.path, '8M'],
            check=True,
        )
        self.guest = self.useFixture(
            _Guest(_libvirtd, self.root.name, [('vda', self.path, 'qcow2')])
        )
        self.guest.start()
        self.domain = domains.Domain(self.guest.domain)
        self.places = scratch.Places(
            self.root / 's', self.root / 'scratch', margin=units.Mi
        )
        self.dirty('ekko-1', None)

    @property
    def disk(self) -> disks.Disk:
        [disk] = self.domain.disks()
        return disk

    def dirty(self, bitmap: str, since: str | None) -> set[int]:
        """Begin a bitmap; the blocks that are dirty since another."""
        if since:
            checkpoint.redefine(self.domain, since, ['vda'])
        plan = job.DiskPlan(self.disk, since, track=True)
        with (
            job.pull_job(
                self.domain, [plan], [], bitmap=bitmap, places=self.places
            ) as pull,
            pull.source(plan) as source,
        ):
            return blocks(source)

    def dirty_offline(self, since: str) -> set[int]:
        disk = self.disk
        with offline.serve(
            disk.path,
            disk.format,
            bitmap=since,
            socket_directory=str(self.root),
        ) as source:
            return blocks(source)

    def decide(self, granularity: int = 64 * units.Ki) -> decision.Decision:
        facts = checkpoint.disk_facts(
            self.domain, self.disk, self.disk.identity
        )
        parent = decision.ParentFacts(
            identity=facts.identity,
            bitmap='ekko-1',
            granularity=granularity,
            size=facts.size,
        )
        return decision.decide(facts, (parent,))

    def snapshot(self) -> pathlib.Path:
        """As a snapshot of the disk only; libvirt forgets it at once."""
        path = self.root / 'overlay.qcow2'
        self.guest.domain.snapshotCreateXML(
            _SNAPSHOT.format(path=path),
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA,
        )
        return path


def blocks(source: nbd.NbdSource) -> set[int]:
    return {
        offset // BLOCK
        for extent in source.extents()
        if extent.dirty
        for offset in range(extent.offset, extent.end, BLOCK)
    }


class SnapshotTest(CheckpointTest):
    """The changes are spread over two files, each with a bitmap."""

    def setUp(self) -> None:
        super().setUp()
        self.guest.write('vda', 2 * BLOCK, BLOCK, 1)
        self.overlay = self.snapshot()
        self.guest.write('vda', 4 * BLOCK, BLOCK, 2)

    def test_running(self) -> None:
        """libvirt puts them together."""
        self.assertEqual(str(self.overlay), self.disk.path)
        self.assertEqual('ekko-1', self.decide().bitmap)
        self.assertEqual({2, 4}, self.dirty('ekko-2', 'ekko-1'))

    def test_shut_off(self) -> None:
        """Nobody does: the upper one alone is not enough."""
        self.guest.stop()
        self.assertEqual(
            decision.FullReason.BITMAP_MISSING, self.decide().reason
        )
        self.assertRaises(
            exception.BitmapUnusable, self.dirty_offline, 'ekko-1'
        )

    def test_committed(self) -> None:
        self.guest.domain.blockCommit(
            'vda',
            None,
            None,
            0,
            libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE,
        )
        while not self._pivots():
            pass
        self.assertEqual(str(self.path), self.disk.path)
        self.assertEqual('ekko-1', self.decide().bitmap)
        self.assertLessEqual({2, 4}, self.dirty('ekko-2', 'ekko-1'))
        self.guest.stop()
        self.assertLessEqual({2, 4}, self.dirty_offline('ekko-1'))

    def _pivots(self) -> bool:
        try:
            self.guest.domain.blockJobAbort(
                'vda', libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT
            )
        except libvirt.libvirtError as e:
            # It has not copied all yet.
            if e.get_error_code() == libvirt.VIR_ERR_BLOCK_COPY_ACTIVE:
                return False
            raise
        return True


class BitmapTest(CheckpointTest):
    def names(self) -> list[str]:
        if self.domain.is_active():
            return [each.name for each in self.domain.bitmaps(self.disk)]
        return [each.name for each in image.info(str(self.path)).bitmaps]

    def test_facts_agree_running_and_shut_off(self) -> None:
        running = checkpoint.disk_facts(
            self.domain, self.disk, self.disk.identity
        )
        self.guest.stop()
        self.assertEqual(
            running,
            checkpoint.disk_facts(self.domain, self.disk, self.disk.identity),
        )
        [bitmap] = running.bitmaps
        self.assertEqual(('ekko-1', BLOCK), (bitmap.name, bitmap.granularity))

    def test_shut_off(self) -> None:
        self.guest.write('vda', 3 * BLOCK, BLOCK, 1)
        self.guest.stop()
        self.assertEqual('ekko-1', self.decide().bitmap)
        self.assertEqual({3}, self.dirty_offline('ekko-1'))

    def test_delete_one_of_two(self) -> None:
        """The other has seen all of it, by itself."""
        self.guest.write('vda', 3 * BLOCK, BLOCK, 1)
        self.dirty('ekko-2', 'ekko-1')
        self.guest.write('vda', 5 * BLOCK, BLOCK, 1)
        checkpoint.delete_bitmap(self.domain, 'ekko-2', [self.disk])
        self.assertEqual(['ekko-1'], self.names())
        self.assertEqual({3, 5}, self.dirty('ekko-3', 'ekko-1'))

    def test_delete_when_shut_off(self) -> None:
        self.guest.stop()
        checkpoint.delete_bitmap(self.domain, 'ekko-1', [self.disk])
        self.assertEqual([], self.names())

    def test_delete_a_broken_one(self) -> None:
        self.guest.stop()
        self.guest.start()
        self.guest.kill()
        self.guest.start()
        self.assertEqual(
            decision.FullReason.BITMAP_INCONSISTENT, self.decide().reason
        )
        self.assertRaises(
            exception.HypervisorFailed,
            checkpoint.redefine,
            self.domain,
            'ekko-1',
            ['vda'],
        )
        checkpoint.delete_bitmap(self.domain, 'ekko-1', [self.disk])
        self.assertEqual([], self.names())
        self.assertEqual((), self.domain.checkpoints())

    def test_delete_a_broken_one_when_shut_off(self) -> None:
        self.guest.stop()
        self.guest.start()
        self.guest.kill()
        self.assertEqual(
            decision.FullReason.BITMAP_INCONSISTENT, self.decide().reason
        )
        checkpoint.delete_bitmap(self.domain, 'ekko-1', [self.disk])
        self.assertEqual([], self.names())

    def test_delete_one_that_is_not_there(self) -> None:
        checkpoint.delete_bitmap(self.domain, 'ekko-0', [self.disk])
        self.assertEqual(['ekko-1'], self.names())
        self.assertEqual((), self.domain.checkpoints())

    def test_forget_ours_only(self) -> None:
        checkpoint.redefine(self.domain, 'ekko-1', ['vda'])
        self.guest.domain.checkpointCreateXML(
            '<domaincheckpoint><name>theirs</name></domaincheckpoint>'
        )
        checkpoint.forget(self.domain)
        self.assertEqual(('theirs',), self.domain.checkpoints())
        self.assertEqual({'ekko-1', 'theirs'}, set(self.names()))
