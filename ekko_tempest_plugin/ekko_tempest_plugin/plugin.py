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

"""What Tempest loads."""

import os

from oslo_config import cfg
from tempest import config
from tempest.test_discover import plugins

from ekko_tempest_plugin import config as our_config

__all__ = ('EkkoTempestPlugin',)


class EkkoTempestPlugin(plugins.TempestPlugin):
    """The tests, their options, and the client they use."""

    def load_tests(self) -> tuple[str, str]:
        """Where the tests are, and below which directory."""
        package = os.path.dirname(os.path.abspath(__file__))
        return os.path.join(package, 'tests'), os.path.dirname(package)

    def register_opts(self, conf: cfg.ConfigOpts) -> None:
        """Make our options known."""
        conf.register_opt(our_config.SERVICE_OPTION, group='service_available')
        config.register_opt_group(conf, our_config.GROUP, our_config.OPTIONS)

    def get_opt_lists(self) -> list[tuple[str, list[cfg.Opt]]]:
        """Our options, for the sample."""
        return [
            (our_config.GROUP.name, our_config.OPTIONS),
            ('service_available', [our_config.SERVICE_OPTION]),
        ]

    def get_service_clients(self) -> list[dict[str, object]]:
        """The client, as ``os_primary.instance_backup.BackupsClient()``."""
        section = config.CONF.instance_backup
        return [
            {
                'name': 'instance_backup',
                'service_version': 'instance_backup.v1',
                'module_path': 'ekko_tempest_plugin.backups_client',
                'client_names': ['BackupsClient'],
                'service': section.catalog_type,
                'endpoint_type': section.endpoint_type,
                'build_interval': section.build_interval,
                'build_timeout': section.build_timeout,
                'region': config.CONF.identity.region,
            }
        ]
