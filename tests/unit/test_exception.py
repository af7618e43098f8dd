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


class TreeTest(base.TestCase):
    def test_all_is_complete_and_sorted(self) -> None:
        self.assertEqual(sorted(defined()), list(exception.__all__))

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
        for action in exception.EkkoError.__subclasses__():
            for leaf in action.__subclasses__():
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
