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

"""What a backup or a restore needs breaks down meanwhile."""

import os
import signal

from tests.cloud import during
from tests.cloud import onebox


class CrashTest(during.BackupCase):
    def test_nova_compute_is_killed(self) -> None:
        backup, worker = self.begun()
        onebox.restart('nova-compute-c1', kill=True)
        worker.signal('CONT')
        self.assert_recovers(backup, worker, 'ended')

    def test_nova_compute_and_the_worker_are_killed(self) -> None:
        backup, worker = self.begun()
        # It is not to see the worker go: it would clean up itself.
        onebox.run('c1', 'pkill', '-STOP', '-f', 'bin/nova-compute')
        worker.signal('KILL')
        onebox.restart('nova-compute-c1', kill=True)
        self.assert_recovers(backup, worker, 'ended')

    def test_nova_compute_is_stopped(self) -> None:
        backup, worker = self.begun()
        worker.signal('CONT')
        onebox.restart('nova-compute-c1')
        onebox.wait_until(
            'it is one or the other',
            lambda: self.backups.show(backup)['status'] != 'creating',
        )
        self.assert_free()
        self.assert_goes_on()

    def test_libvirtd_is_restarted(self) -> None:
        backup, worker = self.begun()
        onebox.restart('libvirtd-c1', kill=True)
        worker.signal('CONT')
        self.assert_recovers(backup, worker, '')

    def test_swift_is_away(self) -> None:
        backup, worker = self.begun()
        pid = (onebox.ROOT / 'run' / 'swift-proxy.pid').read_text()
        os.kill(int(pid.split()[0]), signal.SIGKILL)
        worker.signal('CONT')
        worker.signal('KILL')
        self.assert_free()
        self.owner_stops()
        self.owner_starts()
        onebox.restart('swift-proxy')
        self.assert_error(backup, 'died')
        self.assert_nothing_left(worker)
        self.assert_goes_on()

    def test_nova_compute_is_killed_during_a_restore(self) -> None:
        """Before the disks were touched: everything is as it was."""
        worker = self.begun_restore()
        onebox.restart('nova-compute-c1', kill=True)
        worker.signal('KILL')
        self.server.wait()
        self.assertEqual(26, self.server.check_data())
        directory = f'/var/lib/nova/instances/{self.server.id}'
        self.assertNotIn('ekko', onebox.run('c1', 'ls', '-A', directory))
        self.assert_goes_on()
