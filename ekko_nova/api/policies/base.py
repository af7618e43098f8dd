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

"""Whom the other rules speak of."""

import typing

from oslo_policy import policy

__all__ = ('ADMIN', 'MEMBER', 'READER', 'list_rules', 'rule')

ADMIN: typing.Final = 'rule:instance_backup:admin'
MEMBER: typing.Final = 'rule:instance_backup:project_member'
READER: typing.Final = 'rule:instance_backup:project_reader'

_RULES: typing.Final = (
    policy.RuleDefault(
        'instance_backup:admin',
        'role:admin',
        description='Whoever runs the cloud.',
    ),
    policy.RuleDefault(
        'instance_backup:project_member',
        f'{ADMIN} or (role:member and project_id:%(project_id)s)',
        description='Whoever may change what a project has.',
    ),
    policy.RuleDefault(
        'instance_backup:project_reader',
        f'{ADMIN} or (role:reader and project_id:%(project_id)s)',
        description='Whoever may look at what a project has.',
    ),
)


def rule(
    name: str, check: str, description: str, method: str, path: str
) -> policy.DocumentedRuleDefault:
    """A rule for one operation; all of them are asked within a project."""
    return policy.DocumentedRuleDefault(
        name=f'instance_backup:{name}',
        check_str=check,
        description=description,
        operations=[{'method': method, 'path': f'/v1{path}'}],
        scope_types=['project'],
    )


def list_rules() -> tuple[policy.RuleDefault, ...]:
    """The rules of this module."""
    return _RULES
