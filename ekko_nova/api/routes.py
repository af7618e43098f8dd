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

"""Every operation of the API, once: routing, validation and documentation.

What is in no line of :data:`OPERATIONS` does not exist.
"""

from collections.abc import Callable
import dataclasses
import typing

from ekko_nova.api.handlers import backups as backup_handlers
from ekko_nova.api.handlers import listing
from ekko_nova.api.handlers import restores as restore_handlers
from ekko_nova.api.schemas import backups
from ekko_nova.api.schemas import base
from ekko_nova.api.schemas import restores

__all__ = ('OPERATIONS', 'Operation')


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """A method of a resource.

    :ivar path: with ``<uuid:backup>`` for the id of a backup
    :ivar rule: policy, without its prefix
    :ivar status: of the answer, if nothing goes wrong
    :ivar body: schema of the request's; ``None`` if it has none
    :ivar query: schema of each parameter
    :ivar answer: schema of the answer; ``None`` if there is nothing to say
    :ivar errors: statuses that it may answer with, besides 400, 401, 403,
        404, 406 and 500
    """

    method: str
    path: str
    handler: Callable[..., dict[str, typing.Any]]
    rule: str
    status: int
    body: base.Schema | None = None
    query: dict[str, base.Schema] = dataclasses.field(
        default_factory=lambda: backups.PROJECT
    )
    answer: base.Schema | None = None
    errors: tuple[int, ...] = ()


_ONE: typing.Final = '/backups/<uuid:backup>'

OPERATIONS: typing.Final = (
    Operation(
        'POST',
        '/backups',
        backup_handlers.create,
        'create',
        202,
        body=backups.CREATE,
        answer=backups.SHOWN,
        errors=(409, 503, 504),
    ),
    Operation(
        'GET',
        '/backups',
        listing.list_,
        'list',
        200,
        query=backups.LIST,
        answer=backups.LISTED,
        errors=(503,),
    ),
    Operation(
        'GET',
        _ONE,
        backup_handlers.show,
        'show',
        200,
        answer=backups.SHOWN,
        errors=(503,),
    ),
    Operation(
        'PATCH',
        _ONE,
        backup_handlers.update,
        'update',
        200,
        body=backups.UPDATE,
        answer=backups.SHOWN,
        errors=(409, 503),
    ),
    Operation(
        'DELETE',
        _ONE,
        backup_handlers.delete,
        'delete',
        202,
        errors=(409, 503, 504),
    ),
    Operation(
        'POST',
        f'{_ONE}/cancel',
        backup_handlers.cancel,
        'cancel',
        202,
        errors=(409, 503, 504),
    ),
    Operation(
        'POST',
        f'{_ONE}/verify',
        backup_handlers.verify,
        'verify',
        202,
        body=backups.VERIFY,
        answer=backups.SHOWN,
        errors=(409, 503, 504),
    ),
    Operation(
        'POST',
        f'{_ONE}/restore',
        restore_handlers.restore,
        'restore',
        202,
        body=restores.RESTORE,
        answer=restores.RESTORED,
        errors=(409, 503, 504),
    ),
    Operation(
        'POST',
        f'{_ONE}/servers',
        restore_handlers.create_server,
        'create_server',
        202,
        body=restores.CREATE_SERVER,
        answer=restores.SERVER,
        errors=(409, 413, 503),
    ),
    Operation(
        'POST',
        f'{_ONE}/images',
        restore_handlers.create_image,
        'create_image',
        202,
        body=restores.CREATE_IMAGE,
        answer=restores.IMAGE,
        errors=(409, 413, 503, 504),
    ),
    Operation(
        'POST',
        f'{_ONE}/force-delete',
        backup_handlers.force_delete,
        'force_delete',
        202,
        errors=(409, 503, 504),
    ),
    Operation(
        'POST',
        f'{_ONE}/reset-status',
        backup_handlers.reset_status,
        'reset_status',
        200,
        body=backups.RESET_STATUS,
        answer=backups.SHOWN,
        errors=(409, 503, 504),
    ),
)
