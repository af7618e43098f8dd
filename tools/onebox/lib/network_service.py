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

"""Stands in for Neutron: networks, ports and their bindings, on paper.

It keeps what Nova and the clients ask it to keep, gives out addresses, and
tells Nova to plug every port as a bare tap device (``vif_type: tap``), which
no agent has to connect to anything. So servers have NICs, but nobody to talk
to; for backups, migrations, and NICs that come and go, that is enough.

A project's own "default" security group is there as soon as it is asked for;
no group filters anything.
"""

from collections.abc import Iterator
import contextlib
import ipaddress
import json
import os
import pathlib
import secrets
import threading
import typing
import uuid

import flask
from keystonemiddleware import auth_token

Resource = dict[str, typing.Any]

EXTENSIONS = ('binding', 'binding-extended', 'security-group')
SINGULAR = {
    'floatingips': 'floatingip',
    'networks': 'network',
    'ports': 'port',
    'security_group_rules': 'security_group_rule',
    'security_groups': 'security_group',
    'subnets': 'subnet',
}
# What a new one has, unless it is asked to be otherwise.
DEFAULTS: dict[str, Resource] = {
    'floatingips': {},
    'networks': {
        'admin_state_up': True,
        'mtu': 1500,
        'router:external': False,
        'shared': False,
        'status': 'ACTIVE',
    },
    'ports': {
        'admin_state_up': True,
        'allowed_address_pairs': [],
        'binding:host_id': '',
        'binding:profile': {},
        'binding:vnic_type': 'normal',
        'device_id': '',
        'device_owner': '',
        'fixed_ips': [],
        'name': '',
        'security_groups': [],
    },
    'security_group_rules': {},
    'security_groups': {'description': '', 'security_group_rules': []},
    'subnets': {
        'dns_nameservers': [],
        'enable_dhcp': False,
        'gateway_ip': None,
        'host_routes': [],
        'ip_version': 4,
        'name': '',
    },
}


class Fault(Exception):
    """Answers in Neutron's words."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class Resources:
    """Everything there is, by collection and id; kept in a file."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._all: dict[str, dict[str, Resource]] = {
            collection: {} for collection in SINGULAR
        }
        if path.exists():
            self._all |= json.loads(path.read_text())

    @contextlib.contextmanager
    def changes(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile; kept in the end."""
        with self._lock:
            yield
            new = self._path.with_suffix('.new')
            new.write_text(json.dumps(self._all, indent=1))
            new.replace(self._path)

    def find(self, collection: str) -> list[Resource]:
        with self._lock:
            return list(self._all[collection].values())

    def get(self, collection: str, key: str) -> Resource:
        try:
            return self._all[collection][key]
        except KeyError:
            kind = SINGULAR[collection].title().replace('_', '')
            raise Fault(404, f'{kind}NotFound', f'no {key}') from None

    def add(self, collection: str, wanted: Resource, project: str) -> Resource:
        owner = wanted.get('project_id') or wanted.get('tenant_id') or project
        new = {
            **DEFAULTS[collection],
            **wanted,
            'id': str(uuid.uuid4()),
            'project_id': owner,
            'tenant_id': owner,
        }
        self._all[collection][new['id']] = new
        return new

    def remove(self, collection: str, key: str) -> None:
        self.get(collection, key)
        del self._all[collection][key]


resources = Resources(pathlib.Path(os.environ['NETWORK_STATE']))
service = flask.Flask(__name__)


# --- ports


def complete_port(port: Resource) -> None:
    """Give a new port its addresses and its group."""
    octets = (f'{byte:02x}' for byte in secrets.token_bytes(3))
    port.setdefault('mac_address', 'fa:16:3e:' + ':'.join(octets))
    port['network_id'] = resources.get('networks', port['network_id'])['id']
    if not port['fixed_ips']:
        subnets = [
            subnet
            for subnet in resources.find('subnets')
            if subnet['network_id'] == port['network_id']
        ]
        port['fixed_ips'] = [
            {'subnet_id': each['id'], 'ip_address': free_address(each)}
            for each in subnets[:1]
        ]
    if not port['security_groups']:
        port['security_groups'] = [default_group(port['project_id'])['id']]


def free_address(subnet: Resource) -> str:
    used = {
        address['ip_address']
        for port in resources.find('ports')
        for address in port['fixed_ips']
    }
    hosts = ipaddress.ip_network(subnet['cidr']).hosts()
    next(hosts)  # the gateway's, if there were one
    for address in hosts:
        if str(address) not in used:
            return str(address)
    raise Fault(409, 'IpAddressGenerationFailure', 'no address is left')


def default_group(project: str) -> Resource:
    for group in resources.find('security_groups'):
        if (group['name'], group['project_id']) == ('default', project):
            return group
    return resources.add('security_groups', {'name': 'default'}, project)


def bindings(port: Resource) -> dict[str, Resource]:
    """A port's bindings by host; one of them is active."""
    found: dict[str, Resource] = port.setdefault('ekko:bindings', {})
    return found


def binding(host: str, port: Resource, status: str) -> Resource:
    return {
        'host': host,
        'profile': port['binding:profile'],
        'status': status,
        'vif_details': {},
        'vif_type': 'tap',
        'vnic_type': port['binding:vnic_type'],
    }


def activate(port: Resource, host: str) -> None:
    """Bind a port to a host, or with '' to none."""
    for each in bindings(port).values():
        each['status'] = 'INACTIVE'
    if host:
        bindings(port)[host] = binding(host, port, 'ACTIVE')
    else:
        bindings(port).clear()
    port['binding:host_id'] = host
    port['binding:vif_details'] = {}
    port['binding:vif_type'] = 'tap' if host else 'unbound'
    port['status'] = 'ACTIVE' if host else 'DOWN'


@service.route('/v2.0/ports/<key>/bindings', methods=['GET', 'POST'])
def port_bindings(key: str) -> typing.Any:
    with resources.changes():
        port = resources.get('ports', key)
        if flask.request.method == 'GET':
            return {'bindings': list(bindings(port).values())}
        host = flask.request.get_json()['binding']['host']
        if host in bindings(port):
            raise Fault(409, 'PortBindingAlreadyExists', f'{key} on {host}')
        new = binding(host, port, 'INACTIVE')
        new |= flask.request.get_json()['binding']
        bindings(port)[host] = new
        return {'binding': new}, 201


@service.route('/v2.0/ports/<key>/bindings/<host>', methods=['GET', 'DELETE'])
def port_binding(key: str, host: str) -> typing.Any:
    with resources.changes():
        port = resources.get('ports', key)
        found = bindings(port).get(host)
        if found is None:
            raise Fault(404, 'PortBindingNotFound', f'{key} on {host}')
        if flask.request.method == 'GET':
            return {'binding': found}
        del bindings(port)[host]
        if found['status'] == 'ACTIVE':
            activate(port, '')
        return '', 204


@service.put('/v2.0/ports/<key>/bindings/<host>/activate')
def activate_binding(key: str, host: str) -> typing.Any:
    with resources.changes():
        port = resources.get('ports', key)
        if host not in bindings(port):
            raise Fault(404, 'PortBindingNotFound', f'{key} on {host}')
        if bindings(port)[host]['status'] == 'ACTIVE':
            raise Fault(409, 'PortBindingAlreadyActive', f'{key} on {host}')
        activate(port, host)
        return {'binding': bindings(port)[host]}


# --- every collection


def shown(resource: Resource) -> Resource:
    """What a client sees of it, or the fields that it wants to see."""
    fields = flask.request.args.getlist('fields')
    return {
        name: value
        for name, value in resource.items()
        if not name.startswith('ekko:') and (not fields or name in fields)
    }


def matches(resource: Resource) -> bool:
    """Whether it is one of those that the query asks for."""
    for name, wanted in flask.request.args.lists():
        if name == 'fixed_ips':
            has = {f'{k}={v}' for ip in resource[name] for k, v in ip.items()}
            if not has.issuperset(wanted):
                return False
        elif name in resource:
            values = resource[name]
            if not isinstance(values, list):
                values = [values]
            if not {str(value).lower() for value in values}.intersection(
                each.lower() for each in wanted
            ):
                return False
    return True


def may_see(resource: Resource) -> bool:
    """Tenants see their own, and what is shared."""
    headers = flask.request.headers
    return (
        'admin' in headers.get('X-Roles', '').split(',')
        or resource['project_id'] == headers['X-Project-Id']
        or resource.get('shared', False)
        or 'cidr' in resource
    )


@service.route('/v2.0/<collection>', methods=['GET', 'POST'])
def collection(collection: str) -> typing.Any:
    name = known(collection)
    project = flask.request.headers['X-Project-Id']
    with resources.changes():
        if flask.request.method == 'POST':
            wanted = flask.request.get_json()[SINGULAR[name]]
            return {SINGULAR[name]: shown(create(name, wanted, project))}, 201
        if name == 'security_groups':
            args = flask.request.args
            default_group(
                args.get('tenant_id') or args.get('project_id') or project
            )
        return {
            name: [
                shown(each)
                for each in resources.find(name)
                if may_see(each) and matches(each)
            ]
        }


def create(name: str, wanted: Resource, project: str) -> Resource:
    if name == 'ports':
        resources.get('networks', wanted['network_id'])
    new = resources.add(name, wanted, project)
    if name == 'ports':
        complete_port(new)
        activate(new, new['binding:host_id'] or '')
    if name == 'subnets':
        network = resources.get('networks', new['network_id'])
        network.setdefault('subnets', []).append(new['id'])
    return new


@service.route('/v2.0/<collection>/<key>', methods=['GET', 'PUT', 'DELETE'])
def resource(collection: str, key: str) -> typing.Any:
    name = known(collection)
    with resources.changes():
        found = resources.get(name, key)
        if not may_see(found):
            raise Fault(404, 'NotFound', f'no {key}')
        if flask.request.method == 'DELETE':
            resources.remove(name, key)
            return '', 204
        if flask.request.method == 'PUT':
            change = flask.request.get_json()[SINGULAR[name]]
            found |= change
            if 'binding:host_id' in change:
                activate(found, change['binding:host_id'] or '')
        return {SINGULAR[name]: shown(found)}


def known(collection: str) -> str:
    name = collection.replace('-', '_')
    if name not in SINGULAR:
        raise Fault(404, 'NotFound', f'this Neutron has no {collection}')
    return name


# --- the rest


@service.get('/v2.0/extensions')
def extensions() -> typing.Any:
    return {
        'extensions': [
            {'alias': alias, 'name': alias, 'description': '', 'links': []}
            for alias in EXTENSIONS
        ]
    }


@service.get('/v2.0/quotas/<_project>')
def quotas(_project: str) -> typing.Any:
    return {'quota': {SINGULAR[name]: -1 for name in SINGULAR}}


@service.get('/')
@service.get('/v2.0/')
@service.get('/v2.0')
def versions() -> typing.Any:
    link = {'rel': 'self', 'href': flask.request.host_url + 'v2.0/'}
    return {'versions': [{'id': 'v2.0', 'status': 'CURRENT', 'links': [link]}]}


@service.before_request
def require_token() -> typing.Any:
    if flask.request.endpoint == 'versions':
        return None
    if flask.request.headers.get('X-Identity-Status') != 'Confirmed':
        raise Fault(401, 'Unauthorized', 'no valid token')
    return None


@service.errorhandler(Fault)
def answer_fault(fault: Fault) -> typing.Any:
    error = {'type': fault.kind, 'message': str(fault), 'detail': ''}
    return {'NeutronError': error}, fault.status


application = auth_token.AuthProtocol(
    service,
    {
        'oslo_config_project': 'neutron',
        'oslo_config_file': os.environ['NETWORK_CONFIG'],
    },
)
