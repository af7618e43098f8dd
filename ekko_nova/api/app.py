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

"""The application that nova-api mounts, behind Nova's own filters.

In api-paste.ini::

    [app:instance_backup_app]
    paste.app_factory = ekko_nova.api.app:factory
"""

from collections.abc import Callable
import typing

import flask
import nova.conf
from oslo_log import log as logging
from oslo_policy import policy
from werkzeug import exceptions as werkzeug_exceptions

from ekko_nova.api import cloud
from ekko_nova.api import errors
from ekko_nova.api import microversion
from ekko_nova.api import openapi
from ekko_nova.api import policies
from ekko_nova.api import request as requests
from ekko_nova.api import routes
from ekko_nova.api import stores
from ekko_nova.api import validation
from ekko_nova.api import versions
from ekko_nova.conf import opts
from ekko_nova import exception

__all__ = ('create_app', 'factory')

LOG = logging.getLogger(__name__)


def factory(global_conf: dict[str, str], **local_conf: str) -> flask.Flask:
    """For ``paste.app_factory``, in a process with Nova's configuration."""
    del global_conf, local_conf
    conf = nova.conf.CONF
    opts.register_opts(conf)
    enforcer = policy.Enforcer(conf)
    enforcer.register_defaults(policies.list_rules())
    return create_app(
        requests.Services(conf, stores.Stores(conf), cloud.Cloud(), enforcer)
    )


def create_app(services: requests.Services) -> flask.Flask:
    """The application."""
    app = flask.Flask('ekko_nova.api', static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.add_url_rule('/', 'version', _version)
    app.add_url_rule('/openapi.json', 'openapi', _openapi)
    for operation in routes.OPERATIONS:
        app.add_url_rule(
            operation.path,
            operation.rule,
            _view(services, operation),
            methods=[operation.method],
            provide_automatic_options=False,
        )
    app.before_request(_negotiate)
    app.after_request(_tell_version)
    app.register_error_handler(errors.ApiError, _refuse)
    app.register_error_handler(exception.EkkoError, _refuse_ours)
    app.register_error_handler(werkzeug_exceptions.HTTPException, _refuse_http)
    app.register_error_handler(Exception, _fail)
    return app


def _base() -> str:
    return flask.request.host_url.rstrip('/') + flask.request.script_root


def _version() -> flask.Response:
    return flask.jsonify({'version': versions.describe(_base())})


def _openapi() -> flask.Response:
    return flask.jsonify(openapi.document(_base()))


def _view(
    services: requests.Services, operation: routes.Operation
) -> Callable[..., tuple[typing.Any, int]]:
    def view(**parts: typing.Any) -> tuple[typing.Any, int]:
        given = flask.request
        request = requests.Request(
            services=services,
            context=given.environ['nova.context'],
            rule=f'instance_backup:{operation.rule}',
            query=validation.check_query(
                operation.query, given.args.items(multi=True)
            ),
            body=validation.check_body(operation.body, given.get_data()),
            base=_base(),
        )
        # As it is stored, however it was written.
        ids = {name: str(value) for name, value in parts.items()}
        answer = operation.handler(request, **ids)
        return (answer or ''), operation.status

    return view


def _negotiate() -> None:
    header = flask.request.headers.get(microversion.HEADER)
    flask.g.version = microversion.requested(header)


def _tell_version(response: flask.Response) -> flask.Response:
    version = flask.g.get('version', microversion.MINIMUM)
    response.headers[microversion.HEADER] = (
        f'{microversion.SERVICE} {microversion.text(version)}'
    )
    response.headers.add('Vary', microversion.HEADER)
    if not response.get_data():
        del response.headers['Content-Type']
    return response


def _refuse(error: errors.ApiError) -> tuple[flask.Response, int]:
    context = flask.request.environ.get('nova.context')
    body = errors.document(error, getattr(context, 'request_id', None))
    return flask.jsonify(body), error.status.value


def _refuse_ours(
    error: exception.EkkoError,
) -> tuple[flask.Response, int]:
    answer = errors.from_ekko(error)
    if answer.status >= 500:
        LOG.error('a request failed: %s', error)
    return _refuse(answer)


def _refuse_http(
    error: werkzeug_exceptions.HTTPException,
) -> tuple[flask.Response, int] | flask.Response:
    if error.code is None or error.code < 400:
        return flask.Response(error.get_response())  # type: ignore[arg-type]
    response, status = _refuse(
        errors.ApiError(
            error.code,
            error.name.replace(' ', ''),
            error.description or error.name,
        )
    )
    for name, value in error.get_headers():
        if name == 'Allow':
            response.headers[name] = value
    return response, status


def _fail(error: Exception) -> tuple[flask.Response, int]:
    LOG.error(
        'this should have been foreseen, please report it', exc_info=error
    )
    return _refuse(
        errors.ApiError(
            500,
            'InternalError',
            f'{type(error).__name__}; your operator finds more in the log',
        )
    )
