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

"""Carriers: images that stand for a backup, so that a server is made from it.

A carrier is an image as small as can be, with two properties. One has the
scheduler choose a host that has ekko-nova; the other names the backup and the
carrier itself, because images that Nova makes of the server have its
properties too, and are no carriers.
"""

import typing

__all__ = ('BACKUP', 'TRAIT', 'backup_of', 'properties')

#: What Placement knows a host with ekko-nova by.
TRAIT: typing.Final = 'CUSTOM_EKKO_NOVA'

BACKUP: typing.Final = 'ekko_backup'


def properties(backup: str, image: str) -> dict[str, str]:
    """The properties that make an image a carrier.

    :param image: its id
    """
    return {f'trait:{TRAIT}': 'required', BACKUP: f'{backup} {image}'}


def backup_of(instance: typing.Any) -> str | None:
    """The backup that the image of an instance stands for, if it does."""
    value = instance.system_metadata.get(f'image_{BACKUP}', '')
    backup, _, image = value.partition(' ')
    return backup if image and image == instance.image_ref else None
