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


"""Our driver in nova-compute, on Nova's own harness: API, database, RPC.

Only libvirt is Nova's double. What needs a hypervisor is tested on the cloud.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import typing
from unittest import mock

import fixtures
from nova.compute import task_states
from nova.compute import vm_states
import nova.conf
from nova import config as nova_config
from nova import context as nova_context
from nova import objects
from nova.tests.functional.libvirt import base
from nova import utils
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import utils as libvirt_utils

from ekko_nova.api import errors
from ekko_nova.compute import controller
from ekko_nova.compute import driver
from ekko_nova.compute import restores
from ekko_nova.compute import rpcapi
from ekko_nova.compute import sites
from ekko_nova.compute import state
from ekko_nova.conf import opts
from ekko_nova import exception
from tests.functional.virt import images

#: Is killed while it writes a disk.
_KILLED = """
import os, pathlib, signal, sys
from ekko_nova.compute import restore
with restore._target(pathlib.Path(sys.argv[1]), 'qcow2', 2**20) as target:
    target.write(0, bytes(2**16))
    os.kill(os.getpid(), signal.SIGKILL)
"""

BACKUP = '0f6e4b52-3a43-4c4e-8b0b-7d7f8f3f1f7e'


class ServiceCase(base.ServersTestBase):  # type: ignore[misc]
    """A nova-compute with our driver, and a server on it."""

    microversion = 'latest'
    api_major_version = 'v2.1'
    ADMIN_API = True
    STORE: str | None = None

    def setUp(self) -> None:
        # Nova's tests take Nova for a checkout, with its etc/ beside it; a
        # wheel's is in the environment.
        nova.conf.CONF.set_default('pybasedir', sys.prefix)
        super().setUp()
        opts.register_opts(nova.conf.CONF)
        self.flags(compute_driver='ekko_nova.EkkoLibvirtDriver')
        if self.STORE is not None:
            self.flags(store=self.STORE, recovery_interval=3600, group='ekko')
            self.flags(
                connection_uri='qemu+unix:///system?socket=/nonexistent',
                group='libvirt',
            )
        self.start_compute()
        self.service = self.computes['compute1']
        self.addCleanup(self._stop)
        self.server = self._create_server(networks='none')
        self.context = nova_context.get_admin_context()
        self.backups = rpcapi.BackupAPI()

    def _stop(self) -> None:
        attached = self.service.driver._ekko
        if attached.extension is not None:
            attached.extension.stop()

    def instance(self) -> typing.Any:
        return objects.Instance.get_by_uuid(
            self.context,
            self.server['id'],
            expected_attrs=['system_metadata', 'flavor', 'metadata'],
        )


class WithoutStoreTest(ServiceCase):
    def test_it_is_ours_and_says_what_is_missing(self) -> None:
        self.assertIs(driver.EkkoLibvirtDriver, type(self.service.driver))
        self.assertIn('NO BACKUPS', self.stdlog.logger.output)
        self.assertIn('[ekko] store is not set', self.stdlog.logger.output)

    def test_requests_are_refused_with_the_reason(self) -> None:
        error = self.assertRaises(
            exception.Refused,
            self.backups.create_backup,
            self.context,
            self.instance(),
            BACKUP,
        )
        self.assertEqual('NotStarted', error.kind)
        self.assertIn('store', error.reason)
        self.assertIsNone(self.instance().task_state)

    def test_everything_else_is_as_ever(self) -> None:
        self.server = self._stop_server(self.server)
        self.server = self._start_server(self.server)
        self.server = self._reboot_server(self.server, hard=True)
        self._delete_server(self.server)

    def test_a_disk_is_made_fit_to_grow(self) -> None:
        """QEMU does not resize one with a broken bitmap."""
        path = self.useFixture(fixtures.TempDir()).join('disk')
        images.run('qemu-img', 'create', '-q', '-f', 'qcow2', path, '1M')
        images.run('qemu-img', 'bitmap', '--add', path, 'ekko-1')
        images.break_bitmaps(path)
        resize = ('qemu-img', 'resize', '-q', path, '2M')
        self.assertRaises(subprocess.CalledProcessError, images.run, *resize)
        disks = [{'type': 'qcow2', 'path': path}]
        self._finish_migration(json.dumps(disks))
        images.run(*resize)

    def test_what_nova_says_of_its_disks_is_not_understood(self) -> None:
        self._finish_migration('{')
        self.assertIn('looking for broken bitmaps', self.stdlog.logger.output)

    def _finish_migration(self, disk_info: str) -> None:
        """Nova's own part of it is not what is tested here."""
        with mock.patch.object(
            libvirt_driver.LibvirtDriver, 'finish_migration', autospec=True
        ) as novas:
            self.service.driver.finish_migration(
                self.context,
                None,
                self.instance(),
                disk_info,
                None,
                None,
                True,
                {},
            )
        novas.assert_called_once()


class WithStoreTest(ServiceCase):
    STORE = 'file:///nonexistent'

    def test_states(self) -> None:
        """What our requests do to an instance, and what they leave."""
        uuid = self.server['id']
        context = nova_context.RequestContext('user', 'project', True)
        fresh = state.begin_backup(context, uuid, BACKUP)
        self.assertEqual('image_backup', self.instance().task_state)
        self.assertEqual(BACKUP, state.backup_of(self.instance()))
        self.assertRaises(
            exception.InstanceBusy, state.begin_backup, context, uuid, 'b2'
        )
        self.assertRaises(
            exception.InstanceBusy, state.begin_restore, context, uuid, 'b2'
        )
        state.end_backup(context, uuid, 'another')
        self.assertEqual(BACKUP, state.backup_of(fresh))
        state.end_backup(context, uuid, BACKUP, unsettled='x ' * 300)
        self.assertIsNone(self.instance().task_state)
        self.assertEqual(BACKUP, state.backup_of(self.instance()))
        reason = state.reason_of(self.instance())
        assert reason is not None
        self.assertTrue(reason.startswith('x x x'))
        state.end_backup(context, uuid, BACKUP)
        self.assertIsNone(state.backup_of(self.instance()))

    def test_a_backup_of_novas_own_meanwhile(self) -> None:
        """The task state is the same, but not ours to clear."""
        uuid = self.server['id']
        state.begin_backup(self.context, uuid, BACKUP)
        state.end_backup(self.context, uuid, BACKUP, unsettled='it is away')
        novas = self.instance()
        novas.task_state = 'image_backup'
        novas.save(expected_task_state=[None])
        state.end_backup(self.context, uuid, BACKUP, unsettled='it is away')
        self.assertEqual('image_backup', self.instance().task_state)
        state.end_backup(self.context, uuid, BACKUP)
        self.assertEqual('image_backup', self.instance().task_state)
        self.assertIsNone(state.backup_of(self.instance()))

    def test_a_server_that_was_deleted_since(self) -> None:
        seen = self.instance()
        self._delete_server(self.server)
        for ask in (self.backups.create_backup, self.backups.restore_backup):
            error = self.assertRaises(
                exception.Refused, ask, self.context, seen, BACKUP
            )
            self.assertEqual('ServerNotFound', error.kind)
            self.assertEqual(404, errors.from_ekko(error).status)

    def test_a_backup_before_the_last_is_settled(self) -> None:
        uuid = self.server['id']
        state.begin_backup(self.context, uuid, BACKUP)
        state.end_backup(self.context, uuid, BACKUP, unsettled='it is away')
        error = self.assertRaises(
            exception.Refused,
            self.backups.create_backup,
            self.context,
            self.instance(),
            'another',
        )
        self.assertEqual('InProgress', error.kind)
        self.assertIn(f'cleaning up after the backup {BACKUP}', error.reason)
        self.assertEqual(BACKUP, state.backup_of(self.instance()))
        self.assertIsNone(self.instance().task_state)

    def test_a_look_goes_on_after_a_fault(self) -> None:
        other = self._create_server(networks='none')
        uuids = {self.server['id'], other['id']}
        for uuid in uuids:
            state.begin_backup(self.context, uuid, BACKUP)
        extension = self.service.driver._ekko.extension
        settled = []
        # While the store is away each takes long.
        both = threading.Barrier(2, timeout=30)

        def settle(instance: typing.Any, backup: str, reason: str) -> None:
            both.wait()
            settled.append(instance.uuid)
            raise ValueError(backup, reason)

        with mock.patch.object(extension.backups, 'settle', settle):
            extension._recovery._look()
        self.assertEqual(uuids, set(settled))
        self.assertIn('a backup is not settled', self.stdlog.logger.output)

    def test_a_backup_that_fails(self) -> None:
        """There is no libvirt here; all that Nova sees of that is right."""
        uuid = self.server['id']
        context = nova_context.RequestContext('user', 'project', True)
        self.backups.create_backup(context, self.instance(), BACKUP)
        error = self.assertRaises(
            exception.Refused,
            self.backups.create_backup,
            self.context,
            self.instance(),
            'another',
        )
        self.assertIn(error.kind, ('InProgress', 'InstanceBusy'))
        running = self.service.driver._ekko.extension.backups.running
        while running.of(uuid) is not None:
            time.sleep(0.1)
        action = objects.InstanceAction.get_by_request_id(
            self.context, uuid, context.request_id
        )
        self.assertEqual('instance_backup_create', action.action)
        [event] = objects.InstanceActionEventList.get_by_action(
            self.context, action.id
        )
        self.assertEqual('Error', event.result)
        # Administrators see the details, its owner the message of its fault.
        self.assertIn('connecting to', event.details)
        fault = objects.InstanceFault.get_latest_for_instance(
            self.context, uuid
        )
        self.assertEqual(exception.HypervisorFailed.told, fault.message)
        self.assertIn('connecting to', fault.details)
        # Nobody could look for what it left: that is for later.
        self.assertEqual(BACKUP, state.backup_of(self.instance()))

    def test_cancelled_while_it_waits(self) -> None:
        """It needs no turn for that, which others may have for hours."""
        uuid = self.server['id']
        context = nova_context.RequestContext('user', 'project', True)
        backups = self.service.driver._ekko.extension.backups
        let_go = threading.Event()
        self.addCleanup(let_go.set)
        for _ in range(nova.conf.CONF.ekko.max_backups):
            backups._pool.submit(let_go.wait)
        self.backups.create_backup(context, self.instance(), BACKUP)
        self.assertEqual('image_backup', self.instance().task_state)
        self.backups.cancel_backup(context, self.instance(), BACKUP)
        while backups.running.of(uuid) is not None:
            time.sleep(0.1)
        self.assertFalse(let_go.is_set())
        # There is no libvirt here to look for what is left.
        self.assertIn('cancelled', self.stdlog.logger.output)
        self.assertEqual(BACKUP, state.backup_of(self.instance()))

    def _controller(self) -> controller.Controller:
        self.useFixture(
            fixtures.MonkeyPatch('ekko_nova.compute.controller._POLL', 0.01)
        )
        # The harness has done that.
        with mock.patch.object(nova_config, 'parse_args', autospec=True):
            return controller.Controller([])

    def test_waiting_for_a_backup(self) -> None:
        asks = self._controller()
        asked = asks.create_backup(self.server['id'], full=False, quiesce=None)
        error = self.assertRaises(exception.WorkerFailed, asks.wait, asked)
        self.assertIn('connecting to', error.reason)

    def test_waiting_for_a_backup_that_nobody_takes(self) -> None:
        """nova-compute ended while the backup waited for its turn."""
        asks = self._controller()
        backups = self.service.driver._ekko.extension.backups
        let_go = threading.Event()
        self.addCleanup(let_go.set)
        for _ in range(nova.conf.CONF.ekko.max_backups):
            backups._pool.submit(let_go.wait)
        asked = asks.create_backup(self.server['id'], full=False, quiesce=None)
        self.assertEqual('image_backup', self.instance().task_state)
        # As its successor does.
        successor = threading.Timer(
            1,
            state.end_backup,
            (self.context, self.server['id'], asked.backup),
            {'unsettled': 'its process has ended'},
        )
        successor.start()
        self.addCleanup(successor.join)
        self.assertRaises(exception.Interrupted, asks.wait, asked)
        self.assertIsNone(self.instance().task_state)

    def test_waiting_for_a_restore_that_is_undone(self) -> None:
        """Of which Nova has an event that never ends."""
        asks = self._controller()
        uuid = self.server['id']
        context = nova_context.RequestContext('user', 'project', True)
        state.begin_restore(context, uuid, BACKUP)
        objects.InstanceAction.action_start(
            context, uuid, 'instance_backup_restore'
        )
        objects.InstanceActionEvent.event_start(
            context, uuid, 'compute_rebuild_instance'
        )
        self.service.driver._ekko.extension.restores.resume(self.instance())
        asked = controller.Asked(uuid, 'project', BACKUP, context)
        self.assertRaises(exception.Interrupted, asks.wait, asked)

    def test_the_lock_is_novas(self) -> None:
        def busy() -> None:
            self.assertRaises(
                exception.InProgress,
                state.locked(self.server['id'], patience=0.2).__enter__,
            )

        utils.synchronized(self.server['id'])(busy)()
        with state.locked(self.server['id'], patience=0.2):
            pass

    def test_a_marked_restore_is_one_only_for_its_request(self) -> None:
        context = nova_context.RequestContext('user', 'project', True)
        marked = state.begin_restore(context, self.server['id'], BACKUP)
        restores = self.service.driver._ekko.extension.restores
        self.assertTrue(restores.is_restore(context, marked))
        later = nova_context.RequestContext('user', 'project', True)
        self.assertFalse(restores.is_restore(later, marked))

    def test_an_interrupted_restore_is_undone(self) -> None:
        context = nova_context.RequestContext('user', 'project', True)
        state.begin_restore(context, self.server['id'], BACKUP)
        self.service.driver._ekko.extension.restores.resume(self.instance())
        self.assertIsNone(self.instance().task_state)
        self.assertIsNone(state.restore_of(self.instance()))

    def test_what_a_restore_that_was_killed_leaves(self) -> None:
        directory = pathlib.Path(
            libvirt_utils.get_instance_path(self.instance())
        )
        directory.mkdir(parents=True, exist_ok=True)
        self.addCleanup(shutil.rmtree, directory)
        before = sorted(directory.iterdir())
        done = subprocess.run(
            [sys.executable, '-c', _KILLED, directory / 'disk.ekko-restored'],
            check=False,
        )
        self.assertEqual(-signal.SIGKILL, done.returncode)
        [left] = set(directory.iterdir()) - set(before)
        self.assertEqual(['disk.ekko-restored'], os.listdir(left))
        restores._discard(self.instance())
        self.assertEqual(before, sorted(directory.iterdir()))

    def _restored_until(
        self, power_on: typing.Callable[..., None]
    ) -> restores.Restores:
        """A restore that gets as far as Nova's part in starting it."""
        context = nova_context.RequestContext('user', 'project', True)
        fresh = state.begin_restore(context, self.server['id'], BACKUP)
        ours = self.service.driver._ekko.extension.restores
        with (
            mock.patch.object(
                restores.Restores, '_write', autospec=True, return_value={}
            ),
            mock.patch.object(sites.Sites, 'power_off', autospec=True),
            mock.patch.object(
                sites.Sites, 'power_on', autospec=True, side_effect=power_on
            ),
        ):
            ours.rebuild(context, fresh)
        # As Nova does next.
        self.service._update_instance_after_spawn(fresh)
        fresh.save(expected_task_state=[task_states.REBUILD_SPAWNING])
        return typing.cast(restores.Restores, ours)

    def test_a_restore_that_has_ended(self) -> None:
        self._restored_until(lambda *_: None)
        self.assertIsNone(self.instance().task_state)
        self.assertIsNone(state.restore_of(self.instance()))

    def test_nova_compute_dies_while_it_starts_what_is_restored(self) -> None:
        class Died(BaseException):
            pass

        def die(*_: object) -> None:
            raise Died

        self.assertRaises(Died, self._restored_until, die)
        ours = self.service.driver._ekko.extension.restores
        left = self.instance()
        self.assertEqual(task_states.REBUILD_SPAWNING, left.task_state)
        with mock.patch.object(
            sites.Sites, 'is_active', autospec=True, return_value=False
        ):
            ours.resume(left)
        # Nova goes on with that, and so starts the guest.
        self.assertEqual(
            task_states.REBOOT_STARTED_HARD, self.instance().task_state
        )
        self.assertEqual(vm_states.ACTIVE, self.instance().vm_state)
        self.assertIsNone(state.restore_of(self.instance()))
