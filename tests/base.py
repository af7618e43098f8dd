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

"""What every test stands on."""

import hashlib
import logging
import os
import sys
import threading
import warnings

import fixtures
import testtools

from ekko_nova import block

__all__ = ('TestCase',)


class _Warnings(fixtures.Fixture):
    """A warning about our own code is an error; others' are their affair."""

    def _setUp(self) -> None:
        caught = warnings.catch_warnings()
        caught.__enter__()
        self.addCleanup(caught.__exit__, None, None, None)
        warnings.filterwarnings('error', module=r'(ekko_nova|tests)\b')


class _Silent(fixtures.Fixture):
    """Keep what Python would only print: faults in threads and finalisers.

    A finaliser that complains has found an open file or socket
    (``ResourceWarning``), a thread that ends with an exception has lost work.
    Neither reaches the test by itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def _setUp(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch('sys.unraisablehook', self._finaliser)
        )
        self.useFixture(
            fixtures.MonkeyPatch('threading.excepthook', self._thread)
        )

    def _finaliser(self, fault: 'sys.UnraisableHookArgs') -> None:
        self.faults.append(f'{fault.object!r}: {fault.exc_value!r}')

    def _thread(self, fault: threading.ExceptHookArgs) -> None:
        self.faults.append(f'{fault.thread!r}: {fault.exc_value!r}')


class TestCase(testtools.TestCase):
    """A case with a time limit, its own place for files, no silent faults.

    The limit is ``OS_TEST_TIMEOUT`` seconds for each test. All temporary
    files and directories, whoever makes them, go away with the test.

    :ivar log: ``log.output`` is the text of what was logged, debug included
    """

    def setUp(self) -> None:
        super().setUp()
        timeout = int(os.environ.get('OS_TEST_TIMEOUT', '0'))
        if timeout > 0:
            self.useFixture(fixtures.Timeout(timeout, gentle=True))
        self.useFixture(_Warnings())
        self.useFixture(fixtures.NestedTempfile())
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))
        silent = self.useFixture(_Silent())
        self.addCleanup(lambda: self.assertEqual([], silent.faults))

    def assert_same_bytes(
        self, expected: block.Buffer, found: block.Buffer
    ) -> None:
        """Two runs of bytes, such as disks, are equal.

        They are compared by digest: on a failure nobody wants to read both.
        """
        self.assertEqual(
            hashlib.sha256(expected).hexdigest(),
            hashlib.sha256(found).hexdigest(),
        )
