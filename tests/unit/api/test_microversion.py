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

"""Which version a request speaks."""

from ekko_nova.api import errors
from ekko_nova.api import microversion
from tests import base


class RequestedTest(base.TestCase):
    def test_lowest_unless_said(self) -> None:
        for header in (None, '', 'compute 2.96', 'compute latest, volume 3.0'):
            self.assertEqual(
                (1, 0), microversion.requested(header), str(header)
            )

    def test_among_those_of_others(self) -> None:
        for header in (
            'instance-backup 1.0',
            'Instance-Backup latest',
            'compute 2.1, instance-backup  1.0',
        ):
            self.assertEqual((1, 0), microversion.requested(header), header)

    def test_refused(self) -> None:
        for status, version in (
            (400, ''),
            (400, 'one'),
            (400, '1'),
            (400, '1.0.0'),
            (400, '-1.0'),
            (406, '0.9'),
            (406, '1.1'),
            (406, '9999.0'),
        ):
            error = self.assertRaises(
                errors.ApiError,
                microversion.requested,
                f'instance-backup {version}',
            )
            self.assertEqual(status, error.status, version)
