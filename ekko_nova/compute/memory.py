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

"""Have the C library keep the memory of segments for the next ones."""

import ctypes
import typing

from oslo_utils import units

__all__ = ('keep',)

# malloc.h
_TRIM_THRESHOLD: typing.Final = -1
_MMAP_THRESHOLD: typing.Final = -3
_ARENA_MAX: typing.Final = -8


def keep() -> None:
    """Call it in a process that is there for one backup or restore.

    By default glibc (2.36) gives a freed buffer of some MiB back to the
    kernel, and takes it again for the next segment, page by page: a sixth of
    the processor time of a full backup.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 64 * units.Mi)
        mallopt(_TRIM_THRESHOLD, 256 * units.Mi)
        # Threads share what is kept.
        mallopt(_ARENA_MAX, 1)
