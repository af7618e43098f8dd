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

"""No compression: for data that is compressed or encrypted already."""

from ekko_nova.backup.codec import base
from ekko_nova import block
from ekko_nova import exception

__all__ = ('Uncompressed',)


class Uncompressed(base.Compression):
    """Hands the same buffer on, both ways, without a copy."""

    def __init__(self, level: int | None = None) -> None:
        super().__init__(level)
        if level is not None:
            raise exception.InvalidOption(
                'compression level', level, '"none" has no levels'
            )

    def compress(self, data: block.Buffer) -> block.Buffer:
        return data

    def decompress(self, data: block.Buffer, length: int) -> block.Buffer:
        if len(data) != length:
            raise ValueError(f'{len(data)} bytes instead of {length}')
        return data
