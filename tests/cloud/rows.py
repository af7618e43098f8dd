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

"""A test for each row of the matrix."""

from collections.abc import Callable

from tests.cloud import lifecycle
from tests.cloud import onebox

__all__ = ('RowCase', 'add_tests')


class RowCase(onebox.CloudTestCase):
    """A case whose tests are rows."""

    def assert_row(self, row: lifecycle.Row) -> None:
        server = self.create_server(host='c1', nic=row.nic)
        outcome = lifecycle.run(row, server)
        self.assertTrue(outcome.as_expected, outcome)


def add_tests(case: type[RowCase], *, alone: bool) -> None:
    """One for each row that other servers suffer from, or that none does."""
    for row in lifecycle.ROWS:
        if row.alone == alone:
            name = f'test_{row.name.replace("-", "_")}'
            setattr(case, name, _test(row))


def _test(row: lifecycle.Row) -> Callable[[RowCase], None]:
    def test(self: RowCase) -> None:
        self.assert_row(row)

    return test
