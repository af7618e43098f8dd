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

"""Have nova-compute answer over RPC, again and again.

Run by the Python that Nova is installed for::

    python ping.py NOVA_CONF HOST SECONDS

Writes the median round trip, in seconds. It is the ping that every service of
Nova's answers: nothing but the message queue and the service has to do with
it.
"""

import statistics
import sys
import time
import typing

from nova import baserpc
from nova import config
from nova import context
from nova import objects

_PAUSE: typing.Final = 0.05


def _ping(host: str, seconds: float) -> float:
    service = baserpc.BaseAPI('compute').client.prepare(server=host)
    admin = context.get_admin_context()
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        service.call(admin, 'ping', arg='')
        times.append(time.monotonic() - began)
        time.sleep(_PAUSE)
    return statistics.median(times)


if __name__ == '__main__':
    conf, host, seconds = sys.argv[1:]
    config.parse_args(['ping', '--config-file', conf])
    objects.register_all()
    print(_ping(host, float(seconds)))
