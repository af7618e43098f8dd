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

"""What goes wrong, as answers: a stable code, a text, and a request id.

::

    {"error": {"code": 409, "title": "Conflict", "name": "InstanceBusy",
               "message": "instance 5d3c… is active and …",
               "request_id": "req-…"}}

``name`` is what a program may rely on: one of those here, or the name of a
class of :mod:`ekko_nova.exception`.
"""

from http import HTTPStatus
import typing

from ekko_nova import exception

__all__ = ('ApiError', 'document', 'from_ekko')


class ApiError(Exception):
    """A request that is answered with an error.

    :ivar name: what kind, in a word
    """

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = HTTPStatus(status)
        self.name = name
        self.message = message


_STATUSES: typing.Final[dict[str, int]] = {
    'BackupNotFound': 404,
    'BitmapUnusable': 409,
    'Cancelled': 409,
    'FullNeeded': 409,
    'IllegalState': 409,
    'InProgress': 409,
    'InstanceBusy': 409,
    'InvalidOption': 400,
    'InvalidSource': 409,
    'NoAnswer': 504,
    'NotStarted': 409,
    'ServerNotFound': 404,
    'StoreUnavailable': 503,
}

#: What is said of those that would name a host.
_IN_WORDS: typing.Final[dict[str, str]] = {
    'BackupNotFound': 'no such backup',
    'NoAnswer': 'its compute host does not answer; what was asked may have '
    'begun all the same: look before you ask again',
    'NotStarted': 'its compute host cannot do this now; ask your operator',
}


def from_ekko(error: exception.EkkoError) -> ApiError:
    """The answer to one of our own errors.

    What an operator has to mend is not told to tenants in detail: it names
    hosts and stores.
    """
    name = type(error).__name__
    if isinstance(error, exception.Refused):
        name = error.kind
    status = _STATUSES.get(name, 500)
    return ApiError(status, name, _IN_WORDS.get(name) or _text(error, status))


def _text(error: exception.EkkoError, status: int) -> str:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return 'the backup store cannot do this now; ask your operator'
    return error.reason if isinstance(error, exception.Refused) else str(error)


def document(error: ApiError, request_id: str | None) -> dict[str, typing.Any]:
    """The body of the answer."""
    return {
        'error': {
            'code': error.status.value,
            'title': error.status.phrase,
            'name': error.name,
            'message': error.message,
            'request_id': request_id,
        }
    }
