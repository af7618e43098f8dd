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


"""``ekko-manage``: backups of files and libvirt domains, without a cloud.

Exit status:

====  =================================================================
0     done
1     an error of this program: please report it
2     the command line is not understood
3     the request cannot be honoured as it is: correct it
4     try again later: a store or hypervisor did not answer, or another
      process works on the same line of backups
5     a chain is broken: take a full backup
6     stored data is damaged or missing
7     the machine or the store needs mending: space, permissions, drivers
130   interrupted from the keyboard (143: by a TERM signal)
====  =================================================================
"""

import logging
import signal
import sys
import types
import typing

from cliff import app
from cliff import commandmanager
import pbr.version

from ekko_nova import memory

__all__ = ('Manage', 'Signals', 'main')

#: Libraries that log, as errors, what we retry or report in our own words.
_CHATTY: typing.Final = (
    'keystoneauth',
    'nova',
    'oslo',
    'oslo_config',
    'oslo_service',
    'stevedore',
    'swiftclient',
    'urllib3',
)


class Signals:
    """Those that ask the program to end.

    :ivar came: whether one did
    :ivar status: the exit status for it
    """

    def __init__(self) -> None:
        self.came = False
        self.status = 128 + signal.SIGINT
        signal.signal(signal.SIGTERM, self._end)
        # In the background of a script Ctrl-C means others.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._end)
        sys.excepthook = self._show

    def _end(self, number: int, _frame: types.FrameType | None) -> None:
        self.came = True
        self.status = 128 + number
        # So that every context on the way out cleans up. Not SystemExit: in a
        # callback of libnbd's that would end the process at once, where this
        # becomes an error of libnbd's.
        raise KeyboardInterrupt

    def _show(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: types.TracebackType | None,
    ) -> None:
        # Python's hook is what libnbd's binding (1.14) calls, too, with what a
        # callback raised; the command says by itself that it was interrupted.
        if not (self.came and issubclass(kind, KeyboardInterrupt)):
            sys.__excepthook__(kind, error, trace)


class Manage(app.App):
    """The program around the commands."""

    def __init__(self, signals: Signals) -> None:
        super().__init__(
            description='Back up disks and libvirt domains into an object '
            'store, incrementally, and restore them.',
            version=pbr.version.VersionInfo('ekko-nova').version_string(),
            command_manager=commandmanager.CommandManager('ekko_nova.manage'),
            deferred_help=True,
        )
        self.signals = signals

    def build_option_parser(
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: dict[str, typing.Any] | None = None,
    ) -> typing.Any:
        parser = super().build_option_parser(
            description, version, argparse_kwargs
        )
        parser.add_argument(
            '--config-file',
            action='append',
            default=[],
            metavar='PATH',
            help='oslo.config file with [ekko] and [ekko_swift] sections; '
            'may be given more than once, later ones win. What the command '
            'line says wins over all of them.',
        )
        return parser

    def configure_logging(self) -> None:
        super().configure_logging()
        if not self.options.debug:
            for name in _CHATTY:
                logging.getLogger(name).setLevel(logging.CRITICAL)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    # Until the command and all that it needs has been imported.
    memory.hurry()
    signals = Signals()
    try:
        words = sys.argv[1:] if arguments is None else arguments
        return Manage(signals).run(words)
    except KeyboardInterrupt:
        # While the commands and all that they need were being imported.
        print('ekko-manage: interrupted before it began', file=sys.stderr)
        return signals.status
    finally:
        # Python's own end is no place for a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        memory.settle()
