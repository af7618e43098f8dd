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

from ekko_nova.compute import names
from ekko_nova import exception

__all__ = ('BackupAPI',)


class BackupAPI:
    """Asks a host. See :mod:`.endpoint`."""

    def __init__(self) -> None:
        target = oslo_messaging.Target(
            topic=compute_rpcapi.RPC_TOPIC,
            namespace=names.NAMESPACE,
            version=names.VERSION,
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
        **options: typing.Any,
    ) -> None:
        """Begin a backup, under an id that nobody used before.

        :param options: further members of :class:`.backups.Request`
        :raises exception.EkkoError: the host refuses; its reason
        """
        self._ask_its_host(
            context, instance, 'create_backup', backup=backup, options=options
        )

    def cancel_backup(
        self, context: typing.Any, instance: typing.Any, backup: str
    ) -> None:
        """Have a backup end.

        :raises exception.EkkoError: it is not being taken
        """
        self._ask_its_host(context, instance, 'cancel_backup', backup=backup)

    def restore_backup(
        self, context: typing.Any, instance: typing.Any, backup: str
    ) -> None:
        """Begin to restore an instance in place.

        :raises exception.EkkoError: the host refuses; its reason
        """
        self._ask_its_host(context, instance, 'restore_backup', backup=backup)

    def ask(
        self,
        context: typing.Any,
        host: str,
        method: str,
        **arguments: typing.Any,
    ) -> None:
        """Have any host do something that concerns no instance of its own.

        :param context: of the host's cell
        :raises exception.NotStarted: this host cannot, another one may
        :raises exception.NoAnswer: it may have begun, or not
        :raises exception.EkkoError: the host refuses; its reason
        """
        client = self._router.client(context).prepare(server=host)
        try:
            answer = client.call(context, method, **arguments)
        except oslo_messaging.UnsupportedVersion as e:
            raise exception.NotStarted(host, 'it has no ekko-nova') from e
        except (
            oslo_messaging.MessageDeliveryFailure,
            oslo_messaging.MessagingTimeout,
        ) as e:
            raise exception.NoAnswer(host, type(e).__name__) from e
        if answer['refused'] is not None:
            raise exception.Refused(answer['refused'], answer['reason'])

    def _ask_its_host(
        self,
        context: typing.Any,
        instance: typing.Any,
        method: str,
        **arguments: typing.Any,
    ) -> None:
        self.ask(
            context, instance.host, method, instance=instance, **arguments
        )
