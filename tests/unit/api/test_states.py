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

"""What status a backup is shown with."""

import dataclasses
import datetime
import itertools
import typing
import uuid

from oslo_utils import timeutils

from ekko_nova.api import errors
from ekko_nova.api import states
from ekko_nova.backup import browse
from ekko_nova.backup import process
from ekko_nova.backup import record as records
from tests import base

_STALE: typing.Final = 60.0
_SHOWN: typing.Final = states.Status


def _seen(
    status: str,
    notes: typing.Mapping[str, typing.Mapping[str, typing.Any]] | None = None,
    age: float = 0,
    maker: process.Process = process.NOBODY,
) -> browse.Seen:
    at = timeutils.utcnow(with_timezone=True)
    at -= datetime.timedelta(seconds=age)
    request = records.Request(str(uuid.uuid4()), known=True)
    record = dataclasses.replace(
        records.begun('a-server', request, maker=maker),
        status=records.Status(status),
        updated_at=at,
    )
    dated = {
        kind: {'updated_at': at.isoformat(), **note}
        for kind, note in (notes or {}).items()
    }
    return browse.Seen(record, dated)


class StatusTest(base.TestCase):
    def test_of_the_record(self) -> None:
        for status in ('creating', 'available', 'deleting', 'error'):
            self.assertEqual(status, states.of(_seen(status), _STALE))

    def test_waiting_takes_as_long_as_it_takes(self) -> None:
        seen = _seen('creating', age=20 * _STALE)
        self.assertEqual(_SHOWN.CREATING, states.of(seen, _STALE))
        forgotten = _seen('creating', age=86401)
        self.assertEqual(_SHOWN.ERROR, states.of(forgotten, _STALE))

    def test_a_maker_that_is_not_heard_of(self) -> None:
        elsewhere = process.Process('another-host', 'boot', 1, 1)
        seen = _seen('creating', age=_STALE + 1, maker=elsewhere)
        self.assertEqual(_SHOWN.ERROR, states.of(seen, _STALE))
        self.assertIn(
            'not been heard', states.reason(seen, _SHOWN.ERROR) or ''
        )

    def test_a_deletion_that_waits(self) -> None:
        for status, note, age, shown in (
            ('available', 'queued', 0, 'deleting'),
            ('error', 'running', 0, 'deleting'),
            ('available', 'failed', 0, 'available'),
            ('available', 'running', _STALE + 1, 'available'),
            ('error', 'running', _STALE + 1, 'error'),
            # It gives no signs of life while others have their turns.
            ('available', 'queued', 20 * _STALE, 'deleting'),
            ('available', 'queued', 86401, 'available'),
            # Its maker's word counts until it has ended.
            ('creating', 'queued', 0, 'creating'),
        ):
            seen = _seen(status, {'delete': {'status': note}}, age)
            self.assertEqual(
                shown, states.of(seen, _STALE), f'{status} {note}'
            )

    def test_what_is_done_by_nobody_can_be_asked_for_again(self) -> None:
        for status, age, running in (
            ('running', 0, True),
            ('running', _STALE + 1, False),
            ('queued', 0, False),
            ('failed', 0, False),
            ('done', 0, False),
        ):
            note = _seen('available', {'delete': {'status': status}}, age)
            self.assertEqual(
                running,
                states.is_running(note.notes['delete'], _STALE),
                f'{status} {age}',
            )
        self.assertFalse(states.is_running(None, _STALE))

    def test_damage(self) -> None:
        damage = {'status': 'done', 'findings': ['an object is missing']}
        for status, found, shown in (
            ('available', damage, 'damaged'),
            ('available', {'status': 'done', 'findings': []}, 'available'),
            ('available', {'status': 'failed'}, 'available'),
            ('deleting', damage, 'deleting'),
            ('error', damage, 'error'),
        ):
            seen = _seen(status, {'verify': found})
            self.assertEqual(shown, states.of(seen, _STALE))
        self.assertIn(
            'found 1 ',
            states.reason(
                _seen('available', {'verify': damage}), _SHOWN.DAMAGED
            )
            or '',
        )


class RequireTest(base.TestCase):
    def test_every_pair(self) -> None:
        seen = _seen('available')
        for now, allowed in itertools.product(_SHOWN, _SHOWN):
            if now is allowed:
                states.require(seen, now, 'be looked at', allowed)
                continue
            error = self.assertRaises(
                errors.ApiError,
                states.require,
                *(seen, now, 'be looked at', allowed),
            )
            self.assertEqual((409, 'IllegalState'), (error.status, error.name))
            self.assertIn(f'is {now}; it must be {allowed}', error.message)
