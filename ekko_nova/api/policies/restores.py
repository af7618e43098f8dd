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

"""Rules for what is made of a backup."""

import typing

from oslo_policy import policy

from ekko_nova.api.policies import base

__all__ = ('list_rules',)

_RULES: typing.Final = (
    base.rule(
        'restore',
        base.MEMBER,
        'Restore a server in place.',
        'POST',
        '/backups/{id}/restore',
    ),
    base.rule(
        'create_server',
        base.MEMBER,
        'Make a new server from a backup. Nova asks its own policies, too.',
        'POST',
        '/backups/{id}/servers',
    ),
    base.rule(
        'create_image',
        base.MEMBER,
        'Make an image from a backup. Glance asks its own policies, too.',
        'POST',
        '/backups/{id}/images',
    ),
)


def list_rules() -> tuple[policy.DocumentedRuleDefault, ...]:
    """The rules of this module."""
    return _RULES
