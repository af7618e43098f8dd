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

"""What a worker does: it carries out one order.

The order comes over a descriptor, from :mod:`.child`. If nova-compute dies,
or says so, the worker cleans up behind itself and ends. Signals that ask it to
end do not reach it: systemd sends them to all of a service at once.
"""

from collections.abc import Iterator
import contextlib
import logging
import signal
import socket
import types
import typing

from oslo_config import cfg

from ekko_nova.compute import backup_orders
from ekko_nova.compute import conversation as conversations
from ekko_nova.compute import engine as engines
from ekko_nova.compute import instance_orders
from ekko_nova.compute import link as links
from ekko_nova.compute import order as orders
from ekko_nova.compute import priority
from ekko_nova.conf import ekko
from ekko_nova import exception

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


def carry_out(
    order: orders.Order, conversation: conversations.Conversation
) -> dict[str, typing.Any]:
    """Do what an order says; returns what to tell of it.

    :raises exception.EkkoError: it could not be done
    """
    with _engine(order.site) as engine:
        match order:
            case orders.BackupOrder():
                return instance_orders.back_up(order, engine, conversation)
            case orders.RestoreOrder():
                return instance_orders.restore_instance(
                    order, engine, conversation
                )
            case orders.SettleOrder():
                return instance_orders.settle(order, engine, conversation)
            case orders.DeleteOrder():
                return backup_orders.delete(order, engine)
            case orders.VerifyOrder():
                return backup_orders.verify_backup(order, engine, conversation)
            case orders.ExportOrder():
                return backup_orders.export(order, engine, conversation)
            case orders.FailOrder():
                return backup_orders.fail(order, engine, conversation)
            case orders.DropOrder():
                return backup_orders.drop(order, engine)


@contextlib.contextmanager
def _engine(site: orders.Site) -> Iterator[engines.Engine]:
    conf = cfg.ConfigOpts()
    ekko.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    for name, value in site.options.items():
        conf.set_override(name, value, group='ekko')
    priority.lower(conf.ekko.nice, conf.ekko.io_priority)
    with engines.open_engine(conf, site.environment, site.project) as engine:
        yield engine


def main(arguments: list[str]) -> int:
    """Carry out the order that comes over the descriptor that is named first.

    What else is named is for people who look at the processes of a host.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # A handler, because the processes that it starts would inherit
        # SIG_IGN, and it ends those by SIGTERM.
        signal.signal(number, _go_on)
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
    conversation = conversations.Conversation(link)
    conversation.listen()
    try:
        result = carry_out(orders.from_message(message), conversation)
        conversation.say('done', result=result)
    except exception.EkkoError as e:
        _fail(conversation, getattr(e, 'kind', type(e).__name__), str(e))
    except Exception as e:
        LOG.exception('this should have been foreseen, please report it')
        kind = exception.WorkerFailed.__name__
        _fail(conversation, kind, f'{type(e).__name__}: {e}')
    return 0


def _go_on(number: int, frame: types.FrameType | None) -> None:
    del number, frame


def _fail(
    conversation: conversations.Conversation, kind: str, reason: str
) -> None:
    conversation.say(
        'failed',
        kind=kind,
        reason=reason,
        settled=conversation.settled,
    )
