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
        strategies.builds(base.Codec, NAME, NAME), max_size=3
    ).map(tuple),
)
HEADER = dataclasses.replace(manifests.header(100), parent=None)


def changed(**fields: object) -> bytes:
    content = json.loads(document.encode(HEADER)) | fields
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
            b'"encryption":"aes-gcm"},{"compression":"none","encryption":'
            b'"none"}],"disk":"instance/root \\u00e4","format":1,"owners":'
            b'[{"backup":"backup-0","set":"the-set"}],"parent":null,'
            b'"segment_size":4194304,"set":"the-set","size":419430400}',
            document.encode(HEADER),
        )

    def test_stripe_count(self) -> None:
        for segments, stripes in ((0, 0), (1, 1), (1024, 1), (1025, 2)):
            header = manifests.header(segments)
            self.assertEqual(stripes, document.stripe_count(header))
        short = dataclasses.replace(HEADER, size=1024 * (4 << 20) + 512)
        self.assertEqual(2, document.stripe_count(short))

    def test_unknown_versions_are_named(self) -> None:
        for version in (0, 2, 99, '1', None, True, 1.0, [1]):
            error = self.assertRaises(
                exception.UnknownFormat,
                document.decode,
                'the manifest',
                changed(format=version),
            )
            self.assertEqual(version, error.found)
            self.assertIn('the manifest', str(error))

    def test_malformed(self) -> None:
        encoded = document.encode(HEADER)
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
            changed(more=1),
            changed(size='1'),
            changed(size=True),
            changed(size=1.0),
            changed(size=-512),
            changed(size=1 << 63),
            changed(segment_size=0),
            changed(segment_size=-4194304),
            changed(segment_size=1000),
            changed(parent=1),
            changed(set=None),
            changed(owners=None),
            changed(owners=[{}]),
            changed(owners=[['a', 'b']]),
            changed(owners=[{'set': 'a', 'backup': 1}]),
            changed(codecs=[{'compression': None, 'encryption': 'none'}]),
            changed(codecs='x'),
        ):
            error = self.assertRaises(
                exception.ObjectDamaged, document.decode, 'm', wrong
            )
            self.assertEqual('m', error.name)

    def test_every_flip_is_noticed_or_means_another(self) -> None:
        encoded = document.encode(HEADER)
        for position in range(len(encoded)):
            for bit in range(8):
                flipped = bytearray(encoded)
                flipped[position] ^= 1 << bit
                try:
                    header = document.decode('m', bytes(flipped))
                except exception.DataDamaged:
                    continue
                self.assertNotEqual(HEADER, header)

    def test_what_could_not_be_read_is_not_written(self) -> None:
        for fields in (
            {'size': -1},
            {'segment_size': 4096},
            {'disk': None},
            {'size': True},
        ):
            header = dataclasses.replace(HEADER, **fields)
            self.assertRaises(ValueError, document.encode, header)
