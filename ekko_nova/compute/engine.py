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


"""From configuration to a store, settings and places."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import pathlib

from oslo_config import cfg
from oslo_utils import units

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup.codec import load as codecs
from ekko_nova.backup import settings as settings_
from ekko_nova.compute import stores
from ekko_nova import memory
from ekko_nova.virt import scratch

__all__ = ('Engine', 'open_engine')


@dataclasses.dataclass(frozen=True, slots=True)
class Engine:
    """What backups and restores work with."""

    catalog: catalogs.Catalog
    settings: settings_.Settings
    places: scratch.Places


@contextlib.contextmanager
def open_engine(
    conf: cfg.ConfigOpts,
    environment: Mapping[str, str],
    project: str | None = None,
) -> Iterator[Engine]:
    """Open the store, for the life of the context.

    :param conf: with the section ``[ekko]``
    :param environment: credentials for Swift, as ``OS_*`` or ``ST_*``
    :param project: whose store it is, if each project has its own
    :raises exception.InvalidOption: no store is named, or not a usable one
    """
    memory.keep()
    settings = _settings(conf)
    with stores.open_catalog(conf, environment, project) as catalog:
        yield Engine(
            catalog=catalog,
            settings=settings,
            places=scratch.Places(
                sockets=pathlib.Path(conf.ekko.socket_directory),
                scratch=pathlib.Path(conf.ekko.scratch_directory),
                limit=conf.ekko.scratch_limit_mib * units.Mi,
            ),
        )


def _settings(conf: cfg.ConfigOpts) -> settings_.Settings:
    group = conf.ekko
    provider = None
    if group.key_file:
        provider = codecs.key_provider(group.key_provider, group.key_file)
    temporary = group.temporary_directory
    return settings_.Settings(
        segment_size=group.segment_size_mib * units.Mi,
        compression=group.compression,
        compression_level=group.compression_level,
        encryption=group.encryption,
        digest=group.digest,
        key_provider=provider,
        manifest=group.manifest_driver,
        workers=group.workers,
        puts=group.puts,
        # 0 is none.
        bandwidth=group.bandwidth_limit_mib * units.Mi or None,
        cached_bundles=group.cached_bundles,
        audit_segments=group.audit_segments,
        heartbeat=group.heartbeat_interval,
        stale_after=group.stale_after,
        temporary_directory=pathlib.Path(temporary) if temporary else None,
    )
