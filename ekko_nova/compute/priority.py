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

"""How a worker stands back for guests and nova-compute."""

import os
import typing

import psutil

__all__ = ('lower',)

_CLASSES: typing.Final = {
    'low': (psutil.IOPRIO_CLASS_BE, 7),
    'idle': (psutil.IOPRIO_CLASS_IDLE, 0),
}


def lower(nice: int, io_priority: str) -> None:
    """Lower those of this thread, and of all that it starts from now on.

    :param nice: 0 to 19
    :param io_priority: normal, low or idle
    """
    # Linux has both for each thread; new ones take after who starts them.
    # What is lower already, because nova-compute is, stays so.
    now = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(now, nice))
    if io_priority in _CLASSES:
        psutil.Process().ionice(*_CLASSES[io_priority])
