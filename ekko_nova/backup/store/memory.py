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

"""Objects in this process's memory: for tests and for embedding."""

from collections.abc import Iterator
from collections.abc import Mapping
import hashlib
import sys
import threading
import typing

from ekko_nova.backup.store import base
from ekko_nova.backup.store import location as store_location
from ekko_nova.backup.store import naming
from ekko_nova import block
from ekko_nova import exception

__all__ = ('MemoryStore',)


class MemoryStore(base.Store):
    """A store that ends with its object."""

    properties = base.Properties(
        persistent=False, shared=False, max_object_size=sys.maxsize
    )

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, str]] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, location: store_location.Location, environment: Mapping[str, str]
    ) -> typing.Self:
        return cls()

    @property
    def url(self) -> str:
        return 'memory:'

    def put(
        self, name: str, data: block.Buffer, *, if_absent: bool = False
    ) -> None:
        naming.check(name)
        content = bytes(data)
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        with self._lock:
            if if_absent and name in self._objects:
                raise exception.ObjectExists(self.url, name)
            self._objects[name] = (content, etag)

    def get(
        self, name: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        content, _ = self._find(name)
        end = None if length is None else offset + length
        return content[offset:end]

    def list(self, prefix: str = '') -> Iterator[base.ObjectStat]:
        naming.check_prefix(prefix)
        with self._lock:
            names = sorted(n for n in self._objects if n.startswith(prefix))
        for name in names:
            try:
                found = self.stat(name)
            except exception.ObjectMissing:
                continue
            yield found

    def stat(self, name: str) -> base.ObjectStat:
        content, etag = self._find(name)
        return base.ObjectStat(name, len(content), etag)

    def delete(self, name: str) -> None:
        naming.check(name)
        with self._lock:
            self._objects.pop(name, None)

    def _find(self, name: str) -> tuple[bytes, str]:
        naming.check(name)
        with self._lock:
            try:
                return self._objects[name]
            except KeyError:
                raise exception.ObjectMissing(self.url, name) from None
