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


"""From configuration and command line to a store and settings."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import pathlib
import typing

from oslo_config import cfg
from oslo_utils import units

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup.codec import load as codecs
from ekko_nova.backup import settings as settings_
from ekko_nova.backup.store import load as stores
from ekko_nova.backup.store import retry
from ekko_nova.compute import host
from ekko_nova import conf as conf_
from ekko_nova.conf import ekko_swift
from ekko_nova import exception

__all__ = ('Context', 'configuration', 'open_context')

#: Options that a command line may give instead of the [ekko] section.
_OVERRIDES: typing.Final = ('store', 'key_file')


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What a command works with."""

    catalog: catalogs.Catalog
    settings: settings_.Settings
    places: host.Places


def configuration(
    files: Sequence[str], overrides: Mapping[str, typing.Any]
) -> cfg.ConfigOpts:
    """Read configuration files; what ``overrides`` names wins over them.

    :raises cfg.Error: a file is missing, or a value is not usable
    :raises exception.InvalidOption: a file cannot be read
    """
    conf = cfg.ConfigOpts()
    conf_.register_opts(conf)
    try:
        conf(
            args=[],
            project='ekko',
            default_config_files=list(files),
            default_config_dirs=[],
        )
    except (OSError, UnicodeDecodeError) as e:
        raise exception.InvalidOption(
            '--config-file', ' '.join(files), str(e)
        ) from e
    for name in _OVERRIDES:
        if overrides.get(name) is not None:
            conf.set_override(name, overrides[name], group='ekko')
    return conf


@contextlib.contextmanager
def open_context(
    files: Sequence[str], overrides: Mapping[str, typing.Any]
) -> Iterator[Context]:
    """Open the store, for the life of the context.

    :raises exception.InvalidOption: no store is named, or not a usable one
    """
    conf = configuration(files, overrides)
    url = conf.ekko.store
    if not url:
        raise exception.InvalidOption(
            '--store',
            'left out',
            'name one, or set [ekko] store in a --config-file',
        )
    settings = _settings(conf)
    environment = ekko_swift.environment(conf) or dict(os.environ)
    policy = retry.Policy(
        attempts=conf.ekko.store_attempts,
        longest_wait=conf.ekko.store_longest_wait,
    )
    with stores.open_store(url, environment, policy=policy) as store:
        yield Context(
            catalog=catalogs.Catalog(store),
            settings=settings,
            places=host.Places(
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
        key_provider=provider,
        manifest=group.manifest_driver,
        workers=group.workers,
        puts=group.puts,
        cached_bundles=group.cached_bundles,
        audit_segments=group.audit_segments,
        heartbeat=group.heartbeat_interval,
        stale_after=group.stale_after,
        temporary_directory=pathlib.Path(temporary) if temporary else None,
    )
