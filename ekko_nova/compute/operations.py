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

"""What is done with stored backups on this host, whose ever they are.

Deletions of one server's backups come one after the other; the rest goes side
by side, as many at once as the host may. Backups that are given up wait for
nobody: whoever asks waits to hear whether that is refused.
"""

from collections.abc import Callable
from collections.abc import Sequence
from concurrent import futures
import os
import threading
import time
import typing

from nova import exception as nova_exception
from nova.image import glance
from oslo_log import log as logging

from ekko_nova.compute import child as children
from ekko_nova.compute import children as registry
from ekko_nova.compute import order as orders
from ekko_nova.compute import sites
from ekko_nova import exception

__all__ = ('Operations',)

LOG = logging.getLogger(__name__)

_Order: typing.TypeAlias = (
    orders.DeleteOrder
    | orders.VerifyOrder
    | orders.ExportOrder
    | orders.FailOrder
)

#: The notes that tell of what waits for its turn.
_NOTES: typing.Final[dict[type[_Order], str]] = {
    orders.DeleteOrder: 'delete',
    orders.VerifyOrder: 'verify',
    orders.ExportOrder: 'export',
}

#: Seconds that a request to give up a backup waits for the end of that.
_MOMENT: typing.Final = 5.0


class _Upload(children.Events):
    """Uploads what a worker has made, as the user who asked for it."""

    def __init__(self, context: typing.Any, image: str) -> None:
        self._context = context
        self._image = image

    def upload(self, path: str) -> None:
        try:
            self._send(path)
        # Nova translates some of what its client of Glance raises.
        except Exception as e:
            raise exception.TargetFailed(f'image {self._image}', str(e)) from e

    def _send(self, path: str) -> None:
        images = glance.API()
        with open(path, 'rb') as data:
            image = images.update(
                self._context, self._image, {}, data, purge_props=False
            )
        if image['size'] != os.path.getsize(path):
            # Where Glance fails Nova tries again, with the rest of the file.
            images.delete(self._context, self._image)
            raise OSError(f'Glance has {image["size"]} bytes of it')

    def ended(self, error: Exception | None) -> None:
        if error is not None:
            self._discard()

    def _discard(self) -> None:
        """Nobody is to wait for it, or to take it for whole."""
        images = glance.API()
        try:
            if images.get(self._context, self._image)['status'] != 'active':
                images.delete(self._context, self._image)
        except nova_exception.ImageNotFound:
            pass
        except Exception as e:
            LOG.warning('image %s is left behind: %s', self._image, e)


class _Begun(children.Events):
    """Has one wait until a worker has begun, or is known not to."""

    def __init__(self) -> None:
        self._told: futures.Future[None] = futures.Future()

    def begun(self) -> None:
        if not self._told.done():
            self._told.set_result(None)

    def ended(self, error: Exception | None) -> None:
        if error is None:
            self.begun()
        elif not self._told.done():
            self._told.set_exception(error)

    def wait(self) -> None:
        """Until then.

        :raises exception.EkkoError: it did not begin
        """
        self._told.result()


class _Turns:
    """One at a time for each server, first come, first served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Callable[[], None]]] = {}

    def take(self, server: str, work: Callable[[], None]) -> None:
        """Do it, after what others have begun; may do that of others too."""
        with self._lock:
            line = self._waiting.get(server)
            if line is not None:
                line.append(work)
                return
            self._waiting[server] = [work]
        while True:
            with self._lock:
                line = self._waiting[server]
                if not line:
                    del self._waiting[server]
                    return
                work = line.pop(0)
            work()


def _at_once(work: Callable[[], None]) -> None:
    """Without a turn, which others may have for hours."""
    threading.Thread(target=work, daemon=True).start()


class Operations:
    """Deletes, verifies and exports backups."""

    def __init__(self, host_sites: sites.Sites) -> None:
        self._sites = host_sites
        self._pool = futures.ThreadPoolExecutor(
            host_sites.conf.ekko.max_operations, 'ekko-operation'
        )
        self._turns = _Turns()
        self._waiting: dict[children.Events, _Order] = {}
        self._dropping: threading.Thread | None = None
        self.running = registry.Children(host_sites.conf.ekko.cancel_timeout)

    def delete(
        self,
        context: typing.Any,
        project: str,
        server: str,
        backup: str,
        *,
        force: bool,
    ) -> None:
        """Begin to delete a backup.

        :raises exception.InProgress: something is done with it
        """
        order = orders.DeleteOrder(
            self._sites.site(project), backup, context.request_id, force
        )
        self._begin(
            context,
            order,
            'deletion',
            children.Events(),
            lambda work: self._pool.submit(self._turns.take, server, work),
        )

    def verify(
        self, context: typing.Any, project: str, backup: str, *, deep: bool
    ) -> None:
        """Begin to verify a backup.

        :raises exception.InProgress: something is done with it
        """
        order = orders.VerifyOrder(
            self._sites.site(project), backup, context.request_id, deep
        )
        self._begin(
            context,
            order,
            'verification',
            children.Events(),
            self._pool.submit,
        )

    def export(
        self,
        context: typing.Any,
        project: str,
        backup: str,
        *,
        disk: str,
        image: str,
    ) -> None:
        """Begin to make a disk of a backup the data of an image.

        :raises exception.InProgress: something is done with it
        """
        order = orders.ExportOrder(
            self._sites.site(project), backup, context.request_id, disk, image
        )
        events = _Upload(context, image)
        self._begin(context, order, 'export', events, self._pool.submit)

    def give_up(self, context: typing.Any, project: str, backup: str) -> None:
        """Begin to list a backup as an error that nobody makes any more.

        What it has stored is removed first, which may take long.

        :raises exception.InProgress: something is done with it
        :raises exception.WorkerFailed: it is made, or is not being made
        """
        order = orders.FailOrder(
            self._sites.site(project), backup, context.request_id
        )
        events = _Begun()
        running = self._begin(context, order, 'removal', events, _at_once)
        events.wait()
        # It mostly ends at once; whoever looks then sees how.
        running.child.ended.wait(_MOMENT)

    def close(self) -> None:
        """Have end what goes on: the service is about to stop."""
        self.running.close(registry.STOPPED)
        self._pool.shutdown(wait=False, cancel_futures=True)
        left = dict(self._waiting)
        self._waiting.clear()
        for events in left:
            events.ended(exception.Cancelled(registry.STOPPED))
        if left:
            self._dropping = threading.Thread(
                target=self._drop, args=(tuple(left.values()),), daemon=True
            )
            self._dropping.start()

    def wait(self) -> None:
        """Until all has ended, after :meth:`close`."""
        deadline = time.monotonic() + self._sites.conf.ekko.cancel_timeout
        self.running.wait()
        if self._dropping is not None:
            self._dropping.join(max(0.0, deadline - time.monotonic()))

    def _drop(self, waiting: Sequence[_Order]) -> None:
        """Have nobody wait for what was forgotten."""
        projects: dict[str, list[_Order]] = {}
        for order in waiting:
            projects.setdefault(order.site.project, []).append(order)
        for of_project in projects.values():
            notes = [
                (order.backup, _NOTES[type(order)])
                for order in of_project
                if type(order) in _NOTES
            ]
            drop = orders.DropOrder(
                of_project[0].site, notes, registry.STOPPED
            )
            try:
                self._child(drop).run(children.Events())
            except exception.EkkoError as e:
                LOG.warning('these stay queued, for nobody: %s: %s', notes, e)

    def _child(self, order: orders.Order) -> children.Child:
        return children.Child(order, self._sites.conf.ekko.cancel_timeout)

    def _begin(
        self,
        context: typing.Any,
        order: _Order,
        activity: str,
        events: children.Events,
        submit: Callable[[Callable[[], None]], object],
    ) -> registry.Running:
        running = registry.Running(self._child(order), activity, order.backup)
        self.running.add(order.backup, running)

        def work() -> None:
            # What this thread logs belongs to this request.
            context.update_store()
            self._run(running, events)

        self._waiting[events] = order
        try:
            submit(work)
        except BaseException:
            self._waiting.pop(events, None)
            self.running.remove(order.backup)
            raise
        return running

    def _run(self, running: registry.Running, events: children.Events) -> None:
        self._waiting.pop(events, None)
        error: Exception | None = None
        try:
            result = running.child.run(events)
        except Exception as e:
            error = e
            LOG.warning(
                '%s of backup %s failed: %s',
                *(running.activity, running.backup, e),
                exc_info=not isinstance(e, exception.EkkoError),
            )
        else:
            LOG.info(
                '%s of backup %s is done: %s',
                *(running.activity, running.backup, result),
            )
        finally:
            events.ended(error)
            running.child.ended.set()
            self.running.remove(running.backup)
