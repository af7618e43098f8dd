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


"""Nova's own tests of its libvirt driver, run on ours.

Everywhere they say ``libvirt_driver.LibvirtDriver`` they get our class. Nova's
module itself keeps its own, which ours is made of.
"""

import types
import typing
import unittest

from nova.tests.unit.virt.libvirt import test_driver
from nova.virt.libvirt import driver as libvirt_driver

from ekko_nova.compute import driver

__all__ = ('load_tests',)


class _WithOurs(types.ModuleType):
    """Nova's module, with our class in the place of its own."""

    LibvirtDriver = driver.EkkoLibvirtDriver

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(libvirt_driver, name)

    def __setattr__(self, name: str, value: typing.Any) -> None:
        setattr(libvirt_driver, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(libvirt_driver, name)


def load_tests(
    loader: unittest.TestLoader, *_: typing.Any
) -> unittest.TestSuite:
    """All of Nova's."""
    test_driver.libvirt_driver = _WithOurs(libvirt_driver.__name__)
    return loader.loadTestsFromModule(test_driver)
