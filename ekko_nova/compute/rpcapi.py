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


"""How to ask a compute host for a backup.

Usable wherever Nova's own RPC is: in nova-api, and in ekko-manage.
"""

import typing

from nova.compute import rpcapi as compute_rpcapi
from nova.objects import base as objects_base
from nova import rpc
import oslo_messaging

from ekko_nova.compute import endpoint
from ekko_nova import exception

__all__ = ('BackupAPI',)


class BackupAPI:
    """Asks the host that an instance is on. See :mod:`.endpoint`."""

    VERSION: typing.Final = '1.0'

    def __init__(self) -> None:
        target = oslo_messaging.Target(
            topic=compute_rpcapi.RPC_TOPIC,
            namespace=endpoint.NAMESPACE,
            version=self.VERSION,
        )
        self._router = rpc.ClientRouter(
            rpc.get_client(
                target, serializer=objects_base.NovaObjectSerializer()
            )
        )

    def create_backup(
        self,
        context: typing.Any,
        instance: typing.Any,
        backup: str,
        *,
        full: bool = False,
        quiesce: bool | None = None,
    ) -> None:
        """Begin a backup, under an id that nobody used before.

        :raises exception.EkkoError: the host refuses; its reason
        """
        options = {'full': full, 'quiesce': quiesce}
        self._call(
            context, instance, 'create_backup', backup=backup, options=options
        )

    def cancel_backup(
        self, context: typing.Any, instance: typing.Any, backup: str
    ) -> None:
        """Have a backup end.

        :raises exception.EkkoError: it is not being taken
        """
        self._call(context, instance, 'cancel_backup', backup=backup)

    def restore_backup(
        self, context: typing.Any, instance: typing.Any, backup: str
    ) -> None:
        """Begin to restore an instance in place.

        :raises exception.EkkoError: the host refuses; its reason
        """
        self._call(context, instance, 'restore_backup', backup=backup)

    def _call(
        self,
        context: typing.Any,
        instance: typing.Any,
        method: str,
        **arguments: typing.Any,
    ) -> None:
        client = self._router.client(context).prepare(server=instance.host)
        try:
            answer = client.call(
                context, method, instance=instance, **arguments
            )
        except oslo_messaging.UnsupportedVersion as e:
            raise exception.NotStarted(
                instance.host, 'it has no ekko-nova'
            ) from e
        except oslo_messaging.MessagingTimeout as e:
            raise exception.NotStarted(
                instance.host, 'it does not answer'
            ) from e
        if answer['refused'] is not None:
            raise exception.Refused(answer['refused'], answer['reason'])
