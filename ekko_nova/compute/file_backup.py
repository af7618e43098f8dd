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


"""Back up a disk that no running guest uses: a file or a block device."""

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import dataclasses
import logging
import pathlib

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import chain
from ekko_nova.backup import naming
from ekko_nova.backup import progress
from ekko_nova.backup import prune
from ekko_nova.backup import record as records
from ekko_nova.backup import settings as settings_
from ekko_nova.backup import transaction
from ekko_nova.compute import names
from ekko_nova.compute import plan
from ekko_nova.compute import sockets
from ekko_nova import exception
from ekko_nova.virt import bitmap as bitmap_
from ekko_nova.virt import decision
from ekko_nova.virt import image
from ekko_nova.virt import offline

__all__ = ('backup_file', 'new_bitmap', 'remove_bitmaps')

LOG = logging.getLogger(__name__)

#: What the one disk of such a backup is called.
_DISK = 'disk'


def backup_file(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    path: pathlib.Path,
    *,
    format: str | None = None,
    set_name: str | None = None,
    full: bool = False,
    report: progress.Report = progress.silent,
) -> records.Record:
    """Take a backup; incremental where the file has the parent's bitmap.

    :param format: 'qcow2' or 'raw'; ``None`` to see for ourselves
    :param set_name: of the line of backups; made of the path by default
    :param full: read and store everything
    :raises exception.InvalidSource: it is no disk, or a guest uses it
    :raises exception.EkkoError: nothing of this backup is kept
    """
    path = path.absolute()
    info = image.info(str(path), format)
    line_name = names.for_file(path) if set_name is None else set_name
    naming.check('set', line_name)
    facts = decision.DiskFacts(
        identity=line_name,
        format=info.format,
        compat=info.compat,
        data_file=info.data_file,
        size=info.size,
        bitmaps=bitmap_.of_image(info),
    )
    present = [bitmap.name for bitmap in facts.bitmaps]
    collected = prune.collect(catalog, settings, line_name)
    remove_bitmaps(str(path), plan.outdated(present, collected.removed))
    line = collected.survey.records
    parent = None if full else chain.parent_for(line, present)
    verdict = plan.decide(facts, parent, requested=full)
    backup = names.new_backup()
    disk = plan.planned(
        name=_DISK,
        disk=facts,
        set_id=line_name,
        verdict=verdict,
        bitmap=bitmap_.name_of(backup),
    )
    with contextlib.ExitStack() as stack:
        job = stack.enter_context(
            transaction.Transaction(
                catalog,
                settings,
                records.begun(
                    line_name, records.Request(backup), disks=(disk,)
                ),
                parent=parent,
                survey=collected.survey,
                report=report,
            )
        )
        disk = stack.enter_context(new_bitmap(str(path), info.format, disk))
        directory = stack.enter_context(sockets.directory())
        with offline.serve(
            str(path),
            info.format,
            bitmap=verdict.bitmap,
            socket_directory=directory,
            connections=settings.workers,
            disk=str(path),
        ) as source:
            job.write_disk(disk, source)
        record = job.commit()
    done_with = plan.outdated(present, line, bitmap_.name_of(backup))
    remove_bitmaps(str(path), {*done_with, *plan.broken(facts.bitmaps)})
    return record


@contextlib.contextmanager
def new_bitmap(
    path: str, format: str, disk: records.DiskRecord
) -> Iterator[records.DiskRecord]:
    """Begin a bitmap that lasts only if the context is left without error.

    Yields the disk with the granularity the bitmap got.
    """
    if disk.bitmap is None:
        yield disk
        return
    image.add_bitmap(path, disk.bitmap)
    try:
        [made] = [
            bitmap
            for bitmap in image.info(path, format).bitmaps
            if bitmap.name == disk.bitmap
        ]
        yield dataclasses.replace(disk, granularity=made.granularity)
    except BaseException:
        remove_bitmaps(path, [disk.bitmap])
        raise


def remove_bitmaps(path: str, bitmaps: Iterable[str]) -> None:
    """Remove bitmaps; one that stays costs some memory, and no data."""
    for bitmap in bitmaps:
        try:
            image.remove_bitmap(path, bitmap)
        except exception.EkkoError as e:
            LOG.warning(
                'bitmap stays behind: disk=%s bitmap=%s %s', path, bitmap, e
            )
