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

"""The objects in a tree of directories, by name, without holding them all."""

from collections.abc import Iterator
import heapq
import os
import pathlib
import typing

from ekko_nova.backup.store import naming

__all__ = ('walk',)

#: Entries of one directory that are sorted at a time, about 20 MiB. One with
#: more is read several times over rather than held in memory.
_BATCH: typing.Final = 128 * 1024


def _names(root: pathlib.Path, directory: str) -> Iterator[str]:
    """What ``directory`` has that can be ours, in no order.

    A directory sorts, and is named, with its '/', because that is where the
    names below it sort: 'a-b' is before 'a/b', and 'a0' after it.
    """
    try:
        with os.scandir(root / directory) as entries:
            for entry in entries:
                name = directory + entry.name
                if naming.is_valid(name):
                    yield name + '/' if entry.is_dir() else name
    except FileNotFoundError:
        return


def _sorted_names(
    root: pathlib.Path, directory: str, prefix: str
) -> Iterator[str]:
    """What ``directory`` has that may lead to ``prefix``, ascending."""

    def wanted(name: str) -> bool:
        return name > last and (
            name.startswith(prefix)
            or (name.endswith('/') and prefix.startswith(name))
        )

    last = ''
    while batch := heapq.nsmallest(
        _BATCH, filter(wanted, _names(root, directory))
    ):
        yield from batch
        last = batch[-1]


def walk(
    root: pathlib.Path, prefix: str, directory: str = ''
) -> Iterator[str]:
    """The names of all objects below ``directory``, ascending."""
    for name in _sorted_names(root, directory, prefix):
        if name.endswith('/'):
            yield from walk(root, prefix, name)
        else:
            yield name
