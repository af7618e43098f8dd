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

"""What versions of the API there are; asked for without a token."""

import json
import typing

from ekko_nova.api import microversion

__all__ = ('describe', 'factory')

_Start: typing.TypeAlias = typing.Callable[..., typing.Any]


def describe(base: str) -> dict[str, typing.Any]:
    """The version document.

    :param base: URL of the version
    """
    return {
        'id': 'v1',
        'status': 'CURRENT',
        'version': microversion.text(microversion.MAXIMUM),
        'max_version': microversion.text(microversion.MAXIMUM),
        'min_version': microversion.text(microversion.MINIMUM),
        'links': [
            {'rel': 'self', 'href': f'{base}/'},
            {'rel': 'describedby', 'href': f'{base}/openapi.json'},
        ],
    }


def factory(
    global_conf: dict[str, str], **local_conf: str
) -> typing.Callable[..., list[bytes]]:
    """For ``paste.app_factory``."""
    del global_conf, local_conf
    return _answer


def _answer(environ: dict[str, typing.Any], start: _Start) -> list[bytes]:
    host = environ.get('HTTP_HOST') or environ['SERVER_NAME']
    root = f'{environ["wsgi.url_scheme"]}://{host}{environ["SCRIPT_NAME"]}'
    if environ.get('PATH_INFO', '').strip('/'):
        status = '404 Not Found'
        body: dict[str, typing.Any] = {
            'error': {
                'code': 404,
                'title': 'Not Found',
                'name': 'NotFound',
                'message': f'there is nothing here; see {root}/',
                'request_id': environ.get('openstack.request_id'),
            }
        }
    else:
        status = '200 OK'
        body = {'versions': [describe(f'{root}/v1')]}
    data = json.dumps(body).encode()
    start(
        status,
        [
            ('Content-Type', 'application/json'),
            ('Content-Length', str(len(data))),
        ],
    )
    return [data]
