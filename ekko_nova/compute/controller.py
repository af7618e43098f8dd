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


"""Backups and restores as an operator asks for them, where nova-api runs.

With Nova's configuration this process reads Nova's database and talks to its
compute hosts, as nova-manage does.
"""

from collections.abc import Sequence
import dataclasses
import time
import typing

from nova.compute import api as compute_api
from nova import config as nova_config
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects

from ekko_nova.compute import names
from ekko_nova.compute import rpcapi
from ekko_nova import exception

__all__ = ('Asked', 'Controller')

_POLL: typing.Final = 0.5

#: Looks at an instance that is free, and of whose work there is no result,
#: until it is clear that nobody is at it: Nova writes down a result a moment
#: after it lets an instance go, and never if nova-compute has died.
_FREE_LOOKS: typing.Final = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What a compute host has begun to do.

    :ivar instance: UUID
    :ivar project: of the instance
    :ivar backup: id
    """

    instance: str
    project: str
    backup: str
    context: typing.Any


class Controller:
    """Asks the compute hosts of a cloud.

    :param files: Nova's configuration files
    """

    def __init__(self, files: Sequence[str]) -> None:
        nova_config.parse_args(
            ['ekko-manage'], default_config_files=list(files)
        )
        objects.register_all()
        self._backups = rpcapi.BackupAPI()
        self._compute = compute_api.API()

    def create_backup(
        self, server: str, *, full: bool, quiesce: bool | None
    ) -> Asked:
        """Begin a backup.

        :param server: UUID of the instance
        :raises exception.EkkoError: there is no such instance, or its host
            refuses
        """
        asked, instance = self._asked(server, names.new_backup())
        self._backups.create_backup(
            asked.context, instance, asked.backup, full=full, quiesce=quiesce
        )
        return asked

    def cancel_backup(self, server: str, backup: str) -> None:
        """Have a backup end."""
        asked, instance = self._asked(server, backup)
        self._backups.cancel_backup(asked.context, instance, backup)

    def restore_backup(self, server: str, backup: str) -> Asked:
        """Begin to restore an instance in place."""
        asked, instance = self._asked(server, backup)
        self._backups.restore_backup(asked.context, instance, backup)
        return asked

    def wait(self, asked: Asked) -> None:
        """Wait until it has ended.

        :raises exception.WorkerFailed: it failed; its reason
        :raises exception.Interrupted: nobody is at it any more
        """
        free = 0
        while not self._has_succeeded(asked):
            free = free + 1 if self._is_free(asked) else 0
            if free > _FREE_LOOKS:
                raise exception.Interrupted(asked.instance)
            time.sleep(_POLL)
        # The instance is free a moment later.
        while not self._is_free(asked):
            time.sleep(_POLL)

    def _has_succeeded(self, asked: Asked) -> bool:
        for event in self._events(asked):
            if event.result == 'Error':
                raise exception.WorkerFailed(
                    event.details or 'the log of nova-compute tells why'
                )
            if event.result == 'Success':
                return True
        return False

    def _is_free(self, asked: Asked) -> bool:
        instance = self._instance(asked.context, asked.instance)
        return instance.task_state is None

    def _events(self, asked: Asked) -> typing.Any:
        context = asked.context
        action = objects.InstanceAction.get_by_request_id(
            context, asked.instance, context.request_id
        )
        if action is None:
            return []
        return objects.InstanceActionEventList.get_by_action(
            context, action.id
        )

    def _asked(self, server: str, backup: str) -> tuple[Asked, typing.Any]:
        context = nova_context.get_admin_context()
        instance = self._instance(context, server)
        # In the name of its owner, who will see it among the actions.
        context = nova_context.RequestContext(
            user_id=instance.user_id,
            project_id=instance.project_id,
            is_admin=True,
        )
        instance = self._instance(context, server)
        asked = Asked(instance.uuid, instance.project_id, backup, context)
        if not instance.host:
            raise exception.InstanceBusy(
                instance.uuid, instance.vm_state, 'on no host', 'be worked on'
            )
        return asked, instance

    def _instance(self, context: typing.Any, server: str) -> typing.Any:
        """Also points the context at the cell of the instance."""
        try:
            instance = self._compute.get(context, server)
        except nova_exception.InstanceNotFound as e:
            raise exception.InvalidSource(
                f'server {server}',
                'there is no such instance',
                'name one by its UUID',
            ) from e
        nova_context.set_target_cell(
            context,
            objects.InstanceMapping.get_by_instance_uuid(
                context, instance.uuid
            ).cell_mapping,
        )
        return instance
