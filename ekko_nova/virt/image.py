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

"""Disk images as files: what ``qemu-img`` knows of them and does to them."""

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import dataclasses
import json
import os
import stat
import subprocess
import typing

from ekko_nova import exception

__all__ = (
    'SECTOR',
    'BitmapInfo',
    'ImageInfo',
    'Refusal',
    'add_bitmap',
    'create',
    'failure',
    'grow',
    'info',
    'parse_info',
    'remove_bitmap',
)

SECTOR = 512

Refusal: typing.TypeAlias = Callable[[str], exception.EkkoError]

TIMEOUT_SECONDS = 60.0

_QCOW2_MAGIC = b'QFI\xfb'
_QCOW2_VERSIONS = (2, 3)


@dataclasses.dataclass(frozen=True, slots=True)
class BitmapInfo:
    """A persistent dirty bitmap, as the image's header tells of it.

    :ivar granularity: bytes that one bit stands for
    :ivar recording: writes are marked whenever the image is opened to write
    :ivar inconsistent: QEMU did not close the image properly, or has it
        open; unless a running QEMU says otherwise, bits are missing
    :ivar partial: an image beneath has one of this name, too. libvirt begins
        a copy of each bitmap in the overlay of an external snapshot, so that
        earlier changes are in the lower one alone (libvirt 9.0)
    """

    name: str
    granularity: int
    recording: bool
    inconsistent: bool
    partial: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ImageInfo:
    """What is known of an image without reading its data.

    :ivar path: absolute
    :ivar format: 'qcow2' or 'raw', or what the caller asked for
    :ivar size: of the disk it holds, in bytes, a multiple of 512
    :ivar compat: of a qcow2, '0.10' (no bitmaps) or '1.1'
    :ivar data_file: its data lies in another file, which bitmaps of this one
        do not watch
    :ivar backing: the image beneath it, as its header names it
    :ivar bitmaps: of this very image, not of what lies beneath
    """

    path: str
    format: str
    size: int
    compat: str | None
    data_file: bool
    backing: str | None
    bitmaps: tuple[BitmapInfo, ...]


def info(
    path: str, format: str | None = None, *, in_use: bool = False
) -> ImageInfo:
    """Describe an image.

    Without a format, a regular file that starts as a qcow2 does is one, and
    anything else is raw. Whoever can write to a raw disk can put such a
    header into it, and so make its next reader open files of their choice:
    name the format of every image whose content is a guest's. A block device
    is always raw unless named otherwise.

    :param in_use: a running QEMU has it open. What is returned may be stale
        then: bitmaps, above all, are written when QEMU closes the image.
    :raises exception.InvalidSource: there is no such image, it is not one,
        or a running QEMU has it open
    :raises exception.HypervisorFailed: qemu-img did not run
    """
    path = os.path.abspath(path)
    format = _inspect(path, format)
    share = ['--force-share'] if in_use else []
    options = ['--output=json', *share, '--format', format, path]

    def unsound(reason: str) -> exception.InvalidSource:
        return exception.InvalidSource(
            path, reason, 'name a sound image and its format'
        )

    parsed = parse_info(
        path, json.loads(_run(['info', *options], path, unsound))
    )
    if not parsed.size or parsed.size % SECTOR:
        raise _badly_sized(path, parsed.size)
    if parsed.backing and parsed.bitmaps:
        argv = ['info', '--backing-chain', *options]
        chain = json.loads(_run(argv, path, unsound))
        return _mark_partial(parsed, chain[1:])
    return parsed


def _mark_partial(
    info: ImageInfo, beneath: list[dict[str, typing.Any]]
) -> ImageInfo:
    names = {
        bitmap.name
        for description in beneath
        for bitmap in parse_info(info.path, description).bitmaps
    }
    bitmaps = tuple(
        dataclasses.replace(bitmap, partial=bitmap.name in names)
        for bitmap in info.bitmaps
    )
    return dataclasses.replace(info, bitmaps=bitmaps)


def _inspect(path: str, format: str | None) -> str:
    """Refuse what cannot be an image; the format, if nobody named it."""
    try:
        status = os.stat(path)
        is_device = stat.S_ISBLK(status.st_mode)
        if not is_device and not stat.S_ISREG(status.st_mode):
            raise exception.InvalidSource(
                path,
                'it is neither a regular file nor a block device',
                'name a disk image or a block device',
            )
        with open(path, 'rb') as image:
            start = image.read(8)
    except OSError as error:
        raise exception.InvalidSource(
            path,
            error.strerror or str(error),
            'check the path and its permissions',
        ) from error
    if format is None:
        format = 'qcow2' if not is_device and _is_qcow2(start) else 'raw'
    # qemu-img would round the size of a raw file up to a whole sector.
    odd = format == 'raw' and status.st_size % SECTOR != 0
    if not is_device and (odd or not start):
        raise _badly_sized(path, status.st_size)
    return format


def _is_qcow2(start: bytes) -> bool:
    version = int.from_bytes(start[4:8], 'big')
    return start[:4] == _QCOW2_MAGIC and version in _QCOW2_VERSIONS


def _badly_sized(path: str, size: int) -> exception.InvalidSource:
    if not size:
        return exception.InvalidSource(
            path, 'it is empty', 'name an image that holds a disk'
        )
    return exception.InvalidSource(
        path,
        f'its size of {size} bytes is not a multiple of {SECTOR}',
        'it is cut off or no disk image; '
        'if it is one, extend it with "truncate --size=%512"',
    )


def parse_info(path: str, description: Mapping[str, typing.Any]) -> ImageInfo:
    """Pick what we need from the output of ``qemu-img info``.

    ``{"virtual-size": 1048576, "format": "qcow2", "format-specific":
    {"data": {"compat": "1.1", "bitmaps": [{"name": "b", "granularity": 65536,
    "flags": ["auto", "in-use"]}]}}}``, where a raw image has no "data".
    """
    specific = description.get('format-specific', {}).get('data', {})
    bitmaps = tuple(
        BitmapInfo(
            name=bitmap['name'],
            granularity=bitmap['granularity'],
            recording='auto' in bitmap['flags'],
            inconsistent='in-use' in bitmap['flags'],
        )
        for bitmap in specific.get('bitmaps', ())
    )
    backing = description.get('full-backing-filename')
    return ImageInfo(
        path=path,
        format=description['format'],
        size=description['virtual-size'],
        compat=specific.get('compat'),
        data_file='data-file' in specific,
        backing=backing or description.get('backing-filename'),
        bitmaps=bitmaps,
    )


def add_bitmap(path: str, name: str, granularity: int | None = None) -> None:
    """Let a qcow2 image record from now on what is written to it.

    :param granularity: bytes per bit, a power of two; QEMU's default is the
        cluster size, clamped to 4 to 64 KiB
    :raises exception.InvalidSource: a running QEMU has the image open
    :raises exception.HypervisorFailed: there is such a bitmap already, the
        image cannot hold one, or qemu-img failed
    """
    size = [] if granularity is None else [f'--granularity={granularity}']
    _bitmap(path, name, '--add', *size)


def grow(path: str, format: str, size: int) -> None:
    """Make an image larger; what is new reads as zeros.

    :param size: in bytes
    :raises exception.InvalidSource: a running QEMU has the image open
    :raises exception.HypervisorFailed: qemu-img failed
    """
    operation = f'growing {path} to {size} bytes'
    _run(
        ['resize', '-q', '-f', format, path, str(size)],
        path,
        lambda reason: exception.HypervisorFailed(operation, reason),
    )


def remove_bitmap(path: str, name: str) -> None:
    """Remove a bitmap from a qcow2 image, consistent or not.

    :raises exception.InvalidSource: a running QEMU has the image open
    :raises exception.HypervisorFailed: there is no such bitmap, or qemu-img
        failed
    """
    _bitmap(path, name, '--remove')


def _bitmap(path: str, name: str, *options: str) -> None:
    path = os.path.abspath(path)

    def refused(reason: str) -> exception.HypervisorFailed:
        return exception.HypervisorFailed(
            f'qemu-img bitmap {options[0]} {name} on {path}', reason
        )

    argv = ['bitmap', *options, '-f', 'qcow2', '--', path, name]
    _run(argv, path, refused)


def create(path: str, format: str, size: int) -> None:
    """Create an image that reads as zeros and that only its owner can read.

    :raises exception.TargetExists: something is there
    :raises exception.TargetFailed: it could not be created; nothing is left
    :raises exception.HypervisorFailed: qemu-img did not run
    """
    path = os.path.abspath(path)
    try:
        # qemu-img overwrites whatever is there.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        raise exception.TargetExists(path) from error
    except OSError as error:
        raise exception.TargetFailed(
            path, error.strerror or str(error)
        ) from error

    def refused(reason: str) -> exception.TargetFailed:
        return exception.TargetFailed(path, reason)

    argv = ['create', '-q', '-f', format, '--', path, str(size)]
    try:
        _run(argv, path, refused)
    except BaseException:
        # qemu-img has removed it where it failed late.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


def failure(path: str, stderr: str, otherwise: Refusal) -> exception.EkkoError:
    """What the complaint of a QEMU tool about an image amounts to.

    :param stderr: in the C locale
    :param otherwise: makes the error, unless a running QEMU is the reason
    """
    # QEMU: Failed to get "write" lock, Failed to get shared "write" lock
    if 'Failed to get' in stderr and 'lock' in stderr:
        return exception.InvalidSource(
            path,
            'it is in use by a running QEMU',
            'name the running guest with --domain instead',
        )
    lines = (line.strip() for line in stderr.splitlines())
    reason = '; '.join(filter(None, lines)) or 'it did not say why'
    return otherwise(reason)


def _run(arguments: list[str], path: str, refused: Refusal) -> str:
    """Run qemu-img, and return what it printed.

    :raises exception.HypervisorFailed: it did not run to its end
    """
    operation = f'qemu-img {arguments[0]} of {path}'
    try:
        done = subprocess.run(
            ['qemu-img', *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(os.environ, LC_ALL='C'),
            timeout=TIMEOUT_SECONDS,
            encoding='utf-8',
            errors='surrogateescape',
        )
    except FileNotFoundError as error:
        raise exception.HypervisorFailed(
            operation, 'qemu-img is not installed; install qemu-utils'
        ) from error
    except subprocess.TimeoutExpired as error:
        raise exception.HypervisorFailed(
            operation, f'no answer within {TIMEOUT_SECONDS:.0f} seconds'
        ) from error
    if done.returncode != 0:
        raise failure(path, done.stderr, refused)
    return done.stdout
