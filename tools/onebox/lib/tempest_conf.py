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

"""Print the tempest.conf that tells of this cloud.

The environment says where it is, and who its administrator is (openrc).
"""

import configparser
import os
import sys

import openstack


def settings(
    cloud: openstack.connection.Connection, directory: str
) -> dict[str, dict[str, str]]:
    """The options, by section."""
    image = cloud.image.find_image('ekko-guest').id
    return {
        'DEFAULT': {'log_file': 'tempest.log'},
        'auth': {
            'admin_username': os.environ['OS_USERNAME'],
            'admin_password': os.environ['OS_PASSWORD'],
            'admin_project_name': os.environ['OS_PROJECT_NAME'],
            'admin_domain_name': os.environ['OS_USER_DOMAIN_NAME'],
            # The network service here has one network, which is everybody's.
            'create_isolated_networks': 'false',
        },
        'identity': {
            'uri_v3': os.environ['OS_AUTH_URL'],
            'auth_version': 'v3',
            'region': os.environ['OS_REGION_NAME'],
        },
        'identity-feature-enabled': {'api_v2': 'false'},
        'oslo_concurrency': {'lock_path': f'{directory}/locks'},
        'compute': {
            'image_ref': image,
            'image_ref_alt': image,
            'flavor_ref': cloud.compute.find_flavor('ekko.1').id,
            'flavor_ref_alt': cloud.compute.find_flavor('ekko.2').id,
            'fixed_network_name': 'private',
            'min_compute_nodes': '2',
            'max_microversion': '2.96',
            'build_interval': '1',
        },
        'compute-feature-enabled': {
            'live_migration': 'true',
            'block_migration_for_live_migration': 'true',
            'cold_migration': 'true',
            'resize': 'true',
            'rescue': 'true',
            'vnc_console': 'false',
            'metadata_service': 'false',
        },
        'validation': {'run_validation': 'false'},
        'service_available': {
            'cinder': 'false',
            'ekko_nova': 'true',
            'glance': 'true',
            'horizon': 'false',
            'neutron': 'true',
            'nova': 'true',
            'swift': 'true',
        },
        'instance_backup': {'guest_access': 'console'},
    }


def main() -> None:
    conf = configparser.RawConfigParser(default_section='')
    with openstack.connect() as cloud:
        conf.read_dict(settings(cloud, sys.argv[1]))
    conf.write(sys.stdout)


if __name__ == '__main__':
    main()
