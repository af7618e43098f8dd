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

"""Interval arithmetic on the bytes of a disk, and nothing else.

An NBD server's reply to a block status request describes the disk from the
requested offset on, once per meta context, as a flat list of lengths and
flags. It may stop short of what was asked or run past it, and two contexts
promise no common boundaries.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import typing

from ekko_nova import block

__all__ = ('Run', 'clip', 'coalesce', 'intersect', 'split')

Run: typing.TypeAlias = tuple[int, int]
"""Length in bytes, and the flags of every byte of it."""


def clip(entries: Sequence[int], length: int) -> Iterator[Run]:
    """Pair up the numbers of a reply, and cut what lies past ``length``.

    :param entries: length, flags, length, flags, ...
    :raises ValueError: a run has no bytes, or a length has no flags
    """
    lengths, flags = entries[::2], entries[1::2]
    for run, flag in zip(lengths, flags, strict=True):
        if run < 1:
            raise ValueError('a block status of no bytes')
        if length < 1:
            return
        yield min(run, length), flag
        length -= run


def intersect(
    first: Iterable[Run], second: Iterable[Run]
) -> Iterator[tuple[int, int, int]]:
    """Cut two descriptions of the same bytes at the boundaries of both.

    ::

        first   |----- a -----|-- b --|------ c ------|
        second  |-- x --|------- y -------|-- z --|
        result  |- a,x -|a,y -|- b,y -|c,y|- c,z -|

    :returns: length, flags of the first, flags of the second; as far as the
        shorter of both reaches
    """
    firsts, seconds = iter(first), iter(second)
    left_first = left_second = flags_first = flags_second = 0
    while True:
        if not left_first:
            left_first, flags_first = next(firsts, (0, 0))
        if not left_second:
            left_second, flags_second = next(seconds, (0, 0))
        length = min(left_first, left_second)
        if not length:
            return
        yield length, flags_first, flags_second
        left_first -= length
        left_second -= length


def coalesce(extents: Iterable[block.Extent]) -> Iterator[block.Extent]:
    """Join neighbours that differ in nothing but their place."""
    last: block.Extent | None = None
    for extent in extents:
        if last is None:
            last = extent
        elif (last.dirty, last.zero) == (extent.dirty, extent.zero):
            last = dataclasses.replace(
                last, length=last.length + extent.length
            )
        else:
            yield last
            last = extent
    if last is not None:
        yield last


def split(offset: int, length: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut a range into offsets and lengths of at most ``step`` bytes."""
    end = offset + length
    for start in range(offset, end, step):
        yield start, min(step, end - start)
