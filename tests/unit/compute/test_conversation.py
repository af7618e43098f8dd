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

"""What a worker tells nova-compute."""

from collections.abc import Callable
import pathlib
import socket
import time
import typing
from unittest import mock

from ekko_nova.backup import progress
from ekko_nova.compute import conversation
from ekko_nova.compute import link
from ekko_nova import exception
from tests import base

_NOW = progress.Progress('vda', 0, 12, 0)


class ConversationTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nova, there = (link.Link(end) for end in socket.socketpair())
        self.addCleanup(there.close)
        # First: it may be listened to.
        self.addCleanup(self.nova.close)
        self.there = there
        self.worker = conversation.Conversation(there)

    def cancel(self) -> None:
        self.nova.send({'say': 'cancel', 'reason': 'as was requested'})
        self.worker.listen()
        self.assertRaises(exception.Cancelled, self.wait)

    def wait(self) -> None:
        """Until the worker has heard what was said."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.worker.check()
            time.sleep(0.01)

    def assert_cancelled(
        self, reason: str, action: Callable[..., typing.Any], *given: object
    ) -> None:
        error = self.assertRaises(exception.Cancelled, action, *given)
        self.assertEqual(f'it was cancelled: {reason}', str(error))

    def test_progress_is_told_now_and_then(self) -> None:
        for position in range(12):
            with mock.patch.object(
                time, 'monotonic', autospec=True, return_value=float(position)
            ):
                self.worker.report(progress.Progress('vda', position, 12, 0))
        self.there.close()
        positions = []
        while (message := self.nova.receive()) is not None:
            self.assertEqual('progress', message['say'])
            positions.append(message['position'])
        self.assertEqual([0, 5, 10], positions)

    def test_that_it_has_begun_is_told_once(self) -> None:
        for _ in range(3):
            self.worker.begun()
        self.there.close()
        self.assertEqual({'say': 'begun'}, self.nova.receive())
        self.assertIsNone(self.nova.receive())

    def test_nobody_cancels(self) -> None:
        self.worker.listen()
        self.nova.send({'say': 'proceed'})
        with self.worker.quiet():
            self.worker.report(_NOW)
        self.worker.check()

    def test_cancelled_at_a_report(self) -> None:
        self.cancel()
        self.assert_cancelled('as was requested', self.worker.report, _NOW)

    def test_cancelled_while_it_waits(self) -> None:
        self.cancel()
        self.assert_cancelled(
            'as was requested', self.worker.quiet().__enter__
        )
        path = pathlib.Path('disk')
        self.assert_cancelled(
            'as was requested', self.worker.upload, path, self.fail, 60
        )

    def test_nova_compute_ends(self) -> None:
        self.nova.close()
        self.worker.listen()
        self.assert_cancelled(
            'nova-compute has ended', self.worker.quiet().__enter__
        )
