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

"""What a process does about its memory."""

import gc

from ekko_nova import memory
from tests import base


class GarbageTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(gc.enable)
        self.addCleanup(gc.unfreeze)

    def test_none_is_looked_for_meanwhile(self) -> None:
        memory.hurry()
        self.assertFalse(gc.isenabled())
        memory.settle()
        self.assertTrue(gc.isenabled())

    def test_what_there_is_is_left_alone(self) -> None:
        kept: list[list[int]] = [[]]
        self.assertTrue(any(each is kept for each in gc.get_objects()))
        memory.settle()
        self.assertFalse(any(each is kept for each in gc.get_objects()))
        made: list[list[int]] = [[]]
        self.assertTrue(any(each is made for each in gc.get_objects()))
