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

"""From a disk to objects: the path of the bytes of one backup of one disk.

::

    extents ─▶ changes ─▶ tasks ─▶ examine ─▶ placement ─▶ seal, put
    (source)   (masks)    (rule)   workers    in order      puts
                                                └─▶ manifest builder

One thread walks the changes in the order of the disk; reading, hashing and
compressing happen in ``workers`` threads, sealing and storing in ``puts``.
"""

from collections.abc import Collection
from collections.abc import Generator
import contextlib
import dataclasses
import threading

from ekko_nova.backup.codec import keys
from ekko_nova.backup.codec import load
from ekko_nova.backup import examine
from ekko_nova.backup import geometry as geometry_
from ekko_nova.backup import keyring as keyrings
from ekko_nova.backup import layers
from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import builder as builders
from ekko_nova.backup import naming
from ekko_nova.backup import pieces
from ekko_nova.backup import pipeline
from ekko_nova.backup import progress
from ekko_nova.backup import settings as settings_
from ekko_nova.backup.store import base as store_base
from ekko_nova import block

__all__ = ('DiskWriter', 'Written', 'codecs', 'owners')


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What writing a disk amounted to.

    :ivar read_bytes: read from the disk
    :ivar changed_bytes: plain bytes of the pieces
    :ivar stored_bytes: size of the objects
    :ivar objects: how many there are
    :ivar owners: indexes of the owners that the manifest refers to
    """

    read_bytes: int
    changed_bytes: int
    stored_bytes: int
    objects: int
    owners: frozenset[int]


def codecs(
    settings: settings_.Settings, inherited: tuple[base.Codec, ...]
) -> tuple[base.Codec, ...]:
    """A manifest's codecs: the parent's, then what these settings add."""
    return tuple(dict.fromkeys((*inherited, *_wanted(settings))))


def _wanted(settings: settings_.Settings) -> tuple[base.Codec, base.Codec]:
    """The codec of pieces that compress, and of those that do not."""
    encryption, digest = settings.encryption, settings.digest
    return (
        base.Codec(settings.compression, encryption, digest),
        base.Codec('none', encryption, digest),
    )


def owners(
    inherited: tuple[base.Owner, ...], used: Collection[str], own: base.Owner
) -> tuple[base.Owner, ...]:
    """A manifest's owners: the parent's, at their indexes, and its own.

    The latter takes the place of one that the parent does not use any more,
    so that there are never many more than backups that share something.

    :param used: the backups whose objects the parent's manifest refers to
    """
    result = list(inherited)
    while result and result[-1].backup not in used:
        result.pop()
    for index, owner in enumerate(result):
        if owner.backup not in used:
            result[index] = own
            return tuple(result)
    return (*result, own)


class DiskWriter:
    """Writes one disk of one backup; used once.

    :param header: of the manifest to be
    :param parent: the parent's manifest, if segments may refer to it
    :param trusted: what the source calls clean is as the parent has it;
        otherwise all of it is read, and compared with the parent
    """

    def __init__(
        self,
        store: store_base.Store,
        settings: settings_.Settings,
        header: base.Header,
        keyring: keyrings.Keyring,
        parent: base.Reader | None,
        *,
        trusted: bool,
    ) -> None:
        self._store = store
        self._settings = settings
        self._header = header
        self._parent = parent
        self._geometry = geometry_.Geometry(header.size, header.segment_size)
        self._trusted_until = 0
        #: Where the parent's disk ended within a block: its piece has that
        #: block short, so that no piece of this disk can be laid over it.
        self._short: int | None = None
        if parent is not None:
            size = parent.header.size
            end = size - size % self._geometry.block_size
            if trusted:
                self._trusted_until = end
            if header.size > size > end:
                self._short = end // header.segment_size
        self._owner = header.owners[header.own]
        self._cipher = keyring.cipher(self._owner, settings.encryption)
        self._placement = pieces.Placement(
            header.own, header.segment_size, self._cipher.overhead
        )
        self._lock = threading.Lock()
        self._read_bytes = 0
        self._changed_bytes = 0
        self._stored_bytes = 0
        self._objects = 0

    def write(
        self,
        source: block.BlockSource,
        manifest: base.Writer,
        report: progress.Report,
    ) -> Written:
        """Store what changed, and complete the manifest file.

        :raises exception.SourceLost: the source could not be read to its end
        :raises exception.EkkoError: whatever the store raises
        """
        builder = builders.Builder(manifest, self._parent, self._geometry)
        examiner = self._examiner(source)
        tasks = self._tasks(source, builder)
        results = pipeline.ordered(
            lambda task: (
                examiner.examine(task)
                if isinstance(task, examine.Task)
                else task
            ),
            tasks,
            self._settings.workers,
        )
        sink = pipeline.Sink(self._put, self._settings.puts)
        with sink, contextlib.closing(results):
            for result in results:
                if isinstance(result, examine.Examined):
                    self._settle(result, builder, sink)
                    end = result.segment + 1
                else:
                    builder.clear(result.segment, result.count)
                    end = result.segment + result.count
                self._report(end, report)
            self._report(self._geometry.segments, report)
            source.check()
            if (load_ := self._placement.finish()) is not None:
                sink.put(load_)
            sink.finish()
        builder.finish()
        return Written(
            read_bytes=self._read_bytes,
            changed_bytes=self._changed_bytes,
            stored_bytes=self._stored_bytes,
            objects=self._objects,
            owners=frozenset(builder.owners),
        )

    def _tasks(
        self, source: block.BlockSource, builder: builders.Builder
    ) -> Generator[examine.Task | geometry_.Change, None, None]:
        """What is to be done, segment by segment, in the order of the disk."""
        extents = geometry_.grown(source.extents(), self._trusted_until)
        for change in geometry_.changes(extents, self._geometry):
            if change.count > 1 and change.zero:
                yield change
                continue
            for index in range(change.count):
                yield self._task(change.segment + index, change, builder)

    def _task(
        self,
        segment: int,
        change: geometry_.Change,
        builder: builders.Builder,
    ) -> examine.Task:
        parent = builder.parent_segment(segment)
        full = self._geometry.full_mask(segment)
        blocks = change.dirty
        if segment == self._short:
            parent = base.Segment(full, ())
            blocks = full
        if layers.needs_whole(parent, change.dirty, full):
            blocks = full
        return examine.Task(
            segment=segment,
            read=blocks & ~change.zero,
            zero=blocks & change.zero,
            parent=parent,
        )

    def _settle(
        self,
        result: examine.Examined,
        builder: builders.Builder,
        sink: pipeline.Sink[pieces.Load],
    ) -> None:
        layer = None
        if result.piece is not None:
            layer, complete = self._placement.place(result.piece)
            self._changed_bytes += result.piece.length
            if complete is not None:
                sink.put(complete)
        self._read_bytes += result.read_bytes
        builder.replace(
            result.segment, layers.succeed(result.parent, result.zero, layer)
        )

    def _put(self, load_: pieces.Load) -> None:
        owner = self._owner
        name = naming.object_name(owner.set, owner.backup, load_.number)
        # Swift's client takes nothing but bytes. If the store made them, there
        # would be two of each object for as long as a request lasts.
        data = bytes(self._sealed(load_))
        self._store.put(name, data, if_absent=True)
        with self._lock:
            self._stored_bytes += len(data)
            self._objects += 1

    def _sealed(self, load_: pieces.Load) -> block.Buffer:
        """The content of an object."""
        alone = load_.pieces[0][0] == 0
        sealed = [
            self._cipher.encrypt(
                piece.data,
                keys.object_context(
                    self._owner.set, self._owner.backup, load_.number, offset
                ),
            )
            for offset, piece in load_.unload()
        ]
        if alone:
            return sealed[0]
        return pieces.bundle(sealed, self._settings.digest)

    def _examiner(self, source: block.BlockSource) -> examine.Examiner:
        settings = self._settings
        codecs = self._header.codecs
        packed, unpacked = _wanted(settings)
        return examine.Examiner(
            source,
            self._geometry,
            load.compression(settings.compression, settings.compression_level),
            codecs,
            packed=codecs.index(packed),
            unpacked=codecs.index(unpacked),
        )

    def _report(self, segments: int, report: progress.Report) -> None:
        size = self._header.size
        position = min(segments * self._header.segment_size, size)
        report(
            progress.Progress(
                self._header.disk, position, size, self._read_bytes
            )
        )
