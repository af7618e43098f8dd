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


"""What Nova's database says of a backup or restore that is going on.

The task state keeps Nova's API from starting anything else meanwhile; a
pointer in the system metadata tells our ``image_backup`` from that of Nova's
own "server backup", and is what a later process finds if this one dies:

=================  ======================================================
ekko:backup        ``<backup>``, or ``<backup> <why it failed>``, while it
                   is neither available nor listed as an error
ekko:restore       ``<phase> <backup> <request id>``; see :class:`Phase`
=================  ======================================================

The system metadata is written as a whole, so it is read and written under the
lock of the instance.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import enum
import threading
import time
import typing

from nova.compute import task_states
from nova.compute import vm_states
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from oslo_concurrency import lockutils
from oslo_log import log as logging

from ekko_nova import exception

__all__ = (
    'Phase',
    'Restore',
    'backup_of',
    'begin_backup',
    'begin_restore',
    'end_backup',
    'end_restore',
    'instances',
    'load',
    'locked',
    'reason_of',
    'restore_of',
    'swap',
)

LOG = logging.getLogger(__name__)

_BACKUP: typing.Final = 'ekko:backup'
_RESTORE: typing.Final = 'ekko:restore'
#: Of a value of the system metadata.
_LONGEST: typing.Final = 255

_BACKUP_STATES: typing.Final = (
    vm_states.ACTIVE,
    vm_states.PAUSED,
    vm_states.STOPPED,
    vm_states.SUSPENDED,
)
_RESTORE_STATES: typing.Final = (vm_states.ACTIVE, vm_states.STOPPED)
#: Seconds that a request waits for the lock of the instance.
_PATIENCE: typing.Final = 20.0
_POLL: typing.Final = 0.1

_ATTRIBUTES: typing.Final = (
    'flavor',
    'info_cache',
    'metadata',
    'system_metadata',
)


class Phase(enum.StrEnum):
    """How far a restore has come.

    ========  =============================================================
    write     the backup is being written beside the disks, which are as
              they were
    swap      all is written and verified; from now on it goes forward only
    ========  =============================================================
    """

    WRITE = 'write'
    SWAP = 'swap'


@dataclasses.dataclass(frozen=True, slots=True)
class Restore:
    """A restore that is going on.

    :ivar request: id of the request that asked for it: a later rebuild is no
        restore, whatever was left behind
    """

    phase: Phase
    backup: str
    request: str

    def __str__(self) -> str:
        return f'{self.phase} {self.backup} {self.request}'


@contextlib.contextmanager
def locked(
    instance: str,
    cancelled: threading.Event | None = None,
    patience: float | None = None,
) -> Iterator[None]:
    """Hold the lock that Nova's own operations on an instance hold.

    :param cancelled: give up as soon as it is set: whoever cancels may be
        the one that holds the lock
    :param patience: seconds to wait
    :raises exception.InProgress: it was not to be had
    """
    cancelled = cancelled or threading.Event()
    deadline = time.monotonic() + (patience or float('inf'))
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(
                    lockutils.lock(
                        instance,
                        lock_file_prefix='nova-',
                        do_log=False,
                        blocking=False,
                    )
                )
                break
            except lockutils.AcquireLockFailedException:
                if cancelled.is_set() or time.monotonic() > deadline:
                    raise exception.InProgress(
                        instance, '', 'an operation on the instance'
                    ) from None
            time.sleep(_POLL)
        yield


def instances(host: str) -> typing.Any:
    """The instances of a host, with their system metadata."""
    return objects.InstanceList.get_by_host(
        nova_context.get_admin_context(), host, expected_attrs=_ATTRIBUTES
    )


def load(context: typing.Any, instance: str) -> typing.Any:
    """An instance as it is now, with all that we want to know of it."""
    return objects.Instance.get_by_uuid(
        context.elevated(), instance, expected_attrs=_ATTRIBUTES
    )


def backup_of(instance: typing.Any) -> str | None:
    """The backup that is not ended yet, if there is one."""
    pointer = instance.system_metadata.get(_BACKUP, '')
    return pointer.partition(' ')[0] or None


def reason_of(instance: typing.Any) -> str | None:
    """Why the backup that is not ended yet has failed, if that is known."""
    pointer = instance.system_metadata.get(_BACKUP, '')
    return pointer.partition(' ')[2] or None


def restore_of(instance: typing.Any) -> Restore | None:
    """The restore that is going on, if there is one."""
    words = instance.system_metadata.get(_RESTORE, '').split(' ')
    try:
        phase, backup, request = words
        return Restore(Phase(phase), backup, request)
    except ValueError:
        return None


def begin_backup(
    context: typing.Any, instance: str, backup: str
) -> typing.Any:
    """Keep everything else off an instance; returns it as it is now.

    :raises exception.InstanceBusy: something else goes on, or it is in a
        state in which there is nothing to back up
    :raises exception.InProgress: an earlier backup is not settled yet; it
        would be forgotten
    """
    with locked(instance, patience=_PATIENCE):
        fresh = load(context, instance)
        _require(fresh, _BACKUP_STATES, 'be backed up')
        if (earlier := backup_of(fresh)) is not None:
            raise exception.InProgress(
                instance, earlier, 'cleaning up after the backup'
            )
        fresh.task_state = task_states.IMAGE_BACKUP
        fresh.system_metadata[_BACKUP] = backup
        _save(fresh)
    return fresh


def end_backup(
    context: typing.Any,
    instance: str,
    backup: str,
    *,
    unsettled: str | None = None,
    cancelled: threading.Event | None = None,
) -> None:
    """Let the instance go, if that has not been done yet.

    :param unsettled: why the backup failed, if the store does not know yet;
        somebody will have to tell it
    """
    with contextlib.ExitStack() as stack:
        # The instance, or our part in it, may have gone meanwhile.
        stack.enter_context(
            contextlib.suppress(
                exception.InProgress,
                nova_exception.InstanceNotFound,
                nova_exception.UnexpectedTaskStateError,
            )
        )
        stack.enter_context(locked(instance, cancelled))
        fresh = load(context, instance)
        if backup_of(fresh) != backup:
            return
        expected = fresh.task_state
        # Once a reason is known the instance has been let go: the same task
        # state is that of a "server backup" of Nova's own.
        ours = reason_of(fresh) is None
        if ours and expected == task_states.IMAGE_BACKUP:
            fresh.task_state = None
        if unsettled is None:
            del fresh.system_metadata[_BACKUP]
        else:
            text = ' '.join(f'{backup} {unsettled}'.split())
            fresh.system_metadata[_BACKUP] = text[:_LONGEST]
        fresh.save(expected_task_state=[expected])


def begin_restore(
    context: typing.Any, instance: str, backup: str
) -> typing.Any:
    """Mark an instance, so that its rebuild is a restore.

    :raises exception.InstanceBusy: something else goes on, or it is in a
        state in which Nova does not rebuild
    """
    with locked(instance, patience=_PATIENCE):
        fresh = load(context, instance)
        _require(fresh, _RESTORE_STATES, 'be restored')
        fresh.task_state = task_states.REBUILDING
        fresh.system_metadata[_RESTORE] = str(
            Restore(Phase.WRITE, backup, context.request_id)
        )
        _save(fresh)
    return fresh


def swap(instance: typing.Any) -> None:
    """From now on a restore goes forward only. The instance is saved."""
    now = restore_of(instance)
    if now is not None:
        after = dataclasses.replace(now, phase=Phase.SWAP)
        instance.system_metadata[_RESTORE] = str(after)
        instance.save(expected_task_state=[instance.task_state])


def end_restore(instance: typing.Any) -> None:
    """Forget the restore; the caller saves the instance."""
    instance.system_metadata.pop(_RESTORE, None)


def _require(
    instance: typing.Any, states: tuple[str, ...], wanted: str
) -> None:
    if instance.task_state is not None or instance.vm_state not in states:
        raise exception.InstanceBusy(
            instance.uuid, instance.vm_state, instance.task_state, wanted
        )


def _save(instance: typing.Any) -> None:
    try:
        instance.save(expected_task_state=[None])
    except nova_exception.UnexpectedTaskStateError as e:
        raise exception.InstanceBusy(
            instance.uuid, instance.vm_state, str(e), 'be worked on'
        ) from e
