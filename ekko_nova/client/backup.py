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

"""A backup as a resource of openstacksdk."""

import typing

from openstack import exceptions
from openstack import resource

__all__ = ('Backup',)


class Backup(resource.Resource):
    """A backup of a server. Sizes in bytes, times in ISO 8601, UTC."""

    resource_key = 'backup'
    resources_key = 'backups'
    base_path = '/backups'

    allow_create = True
    allow_fetch = True
    allow_commit = True
    allow_delete = True
    allow_list = True
    commit_method = 'PATCH'

    _query_mapping = resource.QueryParameters(
        'all_projects',
        'name',
        'project_id',
        'since',
        'sort',
        'status',
        server_id='server',
    )

    #: The server it is of, which may be gone.
    server_id = resource.Body('server_id')
    #: What that one was called.
    server_name = resource.Body('server_name')
    description = resource.Body('description')
    metadata = resource.Body('metadata', type=dict)
    project_id = resource.Body('project_id')
    #: Full or incremental. To create one: auto, full or incremental.
    type = resource.Body('type')
    #: To create one: freeze the guest's file systems; or not; or, if left
    #: out, as the image says.
    quiesce = resource.Body('quiesce', type=bool)
    status = resource.Body('status')
    #: Why it cannot be restored, if so.
    error = resource.Body('error')
    created_at = resource.Body('created_at')
    updated_at = resource.Body('updated_at')
    finished_at = resource.Body('finished_at')
    #: Of all disks.
    size = resource.Body('size', type=int)
    #: What this backup added to the store.
    stored_bytes = resource.Body('stored_bytes', type=int)
    #: Percent.
    progress = resource.Body('progress', type=int)
    #: The backup it builds on.
    parent_id = resource.Body('parent_id')
    quiesced = resource.Body('quiesced', type=bool)
    #: Why the file systems were not frozen.
    not_quiesced = resource.Body('not_quiesced')
    #: How long it took, and how long it will.
    seconds = resource.Body('seconds')
    remaining_seconds = resource.Body('remaining_seconds')
    #: Something that somebody should look into.
    warning = resource.Body('warning')
    disks = resource.Body('disks', type=list)
    #: Disks that are not in it, and why.
    skipped = resource.Body('skipped', type=list)
    #: What the server was like.
    instance = resource.Body('instance', type=dict)
    #: The last verification, export and attempt to delete it.
    verification = resource.Body('verification', type=dict)
    export = resource.Body('export', type=dict)
    deletion = resource.Body('deletion', type=dict)

    def act(
        self,
        session: typing.Any,
        verb: str,
        body: typing.Any,
        query: dict[str, str],
    ) -> typing.Any:
        """Have something done with it; returns the response."""
        url = f'{self.base_path}/{self.id}/{verb}'
        response = session.post(url, json=body, params=query)
        exceptions.raise_from_response(response)
        return response
