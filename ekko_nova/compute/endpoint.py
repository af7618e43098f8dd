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


"""What nova-compute does for our API, over Nova's own RPC.

What the methods refuse they answer with a document, not with an exception:
Nova lets only its own cross the wire. ``{"refused": null}``, or
``ServerNotFound`` or the name of one of :mod:`ekko_nova.exception`, and its
text::

    {"refused": "InstanceBusy", "reason": "instance … is active and …"}

Version history:

* 1.0: create_backup, cancel_backup, restore_backup
* 1.1: delete_backup, verify_backup, export_backup, give_up_backup; options
  ``incremental`` and ``labels`` of create_backup
"""

from collections.abc import Callable
import functools
import typing

from nova import exception as nova_exception
from oslo_log import log as logging
import oslo_messaging

from ekko_nova.compute import backups
from ekko_nova.compute import names
from ekko_nova.compute import operations
from ekko_nova.compute import restores
from ekko_nova import exception

__all__ = ('Endpoint',)

LOG = logging.getLogger(__name__)

_Answer: typing.TypeAlias = dict[str, typing.Any]


def _answering(method: Callable[..., None]) -> Callable[..., _Answer]:
    @functools.wraps(method)
    def answer(*args: typing.Any, **kwargs: typing.Any) -> _Answer:
        try:
            method(*args, **kwargs)
        except (exception.EkkoError, nova_exception.InstanceNotFound) as e:
            LOG.info('%s refused: %s', method.__name__, e)
            return {'refused': _kind(e), 'reason': str(e)}
        return {'refused': None}

    return answer


def _kind(error: Exception) -> str:
    """What the API goes by."""
    match error:
        case exception.WorkerFailed():
            return error.kind
        case nova_exception.InstanceNotFound():
            # It was deleted since the API has looked.
            return 'ServerNotFound'
        case _:
            return type(error).__name__


class Endpoint:
    """On the compute's own topic, in a namespace of ours."""

    target = oslo_messaging.Target(
        namespace=names.NAMESPACE, version=names.VERSION
    )

    def __init__(self, host: str) -> None:
        self._host = host
        self._reason = ''
        self._backups: backups.Backups | None = None
        self._restores: restores.Restores | None = None
        self._operations: operations.Operations | None = None

    def accept(
        self,
        host_backups: backups.Backups,
        host_restores: restores.Restores,
        host_operations: operations.Operations,
    ) -> None:
        """Have requests carried out from now on."""
        self._backups = host_backups
        self._restores = host_restores
        self._operations = host_operations

    def refuse(self, reason: str) -> None:
        """Answer all requests with a reason from now on."""
        self._reason = reason
        self._backups = None
        self._restores = None
        self._operations = None

    @_answering
    def create_backup(
        self,
        context: typing.Any,
        instance: typing.Any,
        backup: str,
        options: dict[str, typing.Any],
    ) -> None:
        """Begin a backup of an instance; it goes on when this returns.

        :param options: members of :class:`.backups.Request`
        """
        request = backups.Request(backup, **options)
        self._started(self._backups).create(context, instance.uuid, request)

    @_answering
    def cancel_backup(
        self, context: typing.Any, instance: typing.Any, backup: str
    ) -> None:
        """Have a backup end; its record will say so in a moment."""
        del context
        if not self._started(self._backups).cancel(instance.uuid, backup):
            raise exception.BackupNotFound(backup, f'work of {self._host}')

    @_answering
    def restore_backup(
        self, context: typing.Any, instance: typing.Any, backup: str
    ) -> None:
        """Begin to restore an instance in place."""
        self._started(self._restores).begin(context, instance.uuid, backup)

    @_answering
    def delete_backup(
        self,
        context: typing.Any,
        project: str,
        server: str,
        backup: str,
        force: bool,
    ) -> None:
        """Begin to delete a backup, of whichever server."""
        self._started(self._operations).delete(
            context, project, server, backup, force=force
        )

    @_answering
    def verify_backup(
        self, context: typing.Any, project: str, backup: str, deep: bool
    ) -> None:
        """Begin to verify a backup, of whichever server."""
        self._started(self._operations).verify(
            context, project, backup, deep=deep
        )

    @_answering
    def export_backup(
        self,
        context: typing.Any,
        project: str,
        backup: str,
        disk: str,
        image: str,
    ) -> None:
        """Begin to make a disk of a backup the data of an image."""
        self._started(self._operations).export(
            context, project, backup, disk=disk, image=image
        )

    @_answering
    def give_up_backup(
        self, context: typing.Any, project: str, backup: str
    ) -> None:
        """Begin to list a backup as an error whose host is lost."""
        self._started(self._operations).give_up(context, project, backup)

    def _started(self, what: typing.Any) -> typing.Any:
        if what is None:
            raise exception.NotStarted(self._host, self._reason)
        return what
