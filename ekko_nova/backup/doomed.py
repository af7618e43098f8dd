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

"""What goes when a backup is deleted: the objects that only it needs."""

import logging

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import chain
from ekko_nova.backup import naming
from ekko_nova.backup import opened
from ekko_nova.backup import record as records
from ekko_nova.backup import references
from ekko_nova.backup import settings as settings_
from ekko_nova import exception

__all__ = ('doomed',)

LOG = logging.getLogger(__name__)


def doomed(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    line: tuple[records.Record, ...],
    record: records.Record,
) -> tuple[references.References, ...]:
    """Of each disk, the objects that only this backup needs.

    :param line: whether this backup is in it, and how, does not matter
    """
    others = tuple(each for each in line if each.id != record.id)
    return tuple(
        _of_disk(catalog, settings, (*others, record), record, disk)
        for disk in record.disks
    )


def _of_disk(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    line: tuple[records.Record, ...],
    record: records.Record,
    disk: records.DiskRecord,
) -> references.References:
    survivors = chain.relatives(line, record)
    try:
        doomed = _references(catalog, settings, record, disk)
    except exception.DataDamaged as e:
        LOG.warning(
            'deleting by listing, for want of a manifest: backup=%s %s',
            record.id,
            e,
        )
        doomed = _everything(catalog, record, disk)
        # What it referred to is unknown, so its neighbours no longer stand
        # for all others.
        survivors = tuple(
            each
            for each in line
            if each.status is records.Status.AVAILABLE
            and chain.shares_owner(each, record)
        )
    for survivor in survivors:
        theirs = survivor.disk(disk.identity)
        if theirs is None or theirs.set != disk.set:
            continue
        try:
            needed = _references(catalog, settings, survivor, theirs)
        except exception.DataDamaged as e:
            LOG.warning(
                'sparing all it may need: damaged backup=%s %s',
                survivor.id,
                e,
            )
            needed = _everything(catalog, survivor, theirs)
        doomed.subtract(needed)
    return doomed


def _references(
    catalog: catalogs.Catalog,
    settings: settings_.Settings,
    record: records.Record,
    disk: records.DiskRecord,
) -> references.References:
    with opened.open_disk(catalog.store, settings, record, disk) as it:
        return references.of_manifest(it.manifest)


def _everything(
    catalog: catalogs.Catalog,
    record: records.Record,
    disk: records.DiskRecord,
) -> references.References:
    """All objects of all owners that a manifest may refer to."""
    result = references.References()
    for owner in (record.id, *disk.owners):
        prefix = naming.backup_prefix(disk.set, owner)
        for found in catalog.store.list(prefix):
            number = found.name.removeprefix(prefix)
            if not number.startswith('manifest-'):
                result.add(owner, int(number, 16))
    return result
