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

import concurrent.futures
import os
import random
import socket
import threading
import typing

import fixtures

from ekko_nova import block
from ekko_nova import exception
from ekko_nova.virt import nbd
from ekko_nova.virt import nbd_target
from tests.functional.virt import images
from tests.functional.virt import odd_server

KI = images.KI
MI = images.MI
DIRTY = 'qemu:dirty-bitmap:b'
ALLOCATION = 'base:allocation'


class NbdTestCase(images.ImageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.socket = self.path('s')

    def serve(self, *arguments: object) -> images.QemuNbd:
        return self.useFixture(
            images.QemuNbd(
                self.socket, '--read-only', '-e', 4, '-x', 'x', *arguments
            )
        )

    def source(self, **options: typing.Any) -> nbd.NbdSource:
        return nbd.NbdSource(self.socket, 'x', disk='vda', **options)

    def extents(self, **options: typing.Any) -> list[block.Extent]:
        with self.source(**options) as source:
            extents = list(source.extents())
            self.assert_cover(extents, source.size)
            source.check()
            return extents


class FullExtentsTest(NbdTestCase):
    def test_sparse_raw(self) -> None:
        path = self.raw('a', 8 * MI)
        images.qemu_io(path, 'write -P 1 1M 1M', format='raw')
        self.serve('-f', 'raw', path)

        self.assertEqual(
            [
                block.Extent(0, MI, True, True),
                block.Extent(MI, MI, True, False),
                block.Extent(2 * MI, 6 * MI, True, True),
            ],
            self.extents(),
        )

    def test_qcow2(self) -> None:
        path = self.qcow2('a', 8 * MI)
        images.qemu_io(
            path, 'write -P 1 0 2M', 'write -z 1M 64k', 'discard 0 64k'
        )
        self.serve('-f', 'qcow2', path)

        extents = self.extents()

        self.assert_describes(extents, self.content(path))
        self.assertEqual(
            [(0, 64 * KI), (MI, 64 * KI), (2 * MI, 6 * MI)],
            [(e.offset, e.length) for e in extents if e.zero],
        )

    def test_backing_chain(self) -> None:
        base = self.qcow2('base', 4 * MI)
        images.qemu_io(base, 'write -P 1 0 2M')
        path = self.qcow2('top', 8 * MI, '-b', base, '-F', 'qcow2')
        images.qemu_io(
            path,
            'write -P 2 1M 64k',
            'write -P 2 3M 64k',
            'write -z 0 64k',
            'discard 128k 64k',
        )
        self.serve('-f', 'qcow2', path)

        extents = self.extents()

        content = self.content(path)
        self.assert_describes(extents, content)
        data = [e for e in extents if not e.zero]
        self.assertEqual(sum(map(bool, content)), sum(e.length for e in data))

    def test_sizes_that_no_cluster_divides(self) -> None:
        for size in (512, 64 * KI - 512, 4 * MI + 512, 5 * MI + 3 * 512):
            for format, make in (('raw', self.raw), ('qcow2', self.qcow2)):
                path = make(f'{format}-{size}', size)
                images.qemu_io(
                    path, f'write -P 7 {size - 512} 512', format=format
                )
                self.socket = self.path(f's-{format}-{size}')
                self.serve('-f', format, path)

                with self.source() as source:
                    self.assertEqual(size, source.size)
                    extents = list(source.extents())
                    content = bytes(source.read(0, size))
                self.assert_describes(extents, content)
                self.assert_same(self.content(path, format), content)

    def test_more_extents_than_a_reply_holds(self) -> None:
        # QEMU ends a reply after 128 Ki extents.
        pairs = 72 * KI
        path = self.raw('a', pairs * 8 * KI)
        with open(path, 'r+b') as file:
            for index in range(pairs):
                os.pwrite(file.fileno(), b'\1', index * 8 * KI)
        self.serve('-f', 'raw', path)

        extents = self.extents()

        self.assertEqual(2 * pairs, len(extents))
        self.assertEqual(pairs, sum(e.zero for e in extents))
        self.assertEqual({4 * KI}, {e.length for e in extents})

    def test_tebibyte_of_nothing_in_few_requests(self) -> None:
        path = self.qcow2('a', 1024 * 1024 * MI)
        self.serve('-f', 'qcow2', path)
        asked = []
        status = nbd.Export.status

        def count(export: nbd.Export, offset: int, length: int) -> object:
            asked.append(length)
            return status(export, offset, length)

        self.useFixture(
            fixtures.MonkeyPatch('ekko_nova.virt.nbd.Export.status', count)
        )

        extents = self.extents()

        self.assertEqual([block.Extent(0, 1 << 40, True, True)], extents)
        self.assertLessEqual(len(asked), 512)


class DirtyExtentsTest(NbdTestCase):
    def test_every_kind_of_write_is_dirty(self) -> None:
        path = self.qcow2('a', 16 * MI)
        images.qemu_io(path, 'write -P 1 0 8M')
        before = self.content(path)
        images.run('qemu-img', 'bitmap', '--add', path, 'b')
        images.qemu_io(
            path,
            'write -P 2 65024 1024',
            'write -z 1M 64k',
            'write -z -u 2M 64k',
            'discard 3M 64k',
            'write -P 3 15M 512',
        )
        self.serve('-f', 'qcow2', '-B', 'b', path)

        extents = self.extents(bitmap='b')

        after = self.content(path)
        self.assert_describes(extents, after)
        self.assert_watched(extents, before, after)
        self.assertEqual(
            [
                (0, 128 * KI, False),
                (MI, 64 * KI, True),
                (2 * MI, 64 * KI, True),
                (3 * MI, 64 * KI, True),
                (15 * MI, 64 * KI, False),
            ],
            [(e.offset, e.length, e.zero) for e in extents if e.dirty],
        )

    def test_random_writes(self) -> None:
        path = self.qcow2('a', 16 * MI + 512)
        images.qemu_io(path, 'write -P 1 0 6M')
        before = self.content(path)
        images.run('qemu-img', 'bitmap', '--add', '-g', 4096, path, 'b')
        images.qemu_io(
            path,
            *(
                f'write -P {number % 255 + 1} {number * 512} 512'
                for number in random.sample(range(32 * KI + 1), 300)
            ),
        )
        self.serve('-f', 'qcow2', '-B', 'b', path)

        extents = self.extents(bitmap='b')

        after = self.content(path)
        self.assertNotEqual(before, after)
        self.assert_describes(extents, after)
        self.assert_watched(extents, before, after)
        dirty = sum(e.length for e in extents if e.dirty)
        self.assertLessEqual(dirty, 300 * 4 * KI)

    def test_nothing_written(self) -> None:
        path = self.qcow2('a', 4 * MI)
        images.run('qemu-img', 'bitmap', '--add', path, 'b')
        self.serve('-f', 'qcow2', '-B', 'b', path)

        self.assertEqual(
            [block.Extent(0, 4 * MI, False, True)], self.extents(bitmap='b')
        )

    def test_without_asking_for_it_all_is_dirty(self) -> None:
        path = self.qcow2('a', 4 * MI)
        images.run('qemu-img', 'bitmap', '--add', path, 'b')
        self.serve('-f', 'qcow2', '-B', 'b', path)

        self.assertEqual([block.Extent(0, 4 * MI, True, True)], self.extents())

    def test_wrong_name(self) -> None:
        path = self.qcow2('a', 4 * MI)
        images.run('qemu-img', 'bitmap', '--add', path, 'b')
        self.serve('-f', 'qcow2', '-B', 'b', path)

        error = self.assertRaises(
            exception.BitmapUnusable, self.extents, bitmap='c'
        )

        self.assertEqual(('vda', 'c'), (error.disk, error.bitmap))


class ReadTest(NbdTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.image = self.raw('a', 48 * MI)
        self.data = random.Random(0).randbytes(48 * MI)
        with open(self.image, 'wb') as file:
            file.write(self.data)
        self.server = self.serve('-f', 'raw', self.image)

    def test_eight_threads_over_four_connections(self) -> None:
        with self.source(connections=4) as source:
            step = 3 * MI // 2
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                offsets = range(0, len(self.data), step)
                read = list(
                    pool.map(lambda at: source.read(at, step), offsets)
                )
            source.check()

        self.assert_same(self.data, b''.join(read))

    def test_longer_than_a_request(self) -> None:
        with self.source() as source:
            self.assert_same(
                self.data[512:],
                bytes(source.read(512, len(self.data) - 512)),
            )

    def test_past_the_end(self) -> None:
        with self.source() as source:
            self.assertRaises(
                exception.SourceLost, source.read, len(self.data), 512
            )

    def test_server_killed_while_it_is_read(self) -> None:
        reading = threading.Event()

        def read(source: nbd.NbdSource) -> None:
            while True:
                source.read(0, 4 * MI)
                reading.set()

        with self.source() as source:
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                reads = [pool.submit(read, source) for _ in range(4)]
                reading.wait()
                self.server.process.kill()
                for each in reads:
                    self.assertIsInstance(
                        each.exception(), exception.SourceLost
                    )
            self.assertRaises(exception.SourceLost, source.check)
            self.assertRaises(exception.SourceLost, list, source.extents())

    def test_check_notices_a_server_that_died_idle(self) -> None:
        with self.source() as source:
            source.read(0, 512)
            self.server.process.kill()
            self.server.process.wait()

            error = self.assertRaises(exception.SourceLost, source.check)

        self.assertEqual('vda', error.disk)

    def test_check_asks_whether_the_job_lives(self) -> None:
        def gone() -> None:
            raise exception.SourceLost('vda', 'the job vanished')

        with self.source(liveness=gone) as source:
            error = self.assertRaises(exception.SourceLost, source.check)

        self.assertIn('the job vanished', str(error))

    def test_closed_from_another_thread(self) -> None:
        with self.source() as source:
            source.close()
            self.assertRaises(exception.SourceLost, source.read, 0, 512)
            self.assertRaises(exception.SourceLost, source.check)


class ConnectTest(NbdTestCase):
    def sockets(self) -> int:
        links = (
            f'/proc/self/fd/{each}' for each in os.listdir('/proc/self/fd')
        )
        return sum(
            os.readlink(link).startswith('socket:')
            for link in links
            if os.path.lexists(link)
        )

    def enter(self, source: nbd.NbdSource) -> None:
        with source:
            self.fail('it connected')

    def test_nobody_listens(self) -> None:
        self.assertRaises(exception.SourceLost, self.enter, self.source())

    def test_no_such_export(self) -> None:
        self.serve('-f', 'raw', self.raw('a', MI))

        error = self.assertRaises(
            exception.SourceLost,
            self.enter,
            nbd.NbdSource(self.socket, 'other', disk='vda'),
        )

        self.assertEqual('vda', error.disk)

    def test_waits_for_a_server_that_is_alive(self) -> None:
        path = self.raw('a', MI)
        asked: list[bool] = []

        def alive() -> None:
            if not asked:
                self.serve('-f', 'raw', path)
            asked.append(True)

        with self.source(liveness=alive) as source:
            self.assertEqual(MI, source.size)
        self.assertEqual([True], asked)

    def test_does_not_wait_for_a_server_that_is_gone(self) -> None:
        def gone() -> None:
            raise exception.SourceLost('vda', 'the job vanished')

        error = self.assertRaises(
            exception.SourceLost, self.enter, self.source(liveness=gone)
        )

        self.assertIn('the job vanished', str(error))

    def test_last_connection_is_not_answered(self) -> None:
        # qemu-nbd at its limit leaves a client waiting.
        self.serve('-f', 'raw', self.raw('a', MI))
        self.useFixture(
            fixtures.MonkeyPatch('ekko_nova.virt.nbd.CONNECT_SECONDS', 0.2)
        )
        before = self.sockets()

        error = self.assertRaises(
            exception.SourceLost, self.enter, self.source(connections=5)
        )

        self.assertIn('does not answer', str(error))
        del error
        self.assertEqual(before, self.sockets())
        self.assertEqual(MI, sum(e.length for e in self.extents()))

    def test_backlog_is_full(self) -> None:
        with (
            socket.socket(socket.AF_UNIX) as listener,
            socket.socket(socket.AF_UNIX) as first,
        ):
            listener.bind(self.socket)
            listener.listen(0)
            first.connect(self.socket)
            self.useFixture(
                fixtures.MonkeyPatch('ekko_nova.virt.nbd.CONNECT_SECONDS', 0.1)
            )
            self.assertRaises(exception.SourceLost, self.enter, self.source())

    def test_everything_is_closed(self) -> None:
        self.serve('-f', 'raw', self.raw('a', MI))
        before = self.sockets()
        with self.source() as source:
            self.assertGreater(self.sockets(), before)
            source.read(0, 512)
        self.assertEqual(before, self.sockets())

    def test_path_too_long_for_a_socket(self) -> None:
        error = self.assertRaises(
            exception.InvalidOption,
            nbd.NbdSource,
            '/' + 'x' * 107,
            'x',
            disk='vda',
        )
        self.assertIn('107', str(error))

    def test_path_just_short_enough(self) -> None:
        nbd.check_socket_path('/' + 'x' * 106)
        self.assertRaises(
            exception.InvalidOption, nbd.check_socket_path, '/' + 'é' * 54
        )


class OddServerTest(NbdTestCase):
    """What QEMU would not do must not make a short backup either."""

    def odd(
        self, contexts: dict[str, odd_server.Status], **options: typing.Any
    ) -> odd_server.OddServer:
        return self.useFixture(
            odd_server.OddServer(self.socket, MI, contexts, **options)
        )

    def test_no_allocation_context(self) -> None:
        self.odd({})
        self.assertEqual([block.Extent(0, MI, True, False)], self.extents())

    def test_bitmap_but_no_allocation_context(self) -> None:
        self.odd({DIRTY: lambda offset, length: [(length, 1)]})
        self.assertEqual(
            [block.Extent(0, MI, True, False)], self.extents(bitmap='b')
        )

    def test_hole_is_not_zero(self) -> None:
        self.odd({ALLOCATION: lambda offset, length: [(length, 1)]})
        self.assertEqual([block.Extent(0, MI, True, False)], self.extents())

    def test_bits_we_do_not_know(self) -> None:
        self.odd(
            {
                ALLOCATION: lambda offset, length: [(length, 4)],
                DIRTY: lambda offset, length: [(length, 2)],
            }
        )
        self.assertEqual(
            [block.Extent(0, MI, False, False)], self.extents(bitmap='b')
        )

    def test_short_and_long_replies(self) -> None:
        self.odd(
            {
                ALLOCATION: lambda offset, length: [(4 * KI, 0), (8 * KI, 3)],
                DIRTY: lambda offset, length: [(512, 1), (64 * MI, 0)],
            }
        )

        extents = self.extents(bitmap='b')

        # Each request moves on by as much as both replies reach.
        starts = range(0, MI, 12 * KI)
        self.assertEqual(list(starts), [e.offset for e in extents if e.dirty])
        self.assertEqual(
            [at + 4 * KI for at in starts if at + 4 * KI < MI],
            [e.offset for e in extents if e.zero],
        )

    def test_allocation_goes_silent(self) -> None:
        self.odd(
            {
                ALLOCATION: lambda offset, length: (
                    None if offset else [(512, 0)]
                ),
            }
        )
        self.assertRaises(exception.SourceLost, self.extents)

    def test_bitmap_goes_silent(self) -> None:
        self.odd(
            {
                ALLOCATION: lambda offset, length: [(length, 0)],
                DIRTY: lambda offset, length: None if offset else [(512, 0)],
            }
        )
        self.assertRaises(exception.SourceLost, self.extents, bitmap='b')

    def test_run_of_no_bytes(self) -> None:
        self.odd({ALLOCATION: lambda offset, length: [(0, 0), (length, 0)]})
        self.assertRaises(exception.SourceLost, self.extents)

    def test_no_multi_conn_no_second_connection(self) -> None:
        server = self.odd({}, multi_conn=False)
        with self.source(connections=4) as source:
            source.read(0, 512)
        self.assertEqual(1, server.clients)

    def test_close_ends_a_read_that_is_not_answered(self) -> None:
        server = self.odd({}, mute=True)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with self.source() as source:
                read = pool.submit(source.read, 0, 512)
                server.asked.wait()
            self.assertIsInstance(read.exception(), exception.SourceLost)

    def test_close_ends_a_wait_for_a_connection(self) -> None:
        server = self.odd({}, mute=True)
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            with self.source(connections=1) as source:
                reads = [pool.submit(source.read, 0, 512) for _ in range(3)]
                server.asked.wait()
            for read in reads:
                self.assertIsInstance(read.exception(), exception.SourceLost)


class NbdTargetTest(NbdTestCase):
    def target(self, **options: typing.Any) -> nbd_target.NbdTarget:
        return nbd_target.NbdTarget(self.socket, 'x', target='disk', **options)

    def serve_writable(
        self, format: str, path: str, clients: int = 4
    ) -> images.QemuNbd:
        return self.useFixture(
            images.QemuNbd(
                self.socket, '-e', clients, '-x', 'x', '-f', format, path
            )
        )

    def stop(self, server: images.QemuNbd) -> None:
        server.process.terminate()
        server.process.wait()

    def test_what_is_written_is_there(self) -> None:
        path = self.raw('a', 48 * MI)
        self.serve_writable('raw', path)
        data = random.Random(1).randbytes(40 * MI)

        with self.target() as target:
            target.write(512, data)
            target.write(44 * MI, memoryview(data)[7:1031])
            target.zero(MI, 3 * MI)
            target.flush()
            size = target.size

        expected = bytearray(48 * MI)
        expected[512 : 512 + len(data)] = data
        expected[44 * MI : 44 * MI + 1024] = data[7:1031]
        expected[MI : 4 * MI] = bytes(3 * MI)
        self.assertEqual(48 * MI, size)
        with open(path, 'rb') as file:
            self.assert_same(expected, file.read())

    def test_eight_threads(self) -> None:
        path = self.qcow2('a', 16 * MI)
        server = self.serve_writable('qcow2', path)
        with self.target() as target:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                for n in range(16):
                    pool.submit(target.write, n * MI, bytes([n]) * MI)
            target.flush()
        self.stop(server)

        self.assert_same(
            b''.join(bytes([n]) * MI for n in range(16)), self.content(path)
        )

    def test_flushed_data_outlives_a_kill(self) -> None:
        path = self.qcow2('a', 16 * MI)
        server = self.serve_writable('qcow2', path)
        with self.target() as target:
            target.write(MI, b'x' * MI)
            target.flush()
            server.process.kill()
            server.process.wait()

        self.assert_same(b'x' * MI, self.content(path)[MI : 2 * MI])

    def test_zeros_over_data(self) -> None:
        path = self.qcow2('a', 4 * MI)
        images.qemu_io(path, 'write -P 1 0 4M')
        server = self.serve_writable('qcow2', path)
        with self.target() as target:
            target.zero(512, 3 * MI)
            target.flush()
        self.stop(server)

        content = self.content(path)
        self.assertEqual(b'\1' * 512, content[:512])
        self.assert_same(bytes(3 * MI), content[512 : 512 + 3 * MI])
        self.assert_same(b'\1' * (MI - 512), content[512 + 3 * MI :])

    def test_zeros_over_zeros_allocate_nothing(self) -> None:
        path = self.qcow2('a', 1024 * 1024 * MI)
        before = os.stat(path).st_size
        self.serve_writable('qcow2', path)
        with self.target() as target:
            target.zero(0, target.size)
            target.flush()

        self.assertEqual(before, os.stat(path).st_size)

    def test_zeros_over_a_backing_file(self) -> None:
        base = self.qcow2('base', MI)
        images.qemu_io(base, 'write -P 1 0 1M')
        path = self.qcow2('top', MI, '-b', base, '-F', 'qcow2')
        server = self.serve_writable('qcow2', path)
        with self.target() as target:
            target.zero(0, MI)
            target.flush()
        self.stop(server)

        self.assert_same(bytes(MI), self.content(path))

    def test_single_client_server(self) -> None:
        path = self.raw('a', MI)
        self.serve_writable('raw', path, clients=1)
        with self.target(connections=4) as target:
            target.write(0, b'x' * 512)
            target.flush()
        with open(path, 'rb') as file:
            self.assertEqual(b'x' * 512, file.read(512))

    def test_read_only_export(self) -> None:
        self.serve('-f', 'raw', self.raw('a', MI))
        error = self.assertRaises(
            exception.TargetFailed, self.target().__enter__
        )
        self.assertIn('read-only', str(error))

    def test_server_gone(self) -> None:
        server = self.serve_writable('raw', self.raw('a', MI))
        with self.target() as target:
            server.process.kill()
            server.process.wait()
            self.assertRaises(
                exception.TargetFailed, target.write, 0, bytes(512)
            )
            self.assertRaises(exception.TargetFailed, target.zero, 0, 512)
            self.assertRaises(exception.TargetFailed, target.flush)

    def test_past_the_end(self) -> None:
        self.serve_writable('raw', self.raw('a', MI))
        with self.target() as target:
            self.assertRaises(
                exception.TargetFailed, target.write, MI, bytes(512)
            )
