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

"""Requests to the API, one method for each."""

import json
import time
import typing
from urllib import parse

from tempest.lib.common import rest_client
from tempest.lib import exceptions

__all__ = ('BackupsClient',)

_Body: typing.TypeAlias = dict[str, typing.Any]


class BackupsClient(rest_client.RestClient):
    """Of version 1."""

    api_version = 'v1'

    def create_backup(self, server_id: str, **wanted: object) -> _Body:
        """Have a backup taken."""
        body = {'backup': {'server_id': server_id, **wanted}}
        backup: _Body = self._post('backups', body, 202)['backup']
        return backup

    def list_backups(self, **query: object) -> list[_Body]:
        """Backups, newest first."""
        url = f'backups?{parse.urlencode(query)}' if query else 'backups'
        response, body = self.get(url)
        self.expected_success(200, response.status)
        backups: list[_Body] = json.loads(body)['backups']
        return backups

    def show_backup(self, backup: str) -> _Body:
        """A backup."""
        response, body = self.get(f'backups/{backup}')
        self.expected_success(200, response.status)
        shown: _Body = json.loads(body)['backup']
        return shown

    def update_backup(self, backup: str, **changes: object) -> _Body:
        """Change what a backup is called."""
        response, body = self.patch(
            f'backups/{backup}', json.dumps({'backup': changes})
        )
        self.expected_success(200, response.status)
        changed: _Body = json.loads(body)['backup']
        return changed

    def delete_backup(self, backup: str) -> None:
        """Have a backup deleted."""
        response, _ = self.delete(f'backups/{backup}')
        self.expected_success(202, response.status)

    def cancel_backup(self, backup: str) -> None:
        """Have a backup end."""
        self._post(f'backups/{backup}/cancel', None, 202)

    def verify_backup(self, backup: str, deep: bool = False) -> None:
        """Have a backup verified."""
        self._post(f'backups/{backup}/verify', {'verify': {'deep': deep}}, 202)

    def restore_backup(self, backup: str) -> str:
        """Have a server restored in place; returns its id."""
        body = self._post(f'backups/{backup}/restore', {'restore': {}}, 202)
        return str(body['server']['id'])

    def create_server(self, backup: str, **wanted: object) -> _Body:
        """Make a server of a backup."""
        body = self._post(f'backups/{backup}/servers', {'server': wanted}, 202)
        server: _Body = body['server']
        return server

    def create_image(self, backup: str, **wanted: object) -> str:
        """Make an image of a backup; returns its id."""
        body = self._post(f'backups/{backup}/images', {'image': wanted}, 202)
        return str(body['image']['id'])

    def _post(self, url: str, body: object, expected: int) -> _Body:
        response, answer = self.post(url, json.dumps(body) if body else '')
        self.expected_success(expected, response.status)
        result: _Body = json.loads(answer) if answer else {}
        return result

    # --- waiting

    def is_resource_deleted(self, id: str) -> bool:
        """What ``wait_for_resource_deletion`` asks again and again."""
        try:
            shown = self.show_backup(id)
        except exceptions.NotFound:
            return True
        deletion = shown['deletion'] or {}
        if deletion.get('status') == 'failed':
            raise exceptions.DeleteErrorException(
                resource_id=id, details=deletion['error']
            )
        return False

    @property
    def resource_type(self) -> str:
        """What messages call one."""
        return 'backup'

    def wait_for_backup(self, backup: str, status: str = 'available') -> _Body:
        """Wait until a backup is so; returns it."""
        return self._wait(
            backup,
            status,
            lambda shown: shown['status'],
            ('creating', 'deleting'),
        )

    def wait_for_work(self, backup: str, work: str) -> _Body:
        """Wait until a verification or an export is done."""
        return self._wait(
            backup,
            'done',
            lambda shown: shown[work]['status'],
            ('queued', 'running'),
        )

    def _wait(
        self,
        backup: str,
        wanted: str,
        status_of: typing.Callable[[_Body], str],
        passing: tuple[str, ...],
    ) -> _Body:
        deadline = time.monotonic() + self.build_timeout
        while time.monotonic() < deadline:
            shown = self.show_backup(backup)
            status = status_of(shown)
            if status == wanted:
                return shown
            if status not in passing:
                raise exceptions.UnexpectedResponseCode(
                    f'backup {backup} is {status}: {shown}'
                )
            time.sleep(self.build_interval)
        raise exceptions.TimeoutException(f'backup {backup} is not {wanted}')
