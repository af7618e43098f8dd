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


"""Restores in place: a rebuild whose image is a backup.

The disks are written beside those there are, every byte verified, while the
instance runs; only then it is stopped, and each file takes the place of its
disk by a rename. Until that begins a failure leaves the instance as it was;
after that it goes forward only, also if nova-compute dies (:meth:`resume`).
"""

from collections.abc import Mapping
import os
import pathlib
import sys
import threading
import typing

from nova.compute import power_state
from nova.compute import rpcapi as compute_rpcapi
from nova.compute import task_states
from nova.compute import utils as compute_utils
from nova.compute import vm_states
from nova import exception as nova_exception
from nova import objects
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging
from oslo_utils import units

from ekko_nova.backup import temporary
from ekko_nova.compute import announce
from ekko_nova.compute import child as children
from ekko_nova.compute import children as registry
from ekko_nova.compute import order as orders
from ekko_nova.compute import sites
from ekko_nova.compute import state
from ekko_nova import exception

__all__ = ('Restores', 'replace')

LOG = logging.getLogger(__name__)

_ACTION: typing.Final = 'instance_backup_restore'
_VERB: typing.Final = 'restore'
_REBUILDING: typing.Final = (
    task_states.REBUILDING,
    task_states.REBUILD_BLOCK_DEVICE_MAPPING,
    task_states.REBUILD_SPAWNING,
)


class Restores:
    """Restores the instances of this host."""

    def __init__(
        self,
        host: str,
        host_sites: sites.Sites,
        running: registry.Children,
        turns: threading.Semaphore,
    ) -> None:
        self._host = host
        self._sites = host_sites
        self._running = running
        self._announcer = announce.Announcer(host)
        self._turns = turns

    def begin(self, context: typing.Any, instance: str, backup: str) -> None:
        """Have Nova rebuild an instance of ours from a backup.

        :raises exception.InstanceBusy: Nova does something else with it
        :raises exception.NotStarted: its disks are not files
        """
        self._sites.disk_format()
        fresh = state.begin_restore(context, instance, backup)
        try:
            self._have_it_rebuilt(context, fresh)
        except BaseException:
            state.end_restore(fresh)
            fresh.task_state = None
            fresh.save()
            raise

    def _have_it_rebuilt(self, context: typing.Any, fresh: typing.Any) -> None:
        objects.InstanceAction.action_start(
            context, fresh.uuid, _ACTION, want_result=False
        )
        bdms = objects.BlockDeviceMappingList.get_by_instance_uuid(
            context.elevated(), fresh.uuid
        )
        # Straight to ourselves: Nova's conductor would look for the
        # availability zone in the API's database, out of reach of a cell.
        compute_rpcapi.ComputeAPI().rebuild_instance(
            context,
            instance=fresh,
            new_pass=None,
            injected_files=[],
            image_ref=None,
            orig_image_ref=fresh.image_ref,
            orig_sys_metadata=dict(fresh.system_metadata),
            bdms=bdms,
            recreate=False,
            on_shared_storage=False,
            host=self._host,
            node=None,
            preserve_ephemeral=False,
            migration=None,
            limits=None,
            request_spec=None,
            accel_uuids=[],
            reimage_boot_volume=False,
            target_state=None,
        )

    def is_restore(self, context: typing.Any, instance: typing.Any) -> bool:
        """Whether this rebuild was asked for by :meth:`begin`."""
        now = state.restore_of(instance)
        return now is not None and now.request == context.request_id

    def rebuild(self, context: typing.Any, instance: typing.Any) -> None:
        """Put the backup in the place of the disks.

        :raises nova.exception.InstanceFaultRollback: the instance is as it
            was
        """
        now = state.restore_of(instance)
        if now is None:
            raise NotImplementedError
        self._announcer.start(context, _VERB, instance, now.backup)
        LOG.info('restoring backup %s', now.backup, instance=instance)
        try:
            self._restore(context, instance, now.backup)
        except Exception as e:
            self._announcer.error(context, _VERB, instance, now.backup, str(e))
            raise
        LOG.info('backup %s is restored', now.backup, instance=instance)
        self._announcer.end(context, _VERB, instance, now.backup)

    def _restore(
        self, context: typing.Any, instance: typing.Any, backup: str
    ) -> None:
        was_active = self._sites.is_active(instance)
        try:
            files = self._write(instance, backup)
            self._sites.power_off(instance)
            state.swap(instance)
        except Exception as e:
            LOG.warning(
                'backup %s is not restored: %s', backup, e, instance=instance
            )
            self._back_out(context, instance, was_active=was_active)
            raise nova_exception.InstanceFaultRollback(
                inner_exception=e
            ) from e
        replace(files)
        instance.task_state = task_states.REBUILD_BLOCK_DEVICE_MAPPING
        instance.save(expected_task_state=[task_states.REBUILDING])
        instance.task_state = task_states.REBUILD_SPAWNING
        instance.save(
            expected_task_state=[task_states.REBUILD_BLOCK_DEVICE_MAPPING]
        )
        self._sites.power_on(context, instance)
        # Nova saves this with the end of the rebuild: if it dies before, the
        # next process still knows that it was a restore.
        state.end_restore(instance)

    def _write(self, instance: typing.Any, backup: str) -> Mapping[str, str]:
        # What a restore left that was given up would be taken for ours.
        _discard(instance)
        order = orders.RestoreOrder(
            site=self._sites.site(instance.project_id),
            instance=instance.uuid,
            backup=backup,
            directory=libvirt_utils.get_instance_path(instance),
            format=self._sites.disk_format(),
            root_size=instance.flavor.root_gb * units.Gi,
        )
        child_ = children.Child(order, self._sites.conf.ekko.cancel_timeout)
        running = registry.Running(child_, 'restore', backup)
        with (
            self._running.adding(instance.uuid, running),
            self._running.in_turn(running, self._turns),
        ):
            files: dict[str, str] = child_.run(children.Events())['files']
        return files

    def _back_out(
        self, context: typing.Any, instance: typing.Any, *, was_active: bool
    ) -> None:
        """Leave the instance as it was."""
        try:
            _discard(instance)
            state.end_restore(instance)
            instance.save()
            if was_active and not self._sites.is_active(instance):
                self._sites.power_on(context, instance)
        except nova_exception.InstanceNotFound:
            LOG.info('it was deleted meanwhile', instance=instance)
        except Exception as e:
            LOG.exception('after a restore that failed', instance=instance)
            compute_utils.add_instance_fault_from_exc(
                context, instance, e, sys.exc_info()
            )

    def resume(self, instance: typing.Any) -> None:
        """Go on with, or undo, a restore that the last process was at.

        Before Nova looks at the instance: what it finds being rebuilt it
        would take for broken.
        """
        now = state.restore_of(instance)
        if now is None:
            return
        if instance.task_state in _REBUILDING:
            if now.phase is state.Phase.SWAP:
                LOG.warning('going on with a restore', instance=instance)
                replace(_left(instance))
            else:
                LOG.warning('undoing a restore', instance=instance)
            instance.task_state = self._task_after(instance)
        elif now.phase is state.Phase.SWAP and _left(instance):
            # Somebody may have started the guest on what is there.
            raise exception.TargetFailed(
                libvirt_utils.get_instance_path(instance),
                'a restore was given up while it exchanged the disks',
            )
        _discard(instance)
        state.end_restore(instance)
        instance.save()

    def _task_after(self, instance: typing.Any) -> str | None:
        """What has Nova start a guest that ran when the restore began."""
        ran = instance.power_state == power_state.RUNNING
        if instance.vm_state != vm_states.ACTIVE or not ran:
            return None
        if self._sites.is_active(instance):
            return None
        return str(task_states.REBOOT_STARTED_HARD)


def _left(instance: typing.Any) -> dict[str, str]:
    """The restored files that are not yet in their place."""
    directory = pathlib.Path(libvirt_utils.get_instance_path(instance))
    return {
        str(path).removesuffix(orders.RESTORED): str(path)
        for path in directory.glob(f'*{orders.RESTORED}')
    }


def replace(files: Mapping[str, str]) -> None:
    """Put each restored file in the place of the disk that it is of."""
    for path, restored in files.items():
        os.replace(restored, path)
        descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _discard(instance: typing.Any) -> None:
    """Remove what was restored, complete or not."""
    for restored in _left(instance).values():
        os.unlink(restored)
    # What a worker that was killed had not completed.
    directory = pathlib.Path(libvirt_utils.get_instance_path(instance))
    temporary.collect(directory)
