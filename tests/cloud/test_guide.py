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

"""A newcomer types what the user guide says, and sees what it shows."""

from tests.cloud import guide
from tests.cloud import onebox
from tests.cloud import projects


class GuideTest(onebox.CloudTestCase):
    def test_user_guide(self) -> None:
        [page] = guide.PAGES
        found = list(guide.commands(page.read_text()))
        self.assertGreater(len(found), 20)
        with projects.project() as project:
            for command in found:
                said = guide.run(command, project)
                self.assertEqual(
                    guide.normal(command.output),
                    guide.normal(said),
                    f'{page.name}:{command.line + 1}: {command.text}\n'
                    + '\n'.join(said),
                )
