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

"""Projects that tests have to themselves."""

from collections.abc import Iterator
import contextlib
import typing
import uuid

from ekko_nova import client
from tests.cloud import onebox

__all__ = ('project',)


@contextlib.contextmanager
def project() -> Iterator[str]:
    """A project in which there is nothing yet, for the tenant; its name."""
    name = f'of-a-test-{uuid.uuid4()}'
    with onebox.connect('admin') as admin:
        identity = admin.identity
        made = identity.create_project(name=name)
        identity.assign_project_role_to_user(
            made, identity.find_user('demo'), identity.find_role('member')
        )
        try:
            yield name
        finally:
            with onebox.connect('demo', name) as tenant:
                _clear(tenant, admin)
            identity.delete_project(made)


def _clear(tenant: typing.Any, admin: typing.Any) -> None:
    for server in tenant.compute.servers():
        onebox.delete(onebox.Server(tenant, admin, server.id))
    api = client.attach(tenant)
    for backup in list(api.backups()):
        api.delete_backup(backup)
        api.wait_for_backup_deleted(backup, timeout=60)
    for image in tenant.image.images(owner=tenant.current_project_id):
        tenant.image.delete_image(image)
