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

"""The API, when a compute host does not do as it is asked.

With a real store; the hosts and Nova's database are doubles.
"""

import dataclasses
import pathlib
import typing
from unittest import mock
import uuid

import fixtures
from nova.compute import api as compute_api
import nova.conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova import servicegroup
from oslo_limit import exception as limit_exception
import oslo_messaging
from oslo_policy import policy

from ekko_nova.api import app
from ekko_nova.api import cloud
from ekko_nova.api import errors
from ekko_nova.api import policies
from ekko_nova.api import quotas
from ekko_nova.api import request as requests
from ekko_nova.api import stores
from ekko_nova.backup import notes
from ekko_nova.backup import process
from ekko_nova.backup import record as records
from ekko_nova.compute import rpcapi
from ekko_nova.conf import opts
from ekko_nova import exception
from tests import base

_PROJECT: typing.Final = 'project'


class NovaCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        objects.register_all()
        conf = nova.conf.CONF
        opts.register_opts(conf)
        self.addCleanup(conf.reset)
        conf([], default_config_files=[], default_config_dirs=[])


class HandlerCase(NovaCase):
    def setUp(self) -> None:
        super().setUp()
        conf = nova.conf.CONF
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.addCleanup(conf.clear_override, 'store', group='ekko')
        conf.set_override('store', f'file://{path}/{{project}}', group='ekko')
        enforcer = policy.Enforcer(conf)
        enforcer.register_defaults(policies.list_rules())
        self.cloud = mock.create_autospec(cloud.Cloud, instance=True)
        self.cloud.hosts = mock.create_autospec(
            rpcapi.BackupAPI, instance=True
        )
        self.server = str(uuid.uuid4())
        self.cloud.instance.return_value = objects.Instance(
            uuid=self.server,
            project_id=_PROJECT,
            display_name='web',
            host='c1',
            locked=False,
        )
        self.stores = stores.Stores(conf)
        self.services = requests.Services(
            conf, self.stores, self.cloud, enforcer
        )
        self.client = app.create_app(self.services).test_client()
        self.catalog = self.stores.of(_PROJECT).catalog

    def ask(
        self,
        method: str,
        path: str,
        body: typing.Any = None,
        project: str | None = _PROJECT,
    ) -> typing.Any:
        context = nova_context.RequestContext(
            user_id='user', project_id=project, roles=['member', 'reader']
        )
        return self.client.open(
            path,
            method=method,
            json=body,
            environ_overrides={'nova.context': context},
        )

    def create(self) -> typing.Any:
        body = {'backup': {'server_id': self.server}}
        return self.ask('POST', '/backups', body)

    def listed(self) -> list[tuple[str, str]]:
        found = self.ask('GET', f'/backups?server={self.server}').json
        return [(each['id'], each['status']) for each in found['backups']]

    def assert_error(
        self, status: int, name: str, response: typing.Any
    ) -> str:
        self.assertEqual(status, response.status_code, response.json)
        self.assertEqual(name, response.json['error']['name'])
        return str(response.json['error']['message'])

    def available(self, **changes: typing.Any) -> records.Record:
        """A backup that was taken earlier."""
        record = records.begun(
            self.server,
            records.Request(
                str(uuid.uuid4()), instance={'project_id': _PROJECT}
            ),
            maker=process.NOBODY,
        )
        record = dataclasses.replace(
            record,
            status=records.Status.AVAILABLE,
            finished_at=record.created_at,
            **changes,
        )
        self.catalog.announce(record)
        return record


class CreateTest(HandlerCase):
    def test_it_is_accepted(self) -> None:
        self.assertEqual(202, self.create().status_code)
        [(_, status)] = self.listed()
        self.assertEqual('creating', status)

    def test_it_is_refused(self) -> None:
        self.cloud.hosts.create_backup.side_effect = exception.Refused(
            'InstanceBusy', 'it is busy'
        )
        self.assert_error(409, 'InstanceBusy', self.create())
        self.assertEqual([], self.listed())

    def test_its_host_is_not_told_to_tenants(self) -> None:
        for error in (
            exception.NotStarted('cmp-17', 'it is down'),
            exception.Refused('NotStarted', 'host cmp-17: /var/lib is full'),
        ):
            self.cloud.hosts.create_backup.side_effect = error
            said = self.assert_error(409, 'NotStarted', self.create())
            self.assertNotIn('cmp-17', said)

    def test_what_is_an_operator_s_is_told_in_a_tenant_s_words(self) -> None:
        for kind, status in (
            ('HypervisorFailed', 500),
            ('InvalidOption', 400),
            ('StoreDenied', 500),
            ('StoreUnavailable', 503),
        ):
            self.cloud.hosts.create_backup.side_effect = exception.Refused(
                kind, '/var/lib/x on cmp-17'
            )
            said = self.assert_error(status, kind, self.create())
            self.assertEqual(getattr(exception, kind).told, said)

    def test_the_answer_is_lost(self) -> None:
        """It was taken all the same."""

        def take(*_arguments: object, **_options: object) -> None:
            [(backup, _)] = self.listed()
            record = self.catalog.get(backup)
            self.catalog.put(
                dataclasses.replace(
                    record,
                    status=records.Status.AVAILABLE,
                    process=process.current(),
                )
            )
            raise exception.NoAnswer('cmp-17', 'MessagingTimeout')

        self.cloud.hosts.create_backup.side_effect = take
        said = self.assert_error(504, 'NoAnswer', self.create())
        self.assertNotIn('cmp-17', said)
        [(_, status)] = self.listed()
        self.assertEqual('available', status)

    def test_it_begins_and_is_refused(self) -> None:
        """What somebody has taken up is not for the API to forget."""

        def begin(*_arguments: object, **_options: object) -> None:
            [(backup, _)] = self.listed()
            record = self.catalog.get(backup)
            self.catalog.put(
                dataclasses.replace(record, process=process.current())
            )
            raise exception.Refused('InProgress', 'twice')

        self.cloud.hosts.create_backup.side_effect = begin
        self.assert_error(409, 'InProgress', self.create())
        self.assertEqual(1, len(self.listed()))

    def test_nobody_has_an_unscoped_token(self) -> None:
        body = {'backup': {'server_id': self.server}}
        response = self.ask('POST', '/backups', body, project=None)
        self.assert_error(403, 'Forbidden', response)

    def test_no_store_is_set_up(self) -> None:
        nova.conf.CONF.set_override('store', None, group='ekko')
        services = dataclasses.replace(
            self.services, stores=stores.Stores(nova.conf.CONF)
        )
        self.client = app.create_app(services).test_client()
        said = self.assert_error(500, 'StoreUnusable', self.create())
        self.assertNotIn('--store', said)


class CancelTest(HandlerCase):
    def setUp(self) -> None:
        super().setUp()
        self.create()
        [(self.backup, _)] = self.listed()

    def cancel(self) -> typing.Any:
        return self.ask('POST', f'/backups/{self.backup}/cancel')

    def test_nobody_has_heard_of_it(self) -> None:
        for error in (
            exception.Refused('BackupNotFound', 'none'),
            exception.NotStarted('c1', 'it is down'),
            errors.ApiError(404, 'ServerNotFound', 'none'),
        ):
            self.cloud.hosts.cancel_backup.side_effect = error
            self.assertEqual(202, self.cancel().status_code)
            self.assertIn((self.backup, 'error'), self.listed())
            # One that was only slow meets a fence.
            self.assertTrue(
                self.catalog.is_fenced(self.catalog.get(self.backup))
            )
            self.create()
            self.backup = next(
                backup
                for backup, status in self.listed()
                if status == 'creating'
            )

    def test_it_has_ended_meanwhile(self) -> None:
        record = self.catalog.get(self.backup)
        self.catalog.put(
            dataclasses.replace(record, process=process.current())
        )
        self.cloud.hosts.cancel_backup.side_effect = exception.Refused(
            'BackupNotFound', 'none'
        )
        self.assert_error(409, 'IllegalState', self.cancel())

    def test_its_host_does_not_answer(self) -> None:
        self.cloud.hosts.cancel_backup.side_effect = exception.NoAnswer(
            'c1', 'MessagingTimeout'
        )
        self.assert_error(504, 'NoAnswer', self.cancel())
        self.assertEqual([(self.backup, 'creating')], self.listed())


class NoteTest(HandlerCase):
    def test_what_was_found_meanwhile_stays(self) -> None:
        record = self.available()
        findings = [
            {
                'disk': 'vda',
                'object': 'x',
                'invariant': 'y',
                'offset': 0,
                'length': 1,
            }
        ]

        def find(*_arguments: object, **_options: object) -> None:
            self.catalog.notes.put(
                record.server,
                record.id,
                'verify',
                notes.work('done', 100, findings=findings),
            )
            raise exception.Refused('InProgress', 'twice')

        self.cloud.ask_any_host.side_effect = find
        response = self.ask(
            'POST', f'/backups/{record.id}/verify', {'verify': {}}
        )
        self.assert_error(409, 'InProgress', response)
        self.assertEqual([(record.id, 'damaged')], self.listed())

    def test_what_may_wait_for_its_turn_is_shown(self) -> None:
        record = self.available(
            disks=(records.DiskRecord('vda', 'root', 's', 1 << 30, 1 << 22),)
        )
        self.cloud.create_image.return_value = str(uuid.uuid4())
        self.cloud.ask_any_host.side_effect = exception.NoAnswer(
            'c1', 'MessagingTimeout'
        )
        for path, body in (
            ('/images', {'image': {'name': 'image'}}),
            ('/verify', {'verify': {}}),
        ):
            response = self.ask('POST', f'/backups/{record.id}{path}', body)
            self.assert_error(504, 'NoAnswer', response)
        self.cloud.delete_image.assert_not_called()
        response = self.ask('DELETE', f'/backups/{record.id}')
        self.assert_error(504, 'NoAnswer', response)
        self.assertEqual([(record.id, 'deleting')], self.listed())
        self.assertEqual(
            {'delete', 'export', 'verify'},
            self.catalog.notes.of(record.server, record.id).keys(),
        )

    def test_it_is_being_verified(self) -> None:
        record = self.available()
        running = notes.work('running', 10, deep=True)
        self.catalog.notes.put(record.server, record.id, 'verify', running)
        response = self.ask(
            'POST', f'/backups/{record.id}/verify', {'verify': {}}
        )
        self.assert_error(409, 'InProgress', response)
        self.cloud.ask_any_host.assert_not_called()

    def test_what_is_refused_leaves_none(self) -> None:
        record = self.available()
        self.cloud.ask_any_host.side_effect = exception.Refused(
            'InProgress', 'twice'
        )
        response = self.ask('DELETE', f'/backups/{record.id}')
        self.assert_error(409, 'InProgress', response)
        self.assertEqual([(record.id, 'available')], self.listed())
        self.assertEqual({}, self.catalog.notes.of(record.server, record.id))


class RestoreTest(HandlerCase):
    def test_the_answer_is_lost(self) -> None:
        record = self.available()
        self.cloud.hosts.restore_backup.side_effect = exception.NoAnswer(
            'c1', 'MessagingTimeout'
        )
        response = self.ask(
            'POST', f'/backups/{record.id}/restore', {'restore': {}}
        )
        said = self.assert_error(504, 'NoAnswer', response)
        self.assertIn('may have begun', said)

    def test_no_server_boots_without_a_root_disk(self) -> None:
        record = self.available(
            disks=(records.DiskRecord('vdb', 'eph0', 's', 1 << 20, 1 << 20),)
        )
        body = {
            'server': {'name': 'new', 'flavorRef': '1', 'networks': 'none'}
        }
        response = self.ask('POST', f'/backups/{record.id}/servers', body)
        said = self.assert_error(409, 'IllegalState', response)
        self.assertIn('no root disk', said)
        self.cloud.create_carrier.assert_not_called()


class ListTest(HandlerCase):
    def test_a_page_of_nothing(self) -> None:
        self.available()
        nova.conf.CONF.set_override('max_limit', 0, group='api')
        self.addCleanup(
            nova.conf.CONF.clear_override, 'max_limit', group='api'
        )
        self.assertEqual([], self.listed())


class QuotaTest(HandlerCase):
    def setUp(self) -> None:
        super().setUp()
        nova.conf.CONF.set_override('enforce_quotas', True, group='ekko')
        self.addCleanup(
            nova.conf.CONF.clear_override, 'enforce_quotas', group='ekko'
        )
        self.enforcer = self.useFixture(
            fixtures.MockPatch('oslo_limit.limit.Enforcer', autospec=True)
        ).mock

    def test_two_at_once(self) -> None:
        """Both were few enough when they were looked at first."""

        def enforce(project: str, more: dict[str, int]) -> None:
            usage = self.enforcer.call_args.args[0]
            has = usage(project, [quotas.COUNT])[quotas.COUNT]
            if has + more[quotas.COUNT] > 1:
                raise limit_exception.ProjectOverLimit(
                    project,
                    [limit_exception.OverLimitInfo(quotas.COUNT, 1, has, 1)],
                )
            if more[quotas.COUNT] and not self.listed():
                self.available()

        self.enforcer.return_value.enforce.side_effect = enforce
        self.assert_error(403, 'QuotaExceeded', self.create())
        self.cloud.hosts.create_backup.assert_not_called()
        self.assertEqual(1, len(self.listed()))

    def test_no_limits_are_known(self) -> None:
        self.enforcer.side_effect = limit_exception.SessionInitError('away')
        self.assert_error(503, 'QuotaUnknown', self.create())
        self.assertEqual([], self.listed())


class HostsTest(NovaCase):
    def setUp(self) -> None:
        super().setUp()
        self.useFixture(fixtures.MockPatch('nova.rpc.get_client'))
        router = self.useFixture(
            fixtures.MockPatch('nova.rpc.ClientRouter', autospec=True)
        ).mock.return_value
        self.call = router.client.return_value.prepare.return_value.call
        self.context = nova_context.RequestContext('user', _PROJECT)

    def test_no_answer_is_not_a_refusal(self) -> None:
        hosts = rpcapi.BackupAPI()
        for error in (
            oslo_messaging.MessagingTimeout(),
            oslo_messaging.MessageDeliveryFailure(),
        ):
            self.call.side_effect = error
            self.assertRaises(
                exception.NoAnswer, hosts.ask, self.context, 'c1', 'verify'
            )
        self.call.side_effect = oslo_messaging.UnsupportedVersion('1.0')
        self.assertRaises(
            exception.NotStarted, hosts.ask, self.context, 'c1', 'verify'
        )

    def test_no_other_host_is_asked(self) -> None:
        self.useFixture(
            fixtures.MockPatchObject(objects.HostMapping, 'get_by_host')
        )
        self.useFixture(
            fixtures.MockPatchObject(nova_context, 'set_target_cell')
        )
        asked = cloud.Cloud.__new__(cloud.Cloud)
        double = mock.create_autospec(rpcapi.BackupAPI, instance=True)
        asked.hosts = double
        record = records.begun('s', records.Request('b'))
        for error, hosts in (
            (exception.NoAnswer('c1', 'away'), 1),
            (exception.NotStarted('c1', 'down'), 2),
        ):
            double.ask.reset_mock()
            double.ask.side_effect = error
            with mock.patch.object(
                asked,
                '_candidates',
                autospec=True,
                return_value=['c1', 'c2'],
            ):
                self.assertRaises(
                    (exception.NoAnswer, errors.ApiError),
                    asked.ask_any_host,
                    self.context,
                    record,
                    'verify_backup',
                )
            self.assertEqual(hosts, double.ask.call_count)


class ServerTest(NovaCase):
    """What Nova knows of a server that is to be backed up."""

    def setUp(self) -> None:
        super().setUp()
        for owner, name in (
            (objects.InstanceMapping, 'get_by_instance_uuid'),
            (objects.Service, 'get_by_compute_host'),
            (nova_context, 'set_target_cell'),
        ):
            self.useFixture(fixtures.MockPatchObject(owner, name))
        self.cloud = cloud.Cloud.__new__(cloud.Cloud)
        self.cloud._compute = mock.create_autospec(
            compute_api.API, instance=True
        )
        self.cloud._groups = mock.create_autospec(
            servicegroup.API, instance=True
        )
        self.context = nova_context.RequestContext(
            'user', _PROJECT, is_admin=False
        )

    def look(self, project: str, host: str | None) -> typing.Any:
        self.cloud._compute.get.return_value = objects.Instance(
            uuid=str(uuid.uuid4()),
            project_id=project,
            host=host,
            vm_state='building',
        )
        return self.cloud.instance(self.context, 'server')

    def test_of_another_project(self) -> None:
        error = self.assertRaises(errors.ApiError, self.look, 'other', None)
        self.assertEqual(404, error.status)

    def test_on_no_host(self) -> None:
        error = self.assertRaises(errors.ApiError, self.look, _PROJECT, None)
        self.assertEqual(409, error.status)

    def test_its_host_is_down(self) -> None:
        self.assertEqual('c1', self.look(_PROJECT, 'c1').host)
        self.cloud._groups.service_is_up.return_value = False
        self.assertRaises(exception.NotStarted, self.look, _PROJECT, 'c1')
        objects.Service.get_by_compute_host.side_effect = (
            nova_exception.ComputeHostNotFound(host='c1')
        )
        self.assertRaises(exception.NotStarted, self.look, _PROJECT, 'c1')


class ImageTest(NovaCase):
    def test_properties_of_the_image_itself_are_left_out(self) -> None:
        record = dataclasses.replace(
            records.begun('s', records.Request('b')),
            disks=(
                records.DiskRecord('vda', 'root', 's', 3 << 30, 1 << 22),
                records.DiskRecord('vdb', 'eph0', 's', 1 << 30, 1 << 22),
            ),
            instance={
                'image_properties': {
                    'image_hw_disk_bus': 'virtio',
                    'image_img_signature': 'of other data',
                    'image_os_glance_failed_import': 'x',
                    'image_cache_in_nova': 'True',
                }
            },
        )
        image = cloud.Cloud._image(record, record.disks[1], 'name', 'qcow2')
        self.assertEqual({'hw_disk_bus': 'virtio'}, image['properties'])
        self.assertEqual(1, image['min_disk'])
