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

"""Is a backup what it was? Names every invariant that is broken, and where.

Quick: all objects are there and have their sizes; costs one listing. Deep:
every stored byte of every disk is read, opened and compared with its digest.
"""

import array
import collections
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import dataclasses
import itertools
import typing

from ekko_nova.backup import document
from ekko_nova.backup import geometry as geometry_
from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import stripe
from ekko_nova.backup import naming
from ekko_nova.backup import opened
from ekko_nova.backup import pipeline
from ekko_nova.backup import progress
from ekko_nova.backup import reader
from ekko_nova.backup import record as records
from ekko_nova.backup import settings as settings_
from ekko_nova.backup.store import base as store_base
from ekko_nova import exception

__all__ = ('MOST_FINDINGS', 'Finding', 'missing', 'still_known', 'verify')

_BUNDLE: typing.Final = 1 << 31

#: Of a disk, that anybody has to remember.
MOST_FINDINGS: typing.Final = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as the format demands.

    :ivar disk: name of the disk
    :ivar object: name of the object
    :ivar invariant: which rule is broken
    :ivar offset: first byte of the disk that is affected
    :ivar length: how many bytes may be, from there on
    """

    disk: str
    object: str
    invariant: str
    offset: int
    length: int


def verify(
    store: store_base.Store,
    settings: settings_.Settings,
    record: records.Record,
    *,
    deep: bool,
    most: int | None = None,
    report: progress.Report = progress.silent,
) -> Iterator[Finding]:
    """Check an available backup; no finding means that it restores.

    :param most: findings of a disk after which no more of it are looked for
    :raises exception.IllegalState: it is not available
    :raises exception.WrongKey: it is encrypted, and the key is not at hand
    """
    if record.status is not records.Status.AVAILABLE:
        raise exception.IllegalState(record.id, record.status, 'be verified')
    for disk in record.disks:
        found = _of_disk(store, settings, record, disk, report, deep=deep)
        with contextlib.closing(found):
            yield from itertools.islice(found, most)


def _of_disk(
    store: store_base.Store,
    settings: settings_.Settings,
    record: records.Record,
    disk: records.DiskRecord,
    report: progress.Report,
    *,
    deep: bool,
) -> Generator[Finding, None, None]:
    try:
        with opened.open_disk(store, settings, record, disk, whole=deep) as it:
            yield from missing(store, it)
            if deep:
                yield from _damaged(it, settings, report)
    except (exception.ObjectDamaged, exception.ObjectMissing) as e:
        yield Finding(disk.name, e.name, _invariant(e), 0, disk.size)


def still_known(
    known: Iterable[document.Document],
    found: Iterable[Finding],
    *,
    deep: bool,
) -> list[document.Document]:
    """What is known to be wrong with a backup when it has been verified.

    What was known stays, until every byte was read again. At most 100 of each
    disk: more tell nobody more.

    :param known: before, see :meth:`ekko_nova.backup.notes.Notes.findings`
    """
    result: list[document.Document] = []
    of_disk: collections.Counter[str] = collections.Counter()
    for each in (*(() if deep else known), *map(dataclasses.asdict, found)):
        if of_disk[each['disk']] < MOST_FINDINGS and each not in result:
            of_disk[each['disk']] += 1
            result.append(each)
    return result


def _invariant(error: exception.DataDamaged) -> str:
    if isinstance(error, exception.ObjectDamaged):
        return error.invariant
    return 'every object that a manifest names must exist'


def missing(
    store: store_base.Store, disk: opened.OpenedDisk
) -> Iterator[Finding]:
    """Compare the objects that a disk needs with a listing."""
    header = disk.manifest.header
    for index, needed in sorted(_needed(disk.manifest).items()):
        owner = header.owners[index]
        prefix = naming.backup_prefix(owner.set, owner.backup)
        for found in store.list(prefix):
            name = found.name.removeprefix(prefix)
            if name.startswith('manifest-'):
                continue
            number = int(name, 16)
            if number < len(needed) and _fits(found.size, needed[number]):
                needed[number] = 0
        for number, end in enumerate(needed):
            # Not listed is not missing: see catalog.py.
            if end and not _is_there(store, f'{prefix}{number:08x}', end):
                yield _finding(disk, index, number)


def _needed(manifest: base.Reader) -> dict[int, 'array.array[int]']:
    """By owner and object number: where its last piece ends, 0 for unused.

    Bit 31 marks a bundle, which may go on behind that. 4 bytes an object: 64
    MiB for 64 TiB of disk.
    """
    result: dict[int, array.array[int]] = {}
    for _, columns in manifest.stripes():
        items = stripe.unpack(columns)
        for owner, number, offset, length in zip(
            items.owner, items.object, items.offset, items.length, strict=True
        ):
            needed = result.setdefault(owner, array.array('I'))
            if len(needed) <= number:
                needed.extend([0] * (number + 1 - len(needed)))
            end = offset + length | (_BUNDLE if offset else 0)
            needed[number] = max(needed[number], end)
    return result


def _is_there(store: store_base.Store, name: str, needed: int) -> bool:
    try:
        return _fits(store.stat(name).size, needed)
    except exception.ObjectMissing:
        return False


def _fits(size: int, needed: int) -> bool:
    if needed & _BUNDLE:
        return size >= needed & ~_BUNDLE
    return size == needed


def _finding(disk: opened.OpenedDisk, index: int, number: int) -> Finding:
    """An object is missing or too short: find the first range it is of."""
    header = disk.manifest.header
    geometry = geometry_.Geometry(header.size, header.segment_size)
    owner = header.owners[index]
    start = 0
    end = 0
    for segment, _, entry in reader.segments(disk.manifest, geometry):
        for layer in entry.layers if entry else ():
            if (layer.owner, layer.object) == (index, number):
                offset = segment * header.segment_size
                start = start if end else offset
                end = offset + geometry.segment_length(segment)
    return Finding(
        disk.record.name,
        naming.object_name(owner.set, owner.backup, number),
        'every object that a manifest names must exist, with its length',
        start,
        end - start,
    )


def _damaged(
    disk: opened.OpenedDisk,
    settings: settings_.Settings,
    report: progress.Report,
) -> Iterator[Finding]:
    """Read every piece."""
    header = disk.manifest.header
    geometry = geometry_.Geometry(header.size, header.segment_size)
    checks = pipeline.ordered(
        lambda item: _check_segment(disk, geometry, *item),
        reader.segments(disk.manifest, geometry),
        settings.workers,
    )
    moved = 0
    with contextlib.closing(checks):
        for end, length, findings in checks:
            yield from findings
            moved += length
            report(
                progress.Progress(disk.record.name, end, header.size, moved)
            )


def _check_segment(
    disk: opened.OpenedDisk,
    geometry: geometry_.Geometry,
    segment: int,
    count: int,
    entry: base.Segment | None,
) -> tuple[int, int, list[Finding]]:
    offset = segment * geometry.segment_size
    last = segment + count - 1
    end = last * geometry.segment_size + geometry.segment_length(last)
    findings = []
    moved = 0
    for layer in entry.layers if entry else ():
        length = geometry.plain_length(segment, layer.mask)
        try:
            disk.fetcher.plain(layer, length)
            moved += length
        except (exception.ObjectDamaged, exception.ObjectMissing) as e:
            findings.append(
                Finding(
                    disk.record.name,
                    e.name,
                    _invariant(e),
                    offset,
                    geometry.segment_length(segment),
                )
            )
    return end, moved, findings
