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


"""A line of messages between nova-compute and a worker.

Each message is a JSON object on a line of its own. The socket also tells each
side of the other's death, whatever it died of: the line ends.

======================  ===================================================
nova-compute says
======================  ===================================================
an order                first, once; see :mod:`.order`
``proceed``             the instance is yours alone, as you asked; or the
                        upload is done, or failed with an ``error``
``cancel``              end; with a ``reason``
======================  ===================================================

======================  ===================================================
a worker says
======================  ===================================================
``quiet``               I am about to begin: keep others off the instance
``begun``               that is not needed any more; or, of other work: it is
                        not refused, and goes on
``upload``              a ``path``: to where nova-compute has been told
``progress``            ``disk``, ``position``, ``size``, ``moved``
``log``                 ``level``, ``name``, ``text``
``local``               nothing is left on this host
``done``                last; with a ``result``
``failed``              last; with a ``kind`` of
                        :mod:`ekko_nova.exception`, a ``reason``, and whether
                        it is ``settled``, that is, listed as an error
======================  ===================================================
"""

import json
import socket
import threading
import typing

__all__ = ('Link', 'Message')

Message: typing.TypeAlias = dict[str, typing.Any]


class Link:
    """One end of the line. Any thread may send; one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._lines = end.makefile('rb')
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Say something; nobody may be there to hear it.

        :raises OSError: the other side has gone
        """
        data = json.dumps(message).encode() + b'\n'
        with self._lock:
            self._socket.sendall(data)

    def receive(self) -> Message | None:
        """The next message; ``None`` if the other side has gone."""
        try:
            line = self._lines.readline()
        except OSError:
            return None
        # A line that was cut is no message.
        if not line.endswith(b'\n'):
            return None
        message: Message = json.loads(line)
        return message

    def close(self) -> None:
        """End the line."""
        self._lines.close()
        self._socket.close()
