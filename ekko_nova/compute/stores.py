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

"""From configuration to the backups of a project."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import typing

from oslo_config import cfg

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup.store import load
from ekko_nova.backup.store import retry
from ekko_nova import exception

__all__ = ('is_shared', 'open_catalog', 'projects')

_PROJECT: typing.Final = '{project}'


def is_shared(conf: cfg.ConfigOpts) -> bool:
    """Whether all projects have one store."""
    return _PROJECT not in (conf.ekko.store or '')


def projects(
    conf: cfg.ConfigOpts, environment: Mapping[str, str]
) -> list[str]:
    """The projects that have a store of their own."""
    return load.siblings(conf.ekko.store, environment, _PROJECT)


@contextlib.contextmanager
def open_catalog(
    conf: cfg.ConfigOpts,
    environment: Mapping[str, str],
    project: str | None = None,
    policy: retry.Policy | None = None,
) -> Iterator[catalogs.Catalog]:
    """Open the store, for the life of the context.

    :param conf: with the section ``[ekko]``
    :param environment: credentials for Swift, as ``OS_*`` or ``ST_*``
    :param project: whose store it is, if each project has its own
    :param policy: of retries, if not as the configuration has it
    :raises exception.InvalidOption: no store is named, or not a usable one
    """
    url = conf.ekko.store
    if not url:
        raise exception.InvalidOption(
            'store',
            'left out',
            'name one with --store, or set [ekko] store in a --config-file',
        )
    if not is_shared(conf):
        if project is None:
            raise exception.InvalidOption(
                'store', url, 'say whose it is with --project'
            )
        url = url.replace(_PROJECT, project)
    policy = policy or retry.Policy(
        attempts=conf.ekko.store_attempts,
        longest_wait=conf.ekko.store_longest_wait,
    )
    with load.open_store(url, dict(environment), policy=policy) as store:
        yield catalogs.Catalog(store)
