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

"""Requests that are not well-formed are refused, with what is wrong."""

from collections.abc import Mapping
import functools
import json
import typing

import jsonschema

from ekko_nova.api import errors
from ekko_nova.api.schemas import base

__all__ = ('check_body', 'check_query')


@functools.cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        json.loads(schema),
        format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
    )


def _check(schema: base.Schema, value: object, where: str) -> None:
    validator = _validator(json.dumps(schema))
    error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    if error is not None:
        place = '.'.join(str(part) for part in error.absolute_path)
        at = f' at {place}' if place else ''
        raise errors.ApiError(
            400, 'InvalidRequest', f'{where}{at}: {error.message}'
        )


def check_query(
    schemas: Mapping[str, base.Schema],
    given: typing.Iterable[tuple[str, str]],
) -> dict[str, str]:
    """The parameters of a request.

    :raises errors.ApiError: one is unknown, twice there, or wrong
    """
    query: dict[str, str] = {}
    for name, value in given:
        if name not in schemas:
            known = ', '.join(sorted(schemas))
            raise errors.ApiError(
                400,
                'InvalidRequest',
                f'there is no parameter {name!r}; there are: {known}',
            )
        if name in query:
            raise errors.ApiError(
                400, 'InvalidRequest', f'parameter {name} is there twice'
            )
        _check(schemas[name], value, f'parameter {name}')
        query[name] = value
    return query


def check_body(
    schema: base.Schema | None, data: bytes
) -> dict[str, typing.Any]:
    """What is in the one member of a body.

    :raises errors.ApiError: it is no JSON, or not as it must be
    """
    if schema is None:
        if data.strip() not in (b'', b'{}', b'null'):
            raise errors.ApiError(400, 'InvalidRequest', 'this takes no body')
        return {}
    try:
        body = json.loads(data or b'null', parse_constant=_refuse)
    except (ValueError, RecursionError) as e:
        raise errors.ApiError(
            400, 'InvalidRequest', f'the body is no JSON: {e}'
        ) from e
    _check(schema, body, 'the body')
    [value] = body.values()
    result: dict[str, typing.Any] = value
    return result


def _refuse(constant: str) -> typing.NoReturn:
    raise ValueError(f'{constant} is not of JSON')
