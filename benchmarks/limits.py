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

"""What no backup can beat: copying, compressing, putting the same bytes."""

from concurrent import futures
import contextlib
import os
import pathlib
import sys
import typing

from swiftclient import client

from benchmarks import measure
from benchmarks.peers import base
from benchmarks.peers import swift

__all__ = ('compress', 'copy', 'put')

_CONTAINER: typing.Final = 'limit'


def copy(image: pathlib.Path, target: pathlib.Path) -> measure.Usage:
    """qemu-img, writing to the disk as a restore does."""
    return measure.run(
        ['qemu-img', 'convert', '-O', 'raw', '-S', '64k', image, target]
    )


def compress(image: pathlib.Path, target: pathlib.Path) -> measure.Usage:
    """zstd, on two processors."""
    return measure.run(['zstd', '-1', '-T2', '-q', '-f', image, '-o', target])


def put(
    place: base.Place, stored: base.Stored, connections: int
) -> measure.Usage:
    """As many objects, of the same size together, into Swift."""
    usage = measure.run(
        [
            *(sys.executable, '-m', 'benchmarks.limits'),
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


if __name__ == '__main__':
    _put(*map(int, sys.argv[1:]))
