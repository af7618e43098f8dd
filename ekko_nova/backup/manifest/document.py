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

"""The header of a manifest as a JSON document, the same in every driver.

The document is JSON in canonical form: keys sorted, no white space, ASCII
only. A reader must refuse any other form, so that no byte can change unseen
and no key can hide. Version 2::

    {"backup": str,
     "codecs": [{"compression": str, "digest": str, "encryption": str}, ...],
     "disk": str,
     "format": 2,
     "owners": [{"backup": str, "set": str}, ...],
     "parent": str or null,
     "segment_size": int,
     "set": str,
     "size": int}

Version 1 is the same with ``"format": 1`` and codecs that have no ``digest``:
it is ``sha256`` for all of them. A header all of whose codecs have that must
be of version 1, so that what needs nothing newer can be read by what is
older. A reader must refuse a digest that it does not know.
"""

from collections.abc import Callable
import dataclasses
import json
import typing

from oslo_utils import units

from ekko_nova.backup.codec import digest as digests
from ekko_nova.backup import geometry
from ekko_nova.backup.manifest import base
from ekko_nova import exception

__all__ = ('decode', 'encode', 'stripe_count')

#: A segment has 64 blocks, and a block is a multiple of a sector.
_GRAIN: typing.Final = geometry.BLOCKS * 512

#: The largest offset of a file, where QEMU's limits end as well.
_MAX_SIZE: typing.Final = 8 * units.Ei


def stripe_count(header: base.Header) -> int:
    """How many stripes the disk has; the last may be partly filled."""
    disk = geometry.Geometry(header.size, header.segment_size)
    return -(-disk.segments // base.STRIPE)


def encode(header: base.Header) -> bytes:
    """The document of a header.

    :raises ValueError: the header could not be read again
    """
    _check(header)
    content = dataclasses.asdict(header)
    if all(codec.digest == digests.SHA256 for codec in header.codecs):
        for codec in content['codecs']:
            del codec['digest']
        return _canonical({'format': 1, **content})
    return _canonical({'format': 2, **content})


def decode(name: str, document: bytes) -> base.Header:
    """The header of a document.

    :param name: of the manifest, for the errors
    :raises exception.UnknownFormat: the document is of another version, or
        has a digest that is not known here
    :raises exception.ObjectDamaged: it is not in the form above
    """
    try:
        content = json.loads(document)
        version = content.pop('format')
    except (
        AttributeError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
    ) as e:
        raise exception.ObjectDamaged(
            name, 'its header must be a JSON document with a format'
        ) from e
    decoder = _DECODERS.get(version) if type(version) is int else None
    if decoder is None:
        raise exception.UnknownFormat(name, version, sorted(_DECODERS))
    try:
        header = decoder(content)
        _refuse_unknown(name, header)
        if encode(header) != document:
            raise ValueError('it is not canonical')
    except (TypeError, ValueError) as e:
        raise exception.ObjectDamaged(
            name, f'its header must be a document of format {version}: {e}'
        ) from e
    return header


def _decode_1(content: dict[str, typing.Any]) -> base.Header:
    return _decode_2(content, digest=digests.SHA256)


def _decode_2(
    content: dict[str, typing.Any], **of_all_codecs: typing.Any
) -> base.Header:
    owners = tuple(base.Owner(**owner) for owner in content.pop('owners', ()))
    codecs = tuple(
        base.Codec(**codec, **of_all_codecs)
        for codec in content.pop('codecs', ())
    )
    return base.Header(owners=owners, codecs=codecs, **content)


_DECODERS: typing.Final[
    dict[int, Callable[[dict[str, typing.Any]], base.Header]]
] = {1: _decode_1, 2: _decode_2}


def _refuse_unknown(name: str, header: base.Header) -> None:
    for codec in header.codecs:
        found = codec.digest
        if type(found) is str and found not in digests.NAMES:
            raise exception.UnknownFormat(
                name, found, digests.NAMES, what='digest'
            )


def _canonical(content: dict[str, typing.Any]) -> bytes:
    text = json.dumps(
        content, sort_keys=True, separators=(',', ':'), ensure_ascii=True
    )
    return text.encode('ascii')


def _check(header: base.Header) -> None:
    strings = [header.set, header.backup, header.disk]
    if header.parent is not None:
        strings.append(header.parent)
    for owner in header.owners:
        strings += (owner.set, owner.backup)
    for codec in header.codecs:
        strings += (codec.compression, codec.encryption)
        if codec.digest not in digests.NAMES:
            raise ValueError('a digest is not known')
    if not all(type(each) is str for each in strings):
        raise ValueError('a name is not a string')
    for number in (header.size, header.segment_size):
        # bool is an int that JSON writes differently.
        if type(number) is not int:
            raise ValueError('a size is not an integer')
    if not 0 <= header.size < _MAX_SIZE:
        raise ValueError(f'size is {header.size}')
    if header.segment_size <= 0 or header.segment_size % _GRAIN:
        raise ValueError(f'segment_size is {header.segment_size}')
