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

"""What the API lists: filtered, sorted, and a page at a time."""

from collections.abc import Iterator
from collections.abc import Sequence
import datetime
import typing
from urllib import parse

from ekko_nova.api import errors
from ekko_nova.api import request as requests
from ekko_nova.api import views
from ekko_nova.backup import browse

__all__ = ('list_',)


def list_(request: requests.Request) -> dict[str, typing.Any]:
    """List backups, a page at a time."""
    project = None if _wants_all(request) else request.project
    request.authorize(project)
    query = request.query
    found: list[dict[str, typing.Any]] = []
    for browser in _browsers(request, project):
        if 'server' in query:
            seen = browser.of(query['server'])
        else:
            seen = browser.all()
        found.extend(
            views.summary(each, request.stale_after, request.base)
            for each in seen
            if each.record.project is not None
            and project in (None, each.record.project)
        )
    found = _sorted(_filtered(found, query), query)
    limit = min(
        int(query.get('limit', request.services.conf.api.max_limit)),
        request.services.conf.api.max_limit,
    )
    page, more = _page(found, query.get('marker'), limit)
    return {
        'backups': page,
        'backups_links': _next(request, page) if page and more else [],
    }


def _wants_all(request: requests.Request) -> bool:
    if request.query.get('all_projects') != 'true':
        return False
    if not request.may('instance_backup:all_projects'):
        raise errors.ApiError(
            403, 'Forbidden', 'only administrators see all projects'
        )
    return 'project_id' not in request.query


def _browsers(
    request: requests.Request, project: str | None
) -> Iterator[browse.Browser]:
    stores = request.services.stores
    if project is not None:
        yield stores.of(project)
    else:
        yield from stores.all()


def _filtered(
    found: list[dict[str, typing.Any]], query: typing.Mapping[str, str]
) -> list[dict[str, typing.Any]]:
    for name, key in (
        ('server', 'server_id'),
        ('status', 'status'),
        ('name', 'name'),
    ):
        if name in query:
            found = [each for each in found if each[key] == query[name]]
    if 'since' in query:
        since = _moment(query['since'])
        found = [
            each
            for each in found
            if datetime.datetime.fromisoformat(each['created_at']) >= since
        ]
    return found


def _moment(text: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as e:
        raise errors.ApiError(
            400,
            'InvalidRequest',
            f'parameter since: write a time such as 2026-11-20T18:00:00Z, '
            f'not {text!r}',
        ) from e
    # What has no zone is taken for UTC.
    return moment.replace(tzinfo=moment.tzinfo or datetime.UTC)


def _sorted(
    found: list[dict[str, typing.Any]], query: typing.Mapping[str, str]
) -> list[dict[str, typing.Any]]:
    # Sorting is stable, so the least of the keys goes first.
    found.sort(key=lambda each: each['id'])
    for part in reversed(query.get('sort', 'created_at:desc').split(',')):
        key, _, direction = part.partition(':')
        found.sort(
            key=lambda each: (
                (each[key] is not None, each[key] or 0)
                if key in ('size', 'stored_bytes')
                else (each[key] is not None, each[key] or '')
            ),
            reverse=direction == 'desc',
        )
    return found


def _page(
    found: Sequence[dict[str, typing.Any]], marker: str | None, limit: int
) -> tuple[list[dict[str, typing.Any]], bool]:
    first = 0
    if marker is not None:
        ids = [each['id'] for each in found]
        if marker not in ids:
            raise errors.ApiError(
                400, 'MarkerNotFound', f'there is no backup {marker} here'
            )
        first = ids.index(marker) + 1
    return list(found[first : first + limit]), len(found) > first + limit


def _next(
    request: requests.Request, page: Sequence[dict[str, typing.Any]]
) -> list[dict[str, str]]:
    query = {**request.query, 'marker': page[-1]['id']}
    href = f'{request.base}/backups?{parse.urlencode(query)}'
    return [{'rel': 'next', 'href': href}]
