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

"""Key-encryption keys in a file.

Each line is a key of 32 bytes as 64 hexadecimal digits; empty lines and
lines that begin with ``#`` are passed over. The first key wraps; the others
are earlier ones, kept to unwrap what they wrapped. To change keys, put a new
one on top (``openssl rand -hex 32``).

A key's identifier is the first 16 hexadecimal digits of its SHA-256. Data
keys are wrapped with AES key wrap (RFC 3394), which notices a wrong key and
any damage.
"""

import hashlib
import os
import pathlib
import re
import stat
import typing

from cryptography.hazmat.primitives import keywrap

from ekko_nova.backup.codec import base
from ekko_nova import exception

__all__ = ('KeyFile',)

_PROVIDER: typing.Final = 'file'
_KEY: typing.Final = re.compile(r'[0-9A-Fa-f]{64}')


class KeyFile(base.KeyProvider):
    """The keys in the file at ``location``, read once.

    :raises exception.InvalidOption: the file is missing, malformed, or
        others than its owner may use it
    """

    def __init__(self, location: str | os.PathLike[str]) -> None:
        super().__init__(os.fspath(location))
        keys = _read(pathlib.Path(location))
        self._keys = {_key_id(key): key for key in keys}
        self._current = _key_id(keys[0])

    def wrap(self, data_key: bytes) -> base.WrappedKey:
        wrapped = keywrap.aes_key_wrap(self._keys[self._current], data_key)
        return base.WrappedKey(_PROVIDER, self._current, wrapped)

    def unwrap(self, key: base.WrappedKey) -> bytes:
        if key.key_id not in self._keys:
            raise exception.WrongKey(key.key_id, self._current)
        try:
            return keywrap.aes_key_unwrap(self._keys[key.key_id], key.wrapped)
        except keywrap.InvalidUnwrap as e:
            raise exception.ObjectDamaged(
                f'wrapped data key (under {key.key_id})',
                'it must unwrap under the key that wrapped it',
            ) from e


def _key_id(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:16]


def _read(path: pathlib.Path) -> list[bytes]:
    try:
        with path.open('rb') as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise exception.InvalidOption(
                    'key file',
                    path,
                    f'others may use it (mode {mode:04o}); '
                    'chmod 600 it, and replace the keys if others read them',
                )
            content = file.read()
    except OSError as e:
        raise exception.InvalidOption(
            'key file', path, e.strerror or str(e)
        ) from e
    return _parse(path, content)


def _parse(path: pathlib.Path, content: bytes) -> list[bytes]:
    keys = []
    # A line that is no key may be one with a typing error: it is never shown.
    for number, line in enumerate(content.splitlines(), start=1):
        text = line.strip().decode('ascii', 'replace')
        if not text or text.startswith('#'):
            continue
        if not _KEY.fullmatch(text):
            raise exception.InvalidOption(
                'key file', path, f'line {number} must be 64 hex digits'
            )
        keys.append(bytes.fromhex(text))
    if not keys:
        raise exception.InvalidOption(
            'key file', path, 'it must hold a key of 64 hex digits'
        )
    return keys
