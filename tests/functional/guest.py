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

"""A guest that boots, writes files all the time, and knows if they are sound.

``tools/build-guest`` says what is in it and what it prints.
"""

import base64
import json
import pathlib
import re
import shutil
import subprocess
import time
import typing

import fixtures
import libvirt
import libvirt_qemu

from tests.functional import libvirtd

_REPOSITORY = pathlib.Path(__file__).parents[2]
_WAIT_SECONDS = 120.0

_BOOT = (
    '<kernel>{vmlinuz}</kernel><initrd>{initrd}</initrd>'
    '<cmdline>console=ttyS0 panic=5 quiet</cmdline>'
)

_CONSOLE = """\
<serial type='file'><source path='{log}' append='on'/></serial>
<channel type='unix'>
  <target type='virtio' name='org.qemu.guest_agent.0'/>
</channel>
"""


class Image(fixtures.Fixture):
    """The guest's kernel and disk, built when first needed and then kept.

    :ivar vmlinuz: kernel
    :ivar initrd: initial file system
    :ivar root: raw image of the disk; copy it
    """

    def __init__(self, cache: pathlib.Path = _REPOSITORY / '.cache') -> None:
        super().__init__()
        self._directory = cache / 'guest'

    def _setUp(self) -> None:
        subprocess.run(
            [_REPOSITORY / 'tools' / 'build-guest', self._directory],
            check=True,
        )
        self.vmlinuz = self._directory / 'vmlinuz'
        self.initrd = self._directory / 'initrd.gz'
        self.root = self._directory / 'root.img'

    def create_disk(self, path: pathlib.Path) -> pathlib.Path:
        """A new qcow2 disk that the guest boots from."""
        argv = ['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2']
        subprocess.run([*argv, self.root, path], check=True)
        return path


class RealGuest(libvirtd.Guest):
    """A domain with a guest that works, on its first disk.

    :param disks: (target, path, format) of each; the first is the root
    """

    def __init__(
        self,
        hypervisor: libvirtd.Libvirtd,
        name: str,
        image: Image,
        disks: list[tuple[str, pathlib.Path, str]],
    ) -> None:
        # QEMU's user can reach these, wherever the cache may be.
        files = [
            shutil.copy(each, hypervisor.root)
            for each in (image.vmlinuz, image.initrd)
        ]
        self._log = hypervisor.root / f'{name}.console'
        super().__init__(
            hypervisor,
            name,
            disks,
            boot=_BOOT.format(vmlinuz=files[0], initrd=files[1]),
            console=_CONSOLE.format(log=self._log),
            memory=192,
        )

    def console(self) -> str:
        """All that it has printed, over all its boots."""
        try:
            return self._log.read_text(errors='replace')
        except FileNotFoundError:
            return ''

    def boot(self) -> re.Match[str]:
        """Start it, and wait for what it says of its files.

        The groups are ``boot``, ``files``, ``bad`` and ``last``.
        """
        seen = len(self.console())
        self.start()
        return self.wait_for(
            r'ekko-guest: boot=(?P<boot>\d+) files=(?P<files>\d+) '
            r'bad=(?P<bad>\d+) last=(?P<last>\d+)\s',
            seen,
        )

    def last_written(self) -> int:
        """The last file that it says is on the disk."""
        found = re.findall(r'ekko-guest: wrote (\d+)\s', self.console())
        return int(found[-1]) if found else 0

    def wait_for(self, pattern: str, seen: int = 0) -> re.Match[str]:
        """Wait until it prints something.

        :param seen: characters of the console that are not looked at
        """
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            text = self.console()[seen:]
            found = re.search(pattern, text)
            if found:
                return found
            if time.monotonic() > deadline or not self.domain.isActive():
                raise RuntimeError(f'{self.name} does not say it: {text}')
            time.sleep(0.1)

    def wait_for_agent(self) -> None:
        """Wait until its agent answers."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                self.ask('guest-ping')
                return
            except libvirt.libvirtError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def execute(self, command: str) -> str:
        """Run a shell command in it, and return what it printed."""
        started = self.ask(
            'guest-exec',
            path='/bin/sh',
            arg=['-c', f'exec 2>&1; {command}'],
            **{'capture-output': True},
        )
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            status = self.ask('guest-exec-status', pid=started['pid'])
            if status['exited']:
                said = base64.b64decode(status.get('out-data', '')).decode()
                if status['exitcode'] != 0:
                    raise RuntimeError(f'{command} in {self.name}: {said}')
                return said
            if time.monotonic() > deadline:
                raise RuntimeError(f'{command} in {self.name} does not end')
            time.sleep(0.05)

    def ask(self, command: str, **arguments: typing.Any) -> typing.Any:
        """Have the guest agent execute one of its commands."""
        request = {'execute': command, 'arguments': arguments}
        reply = libvirt_qemu.qemuAgentCommand(
            self.domain, json.dumps(request), 10, 0
        )
        return json.loads(reply)['return']
