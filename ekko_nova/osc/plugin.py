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

"""How python-openstackclient finds the commands."""

import argparse
import typing

from osc_lib import utils

from ekko_nova import client

__all__ = (
    'API_NAME',
    'API_VERSIONS',
    'API_VERSION_OPTION',
    'DEFAULT_API_VERSION',
    'build_option_parser',
    'make_client',
)

API_NAME: typing.Final = 'instance_backup'
API_VERSION_OPTION: typing.Final = 'os_instance_backup_api_version'
API_VERSIONS: typing.Final = ('1',)
DEFAULT_API_VERSION: typing.Final = '1'


def make_client(instance: typing.Any) -> typing.Any:
    """What commands find as ``client_manager.instance_backup``."""
    return client.attach(instance.sdk_connection)


def build_option_parser(
    parser: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """Add the global options of this plugin."""
    parser.add_argument(
        '--os-instance-backup-api-version',
        metavar='<instance-backup-api-version>',
        default=utils.env(
            'OS_INSTANCE_BACKUP_API_VERSION', default=DEFAULT_API_VERSION
        ),
        help='Instance backup API version, default='
        + DEFAULT_API_VERSION
        + ' (Env: OS_INSTANCE_BACKUP_API_VERSION)',
    )
    return parser
