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


"""What a record keeps of an instance, so that it can be built anew."""

import typing

__all__ = ('of_instance', 'wants_freeze')


def of_instance(instance: typing.Any) -> dict[str, typing.Any]:
    """Flavor, image, networks and all else, as plain values.

    In the words of Nova's objects; nothing here is needed to read the disks.
    """
    flavor = instance.flavor
    return {
        'uuid': instance.uuid,
        'project_id': instance.project_id,
        'user_id': instance.user_id,
        'display_name': instance.display_name,
        'hostname': instance.hostname,
        'availability_zone': instance.availability_zone,
        'vm_state': instance.vm_state,
        'image_ref': instance.image_ref or None,
        'image_properties': {
            name: value
            for name, value in instance.system_metadata.items()
            if name.startswith('image_')
        },
        'metadata': dict(instance.metadata),
        'key_name': instance.key_name,
        'config_drive': instance.config_drive or None,
        'flavor': {
            'name': flavor.name,
            'flavorid': flavor.flavorid,
            'vcpus': flavor.vcpus,
            'memory_mb': flavor.memory_mb,
            'root_gb': flavor.root_gb,
            'ephemeral_gb': flavor.ephemeral_gb,
            'swap': flavor.swap,
            'extra_specs': dict(flavor.extra_specs),
        },
        'networks': [
            {
                'network': vif['network']['id'],
                'port': vif['id'],
                'mac_address': vif['address'],
                'fixed_ips': [each['address'] for each in vif.fixed_ips()],
            }
            for vif in instance.get_network_info()
        ],
    }


def wants_freeze(instance: typing.Any) -> bool:
    """Whether the image says that a guest agent can freeze the guest."""
    properties = instance.image_meta.properties
    return bool(properties.get('hw_qemu_guest_agent', False))
