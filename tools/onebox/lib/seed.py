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

"""Fill the cloud with what every test needs, unless it is there.

"identity": projects, users, and what the catalogue says of the services.
"catalogue": flavors, the guest's image and a network. The environment says
where the cloud is, and who does it (openrc).
"""

import argparse
import hashlib
import typing

import openstack

# Services that check tokens, and may ask others in their own name.
SERVICE_USERS = ('glance', 'neutron', 'nova', 'placement', 'swift')
TENANTS = ('demo', 'other')
ENDPOINTS = {
    'compute': ('nova', '8774/v2.1'),
    'image': ('glance', '9292'),
    'instance-backup': ('ekko-nova', '8774/instance-backup/v1'),
    'network': ('neutron', '9696'),
    'object-store': ('swift', '8080/v1/AUTH_$(project_id)s'),
    'placement': ('placement', '8778'),
}
# Of what a project may keep in backups.
LIMITS = ('instance_backups', 'instance_backup_gigabytes')
# Name: memory and root disk, then ephemeral disk and swap, in MiB and GiB.
FLAVORS = {
    'ekko.1': {'ram': 128, 'disk': 1},
    'ekko.2': {'ram': 160, 'disk': 2},
    'ekko.disks': {'ram': 128, 'disk': 1, 'ephemeral': 1, 'swap': 64},
    'ekko.more': {'ram': 160, 'disk': 2, 'ephemeral': 1, 'swap': 64},
}
IMAGE = 'ekko-guest'


def seed_identity(
    cloud: openstack.connection.Connection, address: str, password: str
) -> None:
    identity = cloud.identity
    roles = {
        name: identity.find_role(name) or identity.create_role(name=name)
        for name in ('admin', 'member', 'reader', 'service')
    }

    def user(name: str, project: str, *granted: str) -> None:
        tenant = identity.find_project(project)
        if not tenant:
            tenant = identity.create_project(name=project, domain_id='default')
        account = identity.find_user(name) or identity.create_user(
            name=name, domain_id='default', password=password
        )
        for role in granted:
            identity.assign_project_role_to_user(tenant, account, roles[role])

    for name in SERVICE_USERS:
        user(name, 'service', 'admin', 'service')
    # Who reads the limits of all projects.
    identity.assign_system_role_to_user(
        identity.find_user('nova'), roles['reader'], 'all'
    )
    # Backups lie in the account of the project "service"; to Swift a member
    # of a project is the master of its account.
    user('ekko', 'service', 'member')
    for name in TENANTS:
        user(name, name, 'member', 'reader')
        # Who may say on which host a server of the tenant is to be.
        user('admin', name, 'admin')
    # Who may look at what a tenant has, and touch nothing.
    user('auditor', TENANTS[0], 'reader')
    for kind, (name, rest) in ENDPOINTS.items():
        if any(identity.services(type=kind)):
            continue
        service = identity.create_service(name=name, type=kind)
        for interface in ('public', 'internal', 'admin'):
            identity.create_endpoint(
                service_id=service.id,
                interface=interface,
                region_id='RegionOne',
                url=f'http://{address}:{rest}',
            )
    seed_limits(identity)


def seed_limits(identity: typing.Any) -> None:
    [compute] = identity.services(type='compute')
    for name in LIMITS:
        if not any(identity.registered_limits(resource_name=name)):
            identity.create_registered_limit(
                service_id=compute.id,
                region_id='RegionOne',
                resource_name=name,
                default_limit=10000,
            )


def seed_catalogue(cloud: openstack.connection.Connection, image: str) -> None:
    for name, sizes in FLAVORS.items():
        if not cloud.compute.find_flavor(name):
            cloud.compute.create_flavor(name=name, vcpus=1, **sizes)
    with open(image, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha512').hexdigest()
    found = cloud.image.find_image(IMAGE)
    if not found or found.hash_value != digest:
        if found:
            cloud.image.delete_image(found)
        cloud.image.create_image(
            name=IMAGE,
            filename=image,
            disk_format='qcow2',
            container_format='bare',
            visibility='public',
            hw_qemu_guest_agent='yes',
        )
    if not cloud.network.find_network('private'):
        network = cloud.network.create_network(name='private', shared=True)
        cloud.network.create_subnet(
            name='private',
            network_id=network.id,
            ip_version=4,
            cidr='10.79.0.0/24',
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest='kind', required=True)
    identity = kinds.add_parser('identity')
    identity.add_argument('address', help='of all services')
    identity.add_argument('password', help='for all users')
    catalogue = kinds.add_parser('catalogue')
    catalogue.add_argument('image', help='file of the guest')
    args = parser.parse_args()
    with openstack.connect() as cloud:
        if args.kind == 'identity':
            seed_identity(cloud, args.address, args.password)
        else:
            seed_catalogue(cloud, args.image)


if __name__ == '__main__':
    main()
