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
from oslo_config import cfg

from ekko_nova import exception

__all__ = ('environment', 'list_opts', 'register_opts')

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
#: The variables for our own options, and for keystoneauth's of sessions.
_VARIABLES: typing.Final = {
    'region_name': 'OS_REGION_NAME',
    'interface': 'OS_INTERFACE',
    'endpoint_override': 'OS_STORAGE_URL',
    'cafile': 'OS_CACERT',
    'certfile': 'OS_CERT',
    'keyfile': 'OS_KEY',
    'insecure': 'OS_INSECURE',
    'timeout': 'OS_TIMEOUT',
}

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


def environment(conf: cfg.ConfigOpts) -> dict[str, str]:
    """The section as the variables by which clients are told the same.

    :returns: ``OS_*`` variables; none if the section names no ``auth_type``
    :raises exception.InvalidOption: there is no such plugin
    """
    group = conf[_NAME]
    section = group.auth_section or _NAME
    if section != _NAME:
        ks_loading.register_auth_conf_options(conf, section)
    auth_type = conf[section].auth_type
    if not auth_type:
        return {}
    try:
        options = ks_loading.get_auth_plugin_conf_options(auth_type)
    except ks_exceptions.AuthPluginException as e:
        raise exception.InvalidOption(
            f'[{section}] auth_type', auth_type, str(e)
        ) from e
    conf.register_opts(options, group=section)
    values = {'OS_AUTH_TYPE': auth_type}
    for option in options:
        values[f'OS_{option.dest.upper()}'] = conf[section][option.dest]
    for name, variable in _VARIABLES.items():
        values[variable] = group[name]
    return {
        variable: str(value)
        for variable, value in values.items()
        if value is not None
    }


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
