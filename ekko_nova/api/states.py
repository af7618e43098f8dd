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

"""What a backup is shown as, and what may be done with it then.

::

                    ┌─ cancel, reset-status ─┐
                    │                        ▼
    creating ───────┼──── failure ────────▶ error ──┐
        │                                    │      │ delete
        ▼               reset-status         │      ▼
    available ◀──────────────────────┐       │   deleting ──▶ (gone)
        │ ▲ │                        │       │      ▲  │
        │ │ └─ verify: damage found ─┴▶ damaged ────┘  │ failure: what it was
        │ └───────────────────────────────────────────┘
        └─ delete ──▶ deleting

The record knows of ``creating``, ``available``, ``deleting`` and ``error``.
``damaged`` is an available one of which the last verification found that it
does not restore. A deletion that waits for its turn is shown as ``deleting``.
"""

import datetime
import enum
import typing

from oslo_utils import timeutils

from ekko_nova.api import errors
from ekko_nova.backup import browse
from ekko_nova.backup import chain
from ekko_nova.backup import document
from ekko_nova.backup import notes
from ekko_nova.backup import record as records

__all__ = ('Status', 'goes_on', 'is_running', 'of', 'reason', 'require')

_WORKING: typing.Final = ('queued', 'running')


class Status(enum.StrEnum):
    """What users see."""

    CREATING = 'creating'
    AVAILABLE = 'available'
    DAMAGED = 'damaged'
    DELETING = 'deleting'
    ERROR = 'error'


def goes_on(note: document.Document | None, stale_after: float) -> bool:
    """Whether what a note tells of is waited for or done at this moment.

    :param stale_after: seconds without a sign of life that mean death
    """
    if note is None or note['status'] not in _WORKING:
        return False
    if note['status'] == 'queued':
        # It gives no signs of life meanwhile.
        stale_after = max(stale_after, chain.WAITING)
    since = datetime.datetime.fromisoformat(note['updated_at'])
    age = timeutils.utcnow(with_timezone=True) - since
    return age.total_seconds() <= stale_after


def is_running(note: document.Document | None, stale_after: float) -> bool:
    """Whether a host is known to be at what a note tells of.

    What waits for its turn may have been forgotten with its nova-compute; a
    host that has it in its queue knows, and refuses to have it twice.

    :param stale_after: see :func:`goes_on`
    """
    if note is None or note['status'] != 'running':
        return False
    return goes_on(note, stale_after)


def of(seen: browse.Seen, stale_after: float) -> Status:
    """What a backup is shown as."""
    record = seen.record
    if record.status is records.Status.CREATING:
        if chain.is_abandoned(record, stale_after):
            return Status.ERROR
        return Status.CREATING
    if goes_on(seen.notes.get('delete'), stale_after):
        return Status.DELETING
    if record.status is not records.Status.AVAILABLE:
        return Status(record.status.value)
    if notes.findings(seen.notes.get('verify')):
        return Status.DAMAGED
    return Status.AVAILABLE


def reason(seen: browse.Seen, status: Status) -> str | None:
    """Why a backup cannot be restored, if it cannot."""
    if status is Status.DAMAGED:
        found = notes.findings(seen.notes['verify'])
        return f'verification found {len(found)} damaged or missing objects'
    if status is Status.ERROR and seen.record.error is None:
        return 'its compute host has not been heard of for too long'
    return seen.record.error


def require(
    seen: browse.Seen, status: Status, wanted: str, *allowed: Status
) -> None:
    """See that something may be done now.

    :raises errors.ApiError: 409, with the present status
    """
    if status not in allowed:
        raise errors.ApiError(
            409,
            'IllegalState',
            f'backup {seen.record.id} is {status}; it must be '
            f'{" or ".join(allowed)} to {wanted}',
        )
