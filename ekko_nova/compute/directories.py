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


"""Directories that nova-compute and QEMU share.

nova-compute is not root, and QEMU is another user. Where they meet belongs to
QEMU's user and nova-compute's group and is closed to everybody else; each job
has a directory of its own in it (:mod:`ekko_nova.virt.scratch`). Making it so
takes Nova's privileged helper.
"""

import os
import pathlib
import stat

import nova.privsep.path
from oslo_log import log as logging

from ekko_nova import exception

__all__ = ('prepare', 'take')

LOG = logging.getLogger(__name__)

_MODE = 0o770


def prepare(path: pathlib.Path, qemu_user: int) -> None:
    """See that a directory is one where we and QEMU meet.

    :raises exception.NotStarted: it is not, and cannot be made so
    """
    try:
        if not path.is_dir():
            nova.privsep.path.makedirs(str(path))
        found = path.stat()
        if os.geteuid() == 0 or found.st_uid == os.geteuid() == qemu_user:
            return
        if (found.st_uid, found.st_gid) != (qemu_user, os.getegid()):
            nova.privsep.path.chown(str(path), qemu_user, os.getegid())
        if stat.S_IMODE(path.stat().st_mode) != _MODE:
            nova.privsep.path.chmod(str(path), _MODE)
    except OSError as e:
        raise exception.NotStarted(
            os.uname().nodename, f'the directory {path}: {e.strerror}'
        ) from e


def take(paths: list[pathlib.Path]) -> None:
    """Have files of a guest that is shut off be ours, so that we may write.

    libvirt gives them to QEMU's user again when the guest starts.
    """
    for path in paths:
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            nova.privsep.path.chown(str(path), os.geteuid(), os.getegid())
