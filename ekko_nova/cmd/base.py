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


"""What all commands of ``ekko-manage`` have in common."""

import argparse
import contextlib
import inspect
import os
import sys
import traceback
import typing

from cliff import command
from oslo_config import cfg

from ekko_nova.cmd import context
from ekko_nova.cmd import manage
from ekko_nova.compute import engine
from ekko_nova import exception
from ekko_nova import memory

__all__ = ('Command', 'StoreCommand')


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Prints a command's docstring as it is written, examples included."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        # The double colon is for the documentation, made of the same text.
        text = inspect.cleandoc(text).replace('::\n', ':\n')
        return super()._fill_text(text, width, indent)


def _flush() -> None:
    """See that all output has arrived, while that can still be reported."""
    try:
        sys.stdout.flush()
    except OSError:
        # Python tries again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


class Command(command.Command):
    """Turns errors into one line on standard error and an exit status."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.formatter_class = _HelpFormatter
        return parser

    def get_epilog(self) -> str:
        # cliff's would look through the metadata of everything installed, at
        # every start, for who provides the command.
        return ''

    def run(self, parsed_args: argparse.Namespace) -> int:
        memory.settle()
        try:
            status: int = super().run(parsed_args)
            _flush()
            return status
        except exception.EkkoError as e:
            if self._signals.came:
                # It may be what libnbd has made of it.
                return self._interrupted()
            return self._fail(str(e), e.exit_code)
        except cfg.Error as e:
            return self._fail(f'configuration: {e}', 3)
        except KeyboardInterrupt:
            return self._interrupted()
        except BrokenPipeError:
            raise  # Whoever reads our output has seen enough: no error.
        except Exception as e:  # noqa: BLE001  the last place to report it
            return self._fail(
                f'{type(e).__name__}: {e}; this should have been foreseen, '
                'please report it (--debug shows where it happened)',
                1,
            )

    @property
    def _signals(self) -> manage.Signals:
        return typing.cast(manage.Manage, self.app).signals

    def _interrupted(self) -> int:
        return self._fail(
            'interrupted, nothing was left behind', self._signals.status
        )

    def _fail(self, message: str, status: int) -> int:
        if self.app.options.debug:
            traceback.print_exc()
        line = '; '.join(message.splitlines())
        print(f'ekko-manage: {line}', file=sys.stderr)
        return status


class StoreCommand(Command):
    """A command that works on a store of backups.

    :ivar damaged: it has done its work, and found something damaged
    """

    damaged = False

    def run(self, parsed_args: argparse.Namespace) -> int:
        status = super().run(parsed_args)
        return status or (exception.DataDamaged.exit_code * self.damaged)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--store',
            metavar='URL',
            help='where the backups are: file:///PATH, or '
            'swift:///CONTAINER[/PREFIX] with credentials in the OS_* or '
            'ST_* variables; default: [ekko] store of the configuration',
        )
        parser.add_argument(
            '--key-file',
            metavar='PATH',
            help='file with the key-encryption key of encrypted backups; '
            'default: [ekko] key_file of the configuration',
        )
        parser.add_argument(
            '--project',
            metavar='ID',
            help='whose backups, where the store of the configuration is one '
            'for each project',
        )
        return parser

    def open(
        self, parsed_args: argparse.Namespace
    ) -> contextlib.AbstractContextManager[engine.Engine]:
        """The store and the settings that this run works with."""
        return context.open_context(
            self.app.options.config_file, vars(parsed_args)
        )

    def take_action(self, parsed_args: argparse.Namespace) -> typing.Any:
        raise NotImplementedError
