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

"""Limits on what a project keeps, by oslo.limit. Off unless configured.

Registered in Keystone for the service and region of Nova's own limits, since
nova-api has but one ``[oslo_limit]`` section:

=============================  =========================================
instance_backups               number of backups, whatever their status
instance_backup_gigabytes      GiB stored, rounded up; a new backup
                               counts as one until it is stored
=============================  =========================================
"""

from collections.abc import Callable
from collections.abc import Collection
import math
import typing

from oslo_limit import exception as limit_exception
from oslo_limit import limit
from oslo_log import log as logging
from oslo_utils import units

from ekko_nova.api import errors
from ekko_nova.backup import browse
from ekko_nova.backup import record as records

__all__ = ('COUNT', 'GIGABYTES', 'check')

LOG = logging.getLogger(__name__)

COUNT: typing.Final = 'instance_backups'
GIGABYTES: typing.Final = 'instance_backup_gigabytes'


def check(
    project: str, seen: Callable[[], Collection[browse.Seen]], more: int
) -> None:
    """See that a project may have so many more backups.

    :param seen: the backups it has
    :raises errors.ApiError: 403, it may not; 503, Keystone does not tell
    """

    def usage(_project: str | None, names: Collection[str]) -> dict[str, int]:
        has = seen()
        stored = sum(
            disk.stored_bytes for each in has for disk in each.record.disks
        )
        making = sum(
            each.record.status is records.Status.CREATING for each in has
        )
        found = {
            COUNT: len(has),
            GIGABYTES: math.ceil(stored / units.Gi) + making,
        }
        return {name: found[name] for name in names}

    try:
        limit.Enforcer(usage).enforce(project, {COUNT: more, GIGABYTES: more})
    except limit_exception.SessionInitError as e:
        LOG.warning('no limits are known: %s', e)
        raise errors.ApiError(
            503, 'QuotaUnknown', 'the limits are not known now; try again'
        ) from e
    except limit_exception.ProjectOverLimit as e:
        raise errors.ApiError(403, 'QuotaExceeded', str(e)) from e
