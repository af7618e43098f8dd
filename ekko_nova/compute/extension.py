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


"""What our driver adds to nova-compute, and how it comes to be there.

Nothing in here may keep nova-compute from starting, or from doing what it
does without us: if a part cannot be had the service runs as it always did,
and says loudly why there are no backups.
"""

import pathlib
import threading
import typing

import nova.conf
from oslo_log import log as logging

from ekko_nova.compute import backups
from ekko_nova.compute import child
from ekko_nova.compute import directories
from ekko_nova.compute import endpoint
from ekko_nova.compute import new_servers
from ekko_nova.compute import operations
from ekko_nova.compute import recovery
from ekko_nova.compute import restores
from ekko_nova.compute import sites
from ekko_nova.conf import opts
from ekko_nova import exception

__all__ = ('Attachment', 'Extension')

LOG = logging.getLogger(__name__)


class Extension:
    """Backups and restores on one host.

    :raises exception.EkkoError: something is missing
    """

    def __init__(self, driver: typing.Any, host: str) -> None:
        conf = nova.conf.CONF
        opts.register_opts(conf)
        shared = pathlib.Path(conf.state_path, 'ekko')
        for name in ('socket_directory', 'scratch_directory'):
            conf.set_default(name, str(shared), group='ekko')
        if not conf.ekko.store:
            raise exception.NotStarted(host, '[ekko] store is not set')
        self._sites = sites.Sites(conf, driver)
        # What is wrong with the options is better said now.
        self._sites.site('')
        self.backups = backups.Backups(host, self._sites)
        turns = threading.BoundedSemaphore(conf.ekko.max_restores)
        self.restores = restores.Restores(
            host, self._sites, self.backups.running, turns
        )
        self.new_servers = new_servers.NewServers(
            host, self._sites, self.backups.running, turns
        )
        self.operations = operations.Operations(self._sites)
        self._recovery = recovery.Recovery(
            host,
            conf.ekko.recovery_interval,
            self.backups,
            self.restores,
        )

    def start(self) -> None:
        """libvirt is there; clean up after the last process.

        :raises exception.EkkoError: backups would fail here
        """
        child.require_worker()
        user = self._sites.qemu_user()
        group = self._sites.conf.ekko
        for path in {group.socket_directory, group.scratch_directory}:
            if user is not None:
                directories.prepare(pathlib.Path(path), user)
        self._recovery.start()

    def forget_checkpoints(self, instance: typing.Any) -> None:
        """See :meth:`.sites.Sites.forget_checkpoints`; may do nothing."""
        try:
            self._sites.forget_checkpoints(instance)
        except Exception as e:
            LOG.debug('no checkpoints removed: %s', e, instance=instance)

    def stop(self) -> None:
        """The service ends: so does all that goes on."""
        self._recovery.stop()
        self.operations.close()
        self.backups.close()
        # When all have been told: each may take its time.
        self.operations.wait()
        self.backups.running.wait()


class Attachment:
    """An extension beside a driver, for as long as nothing is wrong with it.

    Requests are answered in any case, if only with the reason why not.
    """

    def __init__(self, driver: typing.Any, virtapi: typing.Any) -> None:
        self.extension: Extension | None = None
        self._endpoint: endpoint.Endpoint | None = None
        # Without a manager it is not nova-compute that has made the driver.
        manager = getattr(virtapi, '_compute', None)
        if manager is None:
            return
        self._endpoint = endpoint.Endpoint(manager.host)
        manager.additional_endpoints.append(self._endpoint)
        try:
            self.extension = Extension(driver, manager.host)
        except Exception as e:
            self._give_up(e)

    def start(self) -> None:
        """libvirt is there."""
        if self.extension is None or self._endpoint is None:
            return
        try:
            self.extension.start()
        except Exception as e:
            self._give_up(e)
        else:
            self._endpoint.accept(
                self.extension.backups,
                self.extension.restores,
                self.extension.operations,
            )

    def _give_up(self, error: Exception) -> None:
        """Say that there are no backups, so that nobody can miss it."""
        LOG.error(
            'ekko-nova: NO BACKUPS are taken on this host; nova-compute runs '
            "as with Nova's own libvirt driver: %s",
            error,
            exc_info=not isinstance(error, exception.EkkoError),
        )
        self.extension = None
        if self._endpoint is not None:
            self._endpoint.refuse(str(error))
