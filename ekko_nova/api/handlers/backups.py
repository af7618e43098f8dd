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

"""Take, list, show, change, delete, cancel and verify backups."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import typing

from ekko_nova.api import errors
from ekko_nova.api import quotas
from ekko_nova.api import request as requests
from ekko_nova.api import states
from ekko_nova.api import views
from ekko_nova.backup import browse
from ekko_nova.backup import chain
from ekko_nova.backup import discard
from ekko_nova.backup import notes as notes_
from ekko_nova.backup import process
from ekko_nova.backup import record as records
from ekko_nova.compute import names
from ekko_nova import exception

__all__ = (
    'cancel',
    'create',
    'delete',
    'force_delete',
    'noted',
    'reset_status',
    'show',
    'undone_if_refused',
    'update',
    'verify',
)

_Answer: typing.TypeAlias = dict[str, typing.Any]

_LABELS: typing.Final = ('name', 'description', 'metadata')


def create(request: requests.Request) -> _Answer:
    """Have a backup of a server taken."""
    request.authorize(request.project)
    body = request.body
    cloud = request.services.cloud
    instance = cloud.instance(request.context, body['server_id'])
    project = instance.project_id
    request.authorize(project)
    browser = request.services.stores.of(project)
    _check_quotas(request, browser, project, more=1)
    labels = {name: body[name] for name in _LABELS if name in body}
    # Before the host is asked: whoever was told the id can look it up.
    record = records.begun(
        instance.uuid,
        records.Request(
            names.new_backup(),
            known=True,
            instance={
                'project_id': project,
                'display_name': instance.display_name,
            },
            labels=records.Labels(**labels),
        ),
        maker=process.NOBODY,
    )
    browser.catalog.announce(record)
    kind = body.get('type', 'auto')
    with undone_if_refused(lambda: _withdraw(browser, record)):
        # Others may have been announced at the same time.
        _check_quotas(request, browser, project, more=0)
        cloud.hosts.create_backup(
            request.context,
            instance,
            record.id,
            full=kind == 'full',
            incremental=kind == 'incremental',
            quiesce=body.get('quiesce'),
            labels=labels,
        )
    return request.shown(browse.Seen(record, {}))


def _withdraw(browser: browse.Browser, record: records.Record) -> None:
    """Forget what was announced, if nobody has taken it up."""
    with contextlib.suppress(exception.EkkoError):
        now = browser.catalog.find(record.server, record.id)
        if now is None or now == record:
            browser.catalog.remove(record)


def _check_quotas(
    request: requests.Request,
    browser: browse.Browser,
    project: str,
    *,
    more: int,
) -> None:
    def seen() -> list[browse.Seen]:
        return [
            seen for seen in browser.all() if seen.record.project == project
        ]

    if request.services.conf.ekko.enforce_quotas:
        quotas.check(project, seen, more)


def show(request: requests.Request, backup: str) -> _Answer:
    """Show a backup."""
    return request.shown(request.backup(backup))


def update(request: requests.Request, backup: str) -> _Answer:
    """Change what a backup is called."""
    seen = request.backup(backup)
    request.require(
        seen,
        'be changed',
        states.Status.AVAILABLE,
        states.Status.CREATING,
        states.Status.DAMAGED,
        states.Status.ERROR,
    )
    changes = {
        name: request.body[name] for name in _LABELS if name in request.body
    }
    labels = dataclasses.replace(views.labels(seen), **changes)
    catalog = request.browser.catalog
    record = seen.record
    catalog.notes.put(
        record.server, record.id, 'labels', dataclasses.asdict(labels)
    )
    if catalog.find(record.server, record.id) is None:
        # It was deleted meanwhile: nothing is to be left of it.
        catalog.notes.remove(record.server, record.id)
    return request.again(seen)


def delete(request: requests.Request, backup: str) -> _Answer:
    """Have a backup deleted."""
    return _delete(request, request.backup(backup), force=False)


def force_delete(request: requests.Request, backup: str) -> _Answer:
    """Have a backup deleted whose compute host is lost."""
    return _delete(request, request.backup(backup), force=True)


def _delete(
    request: requests.Request, seen: browse.Seen, *, force: bool
) -> _Answer:
    allowed = [
        states.Status.AVAILABLE,
        states.Status.DAMAGED,
        states.Status.ERROR,
    ]
    note = seen.notes.get('delete')
    if force:
        allowed = list(states.Status)
    elif not states.is_running(note, request.stale_after):
        # One that was interrupted, or forgotten, may be taken up.
        allowed.append(states.Status.DELETING)
    request.require(seen, 'be deleted', *allowed)
    _check_not_built_on(request, seen)
    record = seen.record
    with noted(request, seen, 'delete', note):
        request.services.cloud.ask_any_host(
            request.context,
            record,
            'delete_backup',
            project=record.project,
            server=record.server,
            backup=record.id,
            force=force,
        )
    return {}


def _check_not_built_on(request: requests.Request, seen: browse.Seen) -> None:
    line = request.browser.catalog.survey(seen.record.server).records
    for child in chain.children(line, seen.record):
        if request.status(browse.Seen(child, {})) is states.Status.CREATING:
            raise errors.ApiError(
                409,
                'InProgress',
                f'backup {child.id} is being taken on top of this '
                'one; wait until it has ended, or cancel it',
            )


@contextlib.contextmanager
def undone_if_refused(undo: Callable[[], None]) -> Iterator[None]:
    """Undo what was prepared for a host, if that does not begin.

    Where none answers it may have begun, or wait for its turn: then what was
    prepared stays, until somebody asks again or cancels it.
    """
    try:
        yield
    except exception.NoAnswer:
        raise
    except BaseException:
        undo()
        raise


@contextlib.contextmanager
def noted(
    request: requests.Request,
    seen: browse.Seen,
    kind: str,
    before: typing.Any,
    **facts: typing.Any,
) -> Iterator[None]:
    """Note that something waits for a host; not, if it is refused."""
    notes = request.browser.catalog.notes
    place = (seen.record.server, seen.record.id, kind)
    queued = request.queued(**facts)
    # A full store must not keep anybody from deleting.
    with contextlib.suppress(exception.StoreFull):
        notes.put(*place, queued)

    def undo() -> None:
        # Unless somebody who was not refused has written another since.
        if notes.get(*place) != queued:
            return
        if before is None:
            notes.forget(*place)
        else:
            notes.put(*place, before)

    with undone_if_refused(undo):
        yield


def cancel(request: requests.Request, backup: str) -> _Answer:
    """Have a backup end that is being taken."""
    seen = request.backup(backup)
    # Also one that is shown as an error because nobody has heard of its
    # host: the host may still be at it.
    if seen.record.status is not records.Status.CREATING:
        request.require(seen, 'be cancelled', states.Status.CREATING)
    record = seen.record
    cloud = request.services.cloud
    try:
        instance = cloud.instance(request.context, record.server)
        cloud.hosts.cancel_backup(request.context, instance, backup)
    except (errors.ApiError, exception.NotStarted, exception.Refused) as e:
        if record.process == process.NOBODY and discard.unfinished(
            request.browser.catalog, record, 'it was cancelled'
        ):
            # It was asked for, and no host ever heard of it.
            return {}
        if isinstance(e, exception.Refused):
            raise errors.ApiError(
                409,
                'IllegalState',
                f'backup {backup} is not being taken any more',
            ) from e
        raise
    return {}


def verify(request: requests.Request, backup: str) -> _Answer:
    """Have a backup verified."""
    seen = request.backup(backup)
    request.require(
        seen, 'be verified', states.Status.AVAILABLE, states.Status.DAMAGED
    )
    deep = request.body.get('deep', False)
    before = seen.notes.get('verify')
    if states.is_running(before, request.stale_after):
        raise errors.ApiError(
            409, 'InProgress', f'backup {backup} is being verified already'
        )
    # What was found before counts until it has been looked for again.
    facts = {'deep': deep, 'findings': notes_.findings(before)}
    record = seen.record
    with noted(request, seen, 'verify', before, **facts):
        request.services.cloud.ask_any_host(
            request.context,
            record,
            'verify_backup',
            project=record.project,
            backup=record.id,
            deep=deep,
        )
    return request.again(seen)


def reset_status(request: requests.Request, backup: str) -> _Answer:
    """Change what status a backup is shown with, where that is wrong."""
    seen = request.backup(backup)
    action: Callable[[], None]
    if request.body['status'] == 'available':
        request.require(
            seen,
            'be reset to available',
            states.Status.AVAILABLE,
            states.Status.DAMAGED,
            states.Status.DELETING,
        )
        action = _forgetting(request, seen)
    else:
        request.require(
            seen,
            'be reset to error',
            states.Status.CREATING,
            states.Status.ERROR,
        )
        action = _giving_up(request, seen)
    action()
    return request.again(seen)


def _forgetting(
    request: requests.Request, seen: browse.Seen
) -> Callable[[], None]:
    record = seen.record
    if record.status is not records.Status.AVAILABLE:
        raise errors.ApiError(
            409,
            'IllegalState',
            f'backup {record.id} is {record.status}: parts of it may be '
            'gone; delete it',
        )
    notes = request.browser.catalog.notes

    def forget() -> None:
        for kind in ('verify', 'delete'):
            notes.forget(record.server, record.id, kind)

    return forget


def _giving_up(
    request: requests.Request, seen: browse.Seen
) -> Callable[[], None]:
    record = seen.record

    def give_up() -> None:
        if record.status is records.Status.CREATING:
            request.services.cloud.ask_any_host(
                request.context,
                record,
                'give_up_backup',
                project=record.project,
                backup=record.id,
            )

    return give_up
