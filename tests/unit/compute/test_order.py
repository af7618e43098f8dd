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


"""Orders, and the line they come over."""

import socket
import threading

from ekko_nova.compute import link
from ekko_nova.compute import order
from ekko_nova import exception
from tests import base

SITE = order.Site({'store': 'file:///x', 'puts': 3}, {'OS_A': 'b'}, 'p', 'u')
ORDERS = (
    order.BackupOrder(SITE, 'i', 'b', {'x': [1, None]}, '/d', True, False),
    order.RestoreOrder(SITE, 'i', 'b', '/d', 'qcow2', 2**30),
    order.SettleOrder(SITE, 'i', 'b', 'über'),
)


class OrderTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        one, other = (link.Link(end) for end in socket.socketpair())
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        self.one, self.other = one, other

    def test_over_the_line_and_back(self) -> None:
        for each in ORDERS:
            self.one.send(order.to_message(each))
            message = self.other.receive()
            assert message is not None
            self.assertEqual(each, order.from_message(message))

    def test_what_anybody_may_see_of_it(self) -> None:
        self.assertEqual(
            [
                ('backup', 'backup=b', 'instance=i'),
                ('restore', 'backup=b', 'instance=i'),
                ('settle', 'backup=b', 'instance=i'),
                ('verify', 'backup=b'),
            ],
            [
                order.title(each)
                for each in (*ORDERS, order.VerifyOrder(SITE, 'b', 'r', True))
            ],
        )

    def test_of_a_kind_that_we_do_not_know(self) -> None:
        self.assertRaises(
            exception.InvalidOption, order.from_message, {'kind': 'x'}
        )

    def test_the_line_ends_with_the_other_side(self) -> None:
        self.one.send({'say': 'progress'})
        self.one.close()
        self.assertEqual({'say': 'progress'}, self.other.receive())
        self.assertIsNone(self.other.receive())
        self.assertRaises(OSError, self._send_until_it_is_noticed)

    def _send_until_it_is_noticed(self) -> None:
        for _ in range(2):
            self.other.send({'say': 'progress'})

    def test_half_a_message_is_none(self) -> None:
        self.one._socket.sendall(b'{"say": "done"')
        self.one.close()
        self.assertIsNone(self.other.receive())

    def test_from_many_threads(self) -> None:
        def send() -> None:
            for _ in range(50):
                self.one.send({'say': 'x' * 5000})

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            self.assertEqual({'say': 'x' * 5000}, self.other.receive())
        for thread in threads:
            thread.join()
