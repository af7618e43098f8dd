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
import os
import typing

from oslo_config import cfg

from ekko_nova.compute import engine
from ekko_nova.conf import ekko
from ekko_nova import exception

__all__ = ('configuration', 'open_context')

#: Options that a command line may give instead of the [ekko] section.
_OVERRIDES: typing.Final = ('store', 'key_file')


def configuration(
    files: Sequence[str], overrides: Mapping[str, typing.Any]
) -> cfg.ConfigOpts:
    """Read configuration files; what ``overrides`` names wins over them.

    Of the sections only ``[ekko]`` is known.

    :raises cfg.Error: a file is missing, or a value is not usable
    :raises exception.InvalidOption: a file cannot be read
    """
    conf = cfg.ConfigOpts()
    ekko.register_opts(conf)
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
) -> Iterator[engine.Engine]:
    """Open the store, for the life of the context.

    :raises exception.InvalidOption: no store is named, or not a usable one
    """
    conf = configuration(files, overrides)
    with engine.open_engine(
        conf, _credentials(conf), overrides.get('project')
    ) as opened:
        yield opened


def _credentials(conf: cfg.ConfigOpts) -> Mapping[str, str]:
    if (conf.ekko.store or '').startswith('file:'):
        return {}
    # keystoneauth and requests come with it: a fifth of all that a command
    # imports, and no directory needs them.
    from ekko_nova.conf import ekko_swift  # noqa: PLC0415

    ekko_swift.register_opts(conf)
    return ekko_swift.environment(conf) or dict(os.environ)
