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

"""The section ``[ekko]``: how backups are taken and restored."""

import typing

from oslo_config import cfg

__all__ = ('list_opts', 'register_opts')

_STORE: typing.Final = (
    cfg.StrOpt(
        'store',
        metavar='URL',
        sample_default='swift:///ekko-{project}',
        help="""
Where backups are kept: ``file:///PATH`` for a directory, or
``swift:///CONTAINER`` for Swift, which takes its credentials from the section
``[ekko_swift]``. ``{project}`` stands for the id of the project that owns an
instance; without it, all projects share one store. With Swift it must be part
of CONTAINER.

No default: nova-compute takes no backups without one, and a command that is
not given ``--store`` either refuses to run.
Changing it moves nothing; backups taken before stay where they are, and the
next backup of every disk is full.
""",
    ),
    cfg.IntOpt(
        'store_attempts',
        default=7,
        min=1,
        max=100,
        help="""
How often a request to the store is made before a backup or restore fails,
while the store does not answer or says that it cannot now. 1 means no retry.

The waits between attempts grow from one second to ``store_longest_wait``.
""",
    ),
    cfg.IntOpt(
        'store_longest_wait',
        default=60,
        min=1,
        max=3600,
        help="""
Longest wait between two attempts at a request to the store, in seconds, also
if the store asks for more.
""",
    ),
    cfg.StrOpt(
        'manifest_driver',
        default='sqlite',
        help="""
Format of new manifests: ``sqlite``, ``osdk`` (binary, more compact), or any
driver installed under ``ekko_nova.backup.manifest``.

Manifests that exist are read by the driver that wrote them, whatever this
says.
""",
    ),
    cfg.IntOpt(
        'segment_size_mib',
        default=4,
        choices=[1, 2, 4, 8, 16, 32, 64],
        help="""
Size of the segments a disk is cut into, in MiB.

It bounds the size of an object, and memory grows in proportion. A block, the
smallest change that is stored, is a 64th of it. Incremental backups keep the
size of the full one they build on.
""",
    ),
)

_CODECS: typing.Final = (
    cfg.StrOpt(
        'compression',
        default='zstd',
        help="""
How new data is compressed: ``none``, ``zlib``, ``lzma``, ``zstd``, or any
driver installed under ``ekko_nova.backup.compression``.

``zstd`` is the quickest, ``lzma`` the smallest and by far the slowest.
""",
    ),
    cfg.IntOpt(
        'compression_level',
        help="""
How hard to compress, on the scale of the compression driver: 1 to 9 for
``zlib``, 0 to 9 for ``lzma``, 1 to 22 for ``zstd``. ``none`` takes no level.

A higher level stores less and needs more time and memory. Without one the
driver uses its own default.
""",
    ),
    cfg.StrOpt(
        'encryption',
        default='none',
        help="""
How new data is encrypted: ``none``, ``aes-gcm``, or any driver installed
under ``ekko_nova.backup.encryption``.

All but ``none`` need ``key_file``. Turning it on or off makes the next backup
of every disk full; older ones stay as they were stored.
""",
    ),
    cfg.StrOpt(
        'digest',
        default='blake3',
        choices=[
            ('blake3', 'several times as quick'),
            ('sha256', 'where only algorithms that FIPS approves may be used'),
        ],
        help="""
The digest that new data is stored with. By it a backup that has to read all
of a disk sees what has changed since its parent, and a restore or a
verification that every byte is still what was stored.

``sha256`` costs more processor time in all of them. Changing this makes no
backup full and rewrites nothing: what is stored keeps its digest, and is
compared by that, until it is overwritten or a full backup is asked for.
Backups with ``blake3``, and those that build on them, cannot be read by
versions of ekko-nova that do not have this option; where hosts of such a
version are left, use ``sha256``.
""",
    ),
    cfg.StrOpt(
        'key_provider',
        default='file',
        help="""
What wraps the data keys of backup sets: ``file``, or any driver installed
under ``ekko_nova.backup.key_provider``.
""",
    ),
    cfg.StrOpt(
        'key_file',
        metavar='PATH',
        help="""
Where the key provider finds its keys. For ``file`` it is a file of keys of 64
hexadecimal digits, one on each line, the one in use first, that only its
owner may read.

Backups encrypted under a key that is lost cannot be restored by anybody: keep
a copy of this file elsewhere, but not in the store.
""",
    ),
)

_PIPELINE: typing.Final = (
    cfg.IntOpt(
        'workers',
        default=3,
        min=1,
        max=64,
        help="""
Threads that read, hash, compress and encrypt in one backup, or decrypt and
decompress in one restore.

More are quicker until the processors or the disk are busy. A backup holds
about (3 x ``workers`` + 2 x ``puts`` + 2) segments in memory, a restore
(4 x ``workers`` + ``cached_bundles``).
""",
    ),
    cfg.IntOpt(
        'puts',
        default=4,
        min=1,
        max=64,
        help="""
Objects that one backup sends to the store at the same time.

More are quicker on a store that is far away; each holds up to two segments in
memory.
""",
    ),
    cfg.IntOpt(
        'bandwidth_limit_mib',
        default=0,
        min=0,
        help="""
MiB per second that one backup reads from a disk at most, or one restore
writes to one. 0 is no limit.

Less is stored than read, so it limits what goes to the store as well. The
longer a backup of a running guest takes, the more scratch space it needs.
""",
    ),
    cfg.IntOpt(
        'cached_bundles',
        default=12,
        min=1,
        max=256,
        help="""
Objects of several small pieces that a restore keeps in memory, each up to a
segment in size.

Of more that are in use at once, as after many incremental backups, a restore
reads each piece alone.
""",
    ),
)

_SAFETY: typing.Final = (
    cfg.IntOpt(
        'audit_segments',
        default=8,
        min=0,
        max=65536,
        help="""
Segments of each disk that an incremental backup reads although QEMU reports
them unchanged, chosen at random, to compare them with the parent backup.

A difference means that something wrote to the disk behind QEMU's back; the
disk is then backed up in full and the record says so. Each segment costs a
read of ``segment_size_mib``. 0 turns off this only defence.
""",
    ),
    cfg.IntOpt(
        'heartbeat_interval',
        default=30,
        min=1,
        max=3600,
        help="""
Seconds between the signs of life that a running backup writes to the store.
Each is one small object.
""",
    ),
    cfg.IntOpt(
        'stale_after',
        default=600,
        min=10,
        max=86400,
        help="""
Seconds without a sign of life after which a backup by a process on another
host is taken for dead and its objects are removed.

It must be several times ``heartbeat_interval`` and longer than the store is
ever unreachable; otherwise a backup that is still running loses its objects
and fails.
""",
    ),
)

_PLACES: typing.Final = (
    cfg.StrOpt(
        'socket_directory',
        metavar='PATH',
        default='/run/ekko',
        help="""
Directory for the sockets over which QEMU serves a disk. QEMU creates them, as
its own user, and this process connects to them. Unless this process is root
the directory must belong to QEMU's user and a group of ours, with mode 0770;
nova-compute makes it so. In nova-compute the default is ``$state_path/ekko``.

Anybody who can connect can read the disk. A path may have at most 70
characters, because the path of a socket has at most 107.
""",
    ),
    cfg.StrOpt(
        'scratch_directory',
        metavar='PATH',
        default='/var/lib/ekko/scratch',
        help="""
Directory where QEMU keeps, for as long as a backup of a running guest lasts,
the old content of blocks that the guest overwrites. Its owner and mode are
those of ``socket_directory``. In nova-compute the default is
``$state_path/ekko``.

It should not be on the disk that holds the guests.
""",
    ),
    cfg.IntOpt(
        'scratch_limit_mib',
        default=10240,
        min=16,
        help="""
Largest scratch space of one backup, in MiB.

A backup is refused unless that much, or the size of its disks if it is less,
and 1 GiB more are free in ``scratch_directory``; it is given up when the guest
overwrites more, because a write of the guest fails if its scratch space is
full.
""",
    ),
    cfg.StrOpt(
        'temporary_directory',
        metavar='PATH',
        help="""
Directory for manifests while they are written or read: up to 400 MiB for each
64 TiB of disk. Without one the system's choice is used (``TMPDIR``, ``/tmp``).
""",
    ),
)

_COMPUTE: typing.Final = (
    cfg.IntOpt(
        'max_backups',
        default=2,
        min=1,
        max=64,
        help="""
Backups that nova-compute takes at the same time; others wait. Each is a
process of its own, with the threads and the memory that ``workers`` and
``puts`` give it.
""",
    ),
    cfg.IntOpt(
        'max_restores',
        default=2,
        min=1,
        max=64,
        help="""
Restores that nova-compute does at the same time; others wait.
""",
    ),
    cfg.IntOpt(
        'max_operations',
        default=2,
        min=1,
        max=64,
        help="""
Deletions, verifications and exports of backups that nova-compute does at the
same time; others wait. The deletions of one server's backups come one after
the other in any case.
""",
    ),
    cfg.IntOpt(
        'nice',
        default=10,
        min=0,
        max=19,
        help="""
How far the processes that nova-compute has for backups and restores stand
back for others that want a processor, guests and nova-compute itself among
them: 0 not at all, 19 as far as possible (see nice(1)).
""",
    ),
    cfg.StrOpt(
        'io_priority',
        default='low',
        choices=[
            ('normal', 'as everybody'),
            ('low', 'the lowest of those that share (see ionice(1))'),
            ('idle', 'only when nobody else wants the disk'),
        ],
        help="""
How those processes stand back for others that want a disk. The scheduler of
the disk has to heed it: bfq does, mq-deadline does from Linux 5.14 on, none
does not. Guests read and write by themselves; what a backup has QEMU read for
it is limited by ``bandwidth_limit_mib``.
""",
    ),
    cfg.IntOpt(
        'recovery_interval',
        default=60,
        min=1,
        max=3600,
        help="""
Seconds between two looks of nova-compute for backups that were interrupted,
by whatever: each look asks the database once for the instances of the host.
""",
    ),
    cfg.IntOpt(
        'begin_timeout',
        default=60,
        min=1,
        max=3600,
        help="""
Seconds that a backup may take to begin: to freeze the guest, to have QEMU fix
the moment, to thaw it. Nothing else can be done to the instance meanwhile, so
one that takes longer is cancelled.
""",
    ),
    cfg.IntOpt(
        'cancel_timeout',
        default=30,
        min=1,
        max=600,
        help="""
Seconds that a backup or a restore has to end by itself, when it is cancelled,
before its process is killed. What it leaves is then cleaned up by another.
""",
    ),
)

_API: typing.Final = (
    cfg.BoolOpt(
        'enforce_quotas',
        default=False,
        help="""
Whether nova-api refuses backups beyond what a project may have, by the limits
``instance_backups`` and ``instance_backup_gigabytes`` in Keystone. Both must
then be registered there, for the service that ``[oslo_limit] endpoint_id`` is
an endpoint of.
""",
    ),
)

_OPTS: typing.Final = (
    *_STORE,
    *_CODECS,
    *_PIPELINE,
    *_SAFETY,
    *_PLACES,
    *_COMPUTE,
    *_API,
)


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of this section known to ``conf``."""
    group, opts = list_opts()
    conf.register_group(group)
    conf.register_opts(opts, group=group)


def list_opts() -> tuple[cfg.OptGroup, list[cfg.Opt]]:
    """The section and its options."""
    # A group remembers what is registered in it, so each caller gets its own.
    group = cfg.OptGroup(
        'ekko', title='Backups', help='How backups are taken and restored.'
    )
    return group, list(_OPTS)
