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


"""At most one worker for each instance."""

import threading
import typing
from unittest import mock

from ekko_nova.compute import child
from ekko_nova.compute import children
from ekko_nova import exception
from tests import base


def running(backup: str = 'b') -> children.Running:
    double = mock.create_autospec(child.Child, instance=True)
    double.ended = threading.Event()
    double.cancel.side_effect = lambda reason: double.ended.set()
    return children.Running(double, 'backup', backup)


def cancelled(found: children.Running) -> typing.Any:
    """The double of its ``cancel``."""
    return found.child.cancel


class ChildrenTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.children = children.Children(1)

    def test_one_at_a_time(self) -> None:
        with self.children.adding('i', running('first')):
            error = self.assertRaises(
                exception.InProgress, self.children.add, 'i', running()
            )
            self.assertEqual('first', error.backup)
            self.children.add('another', running())
        self.assertIsNone(self.children.of('i'))
        self.children.add('i', running())

    def test_it_is_forgotten_also_if_it_fails(self) -> None:
        def fail() -> None:
            with self.children.adding('i', running()):
                raise RuntimeError

        self.assertRaises(RuntimeError, fail)
        self.assertIsNone(self.children.of('i'))

    def test_cancelling_waits(self) -> None:
        one = running()
        self.children.add('i', one)
        self.children.cancel('i', 'why')
        cancelled(one).assert_called_once_with('why')
        self.assertTrue(one.child.ended.is_set())
        self.children.cancel('another', 'why')

    def test_turns(self) -> None:
        turns = threading.BoundedSemaphore(1)
        with self.children.in_turn(running(), turns):
            waiting = running()
            threading.Timer(0.1, waiting.child.ended.set).start()
            # Without a turn, because it was cancelled.
            with self.children.in_turn(waiting, turns):
                self.assertTrue(waiting.child.ended.is_set())
            self.assertFalse(turns.acquire(blocking=False))
        self.assertTrue(turns.acquire(blocking=False))

    def test_when_closed_none_begins(self) -> None:
        one, two = running(), running()
        self.children.add('i', one)
        self.children.add('j', two)
        self.children.close('the end')
        for each in (one, two):
            cancelled(each).assert_called_once_with('the end')
        self.assertRaises(
            exception.Cancelled, self.children.add, 'k', running()
        )

    def test_all_are_waited_for(self) -> None:
        busy = threading.Event()
        one, two = running(), running()
        cancelled(one).side_effect = None
        self.children.add('i', one)
        self.children.add('j', two)
        self.children.close('the end')
        self.assertFalse(one.child.ended.is_set())

        def end() -> None:
            busy.set()
            one.child.ended.set()

        threading.Timer(0.1, end).start()
        self.children.wait()
        self.assertTrue(busy.is_set())
