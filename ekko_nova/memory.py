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

"""How a process that is there for one task deals with its memory.

:func:`keep` has the C library keep the memory of segments for the next ones.
By default glibc (2.36) gives a freed buffer of some MiB back to the kernel,
and takes it again for the next segment, page by page: a sixth of the processor
time of a full backup. What it does keep, it keeps for each thread.

:func:`hurry` and :func:`settle` are about Python's search for garbage. While
a program imports what it needs there are more and more objects and none of
them is garbage, but Python looks through all of them time and again, and once
more when it ends (Python 3.11): a quarter of the processor time of a small
command.
"""

import ctypes
import gc
import typing

from oslo_utils import units

__all__ = ('TUNABLES', 'hurry', 'keep', 'settle')

#: Buffers up to here are kept, and so much of what is free, in bytes.
_BUFFER: typing.Final = 64 * units.Mi
_FREE: typing.Final = 256 * units.Mi

# malloc.h
_TRIM_THRESHOLD: typing.Final = -1
_MMAP_THRESHOLD: typing.Final = -3
_ARENA_MAX: typing.Final = -8

#: The same as ``GLIBC_TUNABLES``, for a program that is started, and huge
#: pages, which a program that runs cannot ask for any more.
TUNABLES: typing.Final = (
    f'glibc.malloc.mmap_threshold={_BUFFER}:'
    f'glibc.malloc.trim_threshold={_FREE}:'
    'glibc.malloc.arena_max=1:'
    'glibc.malloc.hugetlb=1'
)


def keep() -> None:
    """Call it in a process that is there for one backup or restore."""
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _BUFFER)
        mallopt(_TRIM_THRESHOLD, _FREE)
        mallopt(_ARENA_MAX, 1)


def hurry() -> None:
    """Look for no garbage until :func:`settle`, for a moment that is."""
    gc.disable()


def settle() -> None:
    """Look for garbage only among what is made from now on.

    At the end of a program that is none, and Python ends at once.
    """
    gc.freeze()
    gc.enable()
