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

"""No encryption: for stores that are as trusted as the disks themselves."""

from ekko_nova.backup.codec import base
from ekko_nova import block

__all__ = ('Plaintext',)


class Plaintext(base.Encryption):
    """Hands the same buffer on, both ways; binds it to nothing."""

    needs_key = False
    overhead = 0

    def __init__(self, key: bytes) -> None:
        if key:
            raise ValueError('a key was given, but nothing is encrypted')
        super().__init__(key)

    def encrypt(self, data: block.Buffer, context: bytes) -> block.Buffer:
        return data

    def decrypt(self, data: block.Buffer, context: bytes) -> block.Buffer:
        return data
