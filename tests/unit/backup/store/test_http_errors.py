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

"""What HTTP statuses mean."""

import datetime
from email import utils as email_utils

from ekko_nova.backup.store import http_errors
from ekko_nova import exception
from tests import base


class TestFromStatus(base.TestCase):
    def test_every_status_of_an_error_has_a_meaning(self) -> None:
        meanings: dict[int, type[exception.EkkoError]] = {
            401: exception.StoreUnauthorized,
            404: exception.ObjectMissing,
            412: exception.ObjectExists,
            413: exception.StoreFull,
            507: exception.StoreFull,
        }
        later = {408, 409, 422, 425, 429, 498, 499}
        # Behind an interim one would come another that nobody waits for.
        for status in (103, *range(300, 600)):
            found = http_errors.from_status('x', 'a', status, 'Why', {})
            if status in later or status >= 500 or status < 200:
                default: type[exception.EkkoError] = exception.StoreUnavailable
            else:
                default = exception.StoreDenied
            self.assertIs(
                meanings.get(status, default), type(found), str(status)
            )
            self.assertIn('a', str(found))
            if status not in {404, 412}:
                self.assertIn(f'{status} Why', str(found))

    def test_when_to_come_back(self) -> None:
        for status in (429, 498, 503):
            found = http_errors.from_status(
                'x', 'a', status, 'Why', {'retry-after': '12'}
            )
            self.assertIsInstance(found, exception.StoreUnavailable)
            self.assertEqual(12.0, getattr(found, 'retry_after', None))


class TestRetryAfter(base.TestCase):
    NOW = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.UTC)

    def test_seconds(self) -> None:
        self.assertEqual(0.0, http_errors.retry_after('0', self.NOW))
        self.assertEqual(120.0, http_errors.retry_after('120', self.NOW))

    def test_a_date(self) -> None:
        for seconds, expected in ((90, 90.0), (0, 0.0), (-90, 0.0)):
            then = self.NOW + datetime.timedelta(seconds=seconds)
            for text in (
                email_utils.format_datetime(then, usegmt=True),
                email_utils.format_datetime(then.replace(tzinfo=None)),
            ):
                found = http_errors.retry_after(text, self.NOW)
                self.assertEqual(expected, found)

    def test_nonsense(self) -> None:
        for text in ('', 'soon', '-1', '1.5', '\u00b2', 'Mon, 99 Foo'):
            self.assertIsNone(http_errors.retry_after(text, self.NOW), text)
