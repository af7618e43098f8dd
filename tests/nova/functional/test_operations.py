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
from nova import context as nova_context
from oslo_config import cfg

from ekko_nova.backup import catalog as catalogs
from ekko_nova.backup import process
from ekko_nova.backup import record as records
from ekko_nova.backup.store import directory
from ekko_nova.compute import child as children
from ekko_nova.compute import endpoint
from ekko_nova.compute import operations
from ekko_nova.compute import sites
from ekko_nova import conf as conf_
from ekko_nova import exception
from tests import base

_PROJECT: typing.Final = 'a-project'

_Run: typing.TypeAlias = Callable[[children.Events], dict[str, typing.Any]]


class OperationsCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        conf = cfg.ConfigOpts()
        conf_.register_opts(conf)
        conf([], default_config_files=[], default_config_dirs=[])
        store = f'file://{self.root}/store'
        conf.set_override('store', store, group='ekko')
        driver = types.SimpleNamespace(_uri=lambda: 'test:///default')
        self.operations = operations.Operations(sites.Sites(conf, driver))
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
