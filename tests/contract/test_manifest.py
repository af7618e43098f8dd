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

"""What every manifest driver promises."""

from concurrent import futures
import dataclasses
import pathlib
import resource
import signal
import stat

import fixtures
import hypothesis
from hypothesis import strategies
from oslo_utils import units
import testtools

from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import document
from ekko_nova.backup.manifest import generate
from ekko_nova.backup.manifest import load
from ekko_nova.backup.manifest import stripe
from ekko_nova import exception
from tests.contract import drivers
from tests import manifests

Stripes = dict[int, base.Columns]

ZERO = stripe.encode([base.Segment(manifests.FULL)] * base.STRIPE)


def columns(count: int, first: int = 0) -> base.Columns:
    """A stripe of segments with one layer each."""
    return stripe.encode(
        [
            base.Segment(0, (manifests.layer(number),))
            for number in range(first, first + count)
        ]
    )


class Files(testtools.TestCase):
    """A directory, and manifests in it."""

    driver = ''

    def setUp(self) -> None:
        super().setUp()
        self.directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path = self.directory / 'manifest'

    def write(self, header: base.Header, stripes: Stripes) -> None:
        self.path.unlink(missing_ok=True)
        driver = load.driver(self.driver)
        with driver.create(self.path, header) as writer:
            for number, each in stripes.items():
                writer.add(number, each)
            writer.finish()

    def read(self) -> tuple[base.Header, Stripes]:
        """All there is, in order, and once more at random."""
        with load.driver(self.driver).open(self.path) as reader:
            stripes = dict(reader.stripes())
            for number in reversed(
                range(document.stripe_count(reader.header))
            ):
                self.assertEqual(stripes.get(number), reader.stripe(number))
            return reader.header, stripes


@drivers.suite('ekko_nova.backup.manifest')
class Manifest(Files):
    def test_empty_disk(self) -> None:
        header = manifests.header(0)
        self.write(header, {})
        self.assertEqual((header, {}), self.read())

    def test_disk_of_zeros(self) -> None:
        header = manifests.header(5 * base.STRIPE)
        self.write(header, {0: ZERO, 1: ZERO, 4: ZERO})
        self.assertEqual((header, {}), self.read())

    @drivers.PROPERTY
    @hypothesis.given(
        strategies.dictionaries(
            strategies.integers(0, 40), manifests.SEGMENTS, max_size=4
        )
    )
    def test_round_trip(self, stripes: dict[int, list[base.Segment]]) -> None:
        header = manifests.header(41 * base.STRIPE)
        encoded = {
            number: stripe.encode(segments)
            for number, segments in sorted(stripes.items())
        }
        self.write(header, encoded)
        kept = {
            number: each
            for number, each in encoded.items()
            if not stripe.is_zero(each)
        }
        self.assertEqual((header, kept), self.read())

    def test_short_last_stripe_and_short_last_segment(self) -> None:
        header = manifests.header(2 * base.STRIPE + 3)
        header = dataclasses.replace(header, size=header.size - 512)
        stripes = {2: columns(3)}
        self.write(header, stripes)
        self.assertEqual((header, stripes), self.read())
        with load.open(self.path) as reader:
            read = reader.stripe(2)
        assert read is not None
        last = stripe.decode(read)
        self.assertEqual(3, sum(len(each.layers) for each in last))
        self.assertEqual([base.Segment(0)] * (base.STRIPE - 3), last[3:])

    def test_stripes_outside_the_disk_are_not_there(self) -> None:
        self.write(manifests.header(base.STRIPE), {0: columns(9)})
        with load.open(self.path) as reader:
            for number in (-1, 1, 8, 1 << 40):
                self.assertIsNone(reader.stripe(number))

    def test_many_owners(self) -> None:
        owners = 70_000
        header = manifests.header(base.STRIPE, owners)
        layers = (manifests.layer(1), manifests.layer(2, owner=owners - 1))
        stripes = {0: stripe.encode([base.Segment(0, layers)])}
        self.write(header, stripes)
        self.assertEqual((header, stripes), self.read())

    def test_names_that_mean_something_elsewhere(self) -> None:
        names = ('a?mode=rw', 'b#c', 'd%41', "e'f", 'g h', 'ü', ':memory:')
        header = manifests.header(1)
        for name in names:
            self.path = self.directory / name
            self.write(header, {0: columns(1)})
            self.assertEqual((header, {0: columns(1)}), self.read())
        found = {path.name for path in self.directory.iterdir()}
        self.assertEqual(set(names), found)

    def test_others_cannot_read_it(self) -> None:
        self.write(manifests.header(1), {})
        self.assertEqual(0o600, stat.S_IMODE(self.path.stat().st_mode))

    def test_threads_share_a_reader(self) -> None:
        stripes = {number: columns(50, number) for number in range(64)}
        self.write(manifests.header(64 * base.STRIPE), stripes)
        with load.open(self.path) as reader:

            def read(number: int) -> bool:
                if number % 20 == 0:
                    return dict(reader.stripes()) == stripes
                return reader.stripe(number % 64) == stripes[number % 64]

            with futures.ThreadPoolExecutor(8) as pool:
                results = list(pool.map(read, range(400)))
        self.assertEqual([True] * 400, results)

    def test_opened_by_its_first_bytes(self) -> None:
        self.write(manifests.header(1), {})
        start = self.path.read_bytes()[: len(load.driver(self.driver).magic)]
        self.assertEqual(load.driver(self.driver).magic, start)
        with load.open(self.path) as reader:
            self.assertEqual(manifests.header(1), reader.header)


@drivers.suite('ekko_nova.backup.manifest')
class Writing(Files):
    def create(self) -> base.Writer:
        header = manifests.header(8 * base.STRIPE)
        return load.driver(self.driver).create(self.path, header)

    def test_left_without_finish(self) -> None:
        with self.create() as writer:
            writer.add(0, columns(100))
        self.assertEqual([], list(self.directory.iterdir()))

    def test_left_by_an_error(self) -> None:
        def abandon() -> None:
            with self.create() as writer:
                writer.add(0, columns(100))
                raise InterruptedError

        self.assertRaises(InterruptedError, abandon)
        self.assertEqual([], list(self.directory.iterdir()))

    def test_numbers_ascend_within_the_disk(self) -> None:
        with self.create() as writer:
            writer.add(3, columns(1))
            for number in (-1, 0, 2, 3, 8):
                self.assertRaises(ValueError, writer.add, number, columns(1))
            writer.add(7, columns(1))
            writer.finish()
            self.assertRaises(ValueError, writer.add, 8, columns(1))
        _, stripes = self.read()
        self.assertEqual({3: columns(1), 7: columns(1)}, stripes)

    def test_what_could_not_be_read_is_not_written(self) -> None:
        wrong = dataclasses.replace(columns(2), digest=b'')
        with self.create() as writer:
            self.assertRaises(ValueError, writer.add, 0, wrong)
        driver = load.driver(self.driver)
        header = dataclasses.replace(manifests.header(1), segment_size=1)
        self.assertRaises(ValueError, driver.create, self.path, header)
        self.assertEqual([], list(self.directory.iterdir()))

    def test_what_is_there_stays(self) -> None:
        self.path.write_bytes(b'precious')
        self.assertRaises(exception.TargetExists, self.create)
        self.assertEqual(b'precious', self.path.read_bytes())

    def test_no_such_directory(self) -> None:
        self.path = self.directory / 'missing' / 'manifest'
        error = self.assertRaises(exception.TargetFailed, self.create)
        self.assertEqual(str(self.path), error.target)

    def test_no_room(self) -> None:
        """The file cannot grow at any point, from the first byte on."""
        for room in (0, 100, 5000, 20_000, 100_000):
            with self.limited(room):
                self.assertRaises(exception.TargetFailed, self.write_much)
            self.assertEqual([], list(self.directory.iterdir()))

    def write_much(self) -> None:
        with self.create() as writer:
            for number in range(8):
                writer.add(number, columns(base.STRIPE, number))
            writer.finish()

    def limited(self, room: int) -> '_FileSizeLimit':
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGXFSZ, handler)
        return _FileSizeLimit(room)


class _FileSizeLimit(fixtures.Fixture):
    """Files cannot be written beyond so many bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def _setUp(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._room, limits[1]))


@drivers.suite('ekko_nova.backup.manifest')
class Damage(Files):
    def setUp(self) -> None:
        super().setUp()
        self.header = manifests.header(6 * base.STRIPE)
        self.stripes = {1: columns(2), 2: columns(3, 5), 5: columns(1)}
        self.write(self.header, self.stripes)
        self.whole = self.path.read_bytes()

    def notices(self, data: bytes) -> bool:
        """Whether the driver refuses; if not, nothing must be different."""
        self.path.write_bytes(data)
        try:
            content = self.read()
        except exception.DataDamaged as e:
            self.assertIn(str(self.path), str(e))
            return True
        self.assertEqual((self.header, self.stripes), content)
        return False

    def test_every_flip_is_noticed_or_harmless(self) -> None:
        noticed = 0
        for position in range(len(self.whole)):
            flipped = bytearray(self.whole)
            for change in (1 << position % 8, 0xFF):
                flipped[position] = self.whole[position] ^ change
                noticed += self.notices(bytes(flipped))
        # All that is written of names and digests, at the least.
        self.assertGreater(noticed, 2 * 6 * 20)

    def test_every_truncation_is_noticed_or_harmless(self) -> None:
        step = max(1, len(self.whole) // 2000)
        for length in range(0, len(self.whole), step):
            self.notices(self.whole[:length])
        self.assertTrue(self.notices(self.whole[: len(self.whole) // 2]))
        self.assertTrue(self.notices(b''))
        self.assertFalse(self.notices(self.whole))

    def test_a_run_of_zeros_is_noticed_or_harmless(self) -> None:
        for start in range(0, len(self.whole), 512):
            zeros = bytes(len(self.whole[start : start + 512]))
            end = start + len(zeros)
            self.notices(self.whole[:start] + zeros + self.whole[end:])
        self.assertTrue(self.notices(bytes(len(self.whole))))

    def test_a_digest_of_a_stripe_that_is_not_asked_for(self) -> None:
        digest = self.stripes[2].digest
        position = self.whole.index(digest)
        changed = bytearray(self.whole)
        changed[position] ^= 1
        self.path.write_bytes(changed)
        with load.open(self.path) as reader:
            self.assertEqual(self.stripes[1], reader.stripe(1))
            self.assertRaises(exception.ObjectDamaged, reader.stripe, 2)
            self.assertRaises(exception.ObjectDamaged, list, reader.stripes())

    def test_closed_reader_is_no_damage(self) -> None:
        reader = load.open(self.path)
        reader.close()
        self.assertRaises(ValueError, reader.stripe, 1)
        self.assertRaises(ValueError, list, reader.stripes())


@drivers.suite('ekko_nova.backup.manifest')
class Streaming(Files):
    SEGMENTS = 1 << 20

    def test_memory_is_bounded(self) -> None:
        size = self.SEGMENTS * 4 * units.Mi
        with drivers.peak_memory() as writing:
            generate.generate(
                load.driver(self.driver),
                self.path,
                size=size,
                segment_size=4 * units.Mi,
                seed=1,
            )
        stripes = 0
        with drivers.peak_memory() as reading, load.open(self.path) as reader:
            for number, each in reader.stripes():
                stripes += 1
                if number % 64 == 0:
                    self.assertEqual(base.STRIPE, len(stripe.decode(each)))
        self.assertEqual(self.SEGMENTS // base.STRIPE, stripes)
        self.assertGreater(self.path.stat().st_size, 20 * units.Mi)
        self.assertLess(writing[0], 8 * units.Mi)
        self.assertLess(reading[0], 8 * units.Mi)


@drivers.suite('ekko_nova.backup.manifest')
class Generated(Files):
    def generate(self, size: int, seed: int = 1) -> None:
        self.path.unlink(missing_ok=True)
        driver = load.driver(self.driver)
        generate.generate(
            driver, self.path, size=size, segment_size=units.Mi, seed=seed
        )

    def test_every_block_has_a_place(self) -> None:
        # 1,025 segments, the last of which has three and a half blocks.
        self.generate(units.Gi + 3 * 16384 + 8192)
        header, stripes = self.read()
        segments = [
            segment
            for each in stripes.values()
            for segment in stripe.decode(each)
        ]
        layers = [layer for each in segments for layer in each.layers]
        self.assertEqual(1025, len(layers))
        self.assertEqual({0, 1}, {len(each.layers) for each in segments})
        self.assertEqual(list(range(1025)), [each.object for each in layers])
        self.assertEqual({manifests.FULL}, {e.mask for e in layers[:1024]})
        self.assertEqual(0b1111, layers[-1].mask)
        self.assertEqual(1025, len({each.digest for each in layers}))
        lengths = [each.length for each in layers]
        self.assertLessEqual(units.Mi // 4, min(lengths))
        self.assertLess(max(lengths), units.Mi)
        self.assertEqual(1, len(header.owners))

    def test_the_seed_decides(self) -> None:
        contents = []
        for seed in (1, 1, 2):
            self.generate(units.Gi, seed)
            contents.append(self.read()[1])
        self.assertEqual(contents[0], contents[1])
        self.assertNotEqual(contents[0], contents[2])

    def test_empty_disk(self) -> None:
        self.generate(0)
        self.assertEqual({}, self.read()[1])
