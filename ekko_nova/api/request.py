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

"""One request, as handlers see it."""

from collections.abc import Mapping
import dataclasses
import typing

from ekko_nova.api import errors
from ekko_nova.api import states
from ekko_nova.api import stores as stores_
from ekko_nova.api import views
from ekko_nova.backup import browse
from ekko_nova.backup import document
from ekko_nova.backup import notes

__all__ = ('Request', 'Services')


@dataclasses.dataclass(frozen=True, slots=True)
class Services:
    """What requests are served with.

    :ivar conf: Nova's configuration, with our sections
    :ivar cloud: a :class:`.cloud.Cloud`
    :ivar enforcer: of policies
    """

    conf: typing.Any
    stores: stores_.Stores
    cloud: typing.Any
    enforcer: typing.Any


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A request that is well-formed.

    :ivar context: Nova's, of who asks
    :ivar rule: the policy of the operation
    :ivar query: parameters
    :ivar body: what is in its one member
    :ivar base: URL of this version of the API
    """

    services: Services
    context: typing.Any
    rule: str
    query: Mapping[str, str]
    body: Mapping[str, typing.Any]
    base: str

    @property
    def stale_after(self) -> float:
        """Seconds without a sign of life that mean death."""
        seconds: float = self.services.conf.ekko.stale_after
        return seconds

    @property
    def project(self) -> str:
        """Whose backups it is about.

        :raises errors.ApiError: another's, which is not for everybody
        """
        own: str | None = self.context.project_id
        if own is None:
            raise errors.ApiError(
                403, 'Forbidden', 'ask with the token of a project'
            )
        project = self.query.get('project_id', own)
        if project != own and not self.may('instance_backup:all_projects'):
            raise errors.ApiError(
                403, 'Forbidden', 'only your own project is yours to see'
            )
        return project

    def may(self, rule: str, project: str | None = None) -> bool:
        """Whether who asks may do something, in a project."""
        target = {'project_id': project or self.context.project_id}
        return bool(self.services.enforcer.enforce(rule, target, self.context))

    def authorize(self, project: str | None = None) -> None:
        """See that who asks may do what they ask for.

        :raises errors.ApiError: 403
        """
        if not self.may(self.rule, project):
            raise errors.ApiError(
                403, 'Forbidden', f'policy {self.rule} does not allow it'
            )

    @property
    def browser(self) -> browse.Browser:
        """The backups of the project; of others, too, in a shared store."""
        return self.services.stores.of(self.project)

    def backup(self, backup: str) -> browse.Seen:
        """A backup of the project that who asks may do this with.

        :raises errors.ApiError: there is none; whether another project has
            it is not told
        """
        seen = self.browser.get(backup)
        owner = seen.record.project
        visible = owner == self.project or (
            'project_id' not in self.query
            and owner is not None
            and self.may('instance_backup:all_projects')
        )
        if not visible:
            raise errors.ApiError(404, 'BackupNotFound', 'no such backup')
        self.authorize(owner)
        return seen

    def status(self, seen: browse.Seen) -> states.Status:
        """What a backup is shown as."""
        return states.of(seen, self.stale_after)

    def require(
        self, seen: browse.Seen, wanted: str, *allowed: states.Status
    ) -> None:
        """See :func:`.states.require`."""
        states.require(seen, self.status(seen), wanted, *allowed)

    def shown(self, seen: browse.Seen) -> dict[str, typing.Any]:
        """The answer that shows a backup."""
        return {'backup': views.detail(seen, self.stale_after, self.base)}

    def again(self, seen: browse.Seen) -> dict[str, typing.Any]:
        """The answer that shows a backup as it has become."""
        return self.shown(self.browser.get(seen.record.id))

    def queued(self, **facts: typing.Any) -> document.Document:
        """A note that something waits for a compute host."""
        request_id = self.context.request_id
        return notes.work('queued', 0, request_id=request_id, **facts)
