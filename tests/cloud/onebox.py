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

"""What tests stand on that use the cloud of ``tools/onebox/up``.

The cloud must be up: nobody here starts it. A server that a test makes
through :class:`CloudTestCase` goes away with it.
"""

import base64
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import re
import subprocess
import time
import typing
import uuid
from xml.etree import ElementTree

import libvirt
import libvirt_qemu
import openstack

from tests import base

__all__ = (
    'HOSTS',
    'ROOT',
    'CloudTestCase',
    'Server',
    'Wanted',
    'connect',
    'crash_host',
    'created',
    'delete',
    'environment',
    'hypervisor',
    'local',
    'restart',
    'run',
    'start_host',
    'wait_until',
)

ROOT: typing.Final = pathlib.Path(
    os.environ.get('EKKO_ONEBOX', '/var/tmp/ekko-onebox')
)
#: Compute hosts and their addresses.
HOSTS: typing.Final = {'c1': '10.78.0.11', 'c2': '10.78.0.12'}

_TOOLS: typing.Final = pathlib.Path(__file__).parents[2] / 'tools' / 'onebox'
_AUTH_URL: typing.Final = 'http://10.78.0.1:5000/v3'
_PASSWORD: typing.Final = 'secret'
_WAIT_SECONDS: typing.Final = 180.0

# Their every request would hide what a failed test has to say.
for _name in ('keystoneauth', 'openstack', 'stevedore', 'urllib3'):
    logging.getLogger(_name).setLevel(logging.WARNING)

# What fails is raised; by default libvirt prints it as well.
libvirt.registerErrorHandler(lambda *_: None, None)


def environment(user: str) -> dict[str, str]:
    """The variables by which clients are told who uses the cloud."""
    return {
        'OS_AUTH_URL': _AUTH_URL,
        'OS_USERNAME': user,
        'OS_PASSWORD': _PASSWORD,
        'OS_PROJECT_NAME': user,
        'OS_USER_DOMAIN_NAME': 'Default',
        'OS_PROJECT_DOMAIN_NAME': 'Default',
        'OS_REGION_NAME': 'RegionOne',
        'OS_IDENTITY_API_VERSION': '3',
    }


def connect(user: str = 'demo', project: str = '') -> typing.Any:
    """The cloud, as one of its users sees it.

    :param user: ``admin``, ``demo``, ``other``, ``ekko`` or a service's
    :param project: the one of the user's name unless given; ``ekko`` and the
        services' users are in ``service``
    """
    return openstack.connect(
        auth_url=_AUTH_URL,
        username=user,
        password=_PASSWORD,
        project_name=project or user,
        user_domain_name='Default',
        project_domain_name='Default',
        region_name='RegionOne',
    )


def run(host: str, *argv: str, user: str = '') -> str:
    """What a command says that runs on a compute host.

    :param user: who runs it; root unless given
    :raises RuntimeError: it fails, with all that it said
    """
    options = ['--user', user] if user else []
    return _tool('host', *options, host, *argv)


def restart(*services: str, kill: bool = False) -> None:
    """End services of the cloud and start them again.

    :param services: see ``tools/onebox/status``, with or without the host
    :param kill: with kill -9, and not as an operator would
    """
    _tool('restart', *(['--kill'] if kill else []), *services)


def crash_host(host: str) -> None:
    """Pull a host's plug, and tell Nova that it is dead.

    All that runs there ends, guests too.
    """
    restart(f'host-{host}', kill=True)
    with connect('admin') as admin:
        admin.compute.update_service_forced_down(_service(admin, host))


def start_host(host: str) -> None:
    """Start what runs on a host, after a crash, and have Nova use it."""
    for service in ('virtlogd', 'sshd', 'libvirtd', 'nova-compute'):
        restart(f'{service}-{host}')
    with connect('admin') as admin:

        def used() -> bool:
            # Nova refuses until it has cleaned up what was evacuated.
            with contextlib.suppress(openstack.exceptions.BadRequestException):
                admin.compute.update_service_forced_down(
                    _service(admin, host), forced=False
                )
            return bool(_service(admin, host).state == 'up')

        wait_until(f'nova-compute on {host} is up', used)


def _service(admin: typing.Any, host: str) -> typing.Any:
    """nova-compute's entry in Nova's list of services."""
    return next(iter(admin.compute.services(binary='nova-compute', host=host)))


def _tool(name: str, *argv: str) -> str:
    done = subprocess.run(
        [_TOOLS / name, *argv],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        said = done.stdout + done.stderr
        raise RuntimeError(f'{name} {" ".join(argv)}: {said}')
    return done.stdout


def local(*argv: str) -> None:
    """Run a command on this machine.

    :raises subprocess.CalledProcessError: it fails
    """
    subprocess.run(
        argv, check=True, stdin=subprocess.DEVNULL, capture_output=True
    )


def hypervisor(host: str) -> typing.Any:
    """A connection to a host's libvirtd; close it."""
    return libvirt.open(f'qemu+tcp://{HOSTS[host]}/system')


_T = typing.TypeVar('_T')


def wait_until(
    what: str,
    condition: Callable[[], _T | None],
    seconds: float = _WAIT_SECONDS,
    pause: float = 0.3,
) -> _T:
    """Ask again and again, until the answer is a true value.

    :param pause: seconds between two questions
    :returns: that value
    :raises RuntimeError: it takes too long; ``what`` says what
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise RuntimeError(f'too long: {what}')
        time.sleep(pause)


class Server:
    """A server, seen by its owner, its operator and its guest at once.

    :ivar id: its UUID
    :ivar owner: connection of who made it
    :ivar admin: connection of the administrator
    """

    def __init__(self, owner: typing.Any, admin: typing.Any, id: str) -> None:
        self.id = id
        self.owner = owner
        self.admin = admin

    # --- as Nova sees it

    def details(self) -> typing.Any:
        """All that the administrator can see of it, as of now."""
        return self.admin.compute.get_server(self.id)

    @property
    def host(self) -> str:
        """Where it is."""
        return str(self.details().compute_host)

    def wait(self, status: str = 'ACTIVE') -> None:
        """Wait until it is so, and Nova has nothing more to do with it.

        :raises RuntimeError: it becomes ERROR instead, or it takes too long
        """

        def reached() -> bool:
            found = self.details()
            if found.status == 'ERROR' != status:
                raise RuntimeError(f'{self.id}: {found.fault}')
            return found.status == status and not found.task_state

        wait_until(f'{self.id} is {status}', reached)

    def wait_until_gone(self) -> None:
        """Wait until it is deleted."""
        self.admin.compute.wait_for_delete(
            self.details(), interval=0.5, wait=_WAIT_SECONDS
        )

    # --- as its hypervisor sees it

    @contextlib.contextmanager
    def domain(self) -> Iterator[typing.Any]:
        """Its domain, for as long as the context lasts."""
        connection = hypervisor(self.host)
        try:
            yield connection.lookupByUUIDString(self.id)
        finally:
            connection.close()

    def disks(self) -> dict[str, str]:
        """Path of each disk's file, on its host, by target."""
        with self.domain() as domain:
            tree = ElementTree.fromstring(domain.XMLDesc())
        found = {}
        for disk in tree.iterfind("devices/disk[@device='disk']"):
            target, source = disk.find('target'), disk.find('source')
            if target is not None and source is not None:
                found[target.attrib['dev']] = source.attrib['file']
        return found

    def digest(self, target: str = 'vda') -> str:
        """SHA-256 of what its guest sees on a disk.

        While the guest runs and writes it is the digest of nothing at all:
        stop, pause or :meth:`hold` it.
        """
        raw = f'/var/lib/nova/digest-{uuid.uuid4()}'
        try:
            run(
                self.host,
                *('qemu-img', 'convert', '-U', '-O', 'raw'),
                *(self.disks()[target], raw),
            )
            # A fourth of the time that sha256sum takes.
            said = run(self.host, 'openssl', 'dgst', '-sha256', '-r', raw)
            return said.split()[0]
        finally:
            run(self.host, 'rm', '-f', raw)

    def pid(self) -> int:
        """Of its QEMU, as the processes of its host know it."""
        with self.domain() as domain:
            name = domain.name()
        return int(run(self.host, 'cat', f'/run/libvirt/qemu/{name}.pid'))

    def kill(self) -> None:
        """kill -9 its QEMU, and wait until libvirt has noticed."""
        run(self.host, 'kill', '-9', str(self.pid()))
        with self.domain() as domain:
            wait_until('libvirt notices', lambda: not domain.isActive())

    # --- as its guest sees it (tools/build-guest says what is in it)

    def console(self) -> str:
        """What its guest has printed lately."""
        said = self.admin.compute.get_server_console_output(self.id)
        return str(said['output'])

    def boots(self) -> int:
        """How often the guest has booted from this disk."""
        found = re.findall(r'ekko-guest: boot=(\d+) ', self.console())
        return int(found[-1]) if found else 0

    def wait_for_boot(self, boot: int = 1) -> None:
        """Wait until the guest has booted for the n-th time.

        :raises RuntimeError: it found a bad file, or it takes too long
        """
        pattern = (
            rf'ekko-guest: boot={boot} files=\d+ bad=(\d+) last=\d+\s+'
            r'ekko-guest: data files=\d+ bad=(\d+)'
        )
        try:
            found = wait_until(
                f'{self.id} boots', lambda: re.search(pattern, self.console())
            )
        except RuntimeError as e:
            raise RuntimeError(f'{e}:\n{self.console()[-2000:]}') from e
        if found.groups() != ('0', '0'):
            raise RuntimeError(f'{self.id} has lost data: {found.group()}')
        self.wait_for_agent()

    def wait_for_agent(self) -> None:
        """Wait until the guest's agent answers."""

        def answers() -> bool:
            try:
                self.ask('guest-ping')
            except libvirt.libvirtError:
                return False
            return True

        wait_until(f'the agent of {self.id} answers', answers)

    def ask(self, command: str, **arguments: typing.Any) -> typing.Any:
        """Have the guest's agent execute one of its commands."""
        request = {'execute': command, 'arguments': arguments}
        with self.domain() as domain:
            reply = libvirt_qemu.qemuAgentCommand(
                domain, json.dumps(request), 10, 0
            )
        return json.loads(reply)['return']

    def execute(self, command: str) -> str:
        """Run a shell command in the guest, and return what it says.

        :raises RuntimeError: it fails, or it takes too long
        """
        started = self.ask(
            'guest-exec',
            path='/bin/sh',
            arg=['-c', f'exec 2>&1; {command}'],
            **{'capture-output': True},
        )

        def ended() -> typing.Any:
            status = self.ask('guest-exec-status', pid=started['pid'])
            return status if status['exited'] else None

        status = wait_until(f'{command} in {self.id}', ended)
        said = base64.b64decode(status.get('out-data', '')).decode()
        if status['exitcode'] != 0:
            raise RuntimeError(f'{command} in {self.id}: {said}')
        return said

    def write_data(self, name: str, mib: int) -> None:
        """Have the guest write files of random bytes, onto its disk."""
        self.execute(f'write-data {name} {mib}')

    def check_data(self) -> int:
        """How many files of :meth:`write_data` there are.

        :raises RuntimeError: one of them is not as it was written
        """
        return int(self.execute('check-data').split()[0].split('=')[1])

    def hold(self) -> None:
        """Have the guest write nothing of its own, until :meth:`release`."""
        self.execute('touch /run/still; sleep 1; sync')

    def release(self) -> None:
        """Have the guest write again."""
        self.execute('rm /run/still')


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What a server is to be.

    :ivar nic: whether it gets a port
    :ivar host: where it is to be
    """

    flavor: str = 'ekko.1'
    image: str = 'ekko-guest'
    nic: bool = False
    host: str = ''


@contextlib.contextmanager
def created(
    name: str,
    owner: typing.Any,
    admin: typing.Any,
    wanted: Wanted,
    **arguments: typing.Any,
) -> Iterator[Server]:
    """A server whose guest has booted, for as long as the context lasts.

    :param arguments: more for Nova's create call
    """
    network = owner.network.find_network('private')
    with contextlib.ExitStack() as stack:
        maker = owner
        if wanted.host:
            # Only an administrator may say where; this one of the project.
            maker = connect('admin', owner.auth['project_name'])
            stack.callback(maker.close)
            arguments['availability_zone'] = f'nova:{wanted.host}'
        made = maker.compute.create_server(
            name=name,
            flavor_id=owner.compute.find_flavor(wanted.flavor).id,
            image_id=owner.image.find_image(wanted.image).id,
            networks=[{'uuid': network.id}] if wanted.nic else 'none',
            **arguments,
        )
        server = Server(owner, admin, made.id)
        stack.callback(delete, server)
        server.wait()
        server.wait_for_boot()
        yield server


def delete(server: Server) -> None:
    """Delete a server, whatever it is at, and wait until it is gone."""
    with contextlib.suppress(openstack.exceptions.NotFoundException):
        server.admin.compute.delete_server(server.id, force=True)
        server.wait_until_gone()


class CloudTestCase(base.TestCase):
    """A case with the cloud at hand.

    :ivar admin: connection of the administrator
    :ivar demo: connection of a tenant
    """

    def setUp(self) -> None:
        super().setUp()
        self.admin = connect('admin')
        self.addCleanup(self.admin.close)
        self.demo = connect('demo')
        self.addCleanup(self.demo.close)

    def create_server(
        self,
        *,
        flavor: str = 'ekko.1',
        image: str = 'ekko-guest',
        nic: bool = False,
        host: str = '',
        owner: typing.Any = None,
        **arguments: typing.Any,
    ) -> Server:
        """A server whose guest has booted; deleted in the end.

        :param nic: whether it gets a port
        :param host: where it is to be
        :param owner: connection of who makes it; the tenant unless given
        :param arguments: more for Nova's create call
        """
        wanted = Wanted(flavor, image, nic, host)
        name = self.id().rpartition('.')[2]
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(
                created(
                    name, owner or self.demo, self.admin, wanted, **arguments
                )
            )
            self.addCleanup(stack.pop_all().close)
        return server
