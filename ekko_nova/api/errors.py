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


#: What a host refuses to work on that Nova has deleted meanwhile.
_NO_SERVER: typing.Final = 'ServerNotFound'

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
    _NO_SERVER: 404,
    'StoreUnavailable': 503,
}


def from_ekko(error: exception.EkkoError) -> ApiError:
    """The answer to one of our own errors.

    Its text is what tenants are told, see :func:`ekko_nova.exception.told`.
    """
    name = type(error).__name__
    if isinstance(error, exception.Refused):
        name = error.kind
    text = exception.told(error)
    if name == _NO_SERVER:
        # None of ours, and nothing but the server is named.
        text = 'there is no such server'
    return ApiError(_STATUSES.get(name, 500), name, text)


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
