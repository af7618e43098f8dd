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

"""The backups of each project, kept open from request to request."""

from collections.abc import Iterator
import contextlib
import functools
import typing

from oslo_log import log as logging

from ekko_nova.api import errors
from ekko_nova.backup import browse
from ekko_nova.backup.store import retry
from ekko_nova.compute import stores
from ekko_nova.conf import ekko_swift
from ekko_nova import exception

__all__ = ('Stores',)

LOG = logging.getLogger(__name__)

#: Stores that are kept open at most.
_OPEN: typing.Final = 64
#: A request holds a thread of nova-api, which has few: somebody who waits
#: tries again, and all of Nova's API is not to wait with them.
_PATIENCE: typing.Final = retry.Policy(attempts=2, longest_wait=1.0)
_TIMEOUT_SECONDS: typing.Final = 10


class Stores:
    """Where requests find backups.

    :param conf: Nova's, with our sections
    """

    def __init__(self, conf: typing.Any) -> None:
        self._conf = conf
        self._environment = ekko_swift.environment(conf)
        if 'OS_TIMEOUT' in self._environment:
            seconds = min(
                float(self._environment['OS_TIMEOUT']), _TIMEOUT_SECONDS
            )
            self._environment['OS_TIMEOUT'] = f'{seconds:g}'
        self.shared = stores.is_shared(conf)
        self._browser = functools.lru_cache(_OPEN)(self._open)

    def of(self, project: str) -> browse.Browser:
        """The backups of a project; of others, too, if the store is shared.

        :raises errors.ApiError: no store is configured, or not a usable one
        """
        return self._browser(None if self.shared else project)

    def all(self) -> Iterator[browse.Browser]:
        """The backups of all projects, one store after the other."""
        if self.shared:
            yield self._browser(None)
            return
        for project in stores.projects(self._conf, self._environment):
            yield self._browser(project)

    def _open(self, project: str | None) -> browse.Browser:
        # Never closed: some request may be at it. What holds connections
        # gives them back when it is collected as garbage.
        stack = contextlib.ExitStack()
        try:
            catalog = stack.enter_context(
                stores.open_catalog(
                    self._conf, self._environment, project, _PATIENCE
                )
            )
        except exception.InvalidOption as e:
            LOG.error('the store cannot be opened: %s', e)
            raise errors.ApiError(
                500,
                'StoreUnusable',
                'the backup store is not set up; ask your operator',
            ) from e
        return browse.Browser(catalog)
