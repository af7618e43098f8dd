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

"""Whether a process lives, as another one sees it."""

import dataclasses
import datetime
import json
import os
import pathlib
import subprocess
import sys
import textwrap

from ekko_nova.backup import chain
from ekko_nova.backup import process
from ekko_nova.backup import record as records
from tests import base

#: Runs without this package's path, which others may not be allowed to read.
_LOOK = """
import dataclasses
import json
import sys
import types

module = types.ModuleType('process')
sys.modules['process'] = module
exec(sys.argv[1], module.__dict__)
found = module.Process(**json.loads(sys.argv[2]))
print(json.dumps([module.is_here(found), module.is_gone(found)]))
"""


class ProcessTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.other = subprocess.Popen(['sleep', '60'])
        self.addCleanup(self.other.wait)
        self.addCleanup(self.other.kill)
        self.process = dataclasses.replace(
            process.current(),
            pid=self.other.pid,
            started=process._started(self.other.pid) or 0,
        )

    def test_one_that_runs_and_one_that_ended(self) -> None:
        self.assertTrue(process.is_here(self.process))
        self.assertFalse(process.is_gone(self.process))
        self.other.kill()
        self.other.wait()
        self.assertFalse(process.is_here(self.process))
        self.assertTrue(process.is_gone(self.process))

    def test_another_of_its_number(self) -> None:
        later = dataclasses.replace(self.process, started=1)
        self.assertFalse(process.is_here(later))
        self.assertTrue(process.is_gone(later))

    def test_one_that_is_hidden(self) -> None:
        """Another user's, where /proc shows everybody only their own."""
        if os.geteuid():
            self.skipTest('mounting needs root')
        for hidepid in (1, 2):
            look = [
                *('setpriv', '--reuid=65534', '--regid=65534'),
                *('--clear-groups', sys.executable, '-I', '-c', _LOOK),
                pathlib.Path(process.__file__).read_text(),
                json.dumps(dataclasses.asdict(self.process)),
            ]
            done = subprocess.run(
                [
                    *('unshare', '--mount', 'sh', '-c'),
                    textwrap.dedent(f"""
                        mount -t proc -o hidepid={hidepid} proc /proc &&
                        exec "$@"
                    """),
                    *('sh', *look),
                ],
                check=True,
                cwd='/',
                stdout=subprocess.PIPE,
                text=True,
            )
            # Nobody can tell.
            self.assertEqual([False, False], json.loads(done.stdout))

    def test_silence_says_nothing_of_one_that_runs_here(self) -> None:
        begun = records.begun('server', records.Request('backup'))
        before = begun.updated_at - datetime.timedelta(days=1)
        silent = dataclasses.replace(begun, updated_at=before)
        self.assertEqual(os.getpid(), silent.process.pid)
        self.assertFalse(chain.is_abandoned(silent, 600.0))
        # Unless an administrator says that it hangs.
        self.assertTrue(chain.is_silent(silent, 600.0))
        self.assertFalse(chain.is_silent(begun, 600.0))
        elsewhere = dataclasses.replace(silent.process, host='elsewhere')
        self.assertTrue(
            chain.is_abandoned(
                dataclasses.replace(silent, process=elsewhere), 600.0
            )
        )
