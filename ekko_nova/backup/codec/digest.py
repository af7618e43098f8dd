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

"""What tells one content from another: BLAKE3, or SHA-256.

Each piece is stored with the digest of its plain bytes. A backup compares
with it what it reads, to store nothing that its parent holds already, and
whoever reads a piece sees by it that no byte has changed. BLAKE3 is several
times as quick; SHA-256 is what the first version had, and for places that may
use nothing but what FIPS approves.
"""

from collections.abc import Callable
import hashlib
import typing

import blake3

from ekko_nova import block

__all__ = ('BLAKE3', 'NAMES', 'SHA256', 'SIZE', 'of')

BLAKE3: typing.Final = 'blake3'
SHA256: typing.Final = 'sha256'

#: Bytes in a digest: the first ones of the algorithm's output.
SIZE: typing.Final = 20


class _State(typing.Protocol):
    def update(self, data: block.Buffer, /) -> object: ...

    def digest(self) -> bytes: ...


#: Part of the stored format, and so no drivers that others can add.
_ALGORITHMS: typing.Final[dict[str, Callable[[], _State]]] = {
    BLAKE3: blake3.blake3,
    SHA256: hashlib.sha256,
}

#: All that a reader knows.
NAMES: typing.Final = tuple(_ALGORITHMS)


def of(algorithm: str, *parts: block.Buffer) -> bytes:
    """The digest of these bytes, as of one run of them.

    Other threads run meanwhile: both libraries release the GIL.

    :param algorithm: one of :data:`NAMES`
    """
    state = _ALGORITHMS[algorithm]()
    for part in parts:
        state.update(part)
    return state.digest()[:SIZE]
