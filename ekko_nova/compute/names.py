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


"""What backups, the lines and sets they form, and our RPC are called."""

import hashlib
import pathlib
import re
import typing
import uuid

__all__ = ('NAMESPACE', 'VERSION', 'for_file', 'new_backup', 'set_of_disk')

#: Of the methods that nova-compute gets from us, see :mod:`.endpoint`.
NAMESPACE: typing.Final = 'ekko_nova.backup'
VERSION: typing.Final = '1.1'


def new_backup() -> str:
    """An id that no other backup has or will have."""
    return str(uuid.uuid4())


def for_file(path: pathlib.Path) -> str:
    """The line of a file's backups: its name, and a digest of where it is."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    stem = re.sub(r'[^A-Za-z0-9_-]+', '-', path.stem).strip('-')[:64]
    return f'{stem or "disk"}-{digest}'


def set_of_disk(server: str, identity: str) -> str:
    """The backup set of one of several disks of a server."""
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return f'{server}.{digest}'
