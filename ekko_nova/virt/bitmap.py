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

"""Our bitmaps: what they are called, and which of them an image has."""

import typing

from ekko_nova.virt import decision
from ekko_nova.virt import image

__all__ = ('PREFIX', 'name_of', 'of_image')

#: What the names of all our bitmaps and checkpoints begin with.
PREFIX: typing.Final = 'ekko-'


def name_of(backup: str) -> str:
    """The bitmap, and checkpoint, that begins with a backup."""
    return PREFIX + backup


def of_image(info: image.ImageInfo) -> tuple[decision.BitmapFacts, ...]:
    """The bitmaps of an image that nobody has open.

    Without those that hold a part of the changes only: of a running domain
    libvirt puts the parts together, of one that is shut off nobody does.
    """
    return tuple(
        decision.BitmapFacts(
            name=bitmap.name,
            granularity=bitmap.granularity,
            recording=bitmap.recording,
            persistent=True,
            inconsistent=bitmap.inconsistent,
        )
        for bitmap in info.bitmaps
        if not bitmap.partial
    )
