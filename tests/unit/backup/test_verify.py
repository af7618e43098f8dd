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

"""What is remembered of verifications."""

from ekko_nova.backup import document
from ekko_nova.backup import verify
from tests import base


def finding(disk: str, number: int) -> verify.Finding:
    return verify.Finding(disk, f'object-{number}', 'a rule', 0, 512)


def known(*findings: verify.Finding) -> list[document.Document]:
    return verify.still_known((), findings, deep=True)


class StillKnownTest(base.TestCase):
    def test_a_quick_one_adds_and_a_deep_one_replaces(self) -> None:
        one, two = finding('vda', 1), finding('vda', 2)
        for deep, expected in ((False, known(one, two)), (True, known(two))):
            self.assertEqual(
                expected, verify.still_known(known(one), [two], deep=deep)
            )

    def test_nothing_is_there_twice(self) -> None:
        one = finding('vda', 1)
        self.assertEqual(
            known(one), verify.still_known(known(one), [one], deep=False)
        )

    def test_many_of_a_disk_do_not_hide_another(self) -> None:
        many = [finding('vda', number) for number in range(1000)]
        other = finding('vdb', 1)
        for found in (
            known(*many, other),
            verify.still_known(known(other), many, deep=False),
        ):
            self.assertEqual(verify.MOST_FINDINGS + 1, len(found))
            self.assertIn(known(other)[0], found)
