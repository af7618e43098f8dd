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

"""Backups over HTTP, as tenants and operators have them."""

import contextlib
import hashlib
import pathlib
import tempfile
import typing
import uuid

import openstack

from ekko_nova import client
from tests.cloud import backups as operators
from tests.cloud import onebox
from tests.cloud import projects

_MISSING: typing.Final = str(uuid.uuid4())

_GUEST: typing.Final = onebox.ROOT / 'guest' / 'disk.qcow2'


class ApiCase(onebox.CloudTestCase):
    """Has the API at hand, as the tenant sees it."""

    def setUp(self) -> None:
        super().setUp()
        self.api = client.attach(self.demo)

    def as_user(self, user: str, project: str = '') -> typing.Any:
        """The API as somebody else sees it."""
        connection = onebox.connect(user, project)
        self.addCleanup(connection.close)
        return client.attach(connection)

    def assert_error(
        self, status: int, name: str, response: typing.Any
    ) -> str:
        """A request was refused, as all are; returns the message."""
        self.assertEqual(status, response.status_code, response.text)
        error = response.json()['error']
        self.assertEqual((status, name), (error['code'], error['name']))
        self.assertEqual(
            response.headers['x-openstack-request-id'], error['request_id']
        )
        return str(error['message'])

    def post(
        self, path: str, body: typing.Any = None, api: typing.Any = None
    ) -> typing.Any:
        return (api or self.api).post(
            f'/backups{path}', json=body, raise_exc=False
        )

    def take(self, server: onebox.Server, **wanted: typing.Any) -> typing.Any:
        """A backup that is available, of a server that is free again."""
        backup = self.api.create_backup(server_id=server.id, **wanted)
        available = self.api.wait_for_backup(backup, timeout=120)
        onebox.wait_until(
            'Nova lets the server go',
            lambda: server.details().task_state != 'image_backup',
        )
        return available

    def digest(self, server: onebox.Server, backup: typing.Any) -> str:
        return operators.Backups(server).digest(backup.id)


class ContractTest(ApiCase):
    """What holds for every request."""

    def test_versions_need_no_token(self) -> None:
        root = self.api.get_endpoint().removesuffix('/v1')
        response = self.api.session.get(root, authenticated=False)
        [version] = response.json()['versions']
        self.assertEqual(
            ('v1', 'CURRENT', '1.0', '1.0'),
            tuple(
                version[key]
                for key in ('id', 'status', 'min_version', 'max_version')
            ),
        )
        hrefs = {link['rel']: link['href'] for link in version['links']}
        self.assertEqual(f'{root}/v1/', hrefs['self'])
        document = self.api.get(hrefs['describedby']).json()
        self.assertEqual('3.1.0', document['openapi'])
        self.assertEqual(f'{root}/v1', document['servers'][0]['url'])
        response = self.api.session.get(
            f'{root}/v1/backups', authenticated=False, raise_exc=False
        )
        self.assertEqual(401, response.status_code)

    def test_microversions(self) -> None:
        for wanted, status in (
            ('instance-backup 1.0', 200),
            ('instance-backup latest', 200),
            ('compute 2.90', 200),
            ('compute 2.90, instance-backup 1.0', 200),
            ('instance-backup 1.1', 406),
            ('instance-backup 9.9', 406),
            ('instance-backup one', 400),
        ):
            response = self.api.get(
                '/backups',
                headers={'OpenStack-API-Version': wanted},
                raise_exc=False,
            )
            self.assertEqual(status, response.status_code, wanted)
            self.assertEqual(
                'instance-backup 1.0',
                response.headers['OpenStack-API-Version'],
            )
            self.assertIn('OpenStack-API-Version', response.headers['Vary'])

    def test_what_is_not_there(self) -> None:
        for path in ('/nothing', f'/backups/{_MISSING}/nothing', '/backups/x'):
            response = self.api.get(path, raise_exc=False)
            self.assert_error(404, 'NotFound', response)
        response = self.api.get(f'/backups/{_MISSING}', raise_exc=False)
        self.assert_error(404, 'BackupNotFound', response)
        response = self.api.put('/backups', raise_exc=False)
        self.assert_error(405, 'MethodNotAllowed', response)
        response = self.post('', {'backup': {'server_id': _MISSING}})
        self.assert_error(404, 'ServerNotFound', response)

    def test_bodies_that_are_not_well_formed(self) -> None:
        for body, hint in (
            (None, 'object'),
            ([], 'object'),
            ({}, 'backup'),
            ({'backup': {}}, 'server_id'),
            ({'backup': {'server_id': 'x'}}, 'uuid'),
            ({'backup': {'server_id': _MISSING, 'color': 1}}, 'color'),
            ({'backup': {'server_id': _MISSING, 'name': ''}}, 'name'),
            ({'backup': {'server_id': _MISSING, 'name': 'a\nb'}}, 'name'),
            ({'backup': {'server_id': _MISSING, 'type': 'half'}}, 'type'),
            ({'backup': {'server_id': _MISSING, 'metadata': {'a': 1}}}, 'a'),
        ):
            message = self.assert_error(
                400, 'InvalidRequest', self.post('', body)
            )
            self.assertIn(hint, message)
        response = self.api.post(
            '/backups',
            data=b'{"backup": ',
            headers={'Content-Type': 'application/json'},
            raise_exc=False,
        )
        self.assert_error(400, 'InvalidRequest', response)

    def test_queries_that_are_not_well_formed(self) -> None:
        for query in (
            'limit=0',
            'limit=x',
            'marker=x',
            'color=red',
            'status=good',
            'since=yesterday',
            'sort=color',
            'sort=name:up',
            'all_projects=perhaps',
            'project_id=../etc',
            'limit=1&limit=2',
        ):
            response = self.api.get(f'/backups?{query}', raise_exc=False)
            self.assert_error(400, 'InvalidRequest', response)
        response = self.api.get(f'/backups?marker={_MISSING}', raise_exc=False)
        self.assert_error(400, 'MarkerNotFound', response)


class SharedServerCase(ApiCase):
    """One server for all tests of a class."""

    server: onebox.Server

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        with contextlib.ExitStack() as stack:
            admin = stack.enter_context(onebox.connect('admin'))
            demo = stack.enter_context(onebox.connect('demo'))
            cls.server = stack.enter_context(
                onebox.created(cls.__name__, demo, admin, onebox.Wanted())
            )
            cls.addClassCleanup(stack.pop_all().close)


class BackupTest(SharedServerCase):
    def test_take_look_change_delete(self) -> None:
        name = f'näme {uuid.uuid4()}'
        taken = self.take(
            self.server,
            name=name,
            description='before the upgrade',
            metadata={'why': 'upgrade'},
            quiesce=True,
        )
        self.assertEqual(
            (name, 'before the upgrade', {'why': 'upgrade'}),
            (taken.name, taken.description, taken.metadata),
        )
        self.assertEqual(
            (self.server.id, 'available', True, 100, None),
            (
                taken.server_id,
                taken.status,
                taken.quiesced,
                taken.progress,
                taken.error,
            ),
        )
        [disk] = taken.disks
        self.assertEqual(('root', 1 << 30), (disk['role'], disk['size']))
        self.assertGreater(taken.stored_bytes, 0)
        self.assertEqual('ekko.1', taken.instance['flavor']['name'])
        found = self.api.find_backup(name)
        self.assertEqual(taken.id, found.id)
        self.api.update_backup(taken.id, name=None, metadata={'a': 'b'})
        changed = self.api.get_backup(taken.id)
        self.assertEqual(
            (None, 'before the upgrade', {'a': 'b'}),
            (changed.name, changed.description, changed.metadata),
        )
        self.api.delete_backup(taken.id)
        self.api.wait_for_backup_deleted(taken.id, timeout=60)
        self.assertRaises(
            openstack.exceptions.NotFoundException,
            self.api.get_backup,
            taken.id,
        )

    def test_kinds(self) -> None:
        full = self.take(self.server, type='full')
        self.assertEqual('full', full.type)
        self.assertEqual('requested', full.disks[0]['full_reason'])
        self.server.write_data('kinds', 1)
        incremental = self.take(self.server, type='incremental')
        self.assertEqual('incremental', incremental.type)
        self.assertLess(incremental.disks[0]['read_bytes'], 64 << 20)
        auto = self.take(self.server)
        self.assertEqual('incremental', auto.type)
        self.assertEqual(incremental.id, auto.parent_id)

    def test_pages(self) -> None:
        names = [f'page {number}' for number in range(3)]
        taken = [self.take(self.server, name=name) for name in names]
        ids = [backup.id for backup in taken]
        query = {'server_id': self.server.id, 'since': taken[0].created_at}

        def listed(**more: typing.Any) -> list[str]:
            return [each.id for each in self.api.backups(**query, **more)]

        self.assertEqual(ids[::-1], listed())
        self.assertEqual(ids, listed(sort='created_at:asc'))
        self.assertEqual(ids, listed(sort='status,name:asc'))
        # openstacksdk follows the links from page to page.
        self.assertEqual(ids, listed(sort='name', limit=1))
        self.assertEqual([ids[1]], listed(name=names[1]))
        self.assertEqual([], listed(status='error'))
        response = self.api.get(
            f'/backups?server={self.server.id}&limit=2&sort=created_at:desc'
        ).json()
        self.assertEqual(ids[:0:-1], [e['id'] for e in response['backups']])
        [link] = response['backups_links']
        self.assertEqual('next', link['rel'])
        rest = self.api.get(link['href']).json()['backups']
        self.assertEqual(ids[0], rest[0]['id'])

    def test_verify(self) -> None:
        backup = self.take(self.server, type='full')
        for deep in (False, True):
            self.api.verify_backup(backup, deep=deep)
            self.assertEqual(
                [], self.api.wait_for_verification(backup, timeout=60)
            )
        verified = self.api.get_backup(backup.id).verification
        self.assertEqual(
            ('done', True), (verified['status'], verified['deep'])
        )

    def test_damage(self) -> None:
        backup = self.take(self.server, type='full')
        self._damage(backup)
        self.api.verify_backup(backup)
        findings = self.api.wait_for_verification(backup, timeout=60)
        self.assertEqual(1, len(findings))
        damaged = self.api.get_backup(backup.id)
        self.assertEqual('damaged', damaged.status)
        self.assertIn('verification found', damaged.error)
        listed = self.api.backups(server_id=self.server.id, status='damaged')
        self.assertEqual([backup.id], [each.id for each in listed])
        for verb, body in (
            ('restore', {'restore': {}}),
            ('images', {'image': {'name': 'x'}}),
        ):
            response = self.post(f'/{backup.id}/{verb}', body)
            message = self.assert_error(409, 'IllegalState', response)
            self.assertIn('is damaged', message)
        # An operator knows better.
        body = {'reset_status': {'status': 'available'}}
        response = self.post(f'/{backup.id}/reset-status', body)
        self.assert_error(403, 'Forbidden', response)
        admin = self.as_user('admin', 'demo')
        admin.reset_backup_status(backup.id, 'available')
        self.assertEqual('available', self.api.get_backup(backup.id).status)
        self.api.delete_backup(backup.id)
        self.api.wait_for_backup_deleted(backup.id, timeout=60)

    def _damage(self, backup: typing.Any) -> None:
        """Lose an object of a backup."""
        with onebox.connect('ekko', 'service') as service:
            container = f'ekko-{self.demo.current_project_id}'
            found = service.object_store.objects(container, prefix='sets/')
            mine = [each for each in found if f'/{backup.id}/' in each.name]
            data = [each for each in mine if 'manifest' not in each.name]
            service.object_store.delete_object(
                data[0].name, container=container
            )

    def test_export(self) -> None:
        backup = self.take(self.server)
        image = self.api.create_image_from_backup(
            backup, name='exported', properties={'os_distro': 'none'}
        )
        self.addCleanup(self.demo.image.delete_image, image)
        self.api.wait_for_export(backup, timeout=120)
        found = self.demo.image.get_image(image)
        self.assertEqual(
            ('exported', 'active', 'qcow2', 1),
            (found.name, found.status, found.disk_format, found.min_disk),
        )
        self.assertEqual('none', found.os_distro)
        # Of the image that the server was made from.
        self.assertTrue(found.hw_qemu_guest_agent)
        self.assertEqual(self.digest(self.server, backup), self._raw(image))
        response = self.post(
            f'/{backup.id}/images', {'image': {'name': 'x', 'disk': 'vdz'}}
        )
        message = self.assert_error(400, 'InvalidOption', response)
        self.assertIn('vda (root)', message)

    def _raw(self, image: str) -> str:
        """SHA-256 of the disk in an image."""
        with tempfile.TemporaryDirectory() as directory:
            stored = pathlib.Path(directory, 'image')
            raw = pathlib.Path(directory, 'raw')
            self.demo.image.download_image(image, output=str(stored))
            onebox.local(
                *('qemu-img', 'convert', '-O', 'raw', str(stored), str(raw))
            )
            with raw.open('rb') as file:
                return hashlib.file_digest(file, 'sha256').hexdigest()

    def test_restore_in_place(self) -> None:
        self.server.write_data('kept', 1)
        files = self.server.check_data()
        backup = self.take(self.server)
        self.server.write_data('lost', 1)
        boots = self.server.boots()
        restore = self.api.restore_backup(backup)
        self.assertEqual(self.server.id, restore.server_id)
        self.server.wait()
        self.server.wait_for_boot(boots + 1)
        self.assertEqual(files, self.server.check_data())
        action = self.demo.compute.get_server_action(
            restore.request_id, self.server.id
        )
        self.assertEqual('instance_backup_restore', action.action)
        response = self.post(
            f'/{backup.id}/restore', {'restore': {'server_id': _MISSING}}
        )
        self.assert_error(409, 'IllegalState', response)


class ConflictTest(ApiCase):
    """What cannot be done while something else goes on."""

    def test_while_a_backup_is_taken(self) -> None:
        server = self.create_server()
        parent = self.take(server)
        # A while to read.
        server.write_data('more', 24)
        label = f'stopped {uuid.uuid4()}'
        backup, _ = operators.stopped_worker(
            server,
            lambda: self.api.create_backup(server_id=server.id, name=label),
        )
        self.assertEqual('creating', backup.status)
        attempts: tuple[tuple[str, str, typing.Any], ...] = (
            ('InProgress', '', {'backup': {'server_id': server.id}}),
            ('InstanceBusy', f'/{parent.id}/restore', {'restore': {}}),
            ('IllegalState', f'/{backup.id}/verify', {'verify': {}}),
            ('IllegalState', f'/{backup.id}/restore', {'restore': {}}),
            ('IllegalState', f'/{parent.id}/cancel', None),
        )
        for name, path, body in attempts:
            self.assert_error(409, name, self.post(path, body))
        for path, name in (
            (f'/backups/{parent.id}', 'InProgress'),
            (f'/backups/{backup.id}', 'IllegalState'),
        ):
            response = self.api.delete(path, raise_exc=False)
            self.assert_error(409, name, response)
        self.api.cancel_backup(backup)
        error = self.assertRaises(
            openstack.exceptions.ResourceFailure,
            self.api.wait_for_backup,
            backup,
            # Its worker does not answer: it is killed after 30 s.
            timeout=120,
        )
        self.assertIn('cancelled', str(error))
        server.wait()
        failed = self.api.find_backup(label)
        self.assertEqual((backup.id, 'error'), (failed.id, failed.status))
        for each in (backup, parent):
            self.api.delete_backup(each)
            self.api.wait_for_backup_deleted(each, timeout=60)

    def test_an_incremental_that_cannot_be(self) -> None:
        server = self.create_server()
        backup = self.api.create_backup(
            server_id=server.id, type='incremental'
        )
        error = self.assertRaises(
            openstack.exceptions.ResourceFailure,
            self.api.wait_for_backup,
            backup,
            timeout=60,
        )
        self.assertIn('must be read whole (no_parent)', str(error))

    def test_many_deletions_at_once(self) -> None:
        server = self.create_server()
        taken = []
        for number in range(5):
            server.write_data(f'n{number}', 1)
            taken.append(self.take(server))
        kept = taken.pop(3)
        digest = self.digest(server, kept)
        for backup in taken:
            self.api.delete_backup(backup)
        for backup in taken:
            self.api.wait_for_backup_deleted(backup, timeout=120)
        [left] = self.api.backups(server_id=server.id)
        self.assertEqual(kept.id, left.id)
        self.assertEqual(digest, self.digest(server, kept))

    def test_a_server_that_is_locked(self) -> None:
        server = self.create_server()
        backup = self.take(server)
        self.admin.compute.lock_server(server.id)
        response = self.post(f'/{backup.id}/restore', {'restore': {}})
        self.assert_error(409, 'InstanceIsLocked', response)
        self.admin.compute.unlock_server(server.id)
        restore = self.api.restore_backup(backup)
        self.assertEqual(server.id, restore.server_id)
        server.wait()


class GoneTest(ApiCase):
    """The server and its image are gone; the backups are not."""

    def test_everything_comes_back(self) -> None:
        image = self._private_image()
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(
                onebox.created(
                    'gone',
                    self.demo,
                    self.admin,
                    onebox.Wanted(flavor='ekko.disks', image=image),
                )
            )
            server.write_data('first', 2)
            self.take(server)
            server.write_data('second', 2)
            files = server.check_data()
            backup = self.take(server, name='of what is gone')
            digests = {
                name: operators.Backups(server).digest(backup.id, name)
                for name in (disk['name'] for disk in backup.disks)
            }
        self.demo.image.delete_image(image)
        shown = self.api.get_backup(backup.id)
        self.assertEqual('available', shown.status)
        response = self.post(f'/{backup.id}/restore', {'restore': {}})
        self.assert_error(404, 'ServerNotFound', response)
        again = self._new_server(backup, 'ekko.disks')
        again.wait_for_boot(2)
        self.assertEqual(files, again.check_data())
        compute = self.demo.compute
        compute.stop_server(again.id)
        again.wait('SHUTOFF')
        self.assertEqual(2, len(digests))
        # It has its own line of backups, which begins with a full.
        own = self.take(again)
        self.assertEqual('full', own.type)
        compute.start_server(again.id)
        again.wait()
        # Nova's own operations do not take the disks back to the backup.
        again.wait_for_boot(3)
        again.write_data('third', 1)
        compute.resize_server(again.id, compute.find_flavor('ekko.more'))
        again.wait('VERIFY_RESIZE')
        compute.confirm_server_resize(again.id)
        again.wait()
        again.wait_for_boot(4)
        self.assertEqual(files + 1, again.check_data())
        self.api.delete_backup(backup)
        self.api.wait_for_backup_deleted(backup, timeout=60)

    def test_a_flavor_that_is_too_small(self) -> None:
        server = self.create_server(flavor='ekko.2')
        backup = self.take(server)
        response = self.post(
            f'/{backup.id}/servers', {'server': self._wanted('ekko.1')}
        )
        message = self.assert_error(400, 'Nova:badRequest', response)
        self.assertIn('smaller than the minimum', message)
        # Nothing is left of the attempt.
        self.assertEqual(
            [],
            [
                image.name
                for image in self.demo.image.images(owner_is='me')
                if backup.id in image.name
            ],
        )

    def test_what_nova_would_be_told_twice(self) -> None:
        wanted = {**self._wanted('ekko.1'), 'imageRef': _MISSING}
        response = self.post(f'/{_MISSING}/servers', {'server': wanted})
        self.assert_error(400, 'InvalidRequest', response)

    def _wanted(self, flavor: str) -> dict[str, typing.Any]:
        return {
            'name': 'again',
            'flavorRef': self.demo.compute.find_flavor(flavor).id,
            'networks': 'none',
        }

    def _new_server(self, backup: typing.Any, flavor: str) -> onebox.Server:
        made = self.api.create_server_from_backup(
            backup, **self._wanted(flavor)
        )
        server = onebox.Server(self.demo, self.admin, made['id'])
        self.addCleanup(self.demo.image.delete_image, made['image_id'])
        self.addCleanup(onebox.delete, server)
        server.wait()
        return server

    def _private_image(self) -> str:
        name = f'private {uuid.uuid4()}'
        self.demo.image.create_image(
            name=name,
            data=_GUEST.read_bytes(),
            disk_format='qcow2',
            container_format='bare',
            hw_qemu_guest_agent='yes',
            wait=True,
        )
        return name


class IsolationTest(SharedServerCase):
    """Who may see and do what."""

    def setUp(self) -> None:
        super().setUp()
        found = list(self.api.backups(server_id=self.server.id))
        self.backup = found[0] if found else self.take(self.server)

    def _attempts(
        self, api: typing.Any, suffix: str = ''
    ) -> dict[str, typing.Any]:
        """Everything that changes something, tried."""
        one = self.backup.id
        network = {'name': 'x', 'flavorRef': '1', 'networks': 'none'}
        bodies: dict[str, typing.Any] = {
            'cancel': None,
            'verify': {'verify': {}},
            'restore': {'restore': {}},
            'servers': {'server': network},
            'images': {'image': {'name': 'x'}},
            'force-delete': None,
            'reset-status': {'reset_status': {'status': 'error'}},
        }
        answers = {
            verb: self.post(f'/{one}/{verb}{suffix}', body, api)
            for verb, body in bodies.items()
        }
        path = f'/backups/{one}{suffix}'
        answers['update'] = api.patch(
            path, json={'backup': {'name': 'mine'}}, raise_exc=False
        )
        answers['delete'] = api.delete(path, raise_exc=False)
        return answers

    def test_another_project_sees_nothing(self) -> None:
        other = self.as_user('other')
        self.assertEqual([], list(other.backups(server_id=self.server.id)))
        self.assertIsNone(other.find_backup(self.backup.id))
        answers = self._attempts(other)
        answers['show'] = other.get(
            f'/backups/{self.backup.id}', raise_exc=False
        )
        missing = other.get(f'/backups/{_MISSING}', raise_exc=False)
        text = self.assert_error(404, 'BackupNotFound', missing)
        for response in answers.values():
            # The same as of one that does not exist, word for word.
            self.assertEqual(
                text, self.assert_error(404, 'BackupNotFound', response)
            )
        response = self.post(
            '', {'backup': {'server_id': self.server.id}}, other
        )
        self.assert_error(404, 'ServerNotFound', response)
        project = self.demo.current_project_id
        for query in (
            f'?project_id={project}',
            '?all_projects=true',
            f'?all_projects=true&project_id={project}',
        ):
            response = other.get(f'/backups{query}', raise_exc=False)
            self.assert_error(403, 'Forbidden', response)
        for response in self._attempts(
            other, f'?project_id={project}'
        ).values():
            self.assert_error(403, 'Forbidden', response)
        self.assertEqual(
            'available', self.api.get_backup(self.backup.id).status
        )

    def test_a_reader_changes_nothing(self) -> None:
        auditor = self.as_user('auditor', 'demo')
        [seen] = auditor.backups(server_id=self.server.id)
        self.assertEqual(self.backup.id, seen.id)
        self.assertEqual(
            'available', auditor.get_backup(self.backup.id).status
        )
        answers = list(self._attempts(auditor).values())
        answers.append(
            self.post('', {'backup': {'server_id': self.server.id}}, auditor)
        )
        for response in answers:
            self.assert_error(403, 'Forbidden', response)
        self.assertEqual(
            'available', self.api.get_backup(self.backup.id).status
        )

    def test_an_administrator_sees_all(self) -> None:
        admin = self.as_user('admin')
        every = [each.id for each in admin.backups(all_projects='true')]
        self.assertIn(self.backup.id, every)
        project = self.demo.current_project_id
        found = admin.backups(project_id=project, server_id=self.server.id)
        self.assertEqual([self.backup.id], [each.id for each in found])
        shown = admin.get_backup(self.backup.id, project_id=project)
        self.assertEqual(project, shown.project_id)
        admin.update_backup(
            self.backup.id, project_id=project, metadata={'seen': 'yes'}
        )
        shown = self.api.get_backup(self.backup.id)
        self.assertEqual({'seen': 'yes'}, shown.metadata)
        # What is made of it would belong to the wrong project.
        response = self.post(
            f'/{self.backup.id}/images?project_id={project}',
            {'image': {'name': 'x'}},
            admin,
        )
        self.assert_error(409, 'IllegalState', response)

    def test_forced_deletion(self) -> None:
        server = self.create_server()
        backup = self.take(server)
        project = self.demo.current_project_id
        admin = self.as_user('admin')
        admin.delete_backup(backup.id, force=True, project_id=project)
        self.api.wait_for_backup_deleted(backup.id, timeout=60)

    def test_a_carrier_of_another_project(self) -> None:
        """Whoever knows an id may write it into an image of their own."""
        other = onebox.connect('other')
        self.addCleanup(other.close)
        id_ = str(uuid.uuid4())
        image = other.image.create_image(
            name='forged',
            id=id_,
            data=_GUEST.read_bytes(),
            disk_format='qcow2',
            container_format='bare',
            ekko_backup=f'{self.backup.id} {id_}',
        )
        self.addCleanup(other.image.delete_image, image.id)
        self.assertEqual(id_, image.id)
        made = other.compute.create_server(
            name='thief',
            image_id=image.id,
            flavor_id=other.compute.find_flavor('ekko.1').id,
            networks='none',
        )
        server = onebox.Server(other, self.admin, made.id)
        self.addCleanup(onebox.delete, server)
        server.wait('ERROR')
        fault = server.details().fault
        self.assertIn('no such backup', fault['message'])


class QuotaTest(ApiCase):
    def test_limits(self) -> None:
        other = onebox.connect('demo', self.enterContext(projects.project()))
        self.addCleanup(other.close)
        api = client.attach(other)
        server = self.create_server(owner=other)
        backup = api.wait_for_backup(
            api.create_backup(server_id=server.id), timeout=60
        )
        body = {'backup': {'server_id': server.id}}
        for name, limit in (
            ('instance_backups', len(list(api.backups()))),
            # What is stored of it is less than a GiB, and counts as one.
            ('instance_backup_gigabytes', 1),
        ):
            set_ = self._limit(other.current_project_id, name, limit)
            try:
                response = self.post('', body, api)
                message = self.assert_error(403, 'QuotaExceeded', response)
                self.assertIn(name, message)
            finally:
                self.admin.identity.delete_limit(set_)
        api.delete_backup(backup)
        api.wait_for_backup_deleted(backup, timeout=60)
        # Nobody else's, and not any more.
        again = api.create_backup(server_id=server.id)
        api.wait_for_backup(again, timeout=60)
        api.delete_backup(again)
        api.wait_for_backup_deleted(again, timeout=60)

    def _limit(self, project: str, name: str, limit: int) -> typing.Any:
        identity = self.admin.identity
        [registered] = identity.registered_limits(resource_name=name)
        return identity.create_limit(
            service_id=registered.service_id,
            region_id=registered.region_id,
            resource_name=name,
            resource_limit=limit,
            project_id=project,
        )
