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

"""The rule, over all that it can be asked."""

import dataclasses
import itertools
import typing

from ekko_nova.virt import decision
from tests import base

KI = 1024
MI = 1024 * KI
Reason = decision.FullReason

PARENT = decision.ParentFacts(
    identity='path:/a', bitmap='ekko-1', granularity=64 * KI, size=MI
)
BITMAP = decision.BitmapFacts(
    name='ekko-1',
    granularity=64 * KI,
    recording=True,
    persistent=True,
    inconsistent=False,
)
OTHER = dataclasses.replace(BITMAP, name='ekko-0')
DISK = decision.DiskFacts(
    identity='path:/a',
    format='qcow2',
    compat='1.1',
    data_file=False,
    size=MI,
    bitmaps=(OTHER, BITMAP),
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """One value of one input.

    :ivar change: what it makes different from the case that is incremental
    :ivar obstacle: why it forbids an incremental, if it does
    """

    part: str
    change: dict[str, typing.Any]
    obstacle: decision.FullReason | None


#: Every input with the values that matter; the first of each is harmless.
INPUTS = (
    (
        Choice('ask', {'requested': False}, None),
        Choice('ask', {'requested': True}, Reason.REQUESTED),
    ),
    (
        Choice('disk', {'identity': 'path:/a'}, None),
        Choice('disk', {'identity': 'path:/b'}, Reason.NOT_IN_PARENT),
    ),
    (
        Choice('disk', {'format': 'qcow2', 'compat': '1.1'}, None),
        Choice(
            'disk', {'format': 'qcow2', 'compat': '0.10'}, Reason.OLD_QCOW2
        ),
        Choice('disk', {'format': 'raw', 'compat': None}, Reason.NOT_QCOW2),
        Choice('disk', {'format': 'vmdk', 'compat': None}, Reason.NOT_QCOW2),
    ),
    (
        Choice('disk', {'data_file': False}, None),
        Choice('disk', {'data_file': True}, Reason.EXTERNAL_DATA_FILE),
    ),
    (
        Choice('disk', {'size': MI}, None),
        Choice('disk', {'size': MI + 512}, None),
        Choice('disk', {'size': MI - 512}, Reason.DISK_SHRUNK),
    ),
    (
        Choice('parent', {'bitmap': 'ekko-1'}, None),
        Choice('parent', {'bitmap': 'ekko-2'}, Reason.BITMAP_MISSING),
        Choice('parent', {'bitmap': None}, Reason.NO_BITMAP_IN_PARENT),
    ),
    (
        Choice('parent', {'granularity': 64 * KI}, None),
        Choice('parent', {'granularity': 4 * KI}, Reason.GRANULARITY_CHANGED),
        Choice('parent', {'granularity': None}, Reason.GRANULARITY_CHANGED),
    ),
    (
        Choice('bitmap', {'recording': True}, None),
        Choice('bitmap', {'recording': False}, Reason.BITMAP_NOT_RECORDING),
    ),
    (
        Choice('bitmap', {'persistent': True}, None),
        Choice('bitmap', {'persistent': False}, Reason.BITMAP_NOT_PERSISTENT),
    ),
    (
        Choice('bitmap', {'inconsistent': False}, None),
        Choice('bitmap', {'inconsistent': True}, Reason.BITMAP_INCONSISTENT),
    ),
)


def ask(choices: tuple[Choice, ...]) -> decision.Decision:
    changes: dict[str, dict[str, typing.Any]] = {}
    for choice in choices:
        changes.setdefault(choice.part, {}).update(choice.change)
    bitmap = dataclasses.replace(BITMAP, **changes['bitmap'])
    disk = dataclasses.replace(
        DISK, bitmaps=(OTHER, bitmap), **changes['disk']
    )
    parent = dataclasses.replace(PARENT, **changes['parent'])
    stranger = dataclasses.replace(PARENT, identity='path:/z')
    return decision.decide(disk, (stranger, parent), **changes['ask'])


class TestRule(base.TestCase):
    def test_every_combination(self) -> None:
        """One obstacle forbids an incremental, and is what is named."""
        incrementals = 0
        for choices in itertools.product(*INPUTS):
            obstacles = {each.obstacle for each in choices} - {None}
            found = ask(choices)
            if obstacles:
                self.assertIsNone(found.bitmap, str(choices))
                self.assertIn(found.reason, obstacles, str(choices))
            else:
                self.assertEqual(
                    decision.Decision('ekko-1', None), found, str(choices)
                )
                incrementals += 1
        # As it was, and grown.
        self.assertEqual(2, incrementals)

    def test_no_parent(self) -> None:
        self.assertEqual(
            decision.Decision(None, Reason.NO_PARENT),
            decision.decide(DISK, None),
        )

    def test_parent_without_disks(self) -> None:
        self.assertEqual(
            decision.Decision(None, Reason.NOT_IN_PARENT),
            decision.decide(DISK, ()),
        )

    def test_no_bitmaps(self) -> None:
        disk = dataclasses.replace(DISK, bitmaps=())
        self.assertEqual(
            decision.Decision(None, Reason.BITMAP_MISSING),
            decision.decide(disk, (PARENT,)),
        )

    def test_swapped_disks(self) -> None:
        """Both have the bitmap; each is measured by its own past."""
        grown = decision.ParentFacts('path:/b', 'ekko-1', 64 * KI, 2 * MI)
        other = dataclasses.replace(DISK, identity='path:/b')
        parents = (PARENT, grown)
        self.assertEqual('ekko-1', decision.decide(DISK, parents).bitmap)
        self.assertEqual(
            Reason.DISK_SHRUNK, decision.decide(other, parents).reason
        )

    def test_who_can_keep_a_bitmap(self) -> None:
        cases: tuple[tuple[bool, dict[str, typing.Any]], ...] = (
            (True, {}),
            (False, {'format': 'raw', 'compat': None}),
            (False, {'compat': '0.10'}),
            (False, {'data_file': True}),
        )
        for expected, change in cases:
            disk = dataclasses.replace(DISK, **change)
            self.assertEqual(expected, disk.can_keep_bitmap, str(change))

    def test_words_are_for_good(self) -> None:
        """They stand in records: a new one may come, none may change."""
        self.assertEqual(
            {
                'requested',
                'no_parent',
                'not_in_parent',
                'not_qcow2',
                'old_qcow2',
                'external_data_file',
                'no_bitmap_in_parent',
                'bitmap_missing',
                'bitmap_inconsistent',
                'bitmap_not_recording',
                'bitmap_not_persistent',
                'granularity_changed',
                'disk_shrunk',
                'bitmap_refused',
            },
            set(Reason),
        )
