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

"""What no backup can beat: copying, computing, putting the same bytes."""

from collections.abc import Iterator
from concurrent import futures
import contextlib
import os
import pathlib
import sys
import time
import typing

from oslo_utils import units
from swiftclient import client

from benchmarks import measure
from benchmarks.peers import base
from benchmarks.peers import swift
from ekko_nova.backup.codec import aes_gcm
from ekko_nova.backup.codec import digest
from ekko_nova.backup.codec import zstd
from ekko_nova.backup import examine
from ekko_nova.backup import geometry as geometry_
from ekko_nova.backup.manifest import base as manifest_base
from ekko_nova import block
from ekko_nova import memory

__all__ = ('compress', 'compute', 'copy', 'put')

_CONTAINER: typing.Final = 'limit'
_SEGMENT: typing.Final = 4 * units.Mi


def copy(image: pathlib.Path, target: pathlib.Path) -> measure.Usage:
    """qemu-img, writing to the disk as a restore does."""
    return measure.run(
        ['qemu-img', 'convert', '-O', 'raw', '-S', '64k', image, target]
    )


def compress(image: pathlib.Path, target: pathlib.Path) -> measure.Usage:
    """zstd, on two processors."""
    return measure.run(['zstd', '-1', '-T2', '-q', '-f', image, '-o', target])


def compute(image: pathlib.Path) -> measure.Usage:
    """What of our full backup needs a processor, on two of them.

    Digests, compression and encryption of the data by the code of a backup,
    from memory and into memory: without reading, storing, or a start.
    """
    usage = measure.run(
        [sys.executable, '-m', 'benchmarks.limits', 'compute', image]
    )
    wall, cpu = map(float, usage.output.split())
    return measure.Usage(wall, cpu)


def put(
    place: base.Place, stored: base.Stored, connections: int
) -> measure.Usage:
    """As many objects, of the same size together, into Swift."""
    usage = measure.run(
        [
            *(sys.executable, '-m', 'benchmarks.limits', 'put'),
            *(str(stored.size), str(stored.objects), str(connections)),
        ],
        env=place.environment,
        servers=place.servers,
    )
    swift.remove(place.environment, _CONTAINER)
    return usage


def _put(size: int, objects: int, connections: int) -> None:
    data = os.urandom(size // objects)
    with contextlib.closing(swift.connect(os.environ)) as connection:
        url, token = connection.get_auth()
        connection.put_container(_CONTAINER)

    def put_some(first: int) -> None:
        with contextlib.closing(
            client.Connection(preauthurl=url, preauthtoken=token)
        ) as connection:
            for number in range(first, objects, connections):
                connection.put_object(_CONTAINER, f'{number:08}', data)

    with futures.ThreadPoolExecutor(connections) as pool:
        for _ in pool.map(put_some, range(connections)):
            pass


class _Memory:
    """A raw image in memory: what it has of data, for who reads no more."""

    def __init__(self, image: pathlib.Path) -> None:
        self.size = image.stat().st_size
        self._data: dict[int, bytes] = {}
        with image.open('rb') as file:
            for offset in range(0, self.size, _SEGMENT):
                data = os.pread(file.fileno(), _SEGMENT, offset)
                if data.count(0) < len(data):
                    self._data[offset] = data

    def __iter__(self) -> Iterator[int]:
        return (offset // _SEGMENT for offset in self._data)

    def extents(self) -> Iterator[block.Extent]:
        yield block.Extent(0, self.size, dirty=True, zero=False)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset][:length]

    def check(self) -> None:
        pass


def _compute(image: str) -> None:
    memory.keep()
    source = _Memory(pathlib.Path(image))
    geometry = geometry_.Geometry(source.size, _SEGMENT)
    codecs = tuple(
        manifest_base.Codec(name, 'aes-gcm', digest.BLAKE3)
        for name in ('zstd', 'none')
    )
    examiner = examine.Examiner(
        source, geometry, zstd.Zstd(), codecs, packed=0, unpacked=1
    )
    cipher = aes_gcm.AesGcm(os.urandom(32))

    def work(segment: int) -> None:
        task = examine.Task(
            segment, geometry.full_mask(segment), 0, manifest_base.Segment(0)
        )
        piece = examiner.examine(task).piece
        if piece is not None:
            cipher.encrypt(piece.data, b'')

    began, spent = time.monotonic(), time.process_time()
    with futures.ThreadPoolExecutor(2) as pool:
        for _ in pool.map(work, source):
            pass
    print(time.monotonic() - began, time.process_time() - spent)


if __name__ == '__main__':
    if sys.argv[1] == 'compute':
        _compute(sys.argv[2])
    else:
        _put(*map(int, sys.argv[2:]))
