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

"""The description for machines."""

import jsonschema

from ekko_nova.api import openapi
from ekko_nova.api import routes
from tests import base


class DocumentTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.document = openapi.document('http://nova:8774/instance-backup/v1')

    def test_every_operation(self) -> None:
        found = {
            (method, operation['operationId'])
            for methods in self.document['paths'].values()
            for method, operation in methods.items()
        }
        self.assertEqual(
            {(each.method.lower(), each.rule) for each in routes.OPERATIONS},
            found,
        )

    def test_every_operation_says_what_it_does(self) -> None:
        for methods in self.document['paths'].values():
            for operation in methods.values():
                self.assertTrue(operation['summary'].endswith('.'))

    def test_the_schemas_are_schemas(self) -> None:
        for operation in routes.OPERATIONS:
            for schema in (
                operation.body,
                operation.answer,
                *operation.query.values(),
            ):
                if schema is not None:
                    jsonschema.Draft202012Validator.check_schema(schema)
