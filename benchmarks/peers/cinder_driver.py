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

"""Cinder's chunked drivers without Cinder around them.

Run by the Python of an environment that has Cinder; imports nothing of ours.
Of Cinder's database only what the drivers ask of it is here, in files.
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys
import types

from cinder.backup.drivers import posix
from cinder.backup.drivers import swift
from cinder import context
from cinder.db import base
from cinder import objects
from oslo_config import cfg

CONF = cfg.CONF
#: As the Swift driver has it; the POSIX driver's own is 1.9 GB, in memory.
_CHUNK = 52428800


class Backup:
    """What the drivers use of :class:`cinder.objects.Backup`."""

    def __init__(self, state: pathlib.Path, facts: dict) -> None:
        self.__dict__.update(facts)
        self._state = state

    @classmethod
    def begin(cls, state: pathlib.Path, id_: str, parent: str | None):
        facts = {
            'id': id_,
            'parent_id': parent,
            'volume_id': 'volume',
            'project_id': 'project',
            'size': 4,
            'container': None,
            'service_metadata': None,
            'display_name': None,
            'display_description': None,
            'created_at': None,
            'object_count': 0,
            'status': 'creating',
        }
        return cls(state, facts)

    @classmethod
    def load(cls, state: pathlib.Path, id_: str):
        return cls(state, json.loads((state / id_).read_text()))

    def __getitem__(self, name: str):
        return getattr(self, name)

    def save(self) -> None:
        facts = {k: v for k, v in vars(self).items() if not k.startswith('_')}
        (self._state / self.id).write_text(json.dumps(facts))

    def refresh(self) -> None:
        pass

    def as_read_deleted(self):
        return contextlib.nullcontext()


def _driver(store: str):
    if store == 'swift':
        driver = swift.SwiftBackupDriver(context.get_admin_context())
        driver.initialize()
        return driver
    return posix.PosixBackupDriver(context.get_admin_context(), store)


def _configure() -> None:
    CONF([], project='cinder', default_config_files=[])
    for name, value in {
        'backup_compression_algorithm': 'zstd',
        'backup_file_size': _CHUNK,
        'backup_swift_auth': 'single_user',
        'backup_swift_auth_version': '1',
        'backup_swift_auth_url': os.environ.get('ST_AUTH'),
        'backup_swift_user': os.environ.get('ST_USER'),
        'backup_swift_key': os.environ.get('ST_KEY'),
        'backup_swift_container': 'cinder',
    }.items():
        CONF.set_override(name, value)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('action', choices=('backup', 'restore'))
    parser.add_argument('--store', required=True)
    parser.add_argument('--state', type=pathlib.Path, required=True)
    parser.add_argument('--image', required=True)
    parser.add_argument('--id', required=True)
    parser.add_argument('--parent')
    args = parser.parse_args()
    _configure()
    objects.register_all()
    # It would connect to the database.
    base.Base.__init__ = lambda _: None
    objects.Backup.get_by_id = lambda _, id_: Backup.load(args.state, id_)
    driver = _driver(args.store)
    driver.db = types.SimpleNamespace(volume_get=lambda *_: {'size': 4})
    driver.get_metadata = lambda _: None
    for name in ('_send_progress_end', '_send_progress_notification'):
        setattr(driver, name, lambda *_: None)
    if args.action == 'backup':
        backup = Backup.begin(args.state, args.id, args.parent)
        with open(args.image, 'rb') as file:
            driver.backup(backup, file)
        backup.save()
        return
    backup = Backup.load(args.state, args.id)
    backup.status = 'restoring'
    with open(args.image, 'wb+') as file:
        file.truncate(backup.size << 30)
        driver.restore(backup, 'volume', file, True)


if __name__ == '__main__':
    sys.exit(main())
