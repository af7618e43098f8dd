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


"""What can be told of a worker before there is one."""

import pathlib
import sys
from unittest import mock

import fixtures

from ekko_nova.compute import child
from ekko_nova import exception
from tests import base


class RequireWorkerTest(base.TestCase):
    def test_here_it_can_start(self) -> None:
        child.require_worker()

    def test_what_is_missing_is_named(self) -> None:
        root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        python = root / 'python'
        # One that has the standard library, and nothing of ours.
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
        python.chmod(0o755)
        with mock.patch.object(sys, 'executable', str(python)):
            error = self.assertRaises(
                exception.WorkerFailed, child.require_worker
            )
        self.assertIn('ekko_nova', str(error))
