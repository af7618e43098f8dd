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

"""Who may import whom, as DESIGN.md draws it.

A room is a folder of ``ekko_nova/`` or a module right in it. Each rule below
is one line; what no line allows is an error, also where it would work.
"""

import ast
from collections.abc import Iterator
import dataclasses
import pathlib
import sys

import fixtures

from tests import base

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = 'ekko_nova'

#: Modules that everybody may import; they import nothing of ours but each
#: other.
LEAVES = frozenset({'block', 'direct', 'exception', 'memory'})

#: Room: the rooms it may import, besides itself and the leaves.
ARROWS: dict[str, set[str]] = {
    'backup': set(),
    'virt': set(),
    'conf': set(),
    'compute': {'backup', 'virt', 'conf'},
    'cmd': {'compute', 'backup', 'conf'},
    'api': {
        'compute.carrier',
        'compute.names',
        'compute.rpcapi',
        'compute.stores',
        'backup',
        'conf',
    },
    'client': set(),
    'osc': {'client'},
}

#: Third-party package: the only places that may import it. A place is a
#: folder or a module without its ``.py``; ``''`` is all of ours.
OWNERS: dict[str, set[str]] = {
    'blake3': {'backup/codec/digest'},
    'cliff': {'cmd'},
    'cryptography': {'backup/codec'},
    'defusedxml': {'virt'},
    'flask': {'api'},
    'glanceclient': {'api'},
    'jsonschema': {'api'},
    'keystoneauth1': {'backup/store', 'client', 'conf'},
    'libvirt': {'virt'},
    'libvirt_qemu': {'virt'},
    'nbd': {'virt/nbd', 'virt/nbd_target'},
    'nova': {'api', 'compute'},
    'openstack': {'client', 'osc'},
    'osc_lib': {'osc'},
    'oslo_concurrency': {'compute'},
    'oslo_config': {'cmd', 'compute', 'conf'},
    'oslo_limit': {'api'},
    'oslo_log': {'api', 'compute'},
    'oslo_messaging': {'compute'},
    'oslo_policy': {'api'},
    'oslo_utils': {''},
    'pbr': {'cmd'},
    'psutil': {'compute/priority'},
    'requests': {'backup/store/swift_connections'},
    'stevedore': {'backup'},
    'tenacity': {'backup/store/retry'},
    'urllib3': {'backup/store/swift'},
    'werkzeug': {'api'},
    'zstandard': {'backup/codec/zstd'},
}


@dataclasses.dataclass(frozen=True, slots=True)
class Import:
    """One name that a file imports, absolute, and where."""

    file: pathlib.PurePath
    line: int
    name: str

    @property
    def place(self) -> str:
        """The importing module below the package, such as ``virt/nbd``."""
        return self.file.with_suffix('').as_posix().removesuffix('/__init__')

    def __str__(self) -> str:
        return f'{PACKAGE}/{self.file}:{self.line}: {self.name}'


def imports(package: pathlib.Path) -> Iterator[Import]:
    """Every import of every file, also one inside a function."""
    for path in sorted(package.rglob('*.py')):
        file = path.relative_to(package)
        for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(file, node.lineno, alias.name)
            elif isinstance(node, ast.ImportFrom):
                # A relative import has its dots and so no owner.
                module = '.' * node.level + (node.module or '')
                for alias in node.names:
                    name = f'{module}.{alias.name}'
                    yield Import(file, node.lineno, name)


def within(place: str, owners: set[str], separator: str = '/') -> bool:
    """Whether a place is one of these, or lies in one."""
    return any(
        not owner or place == owner or place.startswith(owner + separator)
        for owner in owners
    )


def violations(package: pathlib.Path) -> list[str]:
    """Every import that no line above allows."""
    return [
        f'{found} ({reason})'
        for found in imports(package)
        if (reason := objection(package, found))
    ]


def objection(package: pathlib.Path, found: Import) -> str | None:
    """Why this import is not allowed; ``None`` if it is."""
    top, _, rest = found.name.partition('.')
    if top == PACKAGE:
        return arrow(found, rest) or an_object(package, rest)
    if top in sys.stdlib_module_names:
        return None
    if top not in OWNERS:
        return 'nobody owns it'
    if not within(found.place, OWNERS[top]):
        return f'only {", ".join(sorted(OWNERS[top]))} may'
    return None


def arrow(found: Import, target: str) -> str | None:
    """Why this module may not see that one of ours."""
    room = found.file.parts[0].removesuffix('.py')
    if target.partition('.')[0] in {room, *LEAVES}:
        return None
    if within(target, ARROWS.get(room, set()), '.'):
        return None
    return f'no arrow leads from {room} there'


def an_object(package: pathlib.Path, target: str) -> str | None:
    """Why ``from module import name`` is wrong: it is not a module."""
    path = package.joinpath(*target.split('.'))
    if path.with_suffix('.py').exists() or (path / '__init__.py').exists():
        return None
    return 'import the module, not the object'


def unlabelled(package: pathlib.Path) -> list[str]:
    """The folders of code whose ``__init__.py`` does not say what they are."""
    folders = {
        folder
        for path in package.rglob('*.py')
        for folder in path.parents
        if folder.is_relative_to(package)
    }
    return sorted(
        folder.relative_to(package.parent).as_posix()
        for folder in folders
        if not label(folder / '__init__.py')
    )


def label(init: pathlib.Path) -> str | None:
    if not init.exists():
        return None
    return ast.get_docstring(ast.parse(init.read_bytes()))


class ArrowsTest(base.TestCase):
    def test_imports(self) -> None:
        self.assertEqual([], violations(ROOT / PACKAGE))

    def test_every_room_has_a_label(self) -> None:
        self.assertEqual([], unlabelled(ROOT / PACKAGE))


class RulesTest(base.TestCase):
    """The rules themselves, on a tree that breaks them."""

    def setUp(self) -> None:
        super().setUp()
        root = self.useFixture(fixtures.TempDir()).path
        self.package = pathlib.Path(root, PACKAGE)
        for name in ('.', 'backup', 'backup/store', 'conf', 'compute', 'virt'):
            self.write(f'{name}/__init__.py', '"""A label."""')
        for name in ('block', 'backup/a', 'virt/a', 'conf/a', 'compute/a'):
            self.write(f'{name}.py', '')
        self.write('compute/rpcapi.py', '')

    def write(self, name: str, text: str) -> None:
        path = self.package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')

    def refused(self, name: str, line: str) -> list[str]:
        self.write(name, f'import os\n\n{line}\n')
        return violations(self.package)

    def assert_refused(self, name: str, line: str, reason: str) -> None:
        (only,) = self.refused(name, line)
        self.assertTrue(only.startswith(f'{PACKAGE}/{name}:3: '), only)
        self.assertIn(reason, only)

    def test_nothing_wrong(self) -> None:
        self.assertEqual([], violations(self.package))
        self.assertEqual([], unlabelled(self.package))

    def test_arrows_that_are_drawn(self) -> None:
        for name, line in (
            ('backup/b.py', 'from ekko_nova import block'),
            ('backup/b.py', 'from ekko_nova.backup import a'),
            ('compute/b.py', 'from ekko_nova.virt import a'),
            ('cmd/b.py', 'from ekko_nova.compute import a'),
            ('api/b.py', 'from ekko_nova.compute import rpcapi'),
        ):
            self.assertEqual([], self.refused(name, line), line)

    def test_arrows_that_are_not(self) -> None:
        for name, line in (
            ('backup/b.py', 'from ekko_nova.virt import a'),
            ('backup/b.py', 'import ekko_nova.virt.a'),
            ('virt/b.py', 'from ekko_nova.backup import a'),
            ('conf/b.py', 'from ekko_nova.backup import a'),
            ('cmd/b.py', 'from ekko_nova.virt import a'),
            ('api/b.py', 'from ekko_nova.compute import a'),
            ('block.py', 'from ekko_nova.conf import a'),
            ('new/b.py', 'from ekko_nova.conf import a'),
        ):
            self.assert_refused(name, line, 'no arrow')
            (self.package / name).write_text('', encoding='utf-8')

    def test_an_import_inside_a_function_counts(self) -> None:
        line = 'def f():\n    from ekko_nova.virt import a'
        (only,) = self.refused('backup/b.py', line)
        self.assertIn('backup/b.py:4:', only)

    def test_a_package_of_somebody_else(self) -> None:
        self.assert_refused('virt/b.py', 'import requests', 'only backup/')
        self.write('virt/b.py', '')
        self.assert_refused('backup/b.py', 'import libvirt', 'only virt')
        self.write('backup/b.py', '')
        line = 'from oslo_config import cfg'
        self.assert_refused('backup/b.py', line, 'only cmd, compute, conf')

    def test_the_owner_may(self) -> None:
        line = 'import requests.adapters'
        self.assertEqual(
            [], self.refused('backup/store/swift_connections.py', line)
        )

    def test_a_name_that_begins_alike_is_not_the_owner(self) -> None:
        line = 'import requests'
        self.assert_refused(
            'backup/store/swift_connections_b.py', line, 'only backup/'
        )

    def test_a_package_that_nobody_owns(self) -> None:
        self.assert_refused('virt/b.py', 'import boto3', 'nobody')

    def test_relative(self) -> None:
        self.assert_refused('virt/b.py', 'from . import a', 'nobody')

    def test_an_object_instead_of_its_module(self) -> None:
        line = 'from ekko_nova.block import Extent'
        self.assert_refused('virt/b.py', line, 'import the module')

    def test_a_room_without_a_label(self) -> None:
        self.write('virt/__init__.py', '')
        self.write('api/handlers/b.py', '')
        self.assertEqual(
            ['ekko_nova/api', 'ekko_nova/api/handlers', 'ekko_nova/virt'],
            unlabelled(self.package),
        )
