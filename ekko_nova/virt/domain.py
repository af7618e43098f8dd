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


"""Domains: the only place that calls libvirt.

The calls on a domain, and no others:

==============================  ==============================================
XMLDesc, isActive, UUIDString   what it is; of a running one, what it is now
blockInfo                       virtual size of a disk
checkpointCreateXML             redefine a checkpoint, so that libvirt knows
                                a bitmap again
listAllCheckpoints, delete      forget one, or delete it with its bitmap
backupBegin, backupGetXMLDesc   begin a pull job; see whose job it is
jobStats, abortJob              see whether it is there; end it
fsFreeze, fsThaw                through the guest agent
qemuMonitorCommand              ``query-named-block-nodes``, the state of
                                bitmaps, and ``query-block-jobs``, whether a
                                job still copies: libvirt tells of neither.
                                They change nothing; libvirt 9.0 logs the
                                domain as tainted (custom-monitor), once
==============================  ==============================================
"""

from collections.abc import Iterator
import contextlib
import json
import typing

from defusedxml import ElementTree
import libvirt
import libvirt_qemu
from oslo_utils import uuidutils

from ekko_nova import exception
from ekko_nova.virt import decision
from ekko_nova.virt import disk as disk_

__all__ = ('Domain', 'Hypervisor')

#: The first libvirt that has backup jobs and checkpoints without gaps.
_MINIMUM: typing.Final = (7, 2, 0)

#: The channel by which libvirt talks to a guest's agent.
_AGENT: typing.Final = 'org.qemu.guest_agent.0'

# QEMU 7.2 takes the copying out of the guest's way once a job is "aborting".
_COPYING: typing.Final = ('running', 'paused')


@contextlib.contextmanager
def _calling(operation: str) -> Iterator[None]:
    try:
        yield
    except libvirt.libvirtError as e:
        raise exception.HypervisorFailed(
            operation, str(e), e.get_error_code()
        ) from e


class Hypervisor:
    """A connection to libvirt; a context manager.

    :raises exception.HypervisorFailed: entering it, there is no libvirt at
        this URI, or it is too old
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connection: typing.Any = None

    def __enter__(self) -> typing.Self:
        # Errors are raised; libvirt's default handler would print them too.
        libvirt.registerErrorHandler(lambda *_: None, None)
        with _calling(f'connecting to {self._uri}'):
            self._connection = libvirt.open(self._uri)
        with contextlib.ExitStack() as stack:
            stack.callback(self._connection.close)
            with _calling('asking libvirt for its version'):
                number = self._connection.getLibVersion()
            found = (number // 10**6, number // 1000 % 1000, number % 1000)
            if found < _MINIMUM:
                raise exception.HypervisorFailed(
                    f'using {self._uri}',
                    'libvirt is {}.{}.{}, older than {}.{}.{}'.format(
                        *found, *_MINIMUM
                    ),
                )
            stack.pop_all()
        return self

    def __exit__(self, *unused: object) -> None:
        with _calling(f'leaving {self._uri}'):
            self._connection.close()

    def find(self, uuid: str) -> 'Domain | None':
        """A domain by UUID, if there is one."""
        try:
            return self.lookup(uuid)
        except exception.InvalidSource:
            return None

    def lookup(self, name: str) -> 'Domain':
        """A domain by name or UUID.

        :raises exception.InvalidSource: there is no such domain
        """
        find = self._connection.lookupByName
        if uuidutils.is_uuid_like(name):
            find = self._connection.lookupByUUIDString
        try:
            with _calling(f'looking for domain {name}'):
                return Domain(find(name), self._uri)
        except exception.HypervisorFailed as e:
            if e.code != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            raise exception.InvalidSource(
                f'domain {name}',
                f'there is none at {self._uri}',
                '"virsh list --all" shows those there are',
            ) from e


class Domain:
    """A libvirt domain, running or shut off.

    :param uri: where it was found
    """

    def __init__(self, domain: typing.Any, uri: str | None = None) -> None:
        self._domain = domain
        self._uri = uri
        self.uuid: str = domain.UUIDString()
        self.name: str = domain.name()

    @contextlib.contextmanager
    def reconnected(self) -> Iterator['Domain | None']:
        """The domain over a new connection; ``None`` if it is gone.

        Each connection is dead for good once libvirtd was restarted. Without
        a URI it is this one again.

        :raises exception.HypervisorFailed: libvirt is away
        """
        if self._uri is None:
            yield self
            return
        with Hypervisor(self._uri) as hypervisor:
            again = hypervisor.find(self.uuid)
            if again is not None and again.is_active():
                # Of a domain that it is just reconnecting to, libvirt does
                # not know all that it tells (libvirt 9.0); it asks QEMU when
                # it has done so.
                again.copying()
            yield again

    def is_active(self) -> bool:
        """Whether it runs."""
        with _calling(f'looking at domain {self.name}'):
            return bool(self._domain.isActive())

    def disks(self) -> tuple[disk_.Disk, ...]:
        """Its disks, as they are now."""
        return disk_.parse(self._xml())

    def owner(self) -> tuple[int, int] | None:
        """User and group that its QEMU runs as, if libvirt says so."""
        root = ElementTree.fromstring(self._xml())
        for label in root.iterfind("./seclabel[@model='dac']/label"):
            user, _, group = (label.text or '').partition(':')
            if user[:1] == group[:1] == '+':
                return int(user), int(group)
        return None

    def has_agent(self) -> bool:
        """Whether an agent in the guest listens, as far as libvirt knows."""
        root = ElementTree.fromstring(self._xml())
        target = root.find(f"./devices/channel/target[@name='{_AGENT}']")
        return target is not None and target.get('state') != 'disconnected'

    def size(self, target: str) -> int:
        """Virtual size of a disk, in bytes."""
        with _calling(f'sizing disk {target} of {self.name}'):
            return int(self._domain.blockInfo(target)[0])

    def bitmaps(self, disk: disk_.Disk) -> tuple[decision.BitmapFacts, ...]:
        """The dirty bitmaps of a disk of a running domain.

        QEMU's block node of a disk is found by its name: a file's path may be
        written in more than one way, and a job puts other nodes above it.
        """
        name = f'libvirt-{disk.index}-format'
        for found in self._query('query-named-block-nodes', flat=True):
            if found['node-name'] != name:
                continue
            return tuple(
                decision.BitmapFacts(
                    name=bitmap['name'],
                    granularity=bitmap['granularity'],
                    recording=bitmap['recording'],
                    persistent=bitmap['persistent'],
                    inconsistent=bitmap.get('inconsistent', False),
                )
                for bitmap in found.get('dirty-bitmaps', ())
                if 'name' in bitmap
            )
        return ()

    def redefine_checkpoint(self, xml: str, *, validate: bool) -> None:
        """Make libvirt know a checkpoint whose bitmaps are there."""
        flags = libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE
        if validate:
            flags |= libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE
        with _calling(f'redefining a checkpoint of {self.name}'):
            self._domain.checkpointCreateXML(xml, flags)

    def checkpoints(self) -> tuple[str, ...]:
        """The names of the checkpoints that libvirt knows."""
        with _calling(f'listing the checkpoints of {self.name}'):
            return tuple(
                checkpoint.getName()
                for checkpoint in self._domain.listAllCheckpoints()
            )

    def delete_checkpoint(self, name: str, *, metadata_only: bool) -> None:
        """Delete a checkpoint, with its bitmaps or without."""
        flags = (
            libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY
            if metadata_only
            else 0
        )
        with _calling(f'deleting checkpoint {name} of {self.name}'):
            found = self._domain.checkpointLookupByName(name)
            found.delete(flags)

    def begin_backup(self, xml: str, checkpoint: str | None) -> None:
        """Begin a backup job, and a checkpoint at the same instant."""
        with _calling(f'beginning a backup of {self.name}'):
            self._domain.backupBegin(xml, checkpoint)

    def backup_xml(self) -> str | None:
        """The backup job there is now, if there is one."""
        try:
            return str(self._domain.backupGetXMLDesc())
        except libvirt.libvirtError as e:
            if e.get_error_code() in (
                libvirt.VIR_ERR_NO_DOMAIN_BACKUP,
                libvirt.VIR_ERR_OPERATION_INVALID,
                libvirt.VIR_ERR_NO_DOMAIN,
            ):
                return None
            raise exception.HypervisorFailed(
                f'looking for a backup job of {self.name}',
                str(e),
                e.get_error_code(),
            ) from e

    def copying(self) -> frozenset[str]:
        """QEMU's backup jobs that copy what is about to be overwritten.

        One that is being cancelled is among them for as long as it does.
        """
        return frozenset(
            job['device']
            for job in self._query('query-block-jobs')
            if job['type'] == 'backup' and job['status'] in _COPYING
        )

    def has_job(self) -> bool:
        """Whether any job runs on the domain."""
        if not self.is_active():
            return False
        with _calling(f'looking for a job of {self.name}'):
            kind = self._domain.jobStats()['type']
        return bool(kind != libvirt.VIR_DOMAIN_JOB_NONE)

    def abort_job(self) -> None:
        """End the job there is."""
        with _calling(f'ending the job of {self.name}'):
            self._domain.abortJob()

    def freeze(self) -> int:
        """Freeze the guest's file systems; returns how many."""
        with _calling(f'freezing the file systems of {self.name}'):
            return int(self._domain.fsFreeze())

    def thaw(self) -> int:
        """Thaw the guest's file systems; returns how many."""
        with _calling(f'thawing the file systems of {self.name}'):
            return int(self._domain.fsThaw())

    def _xml(self) -> str:
        with _calling(f'describing domain {self.name}'):
            return str(self._domain.XMLDesc())

    def _query(
        self, command: str, **arguments: typing.Any
    ) -> list[dict[str, typing.Any]]:
        text = json.dumps({'execute': command, 'arguments': arguments})
        with _calling(f'asking the QEMU of {self.name}'):
            reply = libvirt_qemu.qemuMonitorCommand(self._domain, text, 0)
        result: list[dict[str, typing.Any]] = json.loads(reply)['return']
        return result
