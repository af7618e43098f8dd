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


"""Backups of the instances of this host, from the request to the end."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent import futures
import contextlib
import dataclasses
import functools
import pathlib
import sys
import threading
import typing

from nova.compute import utils as compute_utils
from nova import objects
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging

from ekko_nova.compute import announce
from ekko_nova.compute import child as children
from ekko_nova.compute import children as registry
from ekko_nova.compute import directories
from ekko_nova.compute import facts
from ekko_nova.compute import link as links
from ekko_nova.compute import order as orders
from ekko_nova.compute import sites
from ekko_nova.compute import state
from ekko_nova import exception

__all__ = ('Backups', 'Request')

LOG = logging.getLogger(__name__)

_ACTION: typing.Final = 'instance_backup_create'
_EVENT: typing.Final = 'compute_create_instance_backup'
_VERB: typing.Final = 'create'
#: Why a backup is not settled that is available.
_FROZEN: typing.Final = 'the guest may still be frozen'

_Turn: typing.TypeAlias = tuple[futures.Future[None], Callable[[], None]]


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What somebody asked for.

    :ivar backup: the new id
    :ivar full: read and store everything
    :ivar incremental: fail where a disk would have to be read whole
    :ivar labels: members of :class:`ekko_nova.backup.record.Labels`
    :ivar quiesce: freeze the guest; ``None`` to do as the image says
    """

    backup: str
    full: bool = False
    incremental: bool = False
    quiesce: bool | None = None
    labels: Mapping[str, typing.Any] = dataclasses.field(default_factory=dict)


class _Events(children.Events):
    def __init__(self, instance: str) -> None:
        self._instance = instance

    @contextlib.contextmanager
    def quiet(self, cancelled: threading.Event) -> Iterator[None]:
        with state.locked(self._instance, cancelled):
            yield

    def progress(self, message: links.Message) -> None:
        LOG.debug('backup of %s: %s', self._instance, message)


class _Reporter(compute_utils.EventReporter):  # type: ignore[misc]
    """Says why in full: the details of an event are for administrators."""

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> typing.Any:
        ours = isinstance(error, exception.EkkoError)
        return super().__exit__(kind, str(error) if ours else error, trace)


class Backups:
    """Takes backups, as many at once as the host may."""

    def __init__(self, host: str, host_sites: sites.Sites) -> None:
        self._host = host
        self._sites = host_sites
        self._announcer = announce.Announcer(host)
        self._pool = futures.ThreadPoolExecutor(
            host_sites.conf.ekko.max_backups, 'ekko-backup'
        )
        #: By instance: its turn in the pool, and what is done then.
        self._turns: dict[str, _Turn] = {}
        self.running = registry.Children(host_sites.conf.ekko.cancel_timeout)

    def create(
        self, context: typing.Any, instance: str, request: Request
    ) -> None:
        """Begin a backup; it goes on when this has returned.

        :raises exception.InstanceBusy: Nova does something else with it
        :raises exception.InProgress: so do we
        """
        backup = request.backup
        child_ = self._child(state.load(context, instance), request)
        with contextlib.ExitStack() as undo:
            # Before the database says so: a backup that nobody takes is one
            # that the next look cleans up after.
            running = registry.Running(child_, 'backup', backup)
            self.running.add(instance, running)
            undo.callback(self.running.remove, instance)
            fresh = state.begin_backup(context, instance, backup)
            undo.callback(state.end_backup, context, instance, backup)
            objects.InstanceAction.action_start(
                context, instance, _ACTION, want_result=False
            )
            work = functools.partial(
                self._run, context, fresh, request, child_
            )
            self._turns[instance] = (self._pool.submit(work), work)
            undo.pop_all()

    def cancel(self, instance: str, backup: str) -> bool:
        """Have a backup end; false if it is not being taken here."""
        running = self.running.of(instance)
        if running is None or running.backup != backup:
            return False
        running.child.cancel('as was requested')
        future, work = self._turns.get(instance, (None, None))
        if future is not None and work is not None and future.cancel():
            # What is left to be done needs no turn: others may have it for
            # hours, and the instance is to be free now.
            threading.Thread(target=work, daemon=True).start()
        return True

    def settle(self, instance: typing.Any, backup: str, reason: str) -> None:
        """Clean up after a backup that nobody takes any more.

        What cannot be done now is left for the next look.
        """
        context = instance.obj_context
        order = orders.SettleOrder(
            self._sites.site(instance.project_id),
            instance.uuid,
            backup,
            reason,
            facts.of_instance(instance),
        )
        child_ = children.Child(order, self._sites.conf.ekko.cancel_timeout)
        unsettled = reason

        class Events(children.Events):
            def local(self) -> None:
                # The store may be away for long; the instance is free now.
                state.end_backup(
                    context, instance.uuid, backup, unsettled=unsettled
                )

        try:
            result = child_.run(Events())
        except exception.EkkoError as e:
            LOG.warning(
                'backup %s of instance %s is not settled yet (%s); the next '
                'look tries again: %s',
                *(backup, instance.uuid, reason, e),
            )
        else:
            LOG.info('backup %s is settled: %s', backup, result['status'])
            state.end_backup(context, instance.uuid, backup)

    def close(self) -> None:
        """Have end what goes on: the service is about to stop."""
        self.running.close(registry.STOPPED)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _child(self, instance: typing.Any, request: Request) -> children.Child:
        freeze = request.quiesce
        if freeze is None:
            freeze = facts.wants_freeze(instance)
        order = orders.BackupOrder(
            site=self._sites.site(instance.project_id),
            instance=instance.uuid,
            backup=request.backup,
            facts=facts.of_instance(instance),
            directory=libvirt_utils.get_instance_path(instance),
            full=request.full,
            freeze=freeze,
            incremental=request.incremental,
            labels=request.labels,
        )
        conf = self._sites.conf.ekko
        return children.Child(order, conf.cancel_timeout, conf.begin_timeout)

    def _run(
        self,
        context: typing.Any,
        instance: typing.Any,
        request: Request,
        child_: children.Child,
    ) -> None:
        """What goes on in the pool, until the instance is free again."""
        backup = request.backup
        # What this thread logs belongs to this request.
        context.update_store()
        LOG.info('backup %s begins', backup, instance=instance)
        try:
            self._announcer.start(context, _VERB, instance, backup)
            with _Reporter(context, _EVENT, self._host, instance.uuid):
                self._take_files(instance)
                result = child_.run(_Events(instance.uuid))
                thawed = result.pop('thawed')
        except Exception as e:
            self._failed(context, instance, backup, e)
        else:
            LOG.info(
                'backup %s is available: %s', backup, result, instance=instance
            )
            state.end_backup(
                *(context, instance.uuid, backup),
                unsettled=None if thawed else _FROZEN,
            )
            self._announcer.end(context, _VERB, instance, backup, **result)
        finally:
            child_.ended.set()
            self._turns.pop(instance.uuid, None)
            self.running.remove(instance.uuid)

    def _take_files(self, instance: typing.Any) -> None:
        if self._sites.is_active(instance):
            return
        directory = pathlib.Path(libvirt_utils.get_instance_path(instance))
        directories.take(sorted(directory.glob('disk*')))

    def _failed(
        self,
        context: typing.Any,
        instance: typing.Any,
        backup: str,
        error: Exception,
    ) -> None:
        LOG.warning('backup %s failed: %s', backup, error, instance=instance)
        try:
            if getattr(error, 'settled', False):
                state.end_backup(context, instance.uuid, backup)
            else:
                self.settle(instance, backup, exception.told(error))
            self._announcer.error(context, _VERB, instance, backup, str(error))
            compute_utils.add_instance_fault_from_exc(
                context, instance, error, sys.exc_info()
            )
        except Exception:
            LOG.exception('backup %s is left for the next look', backup)
