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

"""One suite of tests over every installed driver of a namespace."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import pathlib
import re
import sys

import hypothesis
import testtools

from ekko_nova.backup import plugin

__all__ = ('PROPERTY', 'peak_memory', 'suite')

#: Machines differ in speed, and every driver runs the inherited properties.
PROPERTY = hypothesis.settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        hypothesis.HealthCheck.differing_executors,
        hypothesis.HealthCheck.too_slow,
    ],
)


def suite(
    namespace: str,
) -> Callable[[type[testtools.TestCase]], dict[str, type[testtools.TestCase]]]:
    """Turn a class of tests into one for each driver of a namespace.

    Each has the driver's name in ``driver`` and stands in the module under a
    name of its own. The decorated name becomes the dictionary of them, so
    that the loader does not run the class that has no driver.
    """

    def decorate(
        tests: type[testtools.TestCase],
    ) -> dict[str, type[testtools.TestCase]]:
        module = sys.modules[tests.__module__]
        suites = {}
        for name in plugin.names(namespace):
            title = f'{tests.__name__}_{re.sub("[^a-z0-9]", "_", name)}'
            attributes = {'driver': name, '__module__': tests.__module__}
            suites[name] = type(title, (tests,), attributes)
            setattr(module, title, suites[name])
        return suites

    return decorate


@contextlib.contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Measure by how many bytes the process grew at most, C memory included.

    The list holds the number when the context is left.
    """
    result: list[int] = []
    # 5 sets the peak to what is resident now: proc(5), clear_refs.
    pathlib.Path('/proc/self/clear_refs').write_text('5')
    before = _status('VmHWM')
    yield result
    result.append(_status('VmHWM') - before)


def _status(field: str) -> int:
    status = pathlib.Path('/proc/self/status').read_text()
    match = re.search(rf'^{field}:\s+(\d+) kB$', status, re.MULTILINE)
    assert match, f'no {field} in /proc/self/status'
    return int(match[1]) * 1024
