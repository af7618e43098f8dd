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

"""The disk that is backed up, and what is written to it.

4 GiB with 2 GiB of data, half of it random and half of it text, in runs of
64 MiB with holes between. All of it follows from a seed.
"""

from collections.abc import Iterator
import dataclasses
import functools
import os
import pathlib
import random
import subprocess
import typing

from oslo_utils import units

__all__ = (
    'CONTIGUOUS',
    'SCATTERED',
    'Write',
    'forget',
    'make_image',
    'same',
)

_RUN: typing.Final = 64 * units.Mi
_PART: typing.Final = units.Mi


@dataclasses.dataclass(frozen=True, slots=True)
class Write:
    """Random bytes that are written somewhere.

    :ivar offset: bytes
    :ivar length: bytes
    """

    offset: int
    length: int

    def data(self, seed: str) -> bytes:
        """What is written; another seed gives other bytes."""
        return random.Random(f'{seed} {self.offset}').randbytes(self.length)


def _scattered(size: int, count: int, length: int) -> tuple[Write, ...]:
    places = random.Random('scattered').sample(range(size // length), count)
    return tuple(Write(place * length, length) for place in sorted(places))


#: 1,024 writes of 64 KiB, anywhere in 4 GiB.
SCATTERED: typing.Final = _scattered(4 * units.Gi, 1024, 64 * units.Ki)
#: 64 MiB in one place.
CONTIGUOUS: typing.Final = tuple(
    Write(units.Gi + number * units.Mi, units.Mi) for number in range(64)
)


@functools.cache
def _words() -> tuple[bytes, ...]:
    source = random.Random('words')
    letters = 'etaoinshrdlcumwfgypbvkjxqz'
    return tuple(
        ''.join(source.choices(letters, k=source.randint(2, 9))).encode()
        for _ in range(256)
    )


def _text(source: random.Random, length: int) -> bytes:
    words = _words()
    text = b' '.join(map(words.__getitem__, source.randbytes(length // 4)))
    return text[:length]


def _parts(size: int) -> Iterator[tuple[int, bytes]]:
    for run in range(0, size, 2 * _RUN):
        is_text = run // (2 * _RUN) % 2
        for offset in range(run, min(run + _RUN, size), _PART):
            source = random.Random(f'part {offset}')
            make = _text if is_text else random.Random.randbytes
            yield offset, make(source, _PART)


def make_image(path: pathlib.Path, size: int = 4 * units.Gi) -> None:
    """Write the image to a raw file, unless it is there."""
    if path.exists() and path.stat().st_size == size:
        return
    unfinished = path.with_suffix('.unfinished')
    with unfinished.open('wb') as file:
        for offset, data in _parts(size):
            file.seek(offset)
            file.write(data)
        file.truncate(size)
        os.fsync(file.fileno())
    unfinished.rename(path)


def forget(path: pathlib.Path) -> None:
    """Have the page cache hold nothing of a file, or of all in a directory.

    A disk that is backed up is in no page cache: guests read past it.
    """
    os.sync()
    found = path.rglob('*') if path.is_dir() else [path]
    for each in found:
        if each.is_file():
            with each.open('rb') as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def same(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether two images of any formats hold the same bytes."""
    done = subprocess.run(
        ['qemu-img', 'compare', '-q', one, other],
        check=False,
        capture_output=True,
    )
    return done.returncode == 0
