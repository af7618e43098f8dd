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


"""Nova's libvirt driver, with backups.

Everything Nova asks of a driver is done by Nova's own class. What is
overridden here gives the extension its moments: start and end of the
service, the end of an instance, a rebuild that is a restore, the disks of a
new server, and what has to be tidied before Nova resizes or undefines.
"""

from collections.abc import Callable
import functools
import inspect
import typing

from nova.virt.libvirt import driver as libvirt_driver

from ekko_nova.compute import bitmaps
from ekko_nova.compute import carrier
from ekko_nova.compute import extension

__all__ = ('EkkoLibvirtDriver',)

_Base = libvirt_driver.LibvirtDriver


def _like(name: str) -> Callable[[typing.Any], typing.Any]:
    """Give a method the signature that it has in this release of Nova."""
    original = getattr(_Base, name)

    def decorate(method: typing.Any) -> typing.Any:
        method.__signature__ = inspect.signature(original)
        return functools.wraps(original)(method)

    return decorate


class EkkoLibvirtDriver(_Base):  # type: ignore[misc,valid-type]
    """``[DEFAULT] compute_driver = ekko_nova.EkkoLibvirtDriver``."""

    def __init__(self, virtapi: typing.Any, read_only: bool = False) -> None:
        super().__init__(virtapi, read_only)
        self._ekko = extension.Attachment(self, virtapi)

    @_like('init_host')
    def init_host(self, host: str) -> None:
        super().init_host(host)
        self._ekko.start()

    @_like('cleanup_host')
    def cleanup_host(self, host: str) -> None:
        if self._ekko.extension is not None:
            self._ekko.extension.stop()
        super().cleanup_host(host)

    @_like('destroy')
    def destroy(
        self,
        context: typing.Any,
        instance: typing.Any,
        *args: typing.Any,
        **kwargs: typing.Any,
    ) -> typing.Any:
        if self._ekko.extension is not None:
            self._ekko.extension.backups.running.cancel(
                instance.uuid, 'the instance is being deleted'
            )
        return super().destroy(context, instance, *args, **kwargs)

    @_like('finish_migration')
    def finish_migration(
        self,
        context: typing.Any,
        migration: typing.Any,
        instance: typing.Any,
        disk_info: typing.Any,
        *args: typing.Any,
        **kwargs: typing.Any,
    ) -> typing.Any:
        # Also where no backups are taken: others may have left the bitmaps.
        bitmaps.before_growth(instance, disk_info)
        return super().finish_migration(
            context, migration, instance, disk_info, *args, **kwargs
        )

    @_like('update_provider_tree')
    def update_provider_tree(
        self,
        provider_tree: typing.Any,
        nodename: str,
        *args: typing.Any,
        **kwargs: typing.Any,
    ) -> None:
        super().update_provider_tree(provider_tree, nodename, *args, **kwargs)
        traits = set(provider_tree.data(nodename).traits)
        traits.discard(carrier.TRAIT)
        if self._ekko.extension is not None:
            traits.add(carrier.TRAIT)
        provider_tree.update_traits(nodename, traits)

    @_like('rebuild')
    def rebuild(
        self,
        context: typing.Any,
        instance: typing.Any,
        *args: typing.Any,
        **kwargs: typing.Any,
    ) -> None:
        if self._ekko.extension is not None:
            restores = self._ekko.extension.restores
            if restores.is_restore(context, instance):
                restores.rebuild(context, instance)
                return
        super().rebuild(context, instance, *args, **kwargs)

    def _create_image(
        self,
        context: typing.Any,
        instance: typing.Any,
        *args: typing.Any,
        **kwargs: typing.Any,
    ) -> typing.Any:
        if self._ekko.extension is None:
            return super()._create_image(context, instance, *args, **kwargs)
        with self._ekko.extension.new_servers.filling(context, instance):
            return super()._create_image(context, instance, *args, **kwargs)

    def _undefine_domain(
        self, instance: typing.Any, *args: typing.Any, **kwargs: typing.Any
    ) -> None:
        if self._ekko.extension is not None:
            self._ekko.extension.forget_checkpoints(instance)
        super()._undefine_domain(instance, *args, **kwargs)
