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

"""What a controller needs, and what it does not."""

import subprocess
import sys
import typing

from tests import base

_SCRIPT: typing.Final = """
import sys
for name in ('libvirt', 'libvirt_qemu', 'nbd', 'guestfs'):
    sys.modules[name] = None
import ekko_nova.api.app
import ekko_nova.api.versions
"""


class ImportTest(base.TestCase):
    def test_no_hypervisor_is_needed(self) -> None:
        """nova-api runs where there is no libvirt."""
        done = subprocess.run(
            [sys.executable, '-c', _SCRIPT],
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertEqual(0, done.returncode, done.stderr)
