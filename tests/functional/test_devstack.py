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

"""devstack/, without a devstack.

devstack is no package that could be installed (a checkout only), so what our
functions call of it is written here, as small as it can be: its functions for
INI files work, those for Keystone and the like write down how they are called.
With ``EKKO_DEVSTACK`` naming a checkout, the former are devstack's own.

``api_paste/`` has the files of Nova's wheels, unchanged: that of 31, and that
of 32 to 34, which is one.
"""

import configparser
import os
import pathlib
import subprocess
import sys
import typing

import fixtures
from oslo_config import cfg

from ekko_nova.conf import ekko_swift
from ekko_nova.conf import opts
from tests import base

_ROOT: typing.Final = pathlib.Path(__file__).parents[2]
_DEVSTACK: typing.Final = _ROOT / 'devstack'
_SCRIPTS: typing.Final = (
    _DEVSTACK / 'lib' / 'ekko_nova',
    _DEVSTACK / 'plugin.sh',
    _DEVSTACK / 'settings',
)
_PASTE: typing.Final = sorted(
    pathlib.Path(__file__).with_name('api_paste').glob('nova-*.ini')
)
_CHECKOUT: typing.Final = os.environ.get('EKKO_DEVSTACK')

# As devstack's, multi-valued options are several lines of the same name.
_INI: typing.Final = r"""
function iniget_multiline {
    echo $(sed -n "/^\[$2\]/,/^\[/ s/^$3 *= *//p" "$1")
}
function iniget { iniget_multiline "$@"; }
function iniadd {
    grep -q "^\[$2\]" "$1" 2>/dev/null || printf '\n[%s]\n' "$2" >>"$1"
    sed -i "/^\[$2\]/ a $3 = ${4//\\/\\\\}" "$1"
}
function iniset {
    if [[ -e $1 ]]; then
        [[ $(iniget "$@") == "$4" ]] && return
        sed -i "/^\[$2\]/,/^\[/ { /^$3 *=/ d; }" "$1"
    fi
    iniadd "$@"
}
"""

# Those that must not be called in a test are not here.
_OTHERS: typing.Final = r"""
function called { printf '%s|' "$@" >>"$CALLS"; echo >>"$CALLS"; }
function die { echo "$2" >&2; exit 1; }
function echo_summary { called summary "$@"; }
function define_plugin { called define_plugin "$@"; }
function setup_develop { called setup_develop "$@"; }
function create_service_user { called create_service_user "$@"; }
function get_or_create_service { called get_or_create_service "$@"; }
function get_or_create_endpoint { called get_or_create_endpoint "$@"; }
function is_service_enabled {
    local each
    for each in "$@"; do
        [[ " $ENABLED " == *" $each "* ]] && return 0
    done
    return 1
}
"""

_VARIABLES: typing.Final = {
    'CURL_GET': 'curl -g',
    'ENABLED': 'n-api n-cpu tempest',
    'KEYSTONE_SERVICE_URI': 'http://192.0.2.1/identity',
    'NOVA_SERVICE_HOST': '192.0.2.1',
    'NOVA_SERVICE_PROTOCOL': 'http',
    'REGION_NAME': 'RegionOne',
    'SERVICE_DOMAIN_NAME': 'Default',
    'SERVICE_PASSWORD': r'a&b\c',
    'SERVICE_PROJECT_NAME': 'service',
    'SSL_BUNDLE_FILE': '/opt/stack/data/ca-bundle.pem',
    'VIRT_DRIVER': 'libvirt',
}


def _parse(path: pathlib.Path) -> configparser.ConfigParser:
    """As PasteDeploy does, but a name that is there twice is an error."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


class DevstackCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.conf = self.root / 'nova.conf'
        self.cpu_conf = self.root / 'nova-cpu.conf'
        self.paste = self.root / 'api-paste.ini'
        self.tempest = self.root / 'tempest.conf'
        self.calls = self.root / 'calls'
        self.conf.touch()
        self.stock = _PASTE[-1].read_bytes()
        self.paste.write_bytes(self.stock)

    def attempt(
        self, script: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script as devstack would, after our settings and functions."""
        ini = f'source {_CHECKOUT}/inc/ini-config' if _CHECKOUT else _INI
        lines = [
            'set -o errexit',
            ini,
            _OTHERS,
            f'source {_DEVSTACK}/settings',
            f'source {_DEVSTACK}/lib/ekko_nova',
            script,
        ]
        return subprocess.run(
            ['bash', '-c', '\n'.join(lines)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.root,
            env={
                'PATH': os.environ['PATH'],
                'CALLS': str(self.calls),
                'EKKO_NOVA_DIR': str(_ROOT),
                'NOVA_API_PASTE_INI': str(self.paste),
                'NOVA_CONF': str(self.conf),
                'NOVA_CPU_CONF': str(self.cpu_conf),
                'TEMPEST_CONFIG': str(self.tempest),
                **_VARIABLES,
                **variables,
            },
        )

    def run_script(self, script: str, **variables: str) -> None:
        done = self.attempt(script, **variables)
        self.assertEqual((0, ''), (done.returncode, done.stderr), done.stdout)

    def phase(self, *words: str, **variables: str) -> None:
        self.run_script(
            f'source {_DEVSTACK}/plugin.sh {" ".join(words)}', **variables
        )

    def called(self) -> list[list[str]]:
        if not self.calls.exists():
            return []
        lines = self.calls.read_text().splitlines()
        return [line.split('|')[:-1] for line in lines]

    def options(self, path: pathlib.Path) -> cfg.ConfigOpts:
        """The file as ekko-nova reads it."""
        conf = cfg.ConfigOpts()
        opts.register_opts(conf)
        conf(['--config-file', str(path)], project='nova')
        return conf


class PasteTest(DevstackCase):
    def configure(self) -> None:
        self.run_script('configure_ekko_nova_api $NOVA_CONF nova-paste.ini')

    def each_release(self) -> typing.Iterator[pathlib.Path]:
        self.assertEqual(
            ['nova-31.ini', 'nova-34.ini'], [path.name for path in _PASTE]
        )
        for stock in _PASTE:
            self.paste = self.root / 'nova-paste.ini'
            self.paste.write_bytes(stock.read_bytes())
            yield stock

    def test_our_api_is_beside_novas(self) -> None:
        pipeline = (
            'cors http_proxy_to_wsgi compute_req_id faultwrap request_log '
            'sizelimit authtoken keystonecontext instance_backup_app'
        )
        for stock in self.each_release():
            wanted = _parse(stock)
            wanted.read_dict(
                {
                    'composite:osapi_compute': {
                        '/instance-backup': 'instance_backup_versions',
                        '/instance-backup/v1': 'instance_backup',
                    },
                    'composite:instance_backup': {
                        'use': 'call:nova.api.auth:pipeline_factory_v21',
                        'keystone': pipeline,
                    },
                    'pipeline:instance_backup_versions': {
                        'pipeline': 'cors http_proxy_to_wsgi '
                        'instance_backup_versions_app',
                    },
                    'app:instance_backup_app': {
                        'paste.app_factory': 'ekko_nova.api.app:factory',
                    },
                    'app:instance_backup_versions_app': {
                        'paste.app_factory': 'ekko_nova.api.versions:factory',
                    },
                }
            )
            self.configure()
            self.assertEqual(wanted, _parse(self.paste), stock.name)

    def test_what_a_pipeline_names_is_there(self) -> None:
        for stock in self.each_release():
            self.configure()
            paste = _parse(self.paste)
            names = {section.partition(':')[2] for section in paste.sections()}
            pipelines = [
                paste['composite:instance_backup']['keystone'],
                paste['pipeline:instance_backup_versions']['pipeline'],
            ]
            for pipeline in pipelines:
                self.assertLessEqual(set(pipeline.split()), names, stock.name)

    def test_again_changes_nothing(self) -> None:
        for stock in self.each_release():
            self.configure()
            once = self.paste.read_bytes()
            self.assertNotEqual(stock.read_bytes(), once)
            self.configure()
            self.assertEqual(once, self.paste.read_bytes(), stock.name)

    def test_undone_it_is_novas(self) -> None:
        for stock in self.each_release():
            self.configure()
            self.run_script(
                'cleanup_ekko_nova', NOVA_API_PASTE_INI='nova-paste.ini'
            )
            self.assertEqual(
                stock.read_bytes(), self.paste.read_bytes(), stock.name
            )

    def test_a_file_of_something_else(self) -> None:
        self.paste.write_text('[composite:osapi_volume]\n')
        done = self.attempt('configure_ekko_nova_api $NOVA_CONF api-paste.ini')
        self.assertEqual(1, done.returncode)
        self.assertIn('has no [composite:osapi_compute]', done.stderr)


class ConfTest(DevstackCase):
    def test_store_and_credentials(self) -> None:
        wanted = {
            'OS_AUTH_TYPE': 'password',
            'OS_AUTH_URL': 'http://192.0.2.1/identity',
            'OS_CACERT': None,
            'OS_INTERFACE': 'public',
            'OS_PASSWORD': r'a&b\c',
            'OS_PROJECT_DOMAIN_NAME': 'Default',
            'OS_PROJECT_NAME': 'service',
            'OS_REGION_NAME': 'RegionOne',
            'OS_USERNAME': 'ekko',
            'OS_USER_DOMAIN_NAME': 'Default',
        }
        for function in (
            'configure_ekko_nova_compute $NOVA_CONF',
            'configure_ekko_nova_api $NOVA_CONF $NOVA_API_PASTE_INI',
        ):
            self.conf.write_text('')
            self.run_script(function)
            conf = self.options(self.conf)
            self.assertEqual('swift:///ekko-{project}', conf.ekko.store)
            found = ekko_swift.environment(conf)
            self.assertEqual(
                wanted, {name: found.get(name) for name in wanted}, function
            )

    def test_behind_tls(self) -> None:
        self.run_script(
            'configure_ekko_nova_compute $NOVA_CONF', ENABLED='tls-proxy'
        )
        self.assertEqual(
            '/opt/stack/data/ca-bundle.pem',
            self.options(self.conf).ekko_swift.cafile,
        )

    def test_driver(self) -> None:
        self.conf.write_text(
            '[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n'
            '[oslo_messaging_notifications]\ndriver = messagingv2\n'
        )
        self.run_script('configure_ekko_nova_compute $NOVA_CONF')
        conf = self.options(self.conf)
        conf.register_opt(cfg.StrOpt('compute_driver'))
        conf.register_opt(
            cfg.MultiStrOpt('driver'), group='oslo_messaging_notifications'
        )
        self.assertEqual('ekko_nova.EkkoLibvirtDriver', conf.compute_driver)
        self.assertCountEqual(
            ['messagingv2', 'ekko_nova'],
            conf.oslo_messaging_notifications.driver,
        )

    def test_api_leaves_the_driver_alone(self) -> None:
        self.run_script('configure_ekko_nova_api $NOVA_CONF api-paste.ini')
        self.assertNotIn('compute_driver', self.conf.read_text())

    def test_the_users_own_store(self) -> None:
        self.run_script(
            'configure_ekko_nova_compute $NOVA_CONF',
            EKKO_NOVA_STORE='file:///srv/backups',
            EKKO_NOVA_USER='keeper',
        )
        conf = self.options(self.conf)
        self.assertEqual('file:///srv/backups', conf.ekko.store)
        self.assertIn('username = keeper\n', self.conf.read_text())

    def test_again_changes_nothing(self) -> None:
        # That of our own cloud has most of it already, with other values.
        config = _ROOT / 'tools' / 'onebox' / 'config'
        for before in (
            '',
            (config / 'nova-compute.conf').read_text(),
            (config / 'nova.conf').read_text(),
        ):
            self.conf.write_text(before)
            self.run_script('configure_ekko_nova_compute $NOVA_CONF')
            once = self.conf.read_text()
            self.assertNotEqual(before, once)
            self.run_script('configure_ekko_nova_compute $NOVA_CONF')
            self.assertEqual(once, self.conf.read_text())

    def test_another_hypervisor(self) -> None:
        done = self.attempt(
            'configure_ekko_nova_compute $NOVA_CONF', VIRT_DRIVER='ironic'
        )
        self.assertEqual(1, done.returncode)
        self.assertIn('needs VIRT_DRIVER=libvirt, not ironic', done.stderr)
        self.assertEqual('', self.conf.read_text())


class PhaseTest(DevstackCase):
    def test_install(self) -> None:
        self.phase('stack', 'install')
        self.assertIn(['setup_develop', str(_ROOT)], self.called())

    def test_install_where_no_nova_is(self) -> None:
        self.phase('stack', 'install', ENABLED='s-proxy')
        self.assertEqual([['define_plugin', 'ekko-nova']], self.called())

    def test_all_in_one(self) -> None:
        self.phase('stack', 'post-config')
        conf = _parse(self.conf)
        self.assertEqual(
            'ekko_nova.EkkoLibvirtDriver', conf['DEFAULT']['compute_driver']
        )
        self.assertIn('composite:instance_backup', _parse(self.paste))
        calls = [call for call in self.called() if call[0] != 'summary']
        endpoint = [
            'get_or_create_endpoint',
            'instance-backup',
            'RegionOne',
            'http://192.0.2.1/compute/instance-backup/v1',
        ]
        self.assertEqual(
            [
                ['define_plugin', 'ekko-nova'],
                ['create_service_user', 'ekko', 'member'],
                [
                    'get_or_create_service',
                    'ekko-nova',
                    'instance-backup',
                    'Backups of instances',
                ],
                endpoint,
            ],
            calls,
        )

    def test_compute_host(self) -> None:
        self.phase('stack', 'post-config', ENABLED='n-cpu')
        self.assertIn('compute_driver', self.conf.read_text())
        self.assertEqual(self.stock, self.paste.read_bytes())
        self.assertNotIn(
            'create_service_user', [call[0] for call in self.called()]
        )

    def test_nova_api_does_not_answer(self) -> None:
        # Nothing listens on port 1.
        done = self.attempt(
            f'source {_DEVSTACK}/plugin.sh stack extra',
            NOVA_SERVICE_HOST='127.0.0.1:1',
        )
        self.assertEqual(1, done.returncode)
        self.assertIn(
            'does not answer at http://127.0.0.1:1/compute/instance-backup;',
            done.stderr,
        )

    def test_tempest(self) -> None:
        self.phase('stack', 'test-config')
        available = _parse(self.tempest)['service_available']
        self.assertEqual('True', available['ekko_nova'])

    def test_unstack_changes_nothing(self) -> None:
        self.phase('stack', 'post-config')
        before = self.conf.read_bytes(), self.paste.read_bytes()
        self.phase('unstack')
        self.assertEqual(
            before, (self.conf.read_bytes(), self.paste.read_bytes())
        )

    def test_clean(self) -> None:
        self.conf.write_text(
            '[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n'
            '[oslo_messaging_notifications]\ndriver = messagingv2\n'
        )
        nova = _parse(self.conf)
        self.phase('stack', 'post-config')
        # As the user may have, and where nova-compute has its copy.
        with self.conf.open('a') as file:
            file.write('[libvirt]\nvirt_type = qemu\n')
        nova.read_dict({'libvirt': {'virt_type': 'qemu'}})
        self.cpu_conf.write_bytes(self.conf.read_bytes())
        self.phase('clean')
        self.assertEqual(nova, _parse(self.conf))
        self.assertEqual(nova, _parse(self.cpu_conf))
        self.assertEqual(self.stock, self.paste.read_bytes())

    def test_clean_without_nova(self) -> None:
        self.conf.unlink()
        self.paste.unlink()
        self.phase('clean')
        self.assertFalse(self.conf.exists() or self.paste.exists())


class StyleTest(base.TestCase):
    def check(self, *command: str | pathlib.Path) -> None:
        path = f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}'
        done = subprocess.run(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={'PATH': path},
        )
        self.assertEqual(0, done.returncode, done.stdout)

    def test_no_script_is_forgotten(self) -> None:
        found = {
            path
            for path in _DEVSTACK.rglob('*')
            if path.is_file() and path.read_text().startswith('#!/bin/bash')
        }
        self.assertEqual(set(_SCRIPTS), found)

    def test_bash_reads_it(self) -> None:
        for script in _SCRIPTS:
            self.check('bash', '-n', script)

    def test_bashate(self) -> None:
        self.check('bashate', '--max-line-length=79', '-e', 'E', *_SCRIPTS)
