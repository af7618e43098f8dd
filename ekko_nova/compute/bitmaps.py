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


"""Broken bitmaps in the files of an instance that is shut off."""

from collections.abc import Iterable
from collections.abc import Mapping
import json
import typing

from oslo_log import log as logging

from ekko_nova.compute import plan
from ekko_nova import exception
from ekko_nova.virt import image

__all__ = ('before_growth', 'drop_broken')

LOG = logging.getLogger(__name__)


def before_growth(instance: typing.Any, disk_info: str) -> None:
    """Nova is about to make the disks of an instance larger; never fails.

    :param disk_info: what it knows of them, in JSON
    """
    try:
        drop_broken(json.loads(disk_info or '[]'))
    except Exception:
        LOG.exception('looking for broken bitmaps', instance=instance)


def drop_broken(disks: Iterable[Mapping[str, typing.Any]]) -> None:
    """Remove bitmaps of ours that missed writes.

    QEMU does not resize an image that has one (QEMU 7.2), so they must be
    gone before Nova does. The next backup would remove them anyway.

    :param disks: the path and type of each, as Nova knows them. What is not
        a qcow2 is not looked into: a guest may have written a header that
        makes a raw disk look like one.
    """
    for disk in disks:
        if disk.get('type') != 'qcow2':
            continue
        path = disk['path']
        try:
            _drop_broken(path)
        except exception.EkkoError as e:
            LOG.warning('broken bitmaps stay: disk=%s %s', path, e)


def _drop_broken(path: str) -> None:
    for name in plan.broken(image.info(path, 'qcow2').bitmaps):
        LOG.info('dropping disk=%s bitmap=%s', path, name)
        image.remove_bitmap(path, name)
