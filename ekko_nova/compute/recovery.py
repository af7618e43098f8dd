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


"""Look after backups whose process is no more.

Whatever died, the pointer in the instance's system metadata is still there:
a thread compares those with the workers of this process, at the start and
then at an interval.
"""

from collections.abc import Iterator
import threading
import typing

from oslo_log import log as logging

from ekko_nova.compute import backups
from ekko_nova.compute import restores
from ekko_nova.compute import state

__all__ = ('Recovery',)

LOG = logging.getLogger(__name__)

#: Backups that are settled at the same time, by a worker each.
_AT_ONCE: typing.Final = 4


class Recovery:
    """The look at the start, and those that follow."""

    def __init__(
        self,
        host: str,
        interval: float,
        host_backups: backups.Backups,
        host_restores: restores.Restores,
    ) -> None:
        self._host = host
        self._interval = interval
        self._backups = host_backups
        self._restores = host_restores
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._look_now_and_then, name='ekko-recovery', daemon=True
        )

    def start(self) -> None:
        """Resume restores now, before Nova sees them; the rest follows."""
        for instance in state.instances(self._host):
            try:
                self._restores.resume(instance)
            except Exception:
                LOG.exception(
                    'an interrupted restore needs an operator: the files '
                    'beside the disks are what was restored',
                    instance=instance,
                )
        self._thread.start()

    def stop(self) -> None:
        """No more looks."""
        self._stop.set()

    def _look_now_and_then(self) -> None:
        while True:
            try:
                self._look()
            except Exception:
                LOG.exception('looking for interrupted backups')
            if self._stop.wait(self._interval):
                return

    def _look(self) -> None:
        left = filter(state.backup_of, state.instances(self._host))
        # Those first that are still held: while the store is away each takes
        # as long as the store is asked again.
        queue = sorted(left, key=lambda each: state.reason_of(each) or '')
        shared = iter(queue)
        threads = [
            threading.Thread(
                target=self._settle_from, args=(shared,), daemon=True
            )
            for _ in queue[:_AT_ONCE]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _settle_from(self, queue: Iterator[typing.Any]) -> None:
        for instance in queue:
            if self._stop.is_set():
                return
            try:
                self._settle(instance)
            except Exception:
                # The others are not to wait for an operator.
                LOG.exception('a backup is not settled', instance=instance)

    def _settle(self, instance: typing.Any) -> None:
        backup = state.backup_of(instance)
        running = self._backups.running.of(instance.uuid)
        if backup is None or running is not None:
            return
        reason = state.reason_of(instance) or 'its process has ended'
        LOG.warning(
            'settling backup %s: %s', backup, reason, instance=instance
        )
        self._backups.settle(instance, backup, reason)
