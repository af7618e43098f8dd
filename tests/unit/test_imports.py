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

"""What a program imports: each of these takes long, and is seldom needed."""

import json
import os
import pathlib
import subprocess
import sys

import fixtures

from tests import base

#: Begins as a backup of a domain does, up to the store.
_BEGIN = """
import json
import sys
from ekko_nova.cmd import backup
from ekko_nova.cmd import context
from ekko_nova.compute import domain_backup
with context.open_context([], {'store': sys.argv[1]}):
    print(json.dumps(sorted(sys.modules)))
"""

_WORKER = """
import json
import sys
from ekko_nova.compute import work
print(json.dumps(sorted(sys.modules)))
"""

#: Whatever the store.
_NEVER = frozenset(
    ('asyncio', 'keystoneclient', 'oslo_log.log', 'swiftclient', 'nova')
)
_FOR_SWIFT = frozenset(('keystoneauth1', 'requests', 'urllib3'))


class ImportsTest(base.TestCase):
    def modules(self, program: str, *words: str) -> frozenset[str]:
        done = subprocess.run(
            [sys.executable, '-c', program, *words],
            env={
                **os.environ,
                'ST_AUTH': 'http://localhost/auth/v1.0',
                'ST_USER': 'a:b',
                'ST_KEY': 'secret',
            },
            capture_output=True,
            check=False,
            text=True,
        )
        self.assertEqual('', done.stderr)
        return frozenset(json.loads(done.stdout))

    def test_a_command_for_a_directory(self) -> None:
        store = pathlib.Path(self.useFixture(fixtures.TempDir()).path, 'store')
        found = self.modules(_BEGIN, f'file://{store}')
        self.assertEqual(set(), found & (_NEVER | _FOR_SWIFT))

    def test_a_command_for_swift(self) -> None:
        found = self.modules(_BEGIN, 'swift:///backups')
        self.assertEqual(set(), found & _NEVER)
        self.assertEqual(_FOR_SWIFT, found & _FOR_SWIFT)

    def test_a_worker(self) -> None:
        found = self.modules(_WORKER)
        self.assertEqual(set(), found & (_NEVER | _FOR_SWIFT))
