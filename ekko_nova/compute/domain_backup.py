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


"""Back up the disks of a libvirt domain, running or shut off."""

from collections.abc import Sequence
import contextlib
import dataclasses

from oslo_log import log as logging

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import chain
from ekko_nova.backup import progress
from ekko_nova.backup import prune
from ekko_nova.backup import record as records
from ekko_nova.backup import settings as settings_
from ekko_nova.backup import transaction
from ekko_nova.compute import file_backup
from ekko_nova.compute import host
from ekko_nova.compute import names
from ekko_nova.compute import plan
from ekko_nova import exception
from ekko_nova.virt import checkpoint
from ekko_nova.virt import decision
from ekko_nova.virt import disk as disk_
from ekko_nova.virt import domain as domains
from ekko_nova.virt import job as jobs
from ekko_nova.virt import offline
from ekko_nova.virt import scratch

__all__ = ('backup_domain',)

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class _Chosen:
    """A disk that is backed up, as it is, and what the rule says of it."""

    disk: disk_.Disk
    facts: decision.DiskFacts
    verdict: decision.Decision


def backup_domain(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    domain: domains.Domain,
    *,
    targets: Sequence[str] | None = None,
    full: bool = False,
    freeze: bool = False,
    places: scratch.Places,
    report: progress.Report = progress.silent,
) -> records.Record:
    """Take a backup of all disks, or some, as they are at one instant.

    Each disk goes incremental if the rule allows it, and full otherwise.

    :param targets: the disks to take, by target; all that are fit by default
    :param full: read and store everything
    :param freeze: freeze the guest's file systems at the instant
    :raises exception.InvalidSource: there is no disk that can be backed up
    :raises exception.InvalidOption: a target is not, or not fit
    :raises exception.EkkoError: nothing of this backup is kept
    """
    prune.collect(catalog, settings, domain.uuid)
    fit, skipped = _choose(domain, targets)
    facts = [(disk, checkpoint.disk_facts(domain, disk)) for disk in fit]
    present = {bitmap.name for _, each in facts for bitmap in each.bitmaps}
    line = catalog.survey(domain.uuid).records
    parent = None if full else chain.parent_for(line, present)
    chosen = [
        _Chosen(disk, each, plan.decide(each, parent, requested=full))
        for disk, each in facts
    ]
    backup = names.new_backup()
    bitmap = checkpoint.bitmap_name(backup)
    with transaction.Transaction(
        catalog,
        settings,
        server=domain.uuid,
        backup=backup,
        parent=parent,
        disks=[_planned(domain, each, bitmap) for each in chosen],
        skipped=skipped,
        report=report,
    ) as job:
        # Not before: only now it is certain that no other process is about
        # to begin a job, with checkpoints that are not ours to forget.
        jobs.recover(domain, places)
        try:
            run = _Run(domain, job, settings.workers, bitmap)
            if domain.is_active():
                chosen = _validated(domain, chosen)
                record = run.through_qemu(chosen, places, freeze=freeze)
            else:
                record = run.from_files(chosen, freeze=freeze)
        except BaseException:
            _tidy(domain, [bitmap], fit)
            raise
    _tidy(domain, plan.outdated(sorted(present), line, bitmap), fit)
    return record


def _tidy(
    domain: domains.Domain,
    bitmaps: Sequence[str],
    disks: Sequence[disk_.Disk],
) -> None:
    """Remove bitmaps and checkpoints that nobody needs.

    The backup's fate is decided by now: what cannot be removed is logged,
    and the next backup tries again.
    """
    try:
        checkpoint.forget(domain)
        for bitmap in bitmaps:
            checkpoint.delete_bitmap(domain, bitmap, disks)
    except exception.EkkoError as e:
        LOG.warning('left for the next backup: domain=%s %s', domain.name, e)


def _choose(
    domain: domains.Domain, targets: Sequence[str] | None
) -> tuple[list[disk_.Disk], list[records.Skipped]]:
    fit = []
    skipped = []
    disks = domain.disks()
    for disk in disks:
        if targets and disk.target not in targets:
            skipped.append(records.Skipped(disk.target, 'not asked for'))
        elif disk.unfit:
            skipped.append(records.Skipped(disk.target, disk.unfit))
        else:
            fit.append(disk)
    found = [disk.target for disk in fit]
    reasons = {each.name: each.reason for each in skipped}
    for target in targets or ():
        if target not in found:
            raise exception.InvalidOption(
                '--disk',
                target,
                reasons.get(target)
                or 'the domain has: '
                + ', '.join(disk.target for disk in disks),
            )
    if not fit:
        raise exception.InvalidSource(
            f'domain {domain.name}',
            'none of its disks can be backed up',
            '; '.join(f'{each.name}: {each.reason}' for each in skipped)
            or 'it has none',
        )
    return fit, skipped


def _validated(domain: domains.Domain, chosen: list[_Chosen]) -> list[_Chosen]:
    """Have libvirt accept the bitmaps to read by; full where it does not."""
    result = []
    accepted: dict[str, list[str]] = {}
    for each in chosen:
        name = each.verdict.bitmap
        targets = [*accepted.get(name or '', ()), each.disk.target]
        if name is None:
            result.append(each)
        elif _accepted(domain, name, targets):
            accepted[name] = targets
            result.append(each)
        else:
            refused = decision.FullReason.BITMAP_REFUSED
            verdict = decision.Decision(None, refused)
            result.append(dataclasses.replace(each, verdict=verdict))
    checkpoint.forget(domain)
    for name, targets in accepted.items():
        checkpoint.redefine(domain, name, targets)
    return result


def _accepted(
    domain: domains.Domain, name: str, targets: Sequence[str]
) -> bool:
    checkpoint.forget(domain)
    try:
        checkpoint.redefine(domain, name, targets)
    except exception.HypervisorFailed as e:
        LOG.warning(
            'taking a full, libvirt refuses the bitmap: '
            'domain=%s disk=%s bitmap=%s %s',
            domain.name,
            targets[-1],
            name,
            e,
        )
        return False
    return True


def _planned(
    domain: domains.Domain, chosen: _Chosen, bitmap: str
) -> records.DiskRecord:
    return plan.planned(
        name=chosen.disk.target,
        disk=chosen.facts,
        set_id=names.set_of_disk(domain.uuid, chosen.disk.identity),
        verdict=chosen.verdict,
        bitmap=bitmap,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Run:
    """The reading of the chosen disks, one way or the other."""

    domain: domains.Domain
    job: transaction.Transaction
    connections: int
    bitmap: str

    def through_qemu(
        self,
        chosen: Sequence[_Chosen],
        places: scratch.Places,
        *,
        freeze: bool,
    ) -> records.Record:
        """Read all disks of a running domain through one job of QEMU's."""
        plans = [
            jobs.DiskPlan(
                disk=each.disk,
                since=each.verdict.bitmap,
                track=each.facts.can_keep_bitmap,
            )
            for each in chosen
        ]
        taken = {plan_.disk.target for plan_ in plans}
        others = [
            disk for disk in self.domain.disks() if disk.target not in taken
        ]
        with jobs.pull_job(
            self.domain,
            plans,
            others,
            bitmap=self.bitmap,
            places=places,
            freeze=freeze,
            connections=self.connections,
        ) as pull:
            for plan_, each in zip(plans, chosen, strict=True):
                with pull.source(plan_) as source:
                    made = _made(
                        self.domain.bitmaps(plan_.disk), self._planned(each)
                    )
                    self.job.write_disk(made, source)
        return self.job.commit(pull.quiesced)

    def from_files(
        self, chosen: Sequence[_Chosen], *, freeze: bool
    ) -> records.Record:
        """Read the disks of a domain that is shut off, one by one.

        It cannot start meanwhile: its disks are locked.
        """
        with contextlib.ExitStack() as stack:
            sockets = stack.enter_context(host.socket_directory())
            for each in chosen:
                path, format = each.disk.path, each.disk.format
                made = stack.enter_context(
                    file_backup.new_bitmap(path, format, self._planned(each))
                )
                with offline.serve(
                    path,
                    format,
                    bitmap=each.verdict.bitmap,
                    socket_directory=sockets,
                    connections=self.connections,
                    disk=each.disk.target,
                ) as source:
                    self.job.write_disk(made, source)
            return self.job.commit('shut off' if freeze else 'not requested')

    def _planned(self, chosen: _Chosen) -> records.DiskRecord:
        return _planned(self.domain, chosen, self.bitmap)


def _made(
    bitmaps: Sequence[decision.BitmapFacts], disk: records.DiskRecord
) -> records.DiskRecord:
    """The disk with the granularity that QEMU gave its new bitmap."""
    for bitmap in bitmaps:
        if bitmap.name == disk.bitmap:
            return dataclasses.replace(disk, granularity=bitmap.granularity)
    return disk
