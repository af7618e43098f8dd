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

"""The manifest contract: what one disk looked like, and where it lies.

A manifest is a header and one entry for each segment. Entries are grouped
into stripes of :data:`STRIPE` segments; a stripe travels between documents
in its encoded form (:class:`Columns`), so that an incremental copies what
did not change without looking into it. A stripe that is not there is all
zeros.

A driver turns header and stripes into one file and back. It must stream:
memory is bounded by one stripe, whatever the size of the disk.
"""

import abc
from collections.abc import Iterator
import dataclasses
import pathlib
import typing

from ekko_nova.backup import closing

__all__ = (
    'STRIPE',
    'Codec',
    'Columns',
    'Driver',
    'Header',
    'Layer',
    'Owner',
    'Reader',
    'Segment',
    'Writer',
)

#: Segments in a stripe.
STRIPE: typing.Final = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Owner:
    """A backup whose objects a manifest refers to."""

    set: str
    backup: str


@dataclasses.dataclass(frozen=True, slots=True)
class Codec:
    """What a piece went through, by name.

    :ivar compression: entry point of the driver
    :ivar encryption: entry point of the driver
    :ivar digest: algorithm, one of :data:`ekko_nova.backup.codec.digest.NAMES`
    """

    compression: str
    encryption: str
    digest: str


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """What is true of the whole disk.

    :ivar set: the backup set this disk's line of backups forms
    :ivar backup: the backup this manifest belongs to
    :ivar parent: the backup it was taken against, if any
    :ivar disk: identity of the disk, never its target name
    :ivar size: virtual size in bytes
    :ivar segment_size: bytes in a segment
    :ivar owners: what ``Layer.owner`` indexes; this backup is one of them.
        An index means the same as in the parent's manifest, if that uses it.
    :ivar codecs: what ``Layer.codec`` indexes; grows at the end only
    """

    set: str
    backup: str
    parent: str | None
    disk: str
    size: int
    segment_size: int
    owners: tuple[Owner, ...]
    codecs: tuple[Codec, ...]

    @property
    def own(self) -> int:
        """The index of the backup itself among the owners."""
        return self.owners.index(Owner(self.set, self.backup))


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """One piece, as a manifest sees it.

    :ivar mask: bit *i* is set if the piece carries block *i* of the segment
    :ivar owner: index into ``Header.owners``: who stored the piece
    :ivar object: number of the object among its owner's
    :ivar offset: first byte of the piece in the object; 0 only if the piece
        is the whole object
    :ivar length: stored bytes
    :ivar codec: index into ``Header.codecs``
    :ivar digest: of the piece's plain bytes, by the algorithm of the codec
    """

    mask: int
    owner: int
    object: int
    offset: int
    length: int
    codec: int
    digest: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """Where the blocks of a segment are: zero, or in a layer; newest last.

    The zero mask and the layers' masks together must cover every block of
    the segment.
    """

    zero: int
    layers: tuple[Layer, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Columns:
    """A stripe, encoded: one run of bytes for each field of its entries.

    ``count`` and ``zero`` have an item for each of :data:`STRIPE` segments,
    the others one for each layer, in the order of segments and layers.
    ``digest`` is plain; the other columns are encoded as
    :mod:`.stripe` describes.
    """

    count: bytes
    zero: bytes
    mask: bytes
    owner: bytes
    object: bytes
    offset: bytes
    length: bytes
    codec: bytes
    digest: bytes


class Writer(closing.Closing):
    """A manifest being written into a file, by one thread at a time.

    Leaving the context without :meth:`finish` removes the file.
    """

    @abc.abstractmethod
    def add(self, number: int, columns: Columns) -> None:
        """Add a stripe; numbers ascend. A stripe of zeros is left out.

        :raises ValueError: the number is not next or not of this disk, the
            columns break the format, or the file is finished
        :raises exception.TargetFailed: the file cannot be written
        """

    @abc.abstractmethod
    def finish(self) -> None:
        """Complete the file; nothing is added any more.

        :raises exception.TargetFailed: the file cannot be written
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release the file, and remove it unless it was finished."""


class Reader(closing.Closing):
    """A manifest in a file, open for reading by any number of threads.

    What it returns is what was written: a driver notices every damage to
    what it reads by itself. A closed reader raises ``ValueError``.
    """

    @property
    @abc.abstractmethod
    def header(self) -> Header:
        """What is true of the whole disk."""

    @abc.abstractmethod
    def stripe(self, number: int) -> Columns | None:
        """One stripe, or ``None`` where all is zero.

        :raises exception.ObjectDamaged: the file breaks the format
        """

    @abc.abstractmethod
    def stripes(self) -> Iterator[tuple[int, Columns]]:
        """All stripes that are there, ascending.

        :raises exception.ObjectDamaged: the file breaks the format
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release the file."""


class Driver(abc.ABC):
    """A file format for manifests."""

    #: The first bytes of every file of this format, whatever its version.
    magic: typing.ClassVar[bytes]

    @abc.abstractmethod
    def create(self, path: pathlib.Path, header: Header) -> Writer:
        """Begin a new file, readable by its owner only.

        :raises ValueError: the header could not be read again
        :raises exception.TargetExists: ``path`` is there
        :raises exception.TargetFailed: it cannot be written
        """

    @abc.abstractmethod
    def open(self, path: pathlib.Path) -> Reader:
        """Open a complete file.

        :raises exception.UnknownFormat: written by a version not known here
        :raises exception.ObjectDamaged: not a file of this format
        :raises OSError: there is no file that can be read
        """
