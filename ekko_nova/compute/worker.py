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

"""A process that carries out one order, and ends.

It is started by :mod:`.child` as ``python -m ekko_nova.compute.worker FD``,
and is only what it begins and ends with; see :mod:`.work`.
"""

import sys

from ekko_nova import memory

__all__ = ('main',)


def main(arguments: list[str]) -> int:
    """Carry out the order that comes over the descriptor that is named first.

    What else is named is for people who look at the processes of a host.
    """
    memory.hurry()
    # Most of what a worker ever imports, hence not at the top.
    from ekko_nova.compute import work  # noqa: PLC0415

    memory.settle()
    try:
        return work.main(arguments)
    finally:
        memory.settle()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
