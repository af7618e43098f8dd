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


"""The events of a server's life, and what becomes of its dirty bitmaps.

Each row is tried on a server of its own: data is written, backed up, more is
written; then the event; more is written, and backed up again. That backup is
restored into a file and compared with what the disk held: the server is paused
for both, so that QEMU has flushed all and nobody writes.
"""

from collections.abc import Callable
import dataclasses
import typing

from tests.cloud import backups
from tests.cloud import onebox

__all__ = ('ROWS', 'SHARED', 'Outcome', 'Row', 'run')


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """An event, and what is expected after it.

    :ivar name: in one word
    :ivar title: for people
    :ivar event: makes it happen; the server is active when it returns
    :ivar incremental: the bitmap is kept, so that the next backup reads only
        what changed; otherwise it is full
    :ivar nic: the server has a port
    :ivar alone: other servers would suffer
    """

    name: str
    title: str
    event: Callable[[onebox.Server], None]
    incremental: bool
    nic: bool = False
    alone: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen.

    :ivar reason: why the backup after the event was full, if it was
    :ivar identical: it holds what the disk held, bit for bit
    """

    row: Row
    type: str
    reason: str | None
    identical: bool

    @property
    def as_expected(self) -> bool:
        """Identical, and incremental exactly where the bitmap is kept."""
        incremental = self.type == 'incremental'
        return self.identical and incremental == self.row.incremental


def run(row: Row, server: onebox.Server) -> Outcome:
    """Try one, on a new server."""
    mine = backups.Backups(server)
    server.write_data('before', 2)
    mine.create()
    server.write_data('between', 2)
    row.event(server)
    server.wait()
    server.wait_for_agent()
    server.write_data('after', 2)
    compute = server.owner.compute
    compute.pause_server(server.id)
    server.wait('PAUSED')
    held = server.digest()
    backup = mine.create()
    compute.unpause_server(server.id)
    server.wait()
    record = mine.show(backup)
    return Outcome(
        row=row,
        type=record['type'],
        reason=record['full_reason'],
        identical=mine.digest(backup) == held,
    )


def _and(
    first: str, status: str, second: str, **more: typing.Any
) -> Callable[[onebox.Server], None]:
    """One thing, and then what takes it back."""

    def event(server: onebox.Server) -> None:
        compute = server.owner.compute
        getattr(compute, first)(server.id, **more)
        server.wait(status)
        getattr(compute, second)(server.id)

    return event


def _reboot(kind: str) -> Callable[[onebox.Server], None]:
    def event(server: onebox.Server) -> None:
        boots = server.boots()
        server.owner.compute.reboot_server(server.id, kind)
        server.wait()
        server.wait_for_boot(boots + 1)

    return event


def _snapshot(server: onebox.Server) -> None:
    image = server.owner.compute.create_server_image(
        server.id, f'snapshot-{server.id}', wait=True
    )
    server.wait()
    server.owner.image.delete_image(image.id)


def _migrate(server: onebox.Server) -> None:
    before = server.host
    server.admin.compute.migrate_server(server.id)
    server.wait('VERIFY_RESIZE')
    server.admin.compute.confirm_server_resize(server.id)
    server.wait()
    _require(server.host != before, 'it has moved')


def _live_migrate(server: onebox.Server) -> None:
    before = server.host
    server.admin.compute.live_migrate_server(
        server.id, host=None, block_migration='auto'
    )
    server.wait()
    _require(server.host != before, 'it has moved')


def _resize(server: onebox.Server) -> None:
    compute = server.owner.compute
    compute.resize_server(server.id, compute.find_flavor('ekko.2'))
    server.wait('VERIFY_RESIZE')


def _resize_confirm(server: onebox.Server) -> None:
    _resize(server)
    server.owner.compute.confirm_server_resize(server.id)


def _resize_revert(server: onebox.Server) -> None:
    _resize(server)
    server.owner.compute.revert_server_resize(server.id)


def _rebuild(server: onebox.Server) -> None:
    image = server.owner.image.find_image('ekko-guest')
    server.owner.compute.rebuild_server(server.id, image=image.id)
    server.wait()
    server.wait_for_boot(1)


def _kill(server: onebox.Server) -> None:
    server.kill()
    server.owner.compute.reboot_server(server.id, 'HARD')


def _kill_and_resize(server: onebox.Server) -> None:
    _kill(server)
    server.wait()
    server.wait_for_agent()
    _resize_confirm(server)


def _interfaces(server: onebox.Server) -> None:
    compute = server.owner.compute
    network = server.owner.network.find_network('private')
    port = compute.create_server_interface(server.id, net_id=network.id)
    server.wait()
    compute.delete_server_interface(port.port_id, server.id)
    onebox.wait_until(
        'the port goes',
        lambda: not list(compute.server_interfaces(server.id)),
    )


def _restart(service: str) -> Callable[[onebox.Server], None]:
    def event(server: onebox.Server) -> None:
        onebox.restart(f'{service}-{server.host}')
        server.wait_for_agent()

    return event


def _evacuate(server: onebox.Server) -> None:
    before = server.host
    onebox.crash_host(before)
    try:
        server.admin.compute.evacuate_server(server.id)
        server.wait('SHUTOFF')
        _require(server.host != before, 'it has moved')
        server.owner.compute.start_server(server.id)
        server.wait()
    finally:
        onebox.start_host(before)


def _restore(server: onebox.Server) -> None:
    mine = backups.Backups(server)
    [first] = mine.listed()
    mine.restore(first['id'])


def _restore_and_rebuild(server: onebox.Server) -> None:
    _restore(server)
    server.wait()
    _rebuild(server)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise RuntimeError(f'not so: {what}')


ROWS: typing.Final = (
    Row('soft-reboot', 'soft reboot', _reboot('SOFT'), True),
    Row('hard-reboot', 'hard reboot', _reboot('HARD'), True),
    Row(
        'stop',
        'stop, start',
        _and('stop_server', 'SHUTOFF', 'start_server'),
        True,
    ),
    Row(
        'pause',
        'pause, unpause',
        _and('pause_server', 'PAUSED', 'unpause_server'),
        True,
    ),
    Row(
        'suspend',
        'suspend, resume',
        _and('suspend_server', 'SUSPENDED', 'resume_server'),
        True,
    ),
    Row('snapshot', 'live snapshot (image create)', _snapshot, True),
    Row(
        'shelve',
        'shelve, unshelve',
        _and('shelve_server', 'SHELVED_OFFLOADED', 'unshelve_server'),
        False,
    ),
    Row(
        'rescue',
        'rescue, unrescue',
        _and('rescue_server', 'RESCUE', 'unrescue_server'),
        True,
    ),
    Row('resize', 'resize, confirm', _resize_confirm, True),
    Row('revert', 'resize, revert', _resize_revert, True),
    Row('migrate', 'cold migration', _migrate, True, nic=True),
    Row(
        'live-migrate',
        'live migration, disks copied',
        _live_migrate,
        True,
        nic=True,
    ),
    Row('rebuild', 'rebuild', _rebuild, False),
    Row('interface', 'attach, detach an interface', _interfaces, True),
    Row('kill', 'kill -9 of QEMU, hard reboot', _kill, False),
    Row(
        'kill-resize',
        'kill -9 of QEMU, hard reboot, resize',
        _kill_and_resize,
        False,
    ),
    Row(
        'nova-compute',
        'restart of nova-compute',
        _restart('nova-compute'),
        True,
        alone=True,
    ),
    Row(
        'libvirtd',
        'restart of libvirtd',
        _restart('libvirtd'),
        True,
        alone=True,
    ),
    Row('restore', 'restore in place', _restore, True),
    Row(
        'restore-rebuild',
        'restore in place, then rebuild',
        _restore_and_rebuild,
        False,
    ),
    Row('evacuate', 'evacuate', _evacuate, False, alone=True),
)

#: Those of hosts that share the directory of instances.
SHARED: typing.Final = (
    Row(
        'live-migrate-shared',
        'live migration, shared storage',
        _live_migrate,
        True,
    ),
    Row(
        'evacuate-shared',
        'evacuate, shared storage',
        _evacuate,
        False,
        alone=True,
    ),
)
