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


"""Our own notifications, beside Nova's.

``instance_backup.<verb>.<phase>``, with the verbs create and restore and the
phases start, end and error, sent as Nova sends its unversioned ones.
"""

import typing

from nova import rpc

__all__ = ('Announcer',)


class Announcer:
    """Tells of the backups and restores of one host."""

    def __init__(self, host: str) -> None:
        # Not rpc.get_notifier: that warns of every event it does not know.
        self._notifier = rpc.LEGACY_NOTIFIER.prepare(
            publisher_id=f'compute.{host}'
        )

    def start(
        self, context: typing.Any, verb: str, instance: typing.Any, backup: str
    ) -> None:
        """It begins."""
        self._info(context, f'{verb}.start', instance, backup)

    def end(
        self,
        context: typing.Any,
        verb: str,
        instance: typing.Any,
        backup: str,
        **more: typing.Any,
    ) -> None:
        """It is done."""
        self._info(context, f'{verb}.end', instance, backup, **more)

    def error(
        self,
        context: typing.Any,
        verb: str,
        instance: typing.Any,
        backup: str,
        reason: str,
    ) -> None:
        """It failed."""
        self._notifier.error(
            context,
            f'instance_backup.{verb}.error',
            _payload(instance, backup, reason=reason),
        )

    def _info(
        self,
        context: typing.Any,
        event: str,
        instance: typing.Any,
        backup: str,
        **more: typing.Any,
    ) -> None:
        self._notifier.info(
            context,
            f'instance_backup.{event}',
            _payload(instance, backup, **more),
        )


def _payload(
    instance: typing.Any, backup: str, **more: typing.Any
) -> dict[str, typing.Any]:
    return {
        'backup_id': backup,
        'instance_id': instance.uuid,
        'tenant_id': instance.project_id,
        'user_id': instance.user_id,
        'host': instance.host,
        **more,
    }
