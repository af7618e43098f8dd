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

"""Sets of objects, as the manifests of one backup set refer to them.

One bit for each object of each owner: 2 MiB for an owner of 64 TiB.
"""

from collections.abc import Iterator

from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import stripe

__all__ = ('References', 'of_manifest')


class References:
    """A set of (owner's backup id, object number)."""

    def __init__(self) -> None:
        self._bits: dict[str, bytearray] = {}

    def add(self, owner: str, number: int) -> None:
        """Add an object."""
        bits = self._bits.setdefault(owner, bytearray())
        if len(bits) <= number >> 3:
            bits.extend(bytes((number >> 3) + 1 - len(bits)))
        bits[number >> 3] |= 1 << (number & 7)

    def subtract(self, other: 'References') -> None:
        """Remove all that the other set has."""
        for owner, bits in self._bits.items():
            theirs = other._bits.get(owner, b'')  # noqa: SLF001  one class
            left = int.from_bytes(bits, 'little') & ~int.from_bytes(
                theirs, 'little'
            )
            self._bits[owner] = bytearray(left.to_bytes(len(bits), 'little'))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """All objects, by owner, numbers ascending."""
        for owner, bits in self._bits.items():
            for index, byte in enumerate(bits):
                for bit in range(8) if byte else ():
                    if byte >> bit & 1:
                        yield owner, 8 * index + bit


def of_manifest(manifest: base.Reader) -> References:
    """All objects that a manifest refers to.

    :raises exception.ObjectDamaged: the manifest breaks the format
    """
    result = References()
    owners = [owner.backup for owner in manifest.header.owners]
    for _, columns in manifest.stripes():
        items = stripe.unpack(columns)
        for owner, number in set(zip(items.owner, items.object, strict=True)):
            result.add(owners[owner], number)
    return result
