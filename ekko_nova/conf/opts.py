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

"""All sections: for services, ``oslo-config-generator``, the documentation.

Whoever needs ``[ekko]`` only takes :mod:`.ekko`: keystoneauth comes with the
other.
"""

from oslo_config import cfg

from ekko_nova.conf import ekko
from ekko_nova.conf import ekko_swift

__all__ = ('list_opts', 'register_opts')


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Each section with its options."""
    return [ekko.list_opts(), ekko_swift.list_opts()]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make the options of every section known to ``conf``."""
    ekko.register_opts(conf)
    ekko_swift.register_opts(conf)
