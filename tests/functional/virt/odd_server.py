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

"""An NBD server that does what QEMU's would not.

It speaks as much of the fixed newstyle handshake and of structured replies
as libnbd needs, over a real unix socket.
"""

from collections.abc import Callable
import contextlib
import socket
import struct
import threading
import typing

import fixtures

NBDMAGIC = 0x4E42444D41474943
IHAVEOPT = 0x49484156454F5054
OPTION_REPLY = 0x3E889045565A9
STRUCTURED_REPLY = 0x668E33EF

OPT_ABORT, OPT_GO, OPT_STRUCTURED_REPLY, OPT_SET_META_CONTEXT = 2, 7, 8, 10
REP_ACK, REP_INFO, REP_META_CONTEXT, REP_ERR_UNSUP = 1, 3, 4, 0x80000001
CMD_READ, CMD_DISC, CMD_BLOCK_STATUS = 0, 2, 7
REPLY_OFFSET_DATA, REPLY_BLOCK_STATUS = 1, 5
FLAG_DONE = 1

Status = Callable[[int, int], list[tuple[int, int]] | None]


class OddServer(fixtures.Fixture):
    """One export of zeros.

    :param contexts: what block status says of (offset, length), by the name
        of each meta context on offer; None to leave the context out
    :param mute: reads are never answered
    """

    def __init__(
        self,
        path: str,
        size: int,
        contexts: dict[str, Status],
        *,
        mute: bool = False,
        multi_conn: bool = True,
    ) -> None:
        self.path = path
        self.clients = 0
        self.asked = threading.Event()
        self._size = size
        self._contexts = contexts
        self._mute = mute
        # HAS_FLAGS, READ_ONLY, SEND_DF, CAN_MULTI_CONN
        self._flags = 1 | 2 | 128 | (256 if multi_conn else 0)

    def _setUp(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.addCleanup(self._stop)

    def _stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.clients += 1
                thread = threading.Thread(target=self._serve, args=[client])
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with (
            client,
            contextlib.suppress(EOFError, ConnectionError),
            client.makefile('rwb') as stream,
        ):
            chosen = self._negotiate(stream)
            self._transmit(stream, chosen)

    def _receive(self, stream: typing.Any, layout: str) -> tuple[int, ...]:
        data = stream.read(struct.calcsize(layout))
        if len(data) < struct.calcsize(layout):
            raise EOFError
        return struct.unpack(layout, data)

    def _negotiate(self, stream: typing.Any) -> list[str]:
        stream.write(struct.pack('>QQH', NBDMAGIC, IHAVEOPT, 3))
        stream.flush()
        self._receive(stream, '>I')
        chosen: list[str] = []
        while True:
            _, option, length = self._receive(stream, '>QII')
            data = stream.read(length)
            if option == OPT_STRUCTURED_REPLY:
                self._answer(stream, option, REP_ACK)
            elif option == OPT_SET_META_CONTEXT:
                chosen = [
                    name for name in self._contexts if name.encode() in data
                ]
                for number, name in enumerate(chosen):
                    self._answer(
                        stream,
                        option,
                        REP_META_CONTEXT,
                        struct.pack('>I', number) + name.encode(),
                    )
                self._answer(stream, option, REP_ACK)
            elif option == OPT_GO:
                export = struct.pack('>HQH', 0, self._size, self._flags)
                self._answer(stream, option, REP_INFO, export)
                self._answer(stream, option, REP_ACK)
                return chosen
            else:
                self._answer(stream, option, REP_ERR_UNSUP)

    def _answer(
        self, stream: typing.Any, option: int, kind: int, data: bytes = b''
    ) -> None:
        header = struct.pack('>QIII', OPTION_REPLY, option, kind, len(data))
        stream.write(header + data)
        stream.flush()

    def _transmit(self, stream: typing.Any, chosen: list[str]) -> None:
        while True:
            _, _, command, cookie, offset, length = self._receive(
                stream, '>IHHQQI'
            )
            if command == CMD_DISC:
                return
            self.asked.set()
            if command == CMD_READ and not self._mute:
                data = struct.pack('>Q', offset) + bytes(length)
                self._chunk(stream, cookie, REPLY_OFFSET_DATA, data)
            elif command == CMD_BLOCK_STATUS:
                for number, name in enumerate(chosen):
                    runs = self._contexts[name](offset, length)
                    if runs is not None:
                        data = struct.pack('>I', number)
                        for run in runs:
                            data += struct.pack('>II', *run)
                        self._chunk(
                            stream, cookie, REPLY_BLOCK_STATUS, data, 0
                        )
                self._chunk(stream, cookie, 0, b'')

    def _chunk(
        self,
        stream: typing.Any,
        cookie: int,
        kind: int,
        data: bytes,
        flags: int = FLAG_DONE,
    ) -> None:
        header = struct.pack(
            '>IHHQI', STRUCTURED_REPLY, flags, kind, cookie, len(data)
        )
        stream.write(header + data)
        stream.flush()
