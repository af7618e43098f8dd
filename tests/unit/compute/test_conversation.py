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

import socket
import time
from unittest import mock

from ekko_nova.backup import progress
from ekko_nova.compute import conversation
from ekko_nova.compute import link
from tests import base


class ConversationTest(base.TestCase):
    def test_progress_is_told_now_and_then(self) -> None:
        one, other = (link.Link(end) for end in socket.socketpair())
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        worker = conversation.Conversation(other)
        for position in range(12):
            with mock.patch.object(
                time, 'monotonic', autospec=True, return_value=float(position)
            ):
                worker.report(progress.Progress('vda', position, 12, 0))
        other.close()
        positions = []
        while (message := one.receive()) is not None:
            self.assertEqual('progress', message['say'])
            positions.append(message['position'])
        self.assertEqual([0, 5, 10], positions)
