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

"""The section ``[ekko_swift]``: how to reach Swift.

Authentication is keystoneauth's, as in every OpenStack service: ``auth_type``
names a plugin, which brings options of its own. Swift's older v1 protocol
(tempauth) is such a plugin as well, ``v1password``.
"""

import typing

from keystoneauth1 import exceptions as ks_exceptions
from keystoneauth1 import loading as ks_loading
from keystoneauth1 import session as ks_session
from oslo_config import cfg

from ekko_nova import exception

__all__ = ('list_opts', 'load_session', 'register_opts')

_NAME: typing.Final = 'ekko_swift'

_OPTS: typing.Final = (
    cfg.StrOpt(
        'region_name',
        help="""
Region whose object store is used. Without one the catalogue's first.
""",
    ),
    cfg.StrOpt(
        'interface',
        default='internal',
        choices=[
            ('public', 'what users are given; may lead through a gateway'),
            ('internal', 'the network between services'),
            ('admin', 'what operators are given, if it differs'),
        ],
        help="""
Which endpoint of the object store in the catalogue is used. All data of all
backups takes this way.
""",
    ),
    cfg.URIOpt(
        'endpoint_override',
        schemes=['http', 'https'],
        help="""
Address of the account (``https://host/v1/AUTH_...``), instead of the one that
authentication returns.
""",
    ),
)

# The sample shows the options of these two; other plugins work as well.
_AUTH_TYPES: typing.Final = ('password', 'v1password')


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of this section known to ``conf``.

    Those of the plugin that ``auth_type`` names are known only after
    :func:`load_session`.
    """
    group = _group()
    conf.register_group(group)
    conf.register_opts(_OPTS, group=group)
    conf.register_opts(_session_opts(), group=group)
    ks_loading.register_auth_conf_options(conf, group.name)


def load_session(conf: cfg.ConfigOpts) -> ks_session.Session | None:
    """What to talk to Swift through; ``None`` if ``auth_type`` is not set.

    :raises exception.InvalidOption: there is no such plugin, or one of its
        options is missing
    """
    try:
        auth = ks_loading.load_auth_from_conf_options(conf, _NAME)
    except ks_exceptions.AuthPluginException as e:
        raise exception.InvalidOption(
            f'[{_NAME}] auth_type', conf[_NAME].auth_type, str(e)
        ) from e
    if auth is None:
        return None
    return ks_loading.load_session_from_conf_options(conf, _NAME, auth=auth)


def list_opts() -> tuple[cfg.OptGroup, list[cfg.Opt]]:
    """The section and its options, each name once."""
    opts = [
        *_OPTS,
        *_session_opts(),
        *ks_loading.get_auth_common_conf_options(),
    ]
    for auth_type in _AUTH_TYPES:
        opts += ks_loading.get_auth_plugin_conf_options(auth_type)
    unique: dict[str, cfg.Opt] = {}
    for opt in opts:
        unique.setdefault(opt.dest, opt)
    return _group(), list(unique.values())


def _group() -> cfg.OptGroup:
    # A group remembers what is registered in it, so each caller gets its own.
    return cfg.OptGroup(
        _NAME,
        title='Swift',
        help="""
How to reach Swift, if ``[ekko] store`` begins with ``swift:``. The account
should be one of the cloud's own that no user has access to.
""",
    )


def _session_opts() -> list[cfg.Opt]:
    opts = ks_loading.get_session_conf_options()
    # Without a limit, a connection that hangs would hang the backup with it.
    cfg.set_defaults(opts, timeout=60)
    return opts
