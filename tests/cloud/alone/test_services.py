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

from tests.cloud import onebox


class ServicesTest(onebox.CloudTestCase):
    def test_nova_compute_is_restarted(self) -> None:
        onebox.restart('nova-compute-c1', kill=True)

        server = self.create_server(host='c1')
        self.assertEqual('c1', server.host)
