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


"""A worker does not hold up nova-compute, whichever way that does threads."""

from concurrent import futures
import pathlib
import threading
import time

import fixtures

from ekko_nova.compute import child
from ekko_nova.compute import order
from ekko_nova import exception
from tests import base

# A worker may have come and gone after a tenth of a second.
_TICK = 0.01


class ConcurrencyTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.ticks: list[float] = []
        self.stop = threading.Event()
        ticking = threading.Thread(target=self._tick, daemon=True)
        ticking.start()
        self.addCleanup(ticking.join)
        self.addCleanup(self.stop.set)
        site = order.Site(
            {'store': f'file://{root}/store', 'store_attempts': 1},
            {},
            'a-project',
            'qemu+unix:///system?socket=/nonexistent',
        )
        self.order = order.SettleOrder(site, 'an-instance', 'b', 'of a test')

    def _tick(self) -> None:
        while not self.stop.is_set():
            self.ticks.append(time.monotonic())
            time.sleep(_TICK)

    def test_others_go_on_meanwhile(self) -> None:
        worker = child.Child(self.order, 10)
        began = time.monotonic()
        with futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(worker.run, child.Events())
            error = self.assertRaises(exception.WorkerFailed, running.result)
        self.assertIn('connecting to', str(error))
        meanwhile = [tick for tick in self.ticks if tick > began]
        # It takes its time to be imported; no thread has waited for it. One
        # that has would tick once, after all.
        self.assertGreater(len(meanwhile), 1)

    def test_cancelled(self) -> None:
        worker = child.Child(self.order, 10)
        with futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(worker.run, child.Events())
            worker.cancel('of a test')
            self.assertRaises(exception.EkkoError, running.result)
        self.assertTrue(worker.ended.wait(10))
