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

"""What lies in Swift."""

from collections.abc import Mapping
import contextlib

from swiftclient import client

from benchmarks.peers import base

__all__ = ('connect', 'remove', 'stored')


def connect(environment: Mapping[str, str]) -> client.Connection:
    """As the user of the variables."""
    return client.Connection(
        environment['ST_AUTH'], environment['ST_USER'], environment['ST_KEY']
    )


def stored(environment: Mapping[str, str], container: str) -> base.Stored:
    """All objects of a container; none, if there is no such container."""
    with contextlib.closing(connect(environment)) as connection:
        try:
            _, found = connection.get_container(container, full_listing=True)
        except client.ClientException as e:
            if e.http_status == 404:
                return base.Stored(0, 0)
            raise
    return base.Stored(sum(each['bytes'] for each in found), len(found))


def remove(environment: Mapping[str, str], container: str) -> None:
    """Remove a container with all that is in it, if there is one."""
    with contextlib.closing(connect(environment)) as connection:
        try:
            _, found = connection.get_container(container, full_listing=True)
        except client.ClientException as e:
            if e.http_status == 404:
                return
            raise
        for each in found:
            connection.delete_object(container, each['name'])
        connection.delete_container(container)
