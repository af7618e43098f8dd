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


"""One pull-mode backup job over the chosen disks of a running domain.

QEMU begins it for all disks in one transaction, so all of them are read as
they were at one instant, whatever the guest writes meanwhile. It serves them
over NBD on a unix socket in a directory of the job's own; TCP has no
authentication and is never used.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import functools
import logging
import pathlib
import time
import typing
from xml.sax import saxutils

from defusedxml import ElementTree

from ekko_nova import exception
from ekko_nova.virt import checkpoint
from ekko_nova.virt import disk as disk_
from ekko_nova.virt import domain as domains
from ekko_nova.virt import nbd
from ekko_nova.virt import quiesce
from ekko_nova.virt import scratch

__all__ = ('DiskPlan', 'PullJob', 'pull_job', 'recover', 'require_none')

LOG = logging.getLogger(__name__)

#: The name under which the job serves a disk's bitmap, the same for all.
_BITMAP: typing.Final = 'changes'
_END_SECONDS: typing.Final = 60.0
_END_FAILURES: typing.Final = 3
#: Between two looks for a job that is being ended: at first, and at most. Most
#: are gone after some milliseconds (QEMU 7.2). A look asks libvirt for what it
#: has in memory, and not QEMU.
_POLL_SECONDS: typing.Final = (0.005, 0.05)
_RECONNECT_SECONDS: typing.Final = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class DiskPlan:
    """How a disk is read.

    :ivar since: the bitmap to read by; ``None`` for all of the disk
    :ivar track: begin the new bitmap on it
    """

    disk: disk_.Disk
    since: str | None
    track: bool


class PullJob:
    """A job that runs; what it serves is the instant it began."""

    def __init__(
        self,
        domain: domains.Domain,
        socket: str,
        copying: frozenset[str],
        check_scratch: typing.Callable[[], None],
        *,
        connections: int,
        quiesced: bool | str,
        sources: list[nbd.NbdSource],
    ) -> None:
        self._domain = domain
        self._socket = socket
        self._copying = copying
        self._check_scratch = check_scratch
        self._connections = connections
        self._sources = sources
        #: True, or why the guest's file systems were not frozen.
        self.quiesced = quiesced

    def source(self, plan: DiskPlan) -> nbd.NbdSource:
        """A disk of the job; connected in the context of what it returns.

        :raises exception.ScratchFull: the job was ended for want of space
        """
        source = nbd.NbdSource(
            self._socket,
            plan.disk.target,
            disk=plan.disk.target,
            bitmap=_BITMAP if plan.since else None,
            connections=self._connections,
            liveness=lambda: self.check(plan.disk.target),
        )
        # In this order: whoever ends the job closes it, or is seen here.
        self._sources.append(source)
        self._check_scratch()
        return source

    def check(self, disk: str) -> None:
        """Confirm that it is this job, still, that serves the disk.

        A job that somebody else ended looks like one that was done
        (libvirt 9.0 reports success for both), so nothing but its presence
        after the last read counts. And a job that is being ended does not
        copy any more, but is served, and described by libvirt, for some
        milliseconds longer: reads return what the guest writes meanwhile
        (libvirt 9.0, QEMU 7.2). So QEMU is asked whether all still copy;
        before libvirt, which says that they were this job's.

        :raises exception.ScratchFull: it was ended for want of space
        :raises exception.SourceLost: it is not there any more
        """
        self._check_scratch()
        try:
            lives = (
                self._copying <= self._domain.copying()
                and _socket_of(self._domain.backup_xml()) == self._socket
            )
        except exception.HypervisorFailed as e:
            raise exception.SourceLost(disk, str(e)) from e
        if not lives:
            raise exception.SourceLost(disk, 'the backup job is gone')


@contextlib.contextmanager
def pull_job(
    domain: domains.Domain,
    plans: Sequence[DiskPlan],
    others: Sequence[disk_.Disk],
    *,
    bitmap: str,
    places: scratch.Places,
    freeze: bool = False,
    connections: int = 4,
) -> Iterator[PullJob]:
    """Begin a job over the planned disks; it has ended when this returns.

    The checkpoints that ``plans`` read by must be known to libvirt
    (:func:`.checkpoint.redefine`); afterwards libvirt knows none of ours.

    :param others: all other disks of the domain
    :param bitmap: name of the bitmap that records changes from now on
    :raises exception.HypervisorFailed: libvirt or QEMU refused
    :raises exception.ScratchFull: there is no room to begin
    """
    sizes = sum(domain.size(plan.disk.target) for plan in plans)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(
            scratch.job_directory(places, domain.owner(), sizes=sizes)
        )
        xml = _job_xml(plans, others, directory)
        tracked = [plan.disk.target for plan in plans if plan.track]
        untracked = [plan.disk.target for plan in plans if not plan.track]
        untracked += [disk.target for disk in others]
        new = checkpoint.xml(bitmap, tracked, untracked) if tracked else None
        # libvirt may have begun what it says has failed.
        stack.callback(_clear, domain, directory.socket)
        with quiesce.frozen(domain, places, wanted=freeze) as quiesced:
            domain.begin_backup(xml, new)
        # Nothing needs them any more, and a crash from here on must leave
        # none: see checkpoint.py.
        checkpoint.forget(domain)
        copying = domain.copying()
        if len(copying) != len(plans):
            raise exception.SourceLost(domain.name, 'the backup job is gone')
        sources: list[nbd.NbdSource] = []
        stop = functools.partial(_stop, domain, directory.socket, sources)
        check_scratch = stack.enter_context(
            scratch.watched(places, directory, stop)
        )
        try:
            yield PullJob(
                domain,
                directory.socket,
                copying,
                check_scratch,
                connections=connections,
                quiesced=quiesced,
                sources=sources,
            )
        except exception.SourceLost:
            # If it was we who ended it, that is what to say.
            check_scratch()
            raise


def recover(domain: domains.Domain, places: scratch.Places) -> None:
    """End a job that a process of ours left, and remove all else it left.

    A job of another program, or of a process of ours that lives, is let be.
    """
    socket = _socket(domain)
    if socket is not None and scratch.is_left(pathlib.Path(socket), places):
        LOG.warning('ending a job left behind: domain=%s', domain.name)
        _end(domain, socket)
    scratch.collect(places)
    checkpoint.forget(domain)


def _stop(
    domain: domains.Domain, socket: str, sources: list[nbd.NbdSource]
) -> None:
    """End our job and all that is read of it, from another thread.

    :raises exception.HypervisorFailed: libvirt is away
    """
    # Reads would go on for as long as the job cannot be ended.
    for source in tuple(sources):
        source.close()
    _clear(domain, socket)


def _clear(domain: domains.Domain, socket: str) -> None:
    """End our job, and have libvirt forget what it knows of it.

    Also if libvirtd was restarted since, or is back soon: QEMU's job outlives
    it, and copies into its scratch files until it is ended.

    :raises exception.HypervisorFailed: libvirt is away
    """
    deadline = time.monotonic() + _END_SECONDS
    try:
        _end(domain, socket)
        checkpoint.forget(domain)
        return
    except exception.HypervisorFailed as e:
        LOG.warning('connecting anew: domain=%s %s', domain.name, e)
    while True:
        try:
            with domain.reconnected() as again:
                if again is not None:
                    _end(again, socket)
                    checkpoint.forget(again)
            return
        except exception.HypervisorFailed:
            if time.monotonic() > deadline:
                raise
        time.sleep(_RECONNECT_SECONDS)


def require_none(domain: domains.Domain) -> None:
    """Make sure that a job can begin.

    :raises exception.JobRunning: there is one, somebody else's or ours
    """
    socket = _socket(domain)
    if socket is not None:
        raise exception.JobRunning(domain.name, socket)


def _socket(domain: domains.Domain) -> str | None:
    """Where the job that runs serves, if there is one."""
    if not domain.is_active():
        return None
    # Of a domain that it is just reconnecting to, libvirt does not know all
    # that it tells (libvirt 9.0); it asks QEMU when it has done so.
    domain.copying()
    return _socket_of(domain.backup_xml())


def _end(domain: domains.Domain, socket: str) -> None:
    """End our job, if it is there, and wait until it is gone.

    :raises exception.HypervisorFailed: libvirt does not answer
    """
    deadline = time.monotonic() + _END_SECONDS
    asked = False
    failures = 0
    wait, longest = _POLL_SECONDS
    while time.monotonic() < deadline:
        try:
            if _socket_of(domain.backup_xml()) != socket:
                return
            if not asked:
                domain.abort_job()
                asked = True
        except exception.HypervisorFailed:
            failures += 1
            if failures == _END_FAILURES:
                raise
            wait = longest
        time.sleep(wait)
        wait = min(2 * wait, longest)
    LOG.error('backup job does not end: domain=%s', domain.name)


def _socket_of(xml: str | None) -> str | None:
    """The socket in a ``<domainbackup>``; ``''`` if it has none."""
    if xml is None:
        return None
    server = ElementTree.fromstring(xml).find('server')
    return '' if server is None else server.get('socket', '')


def _job_xml(
    plans: Sequence[DiskPlan],
    others: Sequence[disk_.Disk],
    directory: scratch.JobDirectory,
) -> str:
    """All disks, each told whether it takes part.

    A disk that is left out would be backed up in full by default, a CD-ROM
    included.
    """
    lines = [_disk_xml(plan, directory) for plan in plans]
    lines += [
        f'<disk name={saxutils.quoteattr(disk.target)} backup="no"/>'
        for disk in others
    ]
    socket = saxutils.quoteattr(directory.socket)
    return (
        f'<domainbackup mode="pull"><server transport="unix" socket={socket}/>'
        f'<disks>{"".join(lines)}</disks></domainbackup>'
    )


def _disk_xml(plan: DiskPlan, directory: scratch.JobDirectory) -> str:
    target = saxutils.quoteattr(plan.disk.target)
    mode = 'backupmode="full"'
    if plan.since:
        since = saxutils.quoteattr(plan.since)
        mode = (
            f'backupmode="incremental" incremental={since} '
            f'exportbitmap="{_BITMAP}"'
        )
    file = saxutils.quoteattr(directory.scratch_file(plan.disk.target))
    return (
        f'<disk name={target} backup="yes" type="file" {mode} '
        f'exportname={target}><driver type="qcow2"/>'
        f'<scratch file={file}/></disk>'
    )
