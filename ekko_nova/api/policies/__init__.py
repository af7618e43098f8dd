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

"""Who may do what, with the rules that hold unless an operator says else."""

import itertools

from oslo_policy import policy

from ekko_nova.api.policies import backups
from ekko_nova.api.policies import base
from ekko_nova.api.policies import restores

__all__ = ('list_rules',)


def list_rules() -> list[policy.RuleDefault]:
    """Every rule, for the enforcer and for ``oslopolicy-*-generator``."""
    return list(
        itertools.chain(
            base.list_rules(), backups.list_rules(), restores.list_rules()
        )
    )
