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

"""A disk of an existing backup, opened: its manifest at hand on this host."""

from collections.abc import Iterator
import contextlib
import dataclasses

from ekko_nova.backup import fetch
from ekko_nova.backup import keyring as keyrings
from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import load
from ekko_nova.backup.manifest import parts
from ekko_nova.backup import naming
from ekko_nova.backup import record as records
from ekko_nova.backup import settings as settings_
from ekko_nova.backup.store import base as store_base
from ekko_nova.backup import temporary
from ekko_nova import exception

__all__ = ('OpenedDisk', 'open_disk')


@dataclasses.dataclass(frozen=True, slots=True)
class OpenedDisk:
    """What is needed to read a disk out of the store."""

    record: records.DiskRecord
    manifest: base.Reader
    keyring: keyrings.Keyring
    fetcher: fetch.Fetcher


@contextlib.contextmanager
def open_disk(
    store: store_base.Store,
    settings: settings_.Settings,
    record: records.Record,
    disk: records.DiskRecord,
    *,
    whole: bool = False,
) -> Iterator[OpenedDisk]:
    """Fetch a disk's manifest and open it, for the life of the context.

    :param whole: check every byte of the objects that pieces are read from
    :raises exception.WrongKey: it is encrypted, and the key is not at hand
    :raises exception.DataDamaged: the manifest is missing or damaged
    """
    owner = base.Owner(disk.set, record.id)
    keyring = keyrings.unlock(disk.key, settings.key_provider)
    with temporary.directory(settings.temporary_directory) as directory:
        path = directory / 'manifest'
        parts.download(store, disk, owner, keyring, path)
        try:
            manifest = load.open(path)
        except exception.ObjectDamaged as e:
            raise exception.ObjectDamaged(
                naming.manifest_part_name(disk.set, record.id, 0), e.invariant
            ) from e
        with manifest:
            fetcher = fetch.Fetcher(
                store,
                manifest.header,
                keyring,
                settings.cached_bundles,
                whole=whole,
            )
            yield OpenedDisk(disk, manifest, keyring, fetcher)
