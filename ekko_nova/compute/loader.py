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


"""The name that Nova loads, where our file cannot lie beside Nova's.

Nova puts ``nova.virt.`` before the name of a driver, and a wheel of ours
brings the file that is found there. An editable install, or one into another
directory than Nova's, does not. Then ::

    [oslo_messaging_notifications]
    driver = ekko_nova

has oslo.messaging import this module when nova-compute starts, before it loads
its driver; the import is all that it is for.
"""

import importlib.abc
import importlib.machinery
import sys
import types
import typing

from oslo_messaging.notify import notifier

__all__ = ('Loader',)

_NAME: typing.Final = 'nova.virt.ekko_nova'


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the one module, if nobody before it did."""

    def find_spec(
        self, name: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _NAME:
            return None
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: types.ModuleType) -> None:
        # Not before: it is Nova's driver that this imports.
        driver = importlib.import_module('ekko_nova.compute.driver')
        vars(module)['EkkoLibvirtDriver'] = driver.EkkoLibvirtDriver


sys.meta_path.append(_Finder())


class Loader(notifier.Driver):  # type: ignore[misc]
    """A driver for notifications that sends none."""

    def notify(self, *unused: typing.Any) -> None:
        """Nothing; other drivers may be configured beside this one."""
