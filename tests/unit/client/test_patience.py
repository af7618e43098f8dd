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

"""A service that is away for a while."""

import typing

import fixtures
from keystoneauth1 import exceptions as ksa_exceptions
from openstack import exceptions
import requests

from ekko_nova.client import patience
from tests import base


def _http(status: int) -> exceptions.HttpException:
    response = requests.Response()
    response.status_code = status
    return exceptions.HttpException('it says', response=response)


AWAY: typing.Final = (
    _http(500),
    _http(502),
    _http(503),
    ksa_exceptions.ServiceUnavailable(),
    ksa_exceptions.ConnectFailure(),
    ksa_exceptions.ConnectTimeout(),
)

REFUSED: typing.Final = (
    _http(404),
    _http(409),
    exceptions.ResourceFailure('it failed'),
    ksa_exceptions.Unauthorized(),
    ValueError(),
)


class _Asked:
    """Fails, the first times that it is asked.

    :ivar times: it has been asked
    """

    def __init__(self, error: Exception, failures: float) -> None:
        self._error = error
        self._failures = failures
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        if self.times <= self._failures:
            raise self._error
        return 'here'


class LookTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch('ekko_nova.client.patience._INTERVAL', 0.01)
        )

    def test_away_for_a_while(self) -> None:
        for error in AWAY:
            self.assertEqual('here', patience.look(_Asked(error, 2)))

    def test_away_for_long(self) -> None:
        for error in AWAY:
            ask = _Asked(error, float('inf'))
            found = self.assertRaises(type(error), patience.look, ask, 0.1)
            self.assertIs(error, found)
            self.assertGreater(ask.times, 2)

    def test_an_answer_is_an_answer(self) -> None:
        for error in REFUSED:
            ask = _Asked(error, 1)
            self.assertRaises(type(error), patience.look, ask)
            self.assertEqual(1, ask.times)
