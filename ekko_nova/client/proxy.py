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

"""What a program can do with backups."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import time
import typing

from openstack import exceptions
from openstack import proxy
from oslo_utils import uuidutils

from ekko_nova.client import backup as backup_
from ekko_nova.client import patience

__all__ = ('Proxy', 'Restore')

_Backup: typing.TypeAlias = backup_.Backup

#: Seconds between two questions.
_INTERVAL: typing.Final = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Restore:
    """A restore in place that has begun.

    :ivar request_id: by which it is found among the actions of the server
    """

    server_id: str
    request_id: str


class Proxy(proxy.Proxy):
    """``connection.instance_backup``.

    Backups are those of the project that the connection is for. To an
    administrator ``project_id`` names another one.
    """

    # --- backups

    def create_backup(self, **attributes: typing.Any) -> _Backup:
        """Have a backup taken; it goes on when this returns.

        :param attributes: ``server_id``, and perhaps ``name``,
            ``description``, ``metadata``, ``quiesce``, and ``type``: auto,
            full or incremental
        """
        return self._create(_Backup, **attributes)

    def backups(self, **query: typing.Any) -> Iterator[_Backup]:
        """The backups of the project, newest first.

        :param query: ``server_id``, ``status``, ``name``, ``since``,
            ``sort`` (such as ``size:desc``), ``limit`` (of a page); for
            administrators ``all_projects`` and ``project_id``
        """
        yield from self._list(_Backup, **query)

    def get_backup(
        self, backup: str | _Backup, *, project_id: str | None = None
    ) -> _Backup:
        """A backup with all that is known of it.

        :raises exceptions.NotFoundException: there is none
        """
        return self._known(backup).fetch(
            self,
            error_message=f'No backup found for {_id(backup)!r}',
            **_query(project_id),
        )

    def find_backup(
        self,
        name_or_id: str,
        ignore_missing: bool = True,
        *,
        project_id: str | None = None,
    ) -> _Backup | None:
        """A backup by its name or id.

        :raises exceptions.DuplicateResource: several have that name; which
        """
        try:
            return self.get_backup(name_or_id, project_id=project_id)
        except exceptions.NotFoundException:
            found = self._named(name_or_id, project_id)
            if found is None and not ignore_missing:
                raise
        return found

    def _named(self, name: str, project_id: str | None) -> _Backup | None:
        # None is called nothing.
        query = {'name': name, **_query(project_id)}
        found = list(self.backups(**query)) if name else []
        if len(found) > 1:
            ids = ', '.join(each.id for each in found)
            raise exceptions.DuplicateResource(
                f'{len(found)} backups have the name {name!r}: {ids}'
            )
        return found[0] if found else None

    def update_backup(
        self,
        backup: str | _Backup,
        *,
        project_id: str | None = None,
        **attributes: typing.Any,
    ) -> _Backup:
        """Change ``name``, ``description`` or ``metadata``."""
        changed = self._known(backup, **attributes)
        return changed.commit(self, params=_query(project_id))

    def delete_backup(
        self,
        backup: str | _Backup,
        ignore_missing: bool = True,
        force: bool = False,
        *,
        project_id: str | None = None,
    ) -> None:
        """Have a backup deleted; it goes on when this returns.

        :param force: although its compute host is lost; for administrators
        """
        try:
            if force:
                self._act(backup, 'force-delete', project_id=project_id)
            else:
                self._known(backup).delete(self, params=_query(project_id))
        except exceptions.NotFoundException:
            if not ignore_missing:
                raise

    def cancel_backup(
        self, backup: str | _Backup, *, project_id: str | None = None
    ) -> None:
        """Have a backup end that is being taken."""
        self._act(backup, 'cancel', project_id=project_id)

    def verify_backup(
        self,
        backup: str | _Backup,
        deep: bool = False,
        *,
        project_id: str | None = None,
    ) -> None:
        """Have a backup verified; it goes on when this returns.

        :param deep: read every byte, not names and sizes only
        """
        self._act(backup, 'verify', {'verify': {'deep': deep}}, project_id)

    def reset_backup_status(
        self,
        backup: str | _Backup,
        status: str,
        *,
        project_id: str | None = None,
    ) -> None:
        """Change what status it is shown with; for administrators."""
        body = {'reset_status': {'status': status}}
        self._act(backup, 'reset-status', body, project_id)

    # --- what is made of them

    def restore_backup(
        self, backup: str | _Backup, *, project_id: str | None = None
    ) -> Restore:
        """Put the disks of its server back to what it holds."""
        response = self._act(backup, 'restore', {'restore': {}}, project_id)
        return Restore(
            response.json()['server']['id'],
            response.headers['x-openstack-request-id'],
        )

    def create_server_from_backup(
        self, backup: str | _Backup, **attributes: typing.Any
    ) -> dict[str, typing.Any]:
        """Make a new server; it is being built when this returns.

        :param attributes: as in the body of Nova's ``POST /servers``, such as
            ``name``, ``flavorRef`` and ``networks``
        :returns: ``id``, ``image_id`` and ``admin_password``
        """
        response = self._act(backup, 'servers', {'server': attributes})
        server: dict[str, typing.Any] = response.json()['server']
        return server

    def create_image_from_backup(
        self, backup: str | _Backup, **attributes: typing.Any
    ) -> str:
        """Make an image; its data is on its way when this returns.

        :param attributes: ``name``, and perhaps ``disk`` and ``properties``
        :returns: its id
        """
        response = self._act(backup, 'images', {'image': attributes})
        return str(response.json()['image']['id'])

    # --- waiting

    def wait_for_backup(
        self,
        backup: str | _Backup,
        progress: Callable[[int], None] | None = None,
        timeout: float = float('inf'),
        *,
        project_id: str | None = None,
    ) -> _Backup:
        """Wait until a backup is available.

        :param progress: told the percentage now and then
        :param timeout: seconds
        :raises exceptions.ResourceFailure: it failed; why
        """
        for now in self._looks(backup, timeout, project_id):
            if progress is not None:
                progress(now.progress or 0)
            if now.status == 'available':
                return now
            # What failed is removed first, and listed as an error then.
            if now.status not in ('creating', 'deleting'):
                raise exceptions.ResourceFailure(
                    f'backup {now.id} is {now.status}: {now.error}'
                )
        raise _too_long(f'backup {_id(backup)}')

    def wait_for_backup_deleted(
        self,
        backup: str | _Backup,
        timeout: float = float('inf'),
        *,
        project_id: str | None = None,
    ) -> None:
        """Wait until a backup is gone.

        :raises exceptions.ResourceFailure: it cannot be deleted; why
        """
        with contextlib.suppress(exceptions.NotFoundException):
            for now in self._looks(backup, timeout, project_id):
                if (now.deletion or {}).get('status') == 'failed':
                    raise exceptions.ResourceFailure(
                        f'backup {now.id} is not deleted: '
                        f'{now.deletion["error"]}'
                    )
            raise _too_long(f'the deletion of backup {_id(backup)}')

    def wait_for_verification(
        self,
        backup: str | _Backup,
        progress: Callable[[int], None] | None = None,
        timeout: float = float('inf'),
        *,
        project_id: str | None = None,
    ) -> list[dict[str, typing.Any]]:
        """Wait until a backup is verified; returns what is wrong with it.

        :raises exceptions.ResourceFailure: it could not be verified; why
        """
        work = self._wait_for(
            backup, 'verification', progress, timeout, project_id
        )
        findings: list[dict[str, typing.Any]] = work['findings']
        return findings

    def wait_for_export(
        self,
        backup: str | _Backup,
        progress: Callable[[int], None] | None = None,
        timeout: float = float('inf'),
    ) -> str:
        """Wait until a backup is an image; returns the id of that.

        :raises exceptions.ResourceFailure: it could not be made; why
        """
        work = self._wait_for(backup, 'export', progress, timeout)
        return str(work['image_id'])

    def _wait_for(
        self,
        backup: str | _Backup,
        work: str,
        progress: Callable[[int], None] | None,
        timeout: float,
        project_id: str | None = None,
    ) -> dict[str, typing.Any]:
        for now in self._looks(backup, timeout, project_id):
            state: dict[str, typing.Any] = getattr(now, work) or {}
            if progress is not None:
                progress(state.get('percent') or 0)
            match state.get('status'):
                case 'done':
                    return state
                case 'failed' | None:
                    raise exceptions.ResourceFailure(
                        f'{work} of backup {now.id} failed: '
                        f'{state.get("error")}'
                    )
        raise _too_long(f'{work} of backup {_id(backup)}')

    def _looks(
        self, backup: str | _Backup, timeout: float, project_id: str | None
    ) -> Iterator[_Backup]:
        def ask() -> _Backup:
            return self.get_backup(_id(backup), project_id=project_id)

        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            yield patience.look(ask, min(left, patience.PATIENCE))
            if time.monotonic() > deadline:
                return
            time.sleep(_INTERVAL)

    def _act(
        self,
        backup: str | _Backup,
        verb: str,
        body: typing.Any = None,
        project_id: str | None = None,
    ) -> typing.Any:
        return self._known(backup).act(self, verb, body, _query(project_id))

    def _known(
        self, backup: str | _Backup, **attributes: typing.Any
    ) -> _Backup:
        """A backup that has an id.

        :raises exceptions.NotFoundException: in a URL it would be the list, a
            parameter, or another path
        """
        if not uuidutils.is_uuid_like(_id(backup)):
            raise exceptions.NotFoundException(
                f'No backup found for {_id(backup)!r}'
            )
        return self._get_resource(_Backup, backup, **attributes)


def _id(backup: str | _Backup) -> str:
    return backup if isinstance(backup, str) else str(backup.id)


def _query(project_id: str | None) -> dict[str, typing.Any]:
    return {} if project_id is None else {'project_id': project_id}


def _too_long(what: str) -> Exception:
    return exceptions.ResourceTimeout(f'{what} takes too long')
