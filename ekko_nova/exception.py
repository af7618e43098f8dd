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

"""Everything that can go wrong, as one tree.

The five classes below :class:`EkkoError` tell the caller what to do; the
leaves tell an operator what happened. ``exit_code`` is what ``ekko-manage``
ends with.

::

    EkkoError                            exit  do
    ├── RetryLater                          4  the same call may succeed later
    │   ├── StoreUnavailable
    │   ├── StoreUnauthorized                 authenticate again, then retry
    │   ├── InProgress
    │   ├── InstanceBusy
    │   ├── JobRunning                        perhaps of another program
    │   ├── Cancelled
    │   ├── NoAnswer                          it may have begun: look first
    │   ├── Interrupted
    │   └── SourceLost                        the disk went away while read
    ├── ChainBroken                         5  take a full backup
    │   ├── BitmapUnusable
    │   └── FullNeeded
    ├── DataDamaged                         6  restore another backup; alarm
    │   ├── ObjectMissing
    │   ├── ObjectDamaged
    │   └── UnknownFormat
    ├── CallerMistake                       3  correct the request
    │   ├── BackupNotFound
    │   ├── FlavorTooSmall
    │   ├── IllegalState
    │   ├── InvalidName
    │   ├── InvalidSource
    │   ├── InvalidOption
    │   ├── ObjectExists
    │   ├── Refused
    │   ├── TargetExists
    │   └── WrongKey
    └── OperatorNeeded                      7  mend the machine or the store
        ├── StoreDenied
        ├── StoreFull
        ├── TargetFailed
        ├── ScratchFull
        ├── HypervisorFailed
        ├── WorkerFailed
        ├── NotStarted
        ├── NovaMissing
        └── DriverMissing

A message names the thing and the remedy, and derives from typed attributes.
It is for operators. Tenants get to know it where it names nothing but what is
theirs; where it may name hosts, paths, options or the store, its class has
another text for them, see :func:`told`.
"""

import typing

__all__ = (
    'BackupNotFound',
    'BitmapUnusable',
    'CallerMistake',
    'Cancelled',
    'ChainBroken',
    'DataDamaged',
    'DriverMissing',
    'EkkoError',
    'FlavorTooSmall',
    'FullNeeded',
    'HypervisorFailed',
    'IllegalState',
    'InProgress',
    'InstanceBusy',
    'Interrupted',
    'InvalidName',
    'InvalidOption',
    'InvalidSource',
    'JobRunning',
    'NoAnswer',
    'NotStarted',
    'NovaMissing',
    'ObjectDamaged',
    'ObjectExists',
    'ObjectMissing',
    'OperatorNeeded',
    'Refused',
    'RetryLater',
    'ScratchFull',
    'SourceLost',
    'StoreDenied',
    'StoreFull',
    'StoreUnauthorized',
    'StoreUnavailable',
    'TargetExists',
    'TargetFailed',
    'UnknownFormat',
    'WorkerFailed',
    'WrongKey',
    'told',
)


class EkkoError(Exception):
    """The root: anything this project raises on purpose."""

    exit_code: typing.ClassVar[int] = 1
    #: What tenants are told instead of a message that is not for them.
    told: typing.ClassVar[str | None] = None

    def format_message(self) -> str:
        """What Nova shows to the owner of an instance, as its fault."""
        return told(self)


class RetryLater(EkkoError):
    """Transient: the same call may succeed later, unchanged."""

    exit_code = 4


class ChainBroken(EkkoError):
    """An incremental cannot be taken; a full backup can."""

    exit_code = 5


class DataDamaged(EkkoError):
    """Stored bytes are not what was written."""

    exit_code = 6


class CallerMistake(EkkoError):
    """The request cannot be honoured as it is."""

    exit_code = 3


class OperatorNeeded(EkkoError):
    """The machine or the store needs mending before a retry makes sense."""

    exit_code = 7
    told = 'something has to be mended first; ask your operator'


class StoreUnavailable(RetryLater):
    """The store did not answer, or answered that it cannot now.

    :ivar retry_after: seconds the store asked us to wait, if it did
    """

    told = (
        'the backup store does not answer; try again later, or ask your '
        'operator'
    )

    def __init__(
        self, store: str, reason: str, retry_after: float | None = None
    ) -> None:
        super().__init__(
            f'the store {store} is unavailable ({reason}); try again later'
        )
        self.store = store
        self.reason = reason
        self.retry_after = retry_after


class StoreUnauthorized(RetryLater):
    """The token is not, or no longer, accepted."""

    told = (
        "the backup store does not accept the cloud's credentials; ask your "
        'operator'
    )

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(
            f'the store {store} does not accept our credentials ({reason}); '
            'check the OS_* or ST_* variables or the [ekko_swift] section'
        )
        self.store = store
        self.reason = reason


class InProgress(RetryLater):
    """Another process works on this backup, or on this line of backups."""

    def __init__(self, server: str, backup: str, activity: str) -> None:
        super().__init__(
            f'{activity} {backup} of {server} is in progress; '
            'wait until it has ended'
        )
        self.server = server
        self.backup = backup
        self.activity = activity


class InstanceBusy(RetryLater):
    """Nova does something else with the instance, or it is not fit now."""

    def __init__(
        self, instance: str, vm_state: str, task_state: object, wanted: str
    ) -> None:
        doing = f' and {task_state}' if task_state else ''
        super().__init__(
            f'instance {instance} is {vm_state}{doing}; it cannot {wanted} now'
        )
        self.instance = instance
        self.vm_state = vm_state
        self.task_state = task_state
        self.wanted = wanted


class JobRunning(RetryLater):
    """QEMU has a backup job already: of another program, or a lost one.

    :ivar socket: path of the socket that the job serves at
    """

    told = (
        'the server is being backed up already, perhaps by another program; '
        'wait until that has ended'
    )

    def __init__(self, domain: str, socket: str) -> None:
        super().__init__(
            f'a backup job at {socket} of {domain} is in progress; '
            'wait until it has ended'
        )
        self.domain = domain
        self.socket = socket


class Cancelled(RetryLater):
    """Somebody wanted it to end.

    :ivar reason: why
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f'it was cancelled: {reason}')
        self.reason = reason


class NoAnswer(RetryLater):
    """A compute host was asked, and nobody knows what it made of it."""

    told = (
        'its compute host does not answer; what was asked may have begun all '
        'the same: look before you ask again'
    )

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(
            f'host {host} does not answer ({reason}); what was asked may '
            'have begun all the same: look before you ask again'
        )
        self.host = host
        self.reason = reason


class Interrupted(RetryLater):
    """nova-compute ended in the middle of it."""

    def __init__(self, instance: str) -> None:
        super().__init__(
            f'nobody is at work on instance {instance} any more, and nothing '
            'says how that ended: nova-compute was interrupted; see what '
            'there is, and try again'
        )
        self.instance = instance


class SourceLost(RetryLater):
    """What is being read went away or stopped being one instant."""

    told = (
        'a disk was lost while it was read; nothing of this backup is kept, '
        'take it again'
    )

    def __init__(self, disk: str, reason: str) -> None:
        super().__init__(
            f'disk {disk} was lost while it was read ({reason}); '
            'nothing of this backup is kept, take it again'
        )
        self.disk = disk
        self.reason = reason


class BitmapUnusable(ChainBroken):
    """A dirty bitmap cannot be trusted, or is not there."""

    told = (
        'it is not known what has changed on a disk since its last backup; '
        'the next one of it must be full'
    )

    def __init__(self, disk: str, bitmap: str, reason: str) -> None:
        super().__init__(
            f'bitmap {bitmap} of disk {disk} is unusable ({reason}); '
            'the next backup of this disk must be full'
        )
        self.disk = disk
        self.bitmap = bitmap
        self.reason = reason


class FullNeeded(ChainBroken):
    """An incremental was asked for, and nothing else."""

    def __init__(self, disk: str, reason: str) -> None:
        super().__init__(
            f'disk {disk} must be read whole ({reason}); allow a full backup'
        )
        self.disk = disk
        self.reason = reason


class ObjectMissing(DataDamaged):
    """The store does not hold an object of this name."""

    told = (
        'a backup is damaged: something is missing that was stored of it; '
        'verify it, and restore another one'
    )

    def __init__(self, store: str, name: str) -> None:
        super().__init__(f'object {name} is missing from the store {store}')
        self.store = store
        self.name = name


class ObjectDamaged(DataDamaged):
    """An object is there, but its bytes break an invariant of the format.

    :ivar invariant: which one, in the words of the format specification
    """

    told = (
        'a backup is damaged: something stored of it is not what was written; '
        'verify it, and restore another one'
    )

    def __init__(self, name: str, invariant: str) -> None:
        super().__init__(
            f'object {name} is damaged: {invariant}; '
            'run "ekko-manage verify --deep" to see what is affected'
        )
        self.name = name
        self.invariant = invariant


class UnknownFormat(DataDamaged):
    """A document was written by a version we do not know.

    :ivar what: of it is not known
    """

    told = (
        'a backup was written by another version of ekko-nova; ask your '
        'operator'
    )

    def __init__(
        self,
        name: str,
        found: object,
        known: object,
        what: str = 'format version',
    ) -> None:
        super().__init__(
            f'{name} has {what} {found}, this program reads {known}; '
            'use the version of ekko-nova that wrote it'
        )
        self.name = name
        self.found = found
        self.known = known
        self.what = what


class BackupNotFound(CallerMistake):
    """No record of this id is in the store."""

    told = 'no such backup'

    def __init__(self, backup: str, store: str) -> None:
        super().__init__(
            f'no backup {backup} in the store {store}; '
            '"ekko-manage list" shows what is there'
        )
        self.backup = backup
        self.store = store


class FlavorTooSmall(CallerMistake):
    """A new server has no disk for one of the backup, or a smaller one.

    :ivar size: of the backup's disk, in bytes
    """

    def __init__(self, disk: str, size: int) -> None:
        super().__init__(
            f'disk {disk} of the backup has {size} bytes; choose a flavor '
            'with disks as large as those of the backup'
        )
        self.disk = disk
        self.size = size


class IllegalState(CallerMistake):
    """The backup's status does not allow what was asked."""

    def __init__(
        self,
        backup: str,
        status: str,
        wanted: str,
        allowed: str = 'available',
    ) -> None:
        super().__init__(
            f'backup {backup} is {status}; it must be {allowed} to {wanted}'
        )
        self.backup = backup
        self.status = status
        self.wanted = wanted


class InvalidName(CallerMistake):
    """A name cannot stand in an object's name."""

    def __init__(self, what: str, name: str, rule: str) -> None:
        super().__init__(f'{what} {name!r} is not usable: {rule}')
        self.what = what
        self.name = name
        self.rule = rule


class InvalidSource(CallerMistake):
    """What was named to be backed up cannot be."""

    told = (
        'its disks cannot be backed up as they are; Cinder backs up volumes, '
        'for all else ask your operator'
    )

    def __init__(self, source: str, reason: str, remedy: str) -> None:
        super().__init__(f'cannot back up {source}: {reason}; {remedy}')
        self.source = source
        self.reason = reason
        self.remedy = remedy


class InvalidOption(CallerMistake):
    """An option or a combination of options is not usable."""

    told = 'backups are not set up for it; ask your operator'

    def __init__(self, option: str, value: object, remedy: str) -> None:
        super().__init__(f'{option} {value!s} is not usable: {remedy}')
        self.option = option
        self.value = value
        self.remedy = remedy


class ObjectExists(CallerMistake):
    """An object that must be new is already there."""

    told = 'what was to be stored is there already; ask your operator'

    def __init__(self, store: str, name: str) -> None:
        super().__init__(f'object {name} already exists in the store {store}')
        self.store = store
        self.name = name


class TargetExists(CallerMistake):
    """A restore would overwrite something."""

    told = 'what was to be written is there already; ask your operator'

    def __init__(self, path: str) -> None:
        super().__init__(
            f'{path} already exists; name another path or remove it first'
        )
        self.path = path


class WrongKey(CallerMistake):
    """The key at hand is not the one that wrapped the data key.

    :ivar wanted: identifier of the key-encryption key that is needed
    :ivar found: identifier of the key at hand, or a word for its absence
    """

    told = (
        'the key that the backup is encrypted with is not at hand; ask your '
        'operator'
    )

    def __init__(self, wanted: str, found: str) -> None:
        super().__init__(
            f'this backup was encrypted under key {wanted}, '
            f'the key at hand is {found}; name the right key file'
        )
        self.wanted = wanted
        self.found = found


class StoreDenied(OperatorNeeded):
    """The store refuses, and will refuse again."""

    told = 'the backup store refuses access; ask your operator'

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(
            f'the store {store} refuses access ({reason}); '
            'check its address, owner and permissions'
        )
        self.store = store
        self.reason = reason


class StoreFull(OperatorNeeded):
    """The store has no room, or the account is over its quota."""

    told = (
        'the backup store is full, or a quota of it is used up; delete '
        'backups, or ask your operator'
    )

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(
            f'the store {store} is full ({reason}); '
            'free space or delete backups, then try again'
        )
        self.store = store
        self.reason = reason


class TargetFailed(OperatorNeeded):
    """What a restore writes to cannot be written."""

    told = (
        'what it was to be written to does not take it: there may be no room, '
        'or a quota is used up; ask your operator'
    )

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(
            f'cannot write {target} ({reason}); '
            'check space and permissions, then try again'
        )
        self.target = target
        self.reason = reason


class ScratchFull(OperatorNeeded):
    """There is no room for the blocks the guest overwrites meanwhile."""

    told = (
        'its compute host has too little room for what the server overwrites '
        'during a backup; ask your operator'
    )

    def __init__(self, directory: str, reason: str) -> None:
        super().__init__(
            f'not enough scratch space in {directory} ({reason}); '
            'free space there or choose another scratch directory'
        )
        self.directory = directory
        self.reason = reason


class HypervisorFailed(OperatorNeeded):
    """libvirt or QEMU refused what we asked of it.

    :ivar code: libvirt's ``VIR_ERR_*`` number, if there is one
    """

    told = 'the hypervisor of its compute host cannot do it; ask your operator'

    def __init__(
        self, operation: str, reason: str, code: int | None = None
    ) -> None:
        super().__init__(f'{operation} failed: {reason}')
        self.operation = operation
        self.reason = reason
        self.code = code


class WorkerFailed(OperatorNeeded):
    """A process that nova-compute started could not do what it was to do.

    :ivar reason: its own words
    :ivar kind: the name of the one of these classes that it failed with
    :ivar settled: whether the backup is listed as an error, and nothing is
        left of it
    """

    told = 'the process that was at it has failed or died; ask your operator'

    def __init__(
        self,
        reason: str,
        *,
        kind: str = 'WorkerFailed',
        settled: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind
        self.settled = settled


class NotStarted(OperatorNeeded):
    """nova-compute runs without backups."""

    told = 'its compute host cannot do this now; ask your operator'

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(
            f'host {host} takes no backups ({reason}); mend that and restart '
            'nova-compute'
        )
        self.host = host
        self.reason = reason


class NovaMissing(OperatorNeeded):
    """What is asked for goes through Nova, which is not here.

    :ivar module: that cannot be imported
    """

    def __init__(self, module: str) -> None:
        super().__init__(
            f'Nova is not installed here (there is no module {module}); run '
            'this where nova-api is installed, with the ekko-manage of its '
            'Python'
        )
        self.module = module


class Refused(CallerMistake):
    """A compute host refused, and why.

    :ivar kind: the name of one of these classes
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f'{reason} ({kind})')
        self.kind = kind
        self.reason = reason


class DriverMissing(OperatorNeeded):
    """No driver of this name is installed."""

    told = 'a driver that it needs is not installed; ask your operator'

    def __init__(self, namespace: str, name: str, known: str) -> None:
        super().__init__(
            f'no driver {name!r} in {namespace}; installed are: {known}'
        )
        self.namespace = namespace
        self.name = name
        self.known = known


def told(error: BaseException) -> str:
    """What a tenant is told of an error.

    What the message names of the cloud is for its operator, who finds it in
    the log.
    """
    kind: type[EkkoError] = WorkerFailed
    message = ''
    if isinstance(error, (Refused, WorkerFailed)):
        # Of another process, which may know others.
        kind = _leaves().get(error.kind, OperatorNeeded)
        message = error.reason
    elif isinstance(error, EkkoError):
        kind, message = type(error), str(error)
    return kind.told or message


def _leaves() -> dict[str, type[EkkoError]]:
    return {
        leaf.__name__: leaf
        for action in EkkoError.__subclasses__()
        for leaf in action.__subclasses__()
    }
