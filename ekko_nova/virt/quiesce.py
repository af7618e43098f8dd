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


"""Freeze a guest's file systems for a moment."""

from collections.abc import Iterator
import contextlib

from oslo_log import log as logging

from ekko_nova import exception
from ekko_nova.virt import domain as domains

__all__ = ('frozen',)

LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def frozen(domain: domains.Domain, *, wanted: bool) -> Iterator[bool | str]:
    """The file systems are frozen in the context, if they can be.

    Yields true, or why they are not: a backup is worth having all the same.
    """
    if not wanted:
        yield 'not requested'
        return
    if not domain.is_active():
        yield 'shut off'
        return
    quiesced: bool | str = True
    try:
        try:
            domain.freeze()
        except exception.HypervisorFailed as e:
            LOG.warning('not quiesced: domain=%s %s', domain.name, e)
            quiesced = e.reason
        yield quiesced
    finally:
        # Even if freezing failed: the agent may have frozen some of them,
        # or have done its work and lost the reply.
        _thaw(domain, certainly_frozen=quiesced is True)


def _thaw(domain: domains.Domain, *, certainly_frozen: bool) -> None:
    try:
        domain.thaw()
    except exception.HypervisorFailed as e:
        if certainly_frozen:
            LOG.error(
                'the file systems of the guest may still be frozen, thaw '
                'them with "virsh domfsthaw": domain=%s %s',
                domain.name,
                e,
            )
