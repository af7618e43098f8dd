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

"""Something happens to a server while it is backed up."""

from collections.abc import Iterator
import contextlib

from tests.cloud import backups
from tests.cloud import onebox

__all__ = ('BackupCase',)


class BackupCase(onebox.CloudTestCase):
    """A server with one backup, and data that is not in it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.create_server(host='c1')
        self.server.write_data('before', 2)
        self.backups = backups.Backups(self.server)
        self.first = self.backups.create()
        self.server.write_data('between', 24)

    def begun(self) -> tuple[str, backups.Worker]:
        """A backup whose worker is stopped while it reads."""
        return backups.stopped_worker(self.server, self.backups.begin)

    def begun_restore(self) -> backups.Worker:
        """The worker of a restore, stopped as soon as there is one."""
        _, worker = backups.stopped_worker(
            self.server,
            lambda: self.backups.begin_restore(self.first),
            'restore',
        )
        return worker

    @contextlib.contextmanager
    def reading(self) -> Iterator[str]:
        """A backup stays at reading, in the context."""
        backup, worker = self.begun()
        try:
            yield backup
        finally:
            worker.signal('CONT')

    def assert_error(self, backup: str, reason: str) -> None:
        record = self.backups.wait(backup, 'error')
        self.assertIn(reason, record['error'])

    def assert_free(self) -> None:
        """Nova may do as it pleases with the server again."""
        onebox.wait_until(
            'the task state is clear',
            lambda: not self.server.details().task_state,
        )

    def assert_nothing_left(self, worker: backups.Worker) -> None:
        """No job, no file, and no bitmap but that of the first backup."""
        self.assertFalse(worker.has_directory())
        with self.server.domain() as domain:
            self.assertEqual([], domain.listAllCheckpoints())
        self.owner_stops()
        disk = self.server.disks()['vda']
        info = onebox.run(worker.host, 'qemu-img', 'info', disk)
        names = [
            line.split()[1]
            for line in info.splitlines()
            if line.strip().startswith('name: ekko-')
        ]
        self.assertEqual([f'ekko-{self.first}'], names)
        self.owner_starts()

    def owner_stops(self) -> None:
        self.demo.compute.stop_server(self.server.id)
        self.server.wait('SHUTOFF')

    def owner_starts(self) -> None:
        self.demo.compute.start_server(self.server.id)
        self.server.wait()
        self.server.wait_for_agent()

    def assert_goes_on(self, type: str = 'incremental') -> None:
        """The next backup holds what the disk held."""
        self.server.write_data('after', 1)
        self.demo.compute.pause_server(self.server.id)
        self.server.wait('PAUSED')
        held = self.server.digest()
        backup = self.backups.create()
        self.assertEqual(type, self.backups.show(backup)['type'])
        self.assertEqual(held, self.backups.digest(backup))

    def assert_recovers(
        self, backup: str, worker: backups.Worker, reason: str
    ) -> None:
        """It has failed, nothing of it is left, and the next one is right."""
        self.assert_error(backup, reason)
        self.assert_free()
        self.assert_nothing_left(worker)
        self.assert_goes_on()
