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

"""Wait, but not for long, until nova-compute on a host is up."""

import argparse
import calendar
import contextlib
import sys
import time

import openstack

_TRY_SECONDS = 5


def is_up(
    cloud: openstack.connection.Connection, host: str, since: int
) -> bool:
    """Whether it has said so since then, and Placement knows the host."""
    for service in cloud.compute.services(binary='nova-compute', host=host):
        if service.is_forced_down:
            # A test has said that it is dead. Nova takes that back when it
            # has cleaned up what was evacuated.
            with contextlib.suppress(openstack.exceptions.BadRequestException):
                cloud.compute.update_service_forced_down(service, forced=False)
        said = time.strptime(
            (service.updated_at or '').partition('.')[0], '%Y-%m-%dT%H:%M:%S'
        )
        # Within that very second the process before it may have said so.
        if service.state == 'up' and calendar.timegm(said) > since:
            return any(cloud.placement.resource_providers(name=host))
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('host')
    parser.add_argument('since', type=int, help='seconds since the epoch')
    args = parser.parse_args()
    deadline = time.monotonic() + _TRY_SECONDS
    with openstack.connect() as cloud:
        while not is_up(cloud, args.host, args.since):
            if time.monotonic() > deadline:
                return 1
            time.sleep(0.3)
    return 0


if __name__ == '__main__':
    sys.exit(main())
