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

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import dataclasses
import logging

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
from ekko_nova.compute import selection
from ekko_nova import exception
from ekko_nova.virt import bitmap as bitmap_
from ekko_nova.virt import checkpoint
from ekko_nova.virt import disk as disk_
from ekko_nova.virt import domain as domains
from ekko_nova.virt import job as jobs
from ekko_nova.virt import quiesce
from ekko_nova.virt import scratch

__all__ = ('Hypervisor', 'Options', 'backup_domain')

LOG = logging.getLogger(__name__)

#: For the front doors, which do not know ``virt``.
Hypervisor = domains.Hypervisor


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How a backup is taken.

    :ivar select: which disks
    :ivar full: read and store everything
    :ivar incremental: fail where a disk would have to be read whole
    :ivar freeze: freeze the guest's file systems at the instant
    :ivar quiet: entered around the begin; keeps others off the domain
    """

    select: selection.Select = selection.everything
    full: bool = False
    incremental: bool = False
    freeze: bool = False
    quiet: Callable[[], contextlib.AbstractContextManager[None]] = (
        contextlib.nullcontext
    )


def backup_domain(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    domain: domains.Domain,
    options: Options,
    *,
    places: scratch.Places,
    request: records.Request | None = None,
    report: progress.Report = progress.silent,
) -> records.Record:
    """Take a backup of all disks, or some, as they are at one instant.

    Each disk goes incremental if the rule allows it, and full otherwise.

    :param request: by default one with a new id
    :raises exception.FullNeeded: only an incremental would have done
    :raises exception.InvalidSource: there is no disk that can be backed up
    :raises exception.EkkoError: nothing of this backup is kept
    """
    survey = prune.collect(
        catalog, settings, domain.uuid, request.backup if request else None
    ).survey
    chosen_disks = _select(domain, options.select)
    facts = [
        (disk, checkpoint.disk_facts(domain, disk, identity))
        for disk, identity in chosen_disks.disks
    ]
    fit = [disk for disk, _ in facts]
    present = {bitmap.name for _, each in facts for bitmap in each.bitmaps}
    line = survey.records
    parent = None if options.full else chain.parent_for(line, present)
    chosen = [
        reading.Chosen(
            disk, each, plan.decide(each, parent, requested=options.full)
        )
        for disk, each in facts
    ]
    if options.incremental:
        _require_incremental(chosen)
    request = request or records.Request(names.new_backup())
    bitmap = bitmap_.name_of(request.backup)
    with transaction.Transaction(
        catalog,
        settings,
        records.begun(
            domain.uuid,
            request,
            disks=tuple(
                reading.planned(domain, each, bitmap) for each in chosen
            ),
            skipped=chosen_disks.skipped,
        ),
        parent=parent,
        survey=survey,
        incremental=options.incremental,
        report=report,
    ) as job:
        # Not before: only now it is certain that no other process is about
        # to begin a job, with checkpoints that are not ours to forget.
        jobs.recover(domain, places)
        jobs.require_none(domain)
        quiesce.thaw_left(domain, places)
        try:
            way = reading.Reading(
                domain, job, settings.workers, bitmap, options.quiet
            )
            if domain.is_active():
                record = way.through_qemu(
                    chosen, places, freeze=options.freeze
                )
            else:
                record = way.from_files(chosen, freeze=options.freeze)
        except BaseException:
            _tidy(domain, [bitmap], fit)
            raise
    _tidy(domain, plan.outdated(sorted(present), line, bitmap), fit)
    for disk, each in facts:
        if broken := plan.broken(each.bitmaps):
            _tidy(domain, broken, [disk])
    return record


def _select(
    domain: domains.Domain, select: selection.Select
) -> selection.Selection:
    found = select(domain.disks())
    if not found.disks:
        raise exception.InvalidSource(
            f'domain {domain.name}',
            'none of its disks can be backed up',
            '; '.join(f'{each.name}: {each.reason}' for each in found.skipped)
            or 'it has none',
        )
    return found


def _require_incremental(chosen: Sequence[reading.Chosen]) -> None:
    for each in chosen:
        if each.verdict.reason is not None:
            raise exception.FullNeeded(
                each.disk.target, str(each.verdict.reason)
            )


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
