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

import dataclasses
import json

import hypothesis
from hypothesis import strategies
import testtools

from ekko_nova.backup.codec import digest as digests
from ekko_nova.backup.manifest import base
from ekko_nova.backup.manifest import document
from ekko_nova import exception
from tests import manifests

NAME = strategies.text(max_size=10)
HEADERS = strategies.builds(
    base.Header,
    set=NAME,
    backup=NAME,
    parent=strategies.none() | NAME,
    disk=NAME,
    size=strategies.integers(0, (1 << 63) - 1),
    segment_size=strategies.integers(1, 2048).map(lambda n: n * 32768),
    owners=strategies.lists(
        strategies.builds(base.Owner, NAME, NAME), max_size=3
    ).map(tuple),
    codecs=strategies.lists(
        strategies.builds(
            base.Codec, NAME, NAME, strategies.sampled_from(digests.NAMES)
        ),
        max_size=3,
    ).map(tuple),
)

#: Of version 2, and of version 1.
HEADER = dataclasses.replace(manifests.header(100), parent=None)
OLD = dataclasses.replace(
    HEADER,
    codecs=(
        base.Codec('zstd', 'aes-gcm', 'sha256'),
        base.Codec('none', 'none', 'sha256'),
    ),
)
BOTH = (HEADER, OLD)


def changed(header: base.Header = HEADER, /, **fields: object) -> bytes:
    content = json.loads(document.encode(header)) | fields
    return json.dumps(content, sort_keys=True, separators=(',', ':')).encode()


class TestDocument(testtools.TestCase):
    @hypothesis.settings(deadline=None)
    @hypothesis.given(HEADERS)
    def test_round_trip(self, header: base.Header) -> None:
        encoded = document.encode(header)
        self.assertEqual(header, document.decode('m', encoded))

    def test_to_the_byte(self) -> None:
        self.assertEqual(
            b'{"backup":"the-backup","codecs":[{"compression":"zstd",'
            b'"digest":"sha256","encryption":"aes-gcm"},{"compression":"none",'
            b'"digest":"blake3","encryption":"none"}],"disk":"instance/root '
            b'\\u00e4","format":2,"owners":[{"backup":"backup-0","set":'
            b'"the-set"}],"parent":null,"segment_size":4194304,"set":'
            b'"the-set","size":419430400}',
            document.encode(HEADER),
        )

    def test_what_needs_nothing_newer_is_written_as_ever(self) -> None:
        self.assertEqual(
            b'{"backup":"the-backup","codecs":[{"compression":"zstd",'
            b'"encryption":"aes-gcm"},{"compression":"none","encryption":'
            b'"none"}],"disk":"instance/root \\u00e4","format":1,"owners":'
            b'[{"backup":"backup-0","set":"the-set"}],"parent":null,'
            b'"segment_size":4194304,"set":"the-set","size":419430400}',
            document.encode(OLD),
        )
        self.assertEqual(OLD, document.decode('m', document.encode(OLD)))
        bare = dataclasses.replace(OLD, codecs=())
        self.assertIn(b'"format":1,', document.encode(bare))

    def test_stripe_count(self) -> None:
        for segments, stripes in ((0, 0), (1, 1), (1024, 1), (1025, 2)):
            header = manifests.header(segments)
            self.assertEqual(stripes, document.stripe_count(header))
        short = dataclasses.replace(HEADER, size=1024 * (4 << 20) + 512)
        self.assertEqual(2, document.stripe_count(short))

    def test_unknown_versions_are_named(self) -> None:
        for version in (0, 3, 99, '1', None, True, 1.0, [1]):
            error = self.assertRaises(
                exception.UnknownFormat,
                document.decode,
                'the manifest',
                changed(format=version),
            )
            self.assertEqual(version, error.found)
            self.assertIn('the manifest', str(error))

    def test_unknown_digests_are_named(self) -> None:
        codec = {'compression': 'zstd', 'encryption': 'none'}
        for unknown in ('md5', 'BLAKE3', 'sha256 ', ''):
            codecs = [{**codec, 'digest': unknown}]
            for fields in ({'codecs': codecs}, {'codecs': codecs * 2}):
                error = self.assertRaises(
                    exception.UnknownFormat,
                    document.decode,
                    'the manifest',
                    changed(**fields),
                )
                self.assertEqual(unknown, error.found)
                self.assertEqual(('blake3', 'sha256'), error.known)
                self.assertIn(f'digest {unknown}, this', str(error))

    def test_the_version_is_the_oldest_that_will_do(self) -> None:
        """So that there is one form of a header, and no other."""
        codec = {'compression': 'zstd', 'encryption': 'none'}
        old = {**codec, 'digest': 'sha256'}
        for wrong in (
            changed(OLD, format=2),
            changed(OLD, format=2, codecs=[]),
            changed(OLD, format=2, codecs=[old, old]),
            changed(OLD, codecs=[old]),
            changed(HEADER, codecs=[old]),
            changed(HEADER, codecs=[codec]),
            changed(HEADER, codecs=[{**codec, 'digest': 'blake3'}, codec]),
            changed(HEADER, format=1),
        ):
            self.assertRaises(
                exception.ObjectDamaged, document.decode, 'm', wrong
            )

    def test_malformed(self) -> None:
        for header in BOTH:
            self._malformed(header)
        codec = {'compression': 'zstd', 'encryption': 'none'}
        for digest in ('null', '1', 'true', '["blake3"]', '{}'):
            wrong = changed(codecs=[{**codec, 'digest': json.loads(digest)}])
            self.assertRaises(
                exception.ObjectDamaged, document.decode, 'm', wrong
            )

    def _malformed(self, header: base.Header) -> None:
        encoded = document.encode(header)
        for wrong in (
            b'',
            b'null',
            b'[]',
            b'{}',
            b'"format"',
            b'\xff',
            b'[' * 100_000,
            encoded[:-1],
            encoded + b'\n',
            encoded.replace(b':', b': ', 1),
            encoded.replace(b'"size"', b'"size":1,"size"'),
            encoded.replace(b'\\u00e4', 'ä'.encode()),
            changed(header, more=1),
            changed(header, size='1'),
            changed(header, size=True),
            changed(header, size=1.0),
            changed(header, size=-512),
            changed(header, size=1 << 63),
            changed(header, segment_size=0),
            changed(header, segment_size=-4194304),
            changed(header, segment_size=1000),
            changed(header, parent=1),
            changed(header, set=None),
            changed(header, owners=None),
            changed(header, owners=[{}]),
            changed(header, owners=[['a', 'b']]),
            changed(header, owners=[{'set': 'a', 'backup': 1}]),
            changed(
                header, codecs=[{'compression': None, 'encryption': 'none'}]
            ),
            changed(header, codecs='x'),
        ):
            error = self.assertRaises(
                exception.ObjectDamaged, document.decode, 'm', wrong
            )
            self.assertEqual('m', error.name)

    def test_every_flip_is_noticed_or_means_another(self) -> None:
        for header in BOTH:
            self._flip(header)

    def _flip(self, header: base.Header) -> None:
        encoded = document.encode(header)
        for position in range(len(encoded)):
            for bit in range(8):
                flipped = bytearray(encoded)
                flipped[position] ^= 1 << bit
                try:
                    found = document.decode('m', bytes(flipped))
                except exception.DataDamaged:
                    continue
                self.assertNotEqual(header, found)

    def test_what_could_not_be_read_is_not_written(self) -> None:
        for fields in (
            {'size': -1},
            {'segment_size': 4096},
            {'disk': None},
            {'size': True},
            {'codecs': (base.Codec('zstd', 'none', 'md5'),)},
            {'codecs': (base.Codec('zstd', 'none', ''),)},
        ):
            header = dataclasses.replace(HEADER, **fields)
            self.assertRaises(ValueError, document.encode, header)
