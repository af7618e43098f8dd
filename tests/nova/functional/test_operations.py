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

"""What is done with stored backups, as the API has a host do it."""

from collections.abc import Callable
import dataclasses
import pathlib
import threading
import time
import types
import typing
from unittest import mock
import uuid

import fixtures
from glanceclient import exc as glance_exception
from nova import context as nova_context
from nova.image import glance
from oslo_config import cfg

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import notes
from ekko_nova.backup import process
from ekko_nova.backup import record as records
from ekko_nova.backup.store import directory
from ekko_nova.compute import child as children
from ekko_nova.compute import endpoint
from ekko_nova.compute import operations
from ekko_nova.compute import sites
from ekko_nova.conf import opts
from ekko_nova import exception
from tests import base

_PROJECT: typing.Final = 'a-project'

_Run: typing.TypeAlias = Callable[[children.Events], dict[str, typing.Any]]


class OperationsCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        conf = cfg.ConfigOpts()
        opts.register_opts(conf)
        conf([], default_config_files=[], default_config_dirs=[])
        store = f'file://{self.root}/store'
        conf.set_override('store', store, group='ekko')
        driver = types.SimpleNamespace(_uri=lambda: 'test:///default')
        self.operations = operations.Operations(sites.Sites(conf, driver))
        self.addCleanup(self.operations.wait)
        self.addCleanup(self.operations.close)
        self.context = nova_context.RequestContext(
            'user', _PROJECT, is_admin=False
        )
        self.backup = str(uuid.uuid4())
        self.let_go = threading.Event()
        self.addCleanup(self.let_go.set)

    def worker(self, run: _Run) -> None:
        """Have this done in the place of a process."""
        self.useFixture(
            fixtures.MockPatchObject(
                children.Child,
                'run',
                autospec=True,
                # Nova's tests, once imported, have a double not get "self".
                side_effect=lambda *given: run(given[-1]),
            )
        )

    def wait(self) -> None:
        """Until nothing is done with the backup any more."""
        while self.operations.running.of(self.backup) is not None:
            time.sleep(0.01)


class GiveUpTest(OperationsCase):
    def give_up(self) -> dict[str, typing.Any]:
        """What the API is answered."""
        asked = endpoint.Endpoint('a-host')
        nothing: typing.Any = None
        asked.accept(nothing, nothing, self.operations)
        return asked.give_up_backup(self.context, _PROJECT, self.backup)

    def test_by_a_worker(self) -> None:
        catalog = catalogs.Catalog(
            directory.DirectoryStore(str(self.root / 'store'))
        )
        begun = records.begun(
            'a-server',
            records.Request(self.backup, instance={'project_id': _PROJECT}),
            maker=dataclasses.replace(process.current(), host='elsewhere'),
        )
        self.assertEqual('BackupNotFound', self.give_up()['refused'])
        catalog.announce(begun)
        answer = self.give_up()
        self.assertEqual('InProgress', answer['refused'])
        self.assertIn('wait until it has ended', answer['reason'])
        # It has not been heard of for a while.
        past = begun.updated_at.replace(year=2000)
        catalog.put(dataclasses.replace(begun, updated_at=past))
        self.assertEqual({'refused': None}, self.give_up())
        self.assertIs(records.Status.ERROR, catalog.get(self.backup).status)
        self.wait()
        self.assertEqual('IllegalState', self.give_up()['refused'])

    def test_the_removal_is_not_waited_for(self) -> None:
        def run(events: children.Events) -> dict[str, int]:
            events.begun()
            self.let_go.wait()
            raise exception.WorkerFailed('the store has gone')

        self.worker(run)
        moment = mock.patch.object(operations, '_MOMENT', 0.01)
        with moment:
            self.assertEqual({'refused': None}, self.give_up())
        self.assertEqual('InProgress', self.give_up()['refused'])
        self.let_go.set()
        self.wait()
        self.assertIn('the store has gone', self.log.output)

    def test_it_waits_for_no_turn(self) -> None:
        def run(events: children.Events) -> dict[str, int]:
            events.begun()
            return {}

        self.worker(run)
        for _ in range(20):
            self.operations._pool.submit(self.let_go.wait)
        self.assertEqual({'refused': None}, self.give_up())

    def test_somebody_else_has_removed_it(self) -> None:
        self.worker(lambda events: {})
        self.assertEqual({'refused': None}, self.give_up())

    def test_when_nova_compute_stops(self) -> None:
        self.operations.close()
        self.assertEqual('Cancelled', self.give_up()['refused'])


class StopTest(OperationsCase):
    def test_what_waits_is_not_done(self) -> None:
        catalog = catalogs.Catalog(
            directory.DirectoryStore(str(self.root / 'store'))
        )
        record = records.begun(
            'a-server',
            records.Request(self.backup, instance={'project_id': _PROJECT}),
        )
        catalog.announce(record)
        queued = notes.work('queued', 0, request_id='req-1')
        for kind in ('delete', 'verify'):
            catalog.notes.put('a-server', self.backup, kind, queued)
        for _ in range(20):
            self.operations._pool.submit(self.let_go.wait)
        self.operations.delete(
            self.context, _PROJECT, 'a-server', self.backup, force=False
        )
        gone = str(uuid.uuid4())
        self.operations.verify(self.context, _PROJECT, gone, deep=False)
        self.operations.close()
        self.operations.wait()
        found = catalog.notes.of('a-server', self.backup)
        self.assertEqual('failed', found['delete']['status'])
        self.assertIn('being stopped', found['delete']['error'])
        self.assertEqual('req-1', found['delete']['request_id'])
        # Nothing of that kind has waited.
        self.assertEqual('queued', found['verify']['status'])
        self.assertIn(f'verify of backup {gone} stays', self.log.output)


class ExportTest(OperationsCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.root / 'disk.qcow2'
        self.path.write_bytes(b'a disk')
        api = self.useFixture(
            fixtures.MockPatchObject(glance, 'API', autospec=True)
        )
        self.images = api.mock.return_value

    def export(self, status: str) -> None:
        """One that ends with an image of this status."""
        self.images.get.return_value = {'status': status}
        self.images.delete.reset_mock()
        self.operations.export(
            self.context, _PROJECT, self.backup, disk='vda', image='an-image'
        )
        self.wait()

    def assert_deleted(self, deleted: bool, what: object) -> None:
        self.assertEqual(deleted, self.images.delete.called, str(what))

    def test_an_upload_that_fails(self) -> None:
        """Whatever it fails with: Nova translates some of it only."""

        def run(events: children.Events) -> dict[str, int]:
            error = children._uploaded(events, str(self.path))
            raise exception.WorkerFailed(str(error))

        self.worker(run)
        for error, status, deleted in (
            (glance_exception.HTTPServiceUnavailable('x'), 'queued', True),
            (glance_exception.HTTPServiceUnavailable('x'), 'saving', True),
            (glance_exception.CommunicationError('x'), 'saving', True),
            (ValueError('x'), 'saving', True),
            # As Nova's second attempt, after glance-api was restarted.
            (glance_exception.HTTPConflict('x'), 'saving', True),
            # The answer was lost.
            (glance_exception.CommunicationError('x'), 'active', False),
        ):
            self.images.update.side_effect = error
            self.export(status)
            self.assert_deleted(deleted, (error, status))
            self.assertIn(
                f'export of backup {self.backup} failed: cannot write image '
                f'an-image ({error})',
                self.log.output,
            )

    def upload(self) -> str | None:
        """Why it failed, if it did."""
        events = operations._Upload(self.context, 'an-image')
        return children._uploaded(events, str(self.path))

    def test_an_upload_that_was_tried_again(self) -> None:
        """Nova does not begin with the file anew."""

        def update(
            context: typing.Any,
            image: str,
            facts: typing.Any,
            data: typing.BinaryIO,
            purge_props: bool,
        ) -> dict[str, typing.Any]:
            data.read(tried)
            return {'size': len(data.read())}

        self.images.update.side_effect = update
        tried = 0
        self.assertIsNone(self.upload())
        self.images.delete.assert_not_called()
        tried = 2
        self.assertIn('4 bytes', self.upload() or '')
        self.images.delete.assert_called_once_with(self.context, 'an-image')

    def test_it_never_came_to_an_upload(self) -> None:
        self.worker(mock.Mock(side_effect=exception.WorkerFailed('no room')))
        self.export('queued')
        self.assert_deleted(True, 'queued')

    def test_the_image_cannot_be_deleted(self) -> None:
        self.worker(mock.Mock(side_effect=exception.WorkerFailed('no room')))
        self.images.delete.side_effect = (
            glance_exception.HTTPServiceUnavailable('of a test')
        )
        self.export('queued')
        self.assertIn('image an-image is left behind', self.log.output)

    def test_one_that_waits_when_nova_compute_stops(self) -> None:
        for _ in range(20):
            self.operations._pool.submit(self.let_go.wait)
        self.images.get.return_value = {'status': 'queued'}
        self.operations.export(
            self.context, _PROJECT, self.backup, disk='vda', image='an-image'
        )
        self.operations.close()
        self.images.delete.assert_called_once_with(self.context, 'an-image')
