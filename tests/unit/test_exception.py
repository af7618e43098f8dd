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

from collections.abc import Iterator
import functools
import inspect
import re

from ekko_nova import exception
from tests import base

# One line of the drawing: its branches, a name, perhaps a status and a note.
DRAWN = re.compile(
    r'^ {4}(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)( +(?P<status>\d+))?(  |$)'
)


def drawn() -> Iterator[tuple[str, str | None, int | None]]:
    """Name, parent and exit status of each class, as the docstring has it."""
    above: list[str] = []
    for line in inspect.cleandoc(exception.__doc__ or '').splitlines():
        if not (found := DRAWN.match(line)):
            continue
        del above[len(found['branch']) // 4 :]
        status = found['status']
        yield (
            found['name'],
            above[-1] if above else None,
            int(status) if status else None,
        )
        above.append(found['name'])


def defined() -> dict[str, type[exception.EkkoError]]:
    """The classes of the module itself."""
    return {
        name: value
        for name, value in vars(exception).items()
        if inspect.isclass(value) and issubclass(value, exception.EkkoError)
    }


def leaves() -> list[type[exception.EkkoError]]:
    return [
        leaf
        for action in exception.EkkoError.__subclasses__()
        for leaf in action.__subclasses__()
    ]


class TreeTest(base.TestCase):
    def test_all_is_complete_and_sorted(self) -> None:
        self.assertEqual([*sorted(defined()), 'told'], list(exception.__all__))

    def test_the_drawing_is_the_tree(self) -> None:
        tree = {
            name: value.__base__.__name__ if value.__base__ else None
            for name, value in defined().items()
        }
        tree['EkkoError'] = None
        self.assertEqual(tree, {name: parent for name, parent, _ in drawn()})

    def test_every_action_documents_its_status(self) -> None:
        documented = {
            name: status for name, _, status in drawn() if status is not None
        }
        actions = exception.EkkoError.__subclasses__()
        self.assertEqual(
            {action.__name__: action.exit_code for action in actions},
            documented,
        )

    def test_statuses_are_distinct_and_none_of_the_usual_ones(self) -> None:
        statuses = [
            error.exit_code for error in exception.EkkoError.__subclasses__()
        ]
        self.assertEqual(len(statuses), len(set(statuses)))
        # 0 is success, 1 a bug, 2 what argparse ends with.
        self.assertTrue(set(statuses).isdisjoint({0, 1, 2}))

    def test_a_leaf_ends_with_the_status_of_its_action(self) -> None:
        for action in exception.EkkoError.__subclasses__():
            for leaf in action.__subclasses__():
                self.assertNotIn('exit_code', vars(leaf), leaf.__name__)

    def test_the_facts_are_attributes_and_in_the_message(self) -> None:
        for leaf in leaves():
            self.check_facts(leaf)

    def check_facts(self, leaf: type[exception.EkkoError]) -> None:
        parameters = inspect.signature(leaf).parameters
        facts = {
            name: f'<{name}>'
            for name, parameter in parameters.items()
            if parameter.default is parameter.empty
        }
        error = leaf(**facts)
        for name, value in facts.items():
            self.assertEqual(value, getattr(error, name))
            self.assertIn(value, str(error), f'{leaf.__name__}.{name}')
        # Nova shows it to the owner of the instance.
        self.assertEqual(exception.told(error), error.format_message())
        if leaf.told is not None:
            self.assertEqual(leaf.told, exception.told(error))
            for value in facts.values():
                self.assertNotIn(value, exception.told(error))


class ToldTest(base.TestCase):
    """What tenants are told."""

    def test_what_names_a_host_a_path_or_the_store_has_another_text(
        self,
    ) -> None:
        for leaf in leaves():
            facts = set(inspect.signature(leaf).parameters)
            if facts & {'directory', 'host', 'path', 'socket', 'store'}:
                self.assertIsNotNone(leaf.told, leaf.__name__)
        for leaf in exception.OperatorNeeded.__subclasses__():
            self.assertIsNotNone(leaf.told, leaf.__name__)

    def test_the_texts_are_distinct(self) -> None:
        texts = [
            leaf.told
            for leaf in leaves()
            if vars(leaf).get('told') is not None
        ]
        self.assertEqual(len(texts), len(set(texts)))

    def test_the_message_where_it_names_nothing_else(self) -> None:
        error = exception.InProgress('a-server', 'a-backup', 'backup')
        self.assertEqual(str(error), exception.told(error))

    def test_what_another_process_failed_with(self) -> None:
        reason = 'cannot write /srv/x'
        for of in (
            functools.partial(exception.Refused, reason=reason),
            functools.partial(exception.WorkerFailed, reason),
        ):
            for kind, told in (
                ('StoreUnavailable', exception.StoreUnavailable.told),
                ('Cancelled', reason),
                ('WorkerFailed', exception.WorkerFailed.told),
                ('of a later version', exception.OperatorNeeded.told),
            ):
                self.assertEqual(told, exception.told(of(kind=kind)))

    def test_what_nobody_foresaw(self) -> None:
        told = exception.told(OSError('/srv/x is not there'))
        self.assertEqual(exception.WorkerFailed.told, told)
