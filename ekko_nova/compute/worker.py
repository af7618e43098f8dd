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


"""A process that carries out one order, and ends.

It is started by :mod:`.child` as ``python -m ekko_nova.compute.worker FD``
and gets its order over that descriptor. If nova-compute dies, or says so, it
cleans up behind itself and ends.
"""

from collections.abc import Iterator
import contextlib
import logging
import pathlib
import signal
import socket
import stat
import sys
import threading
import types
import typing

from oslo_config import cfg

from ekko_nova.backup import progress
from ekko_nova.backup import prune
from ekko_nova.backup import record as records
from ekko_nova.compute import domain_backup
from ekko_nova.compute import engine as engines
from ekko_nova.compute import link as links
from ekko_nova.compute import order as orders
from ekko_nova.compute import restore
from ekko_nova.compute import selection
from ekko_nova import conf as conf_
from ekko_nova import exception
from ekko_nova.virt import checkpoint
from ekko_nova.virt import domain as domains
from ekko_nova.virt import image
from ekko_nova.virt import job as jobs

__all__ = ('carry_out', 'main')

LOG = logging.getLogger(__name__)


#: Libraries that log, as errors, what we retry or report in our own words.
_CHATTY: typing.Final = ('keystoneauth', 'stevedore', 'swiftclient', 'urllib3')


class _LinkHandler(logging.Handler):
    """Sends what is logged to nova-compute, whose log it belongs in."""

    def __init__(self, link: links.Link) -> None:
        super().__init__()
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            self._link.send(
                {
                    'say': 'log',
                    'level': record.levelno,
                    'name': record.name,
                    'text': record.getMessage(),
                }
            )


class Conversation:
    """What a worker says and hears while it works.

    A request to cancel becomes a ``KeyboardInterrupt`` in the main thread,
    with the reason as its text.
    """

    def __init__(self, link: links.Link) -> None:
        self._link = link
        self._proceed = threading.Event()
        self._reason = ''
        self._ended = False
        #: Whether a backup that failed is listed as such.
        self.settled = False

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Hear what nova-compute says, in the context."""
        before = signal.signal(signal.SIGINT, self._interrupt)
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            yield
        finally:
            # Too late: whatever was to be cancelled has happened.
            self._ended = True
            signal.signal(signal.SIGINT, before)

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Others are kept off the instance, in the context."""
        self._link.send({'say': 'quiet'})
        self._proceed.wait()
        try:
            yield
        finally:
            self.say('begun')

    def report(self, now: progress.Progress) -> None:
        """Tell of progress."""
        self.say(
            'progress',
            disk=now.disk,
            position=now.position,
            size=now.size,
            moved=now.moved,
        )

    def say(self, what: str, **more: typing.Any) -> None:
        """Say something that is not worth failing for."""
        with contextlib.suppress(OSError):
            self._link.send({'say': what, **more})

    def _listen(self) -> None:
        while True:
            message = self._link.receive()
            if message is not None and message['say'] == 'proceed':
                self._proceed.set()
                continue
            self._reason = 'nova-compute has ended'
            if message is not None:
                self._reason = message['reason']
            if not self._ended:
                signal.pthread_kill(
                    threading.main_thread().ident or 0, signal.SIGINT
                )
            return

    def _interrupt(
        self, _number: int, _frame: types.FrameType | None
    ) -> typing.NoReturn:
        raise KeyboardInterrupt(f'it was cancelled: {self._reason}')


def carry_out(
    order: orders.Order, conversation: Conversation
) -> dict[str, typing.Any]:
    """Do what an order says; returns what to tell of it.

    :raises exception.EkkoError: it could not be done
    """
    with _engine(order.site) as engine:
        match order:
            case orders.BackupOrder():
                return _back_up(order, engine, conversation)
            case orders.RestoreOrder():
                return _restore(order, engine, conversation)
            case orders.SettleOrder():
                return _settle(order, engine, conversation)


@contextlib.contextmanager
def _engine(site: orders.Site) -> Iterator[engines.Engine]:
    conf = cfg.ConfigOpts()
    conf_.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    for name, value in site.options.items():
        conf.set_override(name, value, group='ekko')
    with engines.open_engine(conf, site.environment, site.project) as engine:
        yield engine


def _back_up(
    order: orders.BackupOrder,
    engine: engines.Engine,
    conversation: Conversation,
) -> dict[str, typing.Any]:
    request = records.Request(order.backup, True, dict(order.facts))
    directory = pathlib.Path(order.directory)
    try:
        with domains.Hypervisor(order.site.uri) as hypervisor:
            record = domain_backup.backup_domain(
                engine.catalog,
                engine.settings,
                hypervisor.lookup(order.instance),
                domain_backup.Options(
                    select=selection.of_instance(order.instance, directory),
                    full=order.full,
                    freeze=order.freeze,
                    quiet=conversation.quiet,
                ),
                places=engine.places,
                request=request,
                report=conversation.report,
            )
    except (exception.EkkoError, KeyboardInterrupt) as e:
        conversation.settled = _is_settled(order, engine, request, str(e))
        raise
    return {
        'type': str(record.type),
        'seconds': record.seconds,
        'quiesced': record.quiesced,
        'note': record.note,
        'disks': {
            disk.name: {
                'identity': disk.identity,
                'full_reason': disk.full_reason,
                'size': disk.size,
                'read_bytes': disk.read_bytes,
                'stored_bytes': disk.stored_bytes,
            }
            for disk in record.disks
        },
    }


def _is_settled(
    order: orders.BackupOrder,
    engine: engines.Engine,
    request: records.Request,
    reason: str,
) -> bool:
    """See that a backup that failed is listed so, and left nothing behind.

    It may have failed before the store was told of it, or because libvirt
    went away, and its job with nobody to end it stayed.
    """
    try:
        prune.settle(engine.catalog, order.instance, request, reason)
        with domains.Hypervisor(order.site.uri) as hypervisor:
            domain = hypervisor.find(order.instance)
            if domain is not None:
                jobs.recover(domain, engine.places)
                _remove_bitmap(domain, request.backup)
    except exception.EkkoError as e:
        LOG.warning('backup %s is not settled yet: %s', request.backup, e)
        return False
    return True


def _remove_bitmap(domain: domains.Domain, backup: str) -> None:
    disks = [disk for disk in domain.disks() if not disk.unfit]
    checkpoint.delete_bitmap(domain, checkpoint.bitmap_name(backup), disks)


def _restore(
    order: orders.RestoreOrder,
    engine: engines.Engine,
    conversation: Conversation,
) -> dict[str, typing.Any]:
    directory = pathlib.Path(order.directory)
    record = restore.require(engine.catalog, order.backup)
    if record.server != order.instance:
        raise exception.IllegalState(
            order.backup, 'of another instance', 'be restored in place'
        )
    with domains.Hypervisor(order.site.uri) as hypervisor:
        domain = hypervisor.find(order.instance)
        select = selection.of_instance(order.instance, directory)
        there = select(domain.disks() if domain else ()).disks
    wanted = {'root', *(identity for _, identity in there)}
    files = {}
    for disk in record.disks:
        if disk.identity not in wanted:
            LOG.warning('the instance has no such disk: %s', disk.identity)
            continue
        path = directory / selection.file_name(disk.identity)
        files[str(path)] = str(path) + orders.RESTORED
        _restore_disk(order, engine, disk, conversation)
    if not files:
        raise exception.InvalidOption(
            'backup', order.backup, 'it has no disk that the instance has'
        )
    return {'files': files}


def _restore_disk(
    order: orders.RestoreOrder,
    engine: engines.Engine,
    disk: records.DiskRecord,
    conversation: Conversation,
) -> None:
    name = selection.file_name(disk.identity)
    directory = pathlib.Path(order.directory)
    path = directory / (name + orders.RESTORED)
    path.unlink(missing_ok=True)
    restore.restore_disk(
        engine.catalog,
        engine.settings,
        order.backup,
        output=path,
        name=disk.name,
        format=order.format,
        report=conversation.report,
    )
    # nova-compute looks at it, too, while QEMU has it.
    path.chmod(_mode(directory / name))
    if disk.identity == 'root' and order.root_size > disk.size:
        image.grow(str(path), order.format, order.root_size)
    if disk.bitmap is not None and order.format == 'qcow2':
        # The file holds what the backup does: the next one is incremental
        # on it.
        image.add_bitmap(str(path), disk.bitmap, disk.granularity)


def _mode(path: pathlib.Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return 0o644


def _settle(
    order: orders.SettleOrder,
    engine: engines.Engine,
    conversation: Conversation,
) -> dict[str, typing.Any]:
    with domains.Hypervisor(order.site.uri) as hypervisor:
        domain = hypervisor.find(order.instance)
        if domain is not None:
            jobs.recover(domain, engine.places)
        conversation.say('local')
        record = prune.settle(
            engine.catalog,
            order.instance,
            records.Request(order.backup, True),
            order.reason,
        )
        if domain is not None and record.status is records.Status.ERROR:
            _remove_bitmap(domain, order.backup)
    return {'status': str(record.status)}


def main(arguments: list[str]) -> int:
    """Carry out the order that comes over the descriptor that is named."""
    end = socket.socket(fileno=int(arguments[0]))
    # Under eventlet nova-compute's sockets do not block; ours is to.
    end.setblocking(True)
    link = links.Link(end)
    logging.basicConfig(level=logging.WARNING, handlers=[_LinkHandler(link)])
    logging.getLogger('ekko_nova').setLevel(logging.INFO)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    message = link.receive()
    if message is None:
        return 1
    conversation = Conversation(link)
    try:
        with conversation.heard():
            result = carry_out(orders.from_message(message), conversation)
        conversation.say('done', result=result)
    except (exception.EkkoError, KeyboardInterrupt) as e:
        _fail(conversation, str(e))
    except Exception as e:
        LOG.exception('this should have been foreseen, please report it')
        _fail(conversation, f'{type(e).__name__}: {e}')
    return 0


def _fail(conversation: Conversation, reason: str) -> None:
    conversation.say('failed', reason=reason, settled=conversation.settled)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
