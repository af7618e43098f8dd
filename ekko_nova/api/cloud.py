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

"""What we ask of the rest of the cloud: Nova, its hosts, and Glance."""

import hashlib
import io
import math
import typing

from glanceclient import exc as glance_exception
from nova.api.openstack.compute import routes
from nova.api import wsgi
from nova.compute import api as compute_api
from nova.compute import utils as compute_utils
import nova.conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova.image import glance
from nova import objects
from nova import servicegroup
from oslo_log import log as logging
from oslo_utils import units
from oslo_utils import uuidutils

from ekko_nova.api import errors
from ekko_nova.backup import record as records
from ekko_nova.compute import carrier
from ekko_nova.compute import rpcapi
from ekko_nova import exception

__all__ = ('Cloud',)

LOG = logging.getLogger(__name__)

#: Of Nova's API: where a request may name a host, and a host name.
_NOVA_VERSION: typing.Final = '2.90'

#: What Glance keeps of an image by itself, in Nova's words.
_NOT_PROPERTIES: typing.Final = frozenset(
    {
        'image_base_image_ref',
        'image_container_format',
        'image_disk_format',
        'image_min_disk',
        'image_min_ram',
        'image_owner_id',
        'image_owner_project_name',
        'image_owner_user_name',
        'image_user_id',
        'image_kernel_id',
        'image_ramdisk_id',
        'image_image_type',
        'image_boot_roles',
        'image_instance_uuid',
        f'image_{carrier.BACKUP}',
        f'image_trait:{carrier.TRAIT}',
    }
)


def _is_inherited(name: str) -> bool:
    """Whether a property stays on an image made of a server, as Nova has it.

    A signature is that of the image's own data; Glance's own are refused.
    """
    own = compute_utils.NON_INHERITABLE_IMAGE_PROPERTIES
    unwanted = nova.conf.CONF.non_inheritable_image_properties
    reserved = tuple(compute_utils.NON_INHERITABLE_IMAGE_NAMESPACES)
    return name not in {*own, *unwanted} and not name.startswith(reserved)


class Cloud:
    """Asks on behalf of whoever made a request: ``context`` is Nova's."""

    def __init__(self) -> None:
        self.hosts = rpcapi.BackupAPI()
        self._compute = compute_api.API()
        self._services = compute_api.HostAPI()
        self._groups = servicegroup.API()
        self._glance = glance.API()
        self._router: typing.Any = None

    def instance(self, context: typing.Any, server: str) -> typing.Any:
        """A server of the project; the context then leads to its cell.

        :raises errors.ApiError: there is none, or it is on no host
        :raises exception.NotStarted: its host is down
        """
        none = errors.ApiError(
            404, 'ServerNotFound', f'there is no server {server}'
        )
        try:
            instance = self._compute.get(context, server)
        except nova_exception.InstanceNotFound as e:
            raise none from e
        own = instance.project_id == context.project_id
        if not own and not context.is_admin:
            # Nova looks at whose a server is only when it has been scheduled.
            raise none
        mapping = objects.InstanceMapping.get_by_instance_uuid(
            context, instance.uuid
        )
        nova_context.set_target_cell(context, mapping.cell_mapping)
        if not instance.host:
            raise errors.ApiError(
                409,
                'InstanceBusy',
                f'server {server} is {instance.vm_state} and on no host',
            )
        if not self._is_up(context, instance.host):
            raise exception.NotStarted(instance.host, 'it is down')
        return instance

    def _is_up(self, context: typing.Any, host: str) -> bool:
        try:
            service = objects.Service.get_by_compute_host(context, host)
        except nova_exception.ComputeHostNotFound:
            return False
        return bool(self._groups.service_is_up(service))

    def ask_any_host(
        self,
        context: typing.Any,
        record: records.Record,
        method: str,
        **arguments: typing.Any,
    ) -> None:
        """Have some host do something with a backup.

        The host of its server, if there is one, or else always the same as
        long as the same hosts are up: two deletions of one server's backups
        then wait for each other, instead of one being refused.

        :raises errors.ApiError: no host can
        :raises exception.NoAnswer: one may have begun, so no other is asked
        :raises exception.EkkoError: the host refuses
        """
        for host in self._candidates(context, record.server):
            try:
                mapping = objects.HostMapping.get_by_host(
                    context.elevated(), host
                )
            except nova_exception.HostMappingNotFound:
                # It is new, and nobody has run "discover_hosts" yet.
                continue
            nova_context.set_target_cell(context, mapping.cell_mapping)
            try:
                self.hosts.ask(context, host, method, **arguments)
            except exception.NotStarted as e:
                LOG.info('asking another host: %s', e)
            except exception.Refused as e:
                if e.kind != exception.NotStarted.__name__:
                    raise
                LOG.info('asking another host: %s', e)
            else:
                return
        raise errors.ApiError(
            503, 'NoHost', 'no compute host is up that has ekko-nova'
        )

    def _candidates(self, context: typing.Any, server: str) -> list[str]:
        services = self._services.service_get_all(
            context.elevated(),
            filters={'topic': 'compute'},
            all_cells=True,
        )
        up = [
            service.host
            for service in services
            if self._groups.service_is_up(service)
        ]

        def weight(host: str) -> str:
            return hashlib.sha256(f'{server} {host}'.encode()).hexdigest()

        up.sort(key=weight)
        try:
            own = self._compute.get(context, server).host
        except nova_exception.InstanceNotFound:
            own = None
        return sorted(up, key=lambda host: host != own)

    # --- images

    def create_image(
        self,
        context: typing.Any,
        record: records.Record,
        disk: records.DiskRecord,
        wanted: dict[str, typing.Any],
    ) -> str:
        """An image without data, for a disk of a backup; returns its id.

        :param wanted: ``name``, and perhaps ``properties``
        """
        image = self._image(record, disk, wanted['name'], 'qcow2')
        image['properties'].update(wanted.get('properties') or {})
        return str(self._create(context, image)['id'])

    def create_carrier(
        self, context: typing.Any, record: records.Record, name: str
    ) -> str:
        """An image that stands for a backup; returns its id."""
        image = self._image(record, record.disk('root'), name, 'raw')
        image['id'] = uuidutils.generate_uuid()
        image['properties'].update(carrier.properties(record.id, image['id']))
        # What the least image is that Glance and Nova both take for one.
        data = io.BytesIO(bytes(units.Mi))
        try:
            self._create(context, image, data)
        except BaseException:
            # It may be there without its data.
            self.delete_image(context, image['id'])
            raise
        return str(image['id'])

    def delete_image(self, context: typing.Any, image: str) -> None:
        """Remove an image that is of no use."""
        try:
            self._glance.delete(context, image)
        except nova_exception.ImageNotFound:
            pass
        except (
            nova_exception.NovaException,
            glance_exception.HTTPException,
        ) as e:
            LOG.warning('image %s is left behind: %s', image, e)

    def _create(
        self,
        context: typing.Any,
        image: dict[str, typing.Any],
        data: typing.Any = None,
    ) -> typing.Any:
        try:
            return self._glance.create(context, image, data=data)
        except nova_exception.NovaException as e:
            raise errors.ApiError(
                getattr(e, 'code', 500), type(e).__name__, e.format_message()
            ) from e
        except glance_exception.HTTPException as e:
            # Nova knows some of Glance's refusals only.
            raise errors.ApiError(e.code, type(e).__name__, str(e)) from e

    @staticmethod
    def _image(
        record: records.Record,
        disk: records.DiskRecord | None,
        name: str,
        disk_format: str,
    ) -> dict[str, typing.Any]:
        facts = record.instance or {}
        image_properties = facts.get('image_properties') or {}
        return {
            'name': name,
            'disk_format': disk_format,
            'container_format': 'bare',
            'min_disk': math.ceil(disk.size / units.Gi) if disk else 0,
            'properties': {
                plain: str(value)
                for key, value in image_properties.items()
                if key not in _NOT_PROPERTIES
                and _is_inherited(plain := key.removeprefix('image_'))
            },
        }

    # --- new servers

    def create_server(
        self, context: typing.Any, wanted: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        """Make a server as by a request to Nova's API, which checks it all.

        :param wanted: as the body of ``POST /servers`` has it
        :raises errors.ApiError: Nova's own answer
        """
        if self._router is None:
            self._router = routes.APIRouterV21()
        request = wsgi.Request.blank(
            '/servers', base_url='http://localhost/v2.1', method='POST'
        )
        request.headers['OpenStack-API-Version'] = f'compute {_NOVA_VERSION}'
        request.content_type = 'application/json'
        request.json_body = {'server': wanted}
        request.environ['nova.context'] = context
        response = request.get_response(self._router)
        body = response.json_body
        if response.status_int < 400:
            server: dict[str, typing.Any] = body['server']
            return server
        [(kind, fault)] = body.items()
        raise errors.ApiError(
            response.status_int, f'Nova:{kind}', fault['message']
        )
