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

import dataclasses
import pathlib
import typing

import fixtures
from oslo_config import cfg
from oslo_config import types
from oslo_utils import units
from testtools import matchers

from ekko_nova.backup.codec import digest
from ekko_nova.backup import settings
from ekko_nova.backup.store import retry
from ekko_nova.conf import ekko_swift
from ekko_nova.conf import opts
from ekko_nova import exception
from tests import base

V1 = """
[ekko_swift]
auth_type = v1password
auth_url = http://localhost:8080/auth/v1.0
username = test:tester
password = testing
"""


class ConfTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.conf = cfg.ConfigOpts()
        opts.register_opts(self.conf)

    def configure(self, text: str) -> None:
        path = self.useFixture(fixtures.TempDir()).join('ekko.conf')
        pathlib.Path(path).write_text(text, encoding='utf-8')
        self.conf(['--config-file', path], project='ekko')

    def test_the_sections_are_listed_with_all_that_is_registered(self) -> None:
        self.configure('')
        listed = {
            group.name: {opt.dest for opt in section}
            for group, section in opts.list_opts()
        }
        self.assertEqual({'ekko', 'ekko_swift'}, set(listed))
        for name, names in listed.items():
            self.assertLessEqual(set(self.conf[name]), names)

    def test_each_name_is_listed_once(self) -> None:
        for _, section in opts.list_opts():
            names = [opt.dest for opt in section]
            self.assertCountEqual(set(names), names)

    def test_every_option_of_ours_has_a_long_help(self) -> None:
        for opt in opts.list_opts()[0][1]:
            with self.subTest(option=opt.name):
                self.assertThat(opt.help or '', matchers.EndsWith('.\n'))

    def test_numbers_have_limits(self) -> None:
        free = {'compression_level'}  # the driver knows its own
        for opt in opts.list_opts()[0][1]:
            if isinstance(opt, cfg.IntOpt) and opt.dest not in free:
                with self.subTest(option=opt.name):
                    kind = typing.cast(types.Integer, opt.type)
                    self.assertTrue(kind.choices or kind.min is not None)

    def test_the_engine_has_the_same_defaults(self) -> None:
        self.configure('')
        section = self.conf.ekko
        elsewhere = {
            'bandwidth',
            'heartbeat',
            'key_provider',
            'manifest',
            'segment_size',
        }
        engine = dataclasses.asdict(settings.Settings())
        for name in engine.keys() - elsewhere:
            with self.subTest(option=name):
                self.assertEqual(engine[name], section[name])
        self.assertEqual(
            engine['segment_size'], section.segment_size_mib * units.Mi
        )
        self.assertEqual(engine['manifest'], section.manifest_driver)
        self.assertEqual(engine['heartbeat'], section.heartbeat_interval)
        self.assertEqual(
            (None, 0), (engine['bandwidth'], section.bandwidth_limit_mib)
        )

    def test_the_stores_have_the_same_defaults(self) -> None:
        self.configure('')
        policy = retry.DEFAULT
        self.assertEqual(policy.attempts, self.conf.ekko.store_attempts)
        self.assertEqual(
            policy.longest_wait, self.conf.ekko.store_longest_wait
        )

    def test_the_engine_knows_the_same_digests(self) -> None:
        [option] = [
            opt for opt in opts.list_opts()[0][1] if opt.name == 'digest'
        ]
        kind = typing.cast(types.String, option.type)
        self.assertCountEqual(digest.NAMES, kind.choices or ())

    def test_bad_values_are_refused(self) -> None:
        for line in (
            'digest = md5',
            'segment_size_mib = 3',
            'segment_size_mib = 128',
            'workers = 0',
            'puts = many',
            'stale_after = 1',
        ):
            with self.subTest(line=line):
                self.configure(f'[ekko]\n{line}\n')
                name = line.split()[0]
                self.assertRaises(
                    cfg.ConfigFileValueError, getattr, self.conf.ekko, name
                )

    def test_two_configurations_share_nothing(self) -> None:
        self.configure(V1)
        ekko_swift.environment(self.conf)
        other = cfg.ConfigOpts()
        opts.register_opts(other)
        other([], project='ekko', default_config_files=[])
        self.assertNotIn('auth_url', other.ekko_swift)

    def assert_variables(self, **expected: str) -> None:
        found = ekko_swift.environment(self.conf)
        self.assertEqual(60.0, float(found['OS_TIMEOUT']))
        self.assertEqual({**found, **expected}, found)

    def test_swift_by_the_v1_protocol(self) -> None:
        self.configure(V1)
        self.assert_variables(
            OS_AUTH_TYPE='v1password',
            OS_AUTH_URL='http://localhost:8080/auth/v1.0',
            OS_USERNAME='test:tester',
        )

    def test_swift_by_keystone(self) -> None:
        self.configure(
            '[ekko_swift]\n'
            'auth_type = password\n'
            'auth_url = http://localhost/identity\n'
            'username = ekko\n'
            'password = secret\n'
            'project_name = service\n'
            'user_domain_id = default\n'
            'project_domain_id = default\n'
        )
        self.assert_variables(
            OS_AUTH_URL='http://localhost/identity',
            OS_PROJECT_NAME='service',
            OS_INTERFACE='internal',
        )

    def test_swift_in_a_section_of_its_own(self) -> None:
        self.configure(
            '[ekko_swift]\nauth_section = account\nregion_name = north\n'
            '[account]\nauth_type = v1password\nusername = other\n'
        )
        self.assert_variables(OS_USERNAME='other', OS_REGION_NAME='north')

    def test_swift_not_configured(self) -> None:
        self.configure('')
        self.assertEqual({}, ekko_swift.environment(self.conf))

    def test_swift_with_an_unknown_plugin(self) -> None:
        self.configure('[ekko_swift]\nauth_type = nonesuch\n')
        error = self.assertRaises(
            exception.InvalidOption, ekko_swift.environment, self.conf
        )
        self.assertIn('nonesuch', str(error))
