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


"""What every order of this host has in common, and what Nova keeps to itself.

The only module that touches attributes of Nova's that are not for others:
``LibvirtDriver._uri`` and ``._host``, ``Guest._domain``, and of the compute
manager ``_compute`` of its virt API and ``_power_on``. All of them were there,
as they are, in the releases that the tests run against.
"""

import os
import typing

from nova import exception as nova_exception
from oslo_config import cfg

from ekko_nova.compute import order as orders
from ekko_nova.conf import ekko
from ekko_nova.conf import ekko_swift
from ekko_nova import exception
from ekko_nova.virt import capabilities
from ekko_nova.virt import checkpoint
from ekko_nova.virt import domain as domains

__all__ = ('Sites',)


#: Seconds between two requests to a guest to shut down, as Nova has them.
_RETRY_INTERVAL: typing.Final = 10


class Sites:
    """The configuration and the hypervisor of this host.

    :ivar conf: Nova's, with our sections
    """

    def __init__(self, conf: cfg.ConfigOpts, driver: typing.Any) -> None:
        self.conf = conf
        self._driver = driver

    def site(self, project: str) -> orders.Site:
        """Where an order of a project is carried out."""
        group = self.conf.ekko
        options = {opt.dest: group[opt.dest] for opt in ekko.list_opts()[1]}
        environment = ekko_swift.environment(self.conf) or {
            name: value
            for name, value in os.environ.items()
            if name.startswith(('OS_', 'ST_'))
        }
        return orders.Site(options, environment, project, self._driver._uri())

    def disk_format(self) -> str:
        """The format of the disks of this host, qcow2 or raw.

        :raises exception.NotStarted: they are not files
        """
        kind = self.conf.libvirt.images_type
        if kind == 'default':
            kind = 'qcow2' if self.conf.use_cow_images else 'raw'
        formats = {'qcow2': 'qcow2', 'raw': 'raw', 'flat': 'raw'}
        if kind not in formats:
            raise exception.NotStarted(
                self.conf.host, f'nothing is restored to images_type {kind}'
            )
        return formats[kind]

    def is_active(self, instance: typing.Any) -> bool:
        """Whether the domain of an instance runs."""
        try:
            return bool(self._driver._host.get_guest(instance).is_active())
        except nova_exception.InstanceNotFound:
            return False

    def power_on(self, context: typing.Any, instance: typing.Any) -> None:
        """Start an instance as its owner would, with networks and volumes."""
        self._driver.virtapi._compute._power_on(context, instance)

    def power_off(self, instance: typing.Any) -> None:
        """Stop an instance, gently if the guest listens."""
        self._driver.power_off(
            instance, self.conf.shutdown_timeout, _RETRY_INTERVAL
        )

    def forget_checkpoints(self, instance: typing.Any) -> None:
        """Make libvirt forget ours, so that it can undefine the domain.

        They exist for moments only; this is for what a crash may leave of
        such a moment.
        """
        guest = self._driver._host.get_guest(instance)
        checkpoint.forget(domains.Domain(guest._domain))

    def qemu_user(self) -> int | None:
        """The user that QEMU runs as, if it is not libvirt's own."""
        connection = self._driver._host.get_connection()
        return capabilities.qemu_user(connection.getCapabilities())
