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

"""New servers whose disks come from a backup, see :mod:`.carrier`."""

from collections.abc import Iterator
import contextlib
import os
import threading
import typing

from nova.compute import task_states
from nova import exception as nova_exception
from nova import objects
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging

from ekko_nova.compute import announce
from ekko_nova.compute import carrier
from ekko_nova.compute import child as children
from ekko_nova.compute import children as registry
from ekko_nova.compute import order as orders
from ekko_nova.compute import restores
from ekko_nova.compute import sites
from ekko_nova import exception

__all__ = ('NewServers',)

LOG = logging.getLogger(__name__)

_VERB: typing.Final = 'restore'
#: Between two looks whether a server is still wanted.
_LOOK_SECONDS: typing.Final = 5.0


class NewServers:
    """Fills the disks that Nova has made for an instance."""

    def __init__(
        self,
        host: str,
        host_sites: sites.Sites,
        running: registry.Children,
        turns: threading.Semaphore,
    ) -> None:
        self._turns = turns
        self._sites = host_sites
        self._running = running
        self._announcer = announce.Announcer(host)

    @contextlib.contextmanager
    def filling(
        self, context: typing.Any, instance: typing.Any
    ) -> Iterator[None]:
        """In the context Nova makes the disks; then they are filled.

        Disks that were there before are left alone: Nova asks for them to be
        made in the course of a resize, too.

        :raises nova.exception.BuildAbortException: the backup cannot be
            restored, on this or any other host
        """
        backup = carrier.backup_of(instance)
        directory = libvirt_utils.get_instance_path(instance)
        there = os.path.exists(os.path.join(directory, 'disk'))
        yield
        if backup is None or there:
            return
        self._announcer.start(context, _VERB, instance, backup)
        try:
            self._fill(instance, backup, directory)
        except exception.EkkoError as e:
            LOG.warning(
                'no server from backup %s: %s', backup, e, instance=instance
            )
            self._announcer.error(context, _VERB, instance, backup, str(e))
            raise nova_exception.BuildAbortException(
                instance_uuid=instance.uuid, reason=exception.told(e)
            ) from e
        LOG.info('the disks are those of %s', backup, instance=instance)
        self._announcer.end(context, _VERB, instance, backup)

    def _fill(self, instance: typing.Any, backup: str, directory: str) -> None:
        order = orders.RestoreOrder(
            site=self._sites.site(instance.project_id),
            instance=instance.uuid,
            backup=backup,
            directory=directory,
            format=self._sites.disk_format(),
            root_size=0,
            new=True,
        )
        child_ = children.Child(order, self._sites.conf.ekko.cancel_timeout)
        running = registry.Running(child_, 'restore', backup)
        with (
            self._running.adding(instance.uuid, running),
            _watched(instance, child_),
            self._running.in_turn(running, self._turns),
        ):
            result = child_.run(children.Events())
        restores.replace(result['files'])


@contextlib.contextmanager
def _watched(instance: typing.Any, child_: children.Child) -> Iterator[None]:
    """End a worker when its server is to be deleted.

    Nova keeps everybody else off a server that it builds, deletions too.
    """
    enough = threading.Event()

    def watch() -> None:
        while not enough.wait(_LOOK_SECONDS):
            try:
                found = objects.Instance.get_by_uuid(
                    instance.obj_context, instance.uuid, expected_attrs=[]
                )
                unwanted = found.task_state == task_states.DELETING
            except nova_exception.InstanceNotFound:
                unwanted = True
            except Exception as e:  # noqa: BLE001  the next look may tell
                LOG.info('not known whether it is wanted: %s', e)
                continue
            if unwanted:
                child_.cancel('the server is being deleted')
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        enough.set()
