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

"""Options of ``tempest.conf``."""

from oslo_config import cfg

__all__ = ('GROUP', 'OPTIONS', 'SERVICE_OPTION')

SERVICE_OPTION = cfg.BoolOpt(
    'ekko_nova',
    default=False,
    help='Whether backups of instances (ekko-nova) are available.',
)

GROUP = cfg.OptGroup('instance_backup', title='Backups of instances')

OPTIONS = [
    cfg.StrOpt(
        'catalog_type',
        default='instance-backup',
        help="Type of the service in Keystone's catalogue.",
    ),
    cfg.StrOpt(
        'endpoint_type',
        default='publicURL',
        help='Which endpoint of the service is used.',
    ),
    cfg.IntOpt(
        'build_interval',
        default=1,
        min=1,
        help='Seconds between two looks at what goes on.',
    ),
    cfg.IntOpt(
        'build_timeout',
        default=300,
        min=1,
        help='Longest that a backup, a restore or a deletion may take, in '
        'seconds.',
    ),
    cfg.StrOpt(
        'guest_access',
        default='ssh',
        choices=['ssh', 'console'],
        help='How tests write and read in a guest: over SSH, or by having a '
        'guest boot that counts its boots on its own disk and prints the '
        'number.',
    ),
    cfg.StrOpt(
        'boot_pattern',
        default=r'ekko-guest: boot=(\d+)',
        help='What such a guest prints, with the number in a group.',
    ),
]
