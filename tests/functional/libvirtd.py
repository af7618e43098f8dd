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


"""A libvirtd of the tests' own, beside any that the machine has."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import typing

import fixtures
import libvirt
import libvirt_qemu

_START_SECONDS = 30.0

# What fails is raised; by default libvirt prints it as well.
libvirt.registerErrorHandler(lambda *_: None, None)

#: Directories that libvirtd takes for its own, each replaced by a private
#: one in its mount namespace.
_PRIVATE = (
    '/etc/libvirt',
    '/run/libvirt',
    '/var/lib/libvirt',
    '/var/cache/libvirt',
    '/var/log/libvirt',
)

_LIBVIRTD_CONF = """\
listen_tls = 0
listen_tcp = 0
auth_unix_rw = "none"
unix_sock_group = "root"
unix_sock_dir = "{sockets}"
log_outputs = "3:file:{root}/libvirtd.log"
"""

# No security driver but file owners; no cgroups, which a container may not
# offer; no virtlogd, which would be one process more.
_QEMU_CONF = """\
security_driver = "none"
cgroup_controllers = []
stdio_handler = "file"
max_core = 0
"""

_START = """\
set -e
cd {root}
for directory in {private}; do
    mkdir -p "$directory" "{root}/private$directory"
    mount --bind "{root}/private$directory" "$directory"
done
mkdir -p /var/lib/libvirt/qemu
chown libvirt-qemu: /var/lib/libvirt/qemu
# libvirt asks QEMU again what it can do, for 10 s and at each definition, if
# it takes /dev/kvm for unusable; with this owner it does not.
if [ -e /dev/kvm ]; then
    mknod {root}/kvm c 10 232
    chown root:kvm {root}/kvm
    chmod 660 {root}/kvm
    mount --bind {root}/kvm /dev/kvm
fi
cp {root}/libvirtd.conf {root}/qemu.conf /etc/libvirt/
echo ready
exec sleep infinity
"""


class Libvirtd(fixtures.Fixture):
    """Runs as root; guests run as Debian's libvirt-qemu.

    :ivar root: directory that QEMU's user can reach
    :ivar uri: where to connect to
    """

    def _setUp(self) -> None:
        if os.geteuid() != 0:
            raise RuntimeError('the tests of libvirt run as root')
        self.root = pathlib.Path(tempfile.mkdtemp(prefix='ekko-virt-'))
        self.root.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        sockets = self.root / 'sockets'
        sockets.mkdir()
        (self.root / 'libvirtd.conf').write_text(
            _LIBVIRTD_CONF.format(root=self.root, sockets=sockets)
        )
        (self.root / 'qemu.conf').write_text(_QEMU_CONF)
        script = self.root / 'start'
        script.write_text(
            _START.format(root=self.root, private=' '.join(_PRIVATE))
        )
        self.uri = f'qemu+unix:///system?socket={sockets}/libvirt-sock'
        # The namespace lives as long as this does, so that libvirtd may end
        # and another one start in it.
        self._namespace = subprocess.Popen(
            ['unshare', '--mount', '--propagation=private', 'sh', str(script)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.addCleanup(_end, self._namespace)
        assert self._namespace.stdout
        with self._namespace.stdout as output:
            if output.readline() != b'ready\n':
                raise RuntimeError('no mount namespace for libvirtd')
        self.addCleanup(self._kill_guests)
        self._start()
        self.addCleanup(self._stop)

    def _start(self) -> None:
        with (self.root / 'output').open('wb') as output:
            self._process = subprocess.Popen(
                [
                    'nsenter',
                    f'--mount=/proc/{self._namespace.pid}/ns/mnt',
                    'libvirtd',
                    f'--pid-file={self.root}/libvirtd.pid',
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.connection: typing.Any = None
        try:
            self.connection = self._connect()
        except BaseException:
            self._stop()
            raise

    def _connect(self) -> typing.Any:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return libvirt.open(self.uri)
            except libvirt.libvirtError:
                if (
                    time.monotonic() > deadline
                    or self._process.poll() is not None
                ):
                    said = (self.root / 'output').read_text()
                    raise RuntimeError(f'libvirtd: {said}') from None
                time.sleep(0.05)

    def restart(self) -> None:
        """Kill libvirtd and start another; guests go on.

        What was had from the old connection is of no use any more.
        """
        self._process.kill()
        self._stop()
        self._start()

    def _stop(self) -> None:
        if self.connection:
            with contextlib.suppress(libvirt.libvirtError):
                self.connection.close()
        _end(self._process)

    def _kill_guests(self) -> None:
        """Guests outlive libvirtd: end those that the tests left."""
        marker = str(self.root).encode()
        for entry in pathlib.Path('/proc').glob('[0-9]*'):
            try:
                command = (entry / 'cmdline').read_bytes()
            except OSError:
                continue
            if command.startswith(b'/usr/bin/qemu') and marker in command:
                os.kill(int(entry.name), signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type>{boot}</os>
  <features><acpi/></features>
  <devices>
    {disks}
    {console}
  </devices>
</domain>
"""

_DISK = """\
<disk type='{kind}' device='disk'>
  <driver name='qemu' type='{format}' discard='unmap'/>
  <source {attribute}='{path}'/>
  <target dev='{target}' bus='virtio'/>
</disk>
"""

_CDROM = """\
<disk type='file' device='cdrom'>
  <driver name='qemu' type='raw'/>
  <source file='{path}'/>
  <target dev='{target}' bus='ide'/>
  <readonly/>
</disk>
"""


class Guest(fixtures.Fixture):
    """A domain; without a kernel it only shows its BIOS, and has disks.

    :param disks: (target, path, format) of each
    """

    def __init__(
        self,
        libvirtd: Libvirtd,
        name: str,
        disks: list[tuple[str, pathlib.Path, str]],
        *,
        cdrom: pathlib.Path | None = None,
        boot: str = '',
        console: str = '',
        memory: int = 64,
    ) -> None:
        self._libvirtd = libvirtd
        self.name = name
        self.disks = disks
        self._cdrom = cdrom
        self._boot = boot
        self._console = console
        self._memory = memory

    def _setUp(self) -> None:
        self.define()
        self.addCleanup(self._remove)

    def xml(self) -> str:
        """The domain's definition."""
        disks = ''.join(
            _DISK.format(
                kind='block' if path.is_block_device() else 'file',
                attribute='dev' if path.is_block_device() else 'file',
                target=target,
                path=path,
                format=format,
            )
            for target, path, format in self.disks
        )
        if self._cdrom:
            disks += _CDROM.format(path=self._cdrom, target='hda')
        return _DOMAIN.format(
            name=self.name,
            memory=self._memory,
            boot=self._boot,
            disks=disks,
            console=self._console,
        )

    def define(self) -> None:
        self.domain = self._libvirtd.connection.defineXML(self.xml())

    def start(self) -> None:
        self.domain.create()

    def stop(self) -> None:
        """End it as a power button that is held does."""
        self.domain.destroy()

    def pid(self) -> int:
        """Of its QEMU."""
        path = (
            self._libvirtd.root / f'private/run/libvirt/qemu/{self.name}.pid'
        )
        return int(path.read_text())

    def kill(self) -> None:
        """kill -9, and wait until libvirt has noticed."""
        os.kill(self.pid(), signal.SIGKILL)
        deadline = time.monotonic() + _START_SECONDS
        while self.domain.isActive():
            if time.monotonic() > deadline:
                raise RuntimeError('libvirt does not notice')
            time.sleep(0.05)

    def write(
        self, target: str, offset: int, length: int, pattern: int
    ) -> None:
        """Write as the guest would, through the disk's device."""
        self._qemu_io(target, f'write -P {pattern} {offset} {length}')

    def write_file(
        self, target: str, offset: int, length: int, content: pathlib.Path
    ) -> None:
        """Write what is in a file that QEMU's user can read."""
        self._qemu_io(target, f'write -s {content} {offset} {length}')

    def discard(self, target: str, offset: int, length: int) -> None:
        """Discard as the guest would."""
        self._qemu_io(target, f'discard {offset} {length}')

    def flush(self, target: str) -> None:
        """Flush as the guest would."""
        self._qemu_io(target, 'flush')

    def _qemu_io(self, target: str, command: str) -> None:
        index = [each[0] for each in self.disks].index(target)
        path = f'/machine/peripheral/virtio-disk{index}/virtio-backend'
        reply = libvirt_qemu.qemuMonitorCommand(
            self.domain,
            f'qemu-io -d {path} "{command}"',
            libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP,
        )
        if 'failed' in reply.lower() or 'error' in reply.lower():
            raise RuntimeError(reply)

    def _remove(self) -> None:
        if self.domain.isActive():
            self.domain.destroy()
        self.domain.undefineFlags(
            libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        )
