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


"""Read the chosen disks of a domain, each as the rule says, or in full."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import logging

from ekko_nova.backup import record as records
from ekko_nova.backup import transaction
from ekko_nova.compute import file_backup
from ekko_nova.compute import names
from ekko_nova.compute import plan
from ekko_nova.compute import sockets
from ekko_nova import exception
from ekko_nova.virt import checkpoint
from ekko_nova.virt import decision
from ekko_nova.virt import disk as disk_
from ekko_nova.virt import domain as domains
from ekko_nova.virt import job as jobs
from ekko_nova.virt import nbd
from ekko_nova.virt import offline
from ekko_nova.virt import scratch

__all__ = ('Chosen', 'Reading', 'planned')

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Chosen:
    """A disk that is backed up, as it is, and what the rule says of it."""

    disk: disk_.Disk
    facts: decision.DiskFacts
    verdict: decision.Decision

    def refused(self, error: exception.EkkoError) -> 'Chosen':
        """The same disk in full, because its bitmap was refused."""
        LOG.warning(
            'taking a full, the bitmap is refused: disk=%s bitmap=%s %s',
            self.disk.path,
            self.verdict.bitmap,
            error,
        )
        reason = decision.FullReason.BITMAP_REFUSED
        return dataclasses.replace(
            self, verdict=decision.Decision(None, reason)
        )


def planned(
    domain: domains.Domain, chosen: Chosen, bitmap: str
) -> records.DiskRecord:
    """What is known of a disk before it is read.

    :param bitmap: the one that records changes from now on
    """
    return plan.planned(
        name=chosen.disk.target,
        disk=chosen.facts,
        set_id=names.set_of_disk(domain.uuid, chosen.disk.identity),
        verdict=chosen.verdict,
        bitmap=bitmap,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """How the disks of one backup get into its transaction.

    :ivar bitmap: name of the bitmap that records changes from now on
    :ivar connections: how many requests may be in flight
    :ivar quiet: entered around the begin; keeps others off the domain
    """

    domain: domains.Domain
    job: transaction.Transaction
    connections: int
    bitmap: str
    quiet: Callable[[], contextlib.AbstractContextManager[None]]

    def through_qemu(
        self,
        chosen: Sequence[Chosen],
        places: scratch.Places,
        *,
        freeze: bool,
    ) -> records.Record:
        """Read all disks of a running domain through one job of QEMU's.

        A bitmap that libvirt or QEMU refuse, at whatever step, makes its
        disk a full one; if nobody says whose it is, all of them.
        """
        with contextlib.ExitStack() as stack:
            with self.quiet():
                pull, chosen = self._begin(
                    stack, self._validated(chosen), places, freeze=freeze
                )
            for each in chosen:
                self._read(pull, each)
        return self.job.commit(pull.quiesced)

    def _begin(
        self,
        stack: contextlib.ExitStack,
        chosen: Sequence[Chosen],
        places: scratch.Places,
        *,
        freeze: bool,
    ) -> tuple[jobs.PullJob, Sequence[Chosen]]:
        try:
            job = self._job(chosen, places, freeze)
            return stack.enter_context(job), chosen
        except exception.HypervisorFailed as e:
            if not any(each.verdict.bitmap for each in chosen):
                raise
            disks = [each.disk for each in chosen]
            checkpoint.delete_bitmap(self.domain, self.bitmap, disks)
            chosen = [
                each.refused(e) if each.verdict.bitmap else each
                for each in chosen
            ]
        job = self._job(chosen, places, freeze)
        return stack.enter_context(job), chosen

    def from_files(
        self, chosen: Sequence[Chosen], *, freeze: bool
    ) -> records.Record:
        """Read the disks of a domain that is shut off, one by one.

        It cannot start meanwhile: its disks are locked.
        """
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(sockets.directory())
            for each in chosen:
                path, format = each.disk.path, each.disk.format
                disk = stack.enter_context(
                    file_backup.new_bitmap(
                        path, format, planned(self.domain, each, self.bitmap)
                    )
                )
                with offline.serve(
                    path,
                    format,
                    bitmap=each.verdict.bitmap,
                    socket_directory=directory,
                    connections=self.connections,
                    disk=each.disk.target,
                ) as source:
                    self.job.write_disk(disk, source)
            return self.job.commit('shut off' if freeze else 'not requested')

    def _validated(self, chosen: Sequence[Chosen]) -> list[Chosen]:
        """Have libvirt know the bitmaps to read by, those that it accepts."""
        result = []
        accepted: dict[str, list[str]] = {}
        known: dict[str, list[str]] | None = None
        for each in chosen:
            name = each.verdict.bitmap
            if name is not None:
                targets = [*accepted.get(name, ()), each.disk.target]
                checkpoint.forget(self.domain)
                try:
                    checkpoint.redefine(self.domain, name, targets)
                    accepted[name] = targets
                    known = {name: targets}
                except exception.HypervisorFailed as e:
                    known = None
                    each = each.refused(e)  # noqa: PLW2901  it is what counts
            result.append(each)
        # Mostly it knows just these by now, and would take as long again.
        if known != accepted:
            checkpoint.forget(self.domain)
            for name, targets in accepted.items():
                checkpoint.redefine(self.domain, name, targets)
        return result

    def _job(
        self, chosen: Sequence[Chosen], places: scratch.Places, freeze: bool
    ) -> contextlib.AbstractContextManager[jobs.PullJob]:
        taken = {each.disk.target for each in chosen}
        return jobs.pull_job(
            self.domain,
            [_plan(each) for each in chosen],
            [disk for disk in self.domain.disks() if disk.target not in taken],
            bitmap=self.bitmap,
            places=places,
            freeze=freeze,
            connections=self.connections,
        )

    def _read(self, pull: jobs.PullJob, chosen: Chosen) -> None:
        with self._source(pull, chosen) as (source, disk):
            # The bitmap exists only since the job began.
            for bitmap in self.domain.bitmaps(chosen.disk):
                if bitmap.name == disk.bitmap:
                    disk = dataclasses.replace(  # noqa: PLW2901
                        disk, granularity=bitmap.granularity
                    )
            self.job.write_disk(disk, source)

    @contextlib.contextmanager
    def _source(
        self, pull: jobs.PullJob, chosen: Chosen
    ) -> Iterator[tuple[nbd.NbdSource, records.DiskRecord]]:
        """A disk by its bitmap; or all of it, if QEMU does not serve that."""
        with contextlib.ExitStack() as stack:
            try:
                source = stack.enter_context(pull.source(_plan(chosen)))
            except exception.BitmapUnusable as e:
                chosen = chosen.refused(e)
                source = stack.enter_context(pull.source(_plan(chosen)))
            yield source, planned(self.domain, chosen, self.bitmap)


def _plan(chosen: Chosen) -> jobs.DiskPlan:
    return jobs.DiskPlan(
        disk=chosen.disk,
        since=chosen.verdict.bitmap,
        track=chosen.facts.can_keep_bitmap,
    )
