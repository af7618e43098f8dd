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

"""The API is as its OpenAPI document says, whatever it is asked."""

import pathlib
import subprocess
import sys
import tempfile
import typing

from tests.cloud import test_api

#: What ends the backup that the other operations are tried on.
_LAST: typing.Final = ('delete', 'force_delete')

#: A marker that is not there, or a disk, is well-formed, and refused.
_NOT_CHECKED: typing.Final = 'positive_data_acceptance'


class OpenApiTest(test_api.ApiCase):
    def _schemathesis(self, config: str, *options: str) -> None:
        """Have it make up requests, and compare the answers."""
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, 'schemathesis.toml')
            path.write_text(config)
            done = subprocess.run(
                [
                    pathlib.Path(sys.executable).with_name('schemathesis'),
                    *('--config-file', str(path), 'run'),
                    f'{self.api.get_endpoint()}/openapi.json',
                    *('-H', f'X-Auth-Token: {self.api.get_token()}'),
                    *('--phases', 'coverage,fuzzing', '--max-examples', '15'),
                    *('--exclude-checks', _NOT_CHECKED),
                    *options,
                ],
                check=False,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.assertEqual(0, done.returncode, done.stdout)
        # It did something.
        self.assertIn('generated,', done.stdout)

    def test_of_a_backup_that_does_not_exist(self) -> None:
        self._schemathesis('')

    def test_of_a_backup(self) -> None:
        server = self.create_server()
        backup = self.take(server)
        before = {image.id for image in self.demo.image.images()}
        try:
            self._schemathesis(
                f'[parameters]\n"path.backup" = "{backup.id}"\n',
                *(
                    f'--exclude-operation-id={operation}'
                    for operation in _LAST
                ),
            )
            self.assertEqual(
                server.id, self.api.get_backup(backup.id).server_id
            )
        finally:
            for image in self.demo.image.images():
                if image.id not in before:
                    self.demo.image.delete_image(image)
