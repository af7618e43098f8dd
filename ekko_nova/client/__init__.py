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

"""Backups for programs: an addition to openstacksdk.

::

    import openstack
    from ekko_nova import client

    connection = openstack.connect(cloud='mycloud')
    backups = client.attach(connection)
    backup = backups.create_backup(server_id=server.id, name='before')
    backups.wait_for_backup(backup)
"""

import typing

import openstack

from ekko_nova.client import service

__all__ = ('attach',)


def attach(connection: openstack.connection.Connection) -> typing.Any:
    """Give a connection ``connection.instance_backup``; returns it.

    :returns: a :class:`.proxy.Proxy`
    """
    # Also if another connection has it: openstacksdk keeps the service at the
    # class, but whether it may be used at each connection.
    connection.add_service(service.description())
    return getattr(connection, service.ATTRIBUTE)
