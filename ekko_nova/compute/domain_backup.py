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

from oslo_log import log as logging

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import chain
from ekko_nova.backup import progress
from ekko_nova.backup import prune
from ekko_nova.backup import record as records
from ekko_nova.backup import settings as settings_
from ekko_nova.backup import transaction
from ekko_nova.compute import names
from ekko_nova.compute import plan
from ekko_nova.compute import reading
from ekko_nova import exception
from ekko_nova.virt import checkpoint
from ekko_nova.virt import disk as disk_
from ekko_nova.virt import domain as domains
from ekko_nova.virt import job as jobs
from ekko_nova.virt import scratch

__all__ = ('backup_domain',)

LOG = logging.getLogger(__name__)


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
        reading.Chosen(disk, each, plan.decide(each, parent, requested=full))
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
        disks=[reading.planned(domain, each, bitmap) for each in chosen],
        skipped=skipped,
        report=report,
    ) as job:
        # Not before: only now it is certain that no other process is about
        # to begin a job, with checkpoints that are not ours to forget.
        jobs.recover(domain, places)
        try:
            way = reading.Reading(domain, job, settings.workers, bitmap)
            if domain.is_active():
                record = way.through_qemu(chosen, places, freeze=freeze)
            else:
                record = way.from_files(chosen, freeze=freeze)
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
