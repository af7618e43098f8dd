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

from defusedxml import ElementTree

__all__ = ('qemu_user',)


def qemu_user(xml: str) -> int | None:
    """The user that guests run as; ``None`` if libvirt does not change it.

    ::

        <capabilities><host> … <secmodel><model>dac</model>
          <baselabel type='kvm'>+64055:+108</baselabel>

    becomes 64055.
    """
    root = ElementTree.fromstring(xml)
    for model in root.iterfind('./host/secmodel'):
        if model.findtext('model') != 'dac':
            continue
        label = model.findtext('baselabel') or ''
        user = label.partition(':')[0]
        if user.startswith('+'):
            return int(user)
    return None
