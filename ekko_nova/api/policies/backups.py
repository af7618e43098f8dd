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

"""Rules for backups themselves."""

import typing

from oslo_policy import policy

from ekko_nova.api.policies import base

__all__ = ('list_rules',)

_ONE: typing.Final = '/backups/{id}'

_RULES: typing.Final = (
    base.rule(
        'create', base.MEMBER, 'Have a backup taken.', 'POST', '/backups'
    ),
    base.rule('list', base.READER, 'List backups.', 'GET', '/backups'),
    base.rule('show', base.READER, 'Show a backup.', 'GET', _ONE),
    base.rule(
        'all_projects',
        base.ADMIN,
        "See, and with the other rules' leave handle, backups of all "
        'projects.',
        'GET',
        '/backups?all_projects=true',
    ),
    base.rule(
        'update',
        base.MEMBER,
        'Change the name, description and metadata of a backup.',
        'PATCH',
        _ONE,
    ),
    base.rule('delete', base.MEMBER, 'Delete a backup.', 'DELETE', _ONE),
    base.rule(
        'cancel',
        base.MEMBER,
        'Have a backup end that is being taken.',
        'POST',
        f'{_ONE}/cancel',
    ),
    base.rule(
        'verify',
        base.MEMBER,
        'Have a backup verified.',
        'POST',
        f'{_ONE}/verify',
    ),
    base.rule(
        'force_delete',
        base.ADMIN,
        'Delete a backup whose compute host is lost.',
        'POST',
        f'{_ONE}/force-delete',
    ),
    base.rule(
        'reset_status',
        base.ADMIN,
        'Change what status a backup is shown with.',
        'POST',
        f'{_ONE}/reset-status',
    ),
)


def list_rules() -> tuple[policy.DocumentedRuleDefault, ...]:
    """The rules of this module."""
    return _RULES
