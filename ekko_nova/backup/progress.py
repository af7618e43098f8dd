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

"""How far a long operation has come."""

from collections.abc import Callable
import dataclasses
import typing

__all__ = ('Progress', 'Report', 'silent')


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a backup, restore or verification of one disk.

    :ivar disk: name of the disk
    :ivar position: bytes of the disk dealt with, those that needed no work
        included
    :ivar size: bytes of the disk
    :ivar moved: bytes read from, or written to, the disk
    """

    disk: str
    position: int
    size: int
    moved: int


#: Called often, from one thread. It may raise to stop the operation, which
#: then leaves nothing behind.
Report: typing.TypeAlias = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Report to nobody."""
