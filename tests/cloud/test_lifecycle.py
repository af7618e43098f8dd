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


"""Backups go on being right whatever happens to a server."""

import typing

from tests.cloud import lifecycle
from tests.cloud import onebox


class _RowCase(onebox.CloudTestCase):
    def _row(self, row: lifecycle.Row) -> None:
        server = self.create_server(host='c1', nic=row.nic)
        outcome = lifecycle.run(row, server)
        self.assertTrue(outcome.as_expected, outcome)


class LifecycleTest(_RowCase):
    """One test for each row of the matrix; they go side by side."""


class AloneTest(_RowCase):
    """Those that other servers would suffer from."""


def _test(row: lifecycle.Row) -> typing.Callable[[_RowCase], None]:
    def test(self: _RowCase) -> None:
        self._row(row)

    return test


for _each in lifecycle.ROWS:
    _name = f'test_{_each.name.replace("-", "_")}'
    _case = AloneTest if _each.alone else LifecycleTest
    setattr(_case, _name, _test(_each))
