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


"""What libvirt says of its host."""

from ekko_nova.virt import capabilities
from tests import base

HOST = '<capabilities><host>{}</host></capabilities>'
DAC = (
    '<secmodel><model>dac</model><doi>0</doi>'
    "<baselabel type='kvm'>{0}</baselabel>"
    "<baselabel type='qemu'>{0}</baselabel></secmodel>"
)


class QemuUserTest(base.TestCase):
    def user(self, *models: str) -> int | None:
        return capabilities.qemu_user(HOST.format(''.join(models)))

    def test_debian(self) -> None:
        apparmor = '<secmodel><model>apparmor</model></secmodel>'
        self.assertEqual(64055, self.user(apparmor, DAC.format('+64055:+108')))

    def test_root(self) -> None:
        self.assertEqual(0, self.user(DAC.format('+0:+0')))

    def test_libvirt_leaves_it_alone(self) -> None:
        self.assertIsNone(self.user())
        self.assertIsNone(self.user('<secmodel><model>dac</model></secmodel>'))
