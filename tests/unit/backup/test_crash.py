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


"""Whatever fails at whatever moment: every listed backup restores."""

from collections.abc import Callable
import copy
import dataclasses
from unittest import mock

from oslo_utils import units

from ekko_nova.backup import process
from ekko_nova.backup import prune
from ekko_nova.backup.store import base
from ekko_nova.backup.store import memory
from ekko_nova import exception
from tests import disks
from tests import engine
from tests import faults
from tests.unit.backup import test_engine

BLOCK = test_engine.BLOCK
noise = test_engine.noise


#: What is done in this context is done by a process that is gone then.
DEAD = mock.patch.object(
    process,
    'current',
    autospec=True,
    return_value=dataclasses.replace(process.current(), boot='earlier'),
)


def _copy(store: base.Store) -> memory.MemoryStore:
    result = memory.MemoryStore()
    for found in store.list():
        result.put(found.name, store.get(found.name))
    return result


class CrashSweepTest(test_engine.EngineCase):
    """For every n: the n-th call to the store fails."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = disks.MemoryDisk(3 * units.Mi)
        self.line = engine.Line(memory.MemoryStore(), self.disk)
        self.disk.write(0, noise(2 * units.Mi))
        self.line.backup()
        for number in range(2):
            self.disk.write(BLOCK * number, noise(BLOCK, number + 2))
            self.disk.write(units.Mi, noise(units.Mi, number + 4))
            self.line.backup()
        self.disk.write(5 * BLOCK, noise(3 * BLOCK, 9))

    def _sweep(self, operation: Callable[[engine.Line], object]) -> None:
        for fault in faults.Fault:
            at = 1
            while self._struck(operation, fault, at):
                at += 1
            # Every operation makes more than a handful of calls.
            self.assertGreater(at, 5)

    def _struck(
        self,
        operation: Callable[[engine.Line], object],
        fault: faults.Fault,
        at: int,
    ) -> bool:
        """Run into one fault; false if the operation ends before it."""
        store = _copy(self.line.store)
        faulty = faults.FaultyStore(store, fault, at)
        line = engine.Line(faulty, copy.deepcopy(self.disk))
        line.contents = dict(self.line.contents)
        line.tracked = self.line.tracked
        try:
            with DEAD:
                operation(line)
        except (exception.EkkoError, faults.Death):
            self.assertTrue(faulty.struck)

        # What comes next is another process.
        later = engine.Line(store, line.disk)
        later.contents = line.contents
        later.tracked = line.tracked
        context = f'{fault} at call {at}'
        with self.subTest(context):
            self.assert_all_restore(later)
            later.backup()
            self.assert_all_restore(later)
            self.assert_nothing_spare(later)
        return faulty.struck

    def test_backup(self) -> None:
        self._sweep(lambda line: line.backup())

    def test_first_backup(self) -> None:
        self.line = engine.Line(memory.MemoryStore(), self.disk)
        self._sweep(lambda line: line.backup())

    def test_full(self) -> None:
        self._sweep(lambda line: line.backup(full=True))

    def test_delete_the_oldest(self) -> None:
        self._sweep(lambda line: line.delete(next(iter(line.contents))))

    def test_delete_in_the_middle(self) -> None:
        self._sweep(lambda line: line.delete(list(line.contents)[1]))

    def test_delete_the_newest(self) -> None:
        self._sweep(lambda line: line.delete(list(line.contents)[2]))

    def test_collect(self) -> None:
        dying = faults.FaultyStore(
            self.line.store, faults.Fault.DEATH_AFTER, 12
        )
        line = engine.Line(dying, self.disk)
        line.contents = self.line.contents
        line.tracked = self.line.tracked
        with DEAD:
            self.assertRaises(faults.Death, line.backup)
        self.line.tracked = None
        self._sweep(
            lambda line: prune.collect(
                line.catalog, line.settings, engine.SERVER
            )
        )
