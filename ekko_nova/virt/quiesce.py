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


"""Freeze a guest's file systems for a moment.

Whoever freezes may die before it thaws, or lose libvirt, which has its order
carried out all the same, however long that takes. So a mark is made before,
and removed when it is certain that nothing is frozen by us: a file that is
locked (``flock``) while its process is at it. Any later process can tell from
it that it has to thaw the guest (:func:`thaw_left`).

What becomes of the mark when the guest is to be thawed:

=======================================  =====================================
the guest is thawed                      removed
it is off, or has no agent               removed: nothing of it is frozen
its agent answers with an error          removed: it would do so again
it does not answer: it still freezes,    kept, so that it is asked again; for
or is dead, or libvirt is                an hour, :data:`_PATIENCE`
=======================================  =====================================
"""

from collections.abc import Iterator
import contextlib
import fcntl
import logging
import pathlib
import time
import typing

import libvirt

from ekko_nova import exception
from ekko_nova.virt import domain as domains
from ekko_nova.virt import scratch

__all__ = ('frozen', 'thaw_left')

LOG = logging.getLogger(__name__)

#: Seconds after which a guest that cannot be thawed is left to an operator.
_PATIENCE: typing.Final = 3600.0

#: Why an order did not get as far as the agent. Tenants read it, so that it is
#: not in libvirt's words, which name its threads and locks; the log has those.
_NOT_SENT: typing.Final = {
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: 'no guest agent is set up',
    libvirt.VIR_ERR_OPERATION_INVALID: 'the guest is not running',
}

#: libvirt names the agent's command where it repeats what the agent said.
_ANSWERED: typing.Final = "'guest-fsfreeze-"


@contextlib.contextmanager
def frozen(
    domain: domains.Domain, places: scratch.Places, *, wanted: bool
) -> Iterator[bool | str]:
    """The file systems are frozen in the context, if they can be.

    Yields true, or why they are not: a backup is worth having all the same.

    :raises exception.HypervisorFailed: the mark cannot be made
    """
    if not wanted:
        yield 'not requested'
        return
    if not domain.is_active():
        yield 'shut off'
        return
    if not domain.has_agent():
        yield 'no guest agent is connected'
        return
    with _marked(domain, places) as mark:
        refusal = None
        try:
            refusal = _freeze(domain)
            yield True if refusal is None else _why(refusal)
        finally:
            if refusal is not None and refusal.code in _NOT_SENT:
                mark.unlink(missing_ok=True)
            else:
                # Even if freezing failed: the agent may have frozen some of
                # them, or have done its work and lost the reply.
                _thaw(domain, mark, refused=_is_answer(refusal))


def thaw_left(domain: domains.Domain, places: scratch.Places) -> bool:
    """Thaw a guest, if a process of ours may have left it frozen.

    A guest that is not frozen does not mind.

    :returns: whether that is done with; otherwise it is worth another try
    """
    mark = _mark(domain, places)
    if not mark.exists() or scratch.is_in_use(mark):
        return True
    LOG.warning('thawing a guest left frozen: domain=%s', domain.name)
    return _thaw(domain, mark)


def _mark(domain: domains.Domain, places: scratch.Places) -> pathlib.Path:
    return places.sockets / f'frozen-{domain.uuid}'


@contextlib.contextmanager
def _marked(
    domain: domains.Domain, places: scratch.Places
) -> Iterator[pathlib.Path]:
    """With a mark, which stays when the context is left."""
    mark = _mark(domain, places)
    with contextlib.ExitStack() as stack:
        try:
            # An older one may be another user's.
            mark.unlink(missing_ok=True)
            mark.touch(mode=0o644)
            stack.enter_context(scratch.locked(mark, fcntl.LOCK_SH))
        except OSError as e:
            raise exception.HypervisorFailed(
                f'making the file {mark}', e.strerror or str(e)
            ) from e
        yield mark


def _freeze(domain: domains.Domain) -> exception.HypervisorFailed | None:
    """Why they could not be frozen, if so."""
    try:
        domain.freeze()
    except exception.HypervisorFailed as e:
        LOG.warning('not quiesced: domain=%s %s', domain.name, e)
        return e
    return None


def _thaw(
    domain: domains.Domain, mark: pathlib.Path, *, refused: bool = False
) -> bool:
    """Thaw, and remove the mark if that is done with.

    :param refused: the agent itself has said that it did not freeze
    :returns: whether it is
    """
    try:
        domain.thaw()
    except exception.HypervisorFailed as e:
        # What it refused to freeze it may well refuse to thaw.
        if not (refused and _is_answer(e)) and not _is_over(domain, e):
            LOG.error(
                'the file systems of the guest may still be frozen, thaw '
                'them with "virsh domfsthaw": domain=%s %s',
                domain.name,
                e,
            )
            if not (_is_answer(e) or _is_old(mark)):
                return False
    mark.unlink(missing_ok=True)
    return True


def _why(refusal: exception.HypervisorFailed) -> str:
    """The agent's own words, or ours."""
    if _is_answer(refusal):
        return refusal.reason
    silent = 'the guest agent does not answer'
    return _NOT_SENT.get(refusal.code or 0, silent)


def _is_answer(error: exception.HypervisorFailed | None) -> bool:
    """Whether it is the guest's agent that has said so."""
    return error is not None and _ANSWERED in error.reason


def _is_over(
    domain: domains.Domain, error: exception.HypervisorFailed
) -> bool:
    """Whether there is no guest that could be frozen, or nobody to do it."""
    if error.code == libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED:
        return True
    try:
        return not domain.is_active()
    except exception.HypervisorFailed:
        return False


def _is_old(mark: pathlib.Path) -> bool:
    try:
        return time.time() > mark.stat().st_mtime + _PATIENCE
    except FileNotFoundError:
        return True
