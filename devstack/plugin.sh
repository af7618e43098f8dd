#!/bin/bash
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

# What devstack calls: source plugin.sh MODE [PHASE]

_XTRACE_EKKO_NOVA_PLUGIN=$(set +o | grep xtrace)
set +o xtrace

source $EKKO_NOVA_DIR/devstack/lib/ekko_nova

if [[ "$1" == "stack" ]]; then
    case "$2" in
        install)
            if is_service_enabled n-api n-cpu; then
                echo_summary "Installing ekko-nova"
                install_ekko_nova
            fi
            ;;
        post-config)
            # Keystone runs, Nova does not yet. nova-compute reads a copy of
            # $NOVA_CONF that is made when it starts.
            if is_service_enabled n-cpu; then
                echo_summary "Configuring ekko-nova in nova-compute"
                configure_ekko_nova_compute $NOVA_CONF
            fi
            if is_service_enabled n-api; then
                echo_summary "Configuring ekko-nova in nova-api"
                configure_ekko_nova_api $NOVA_CONF $NOVA_API_PASTE_INI
                create_ekko_nova_accounts
                create_ekko_nova_endpoint
            fi
            ;;
        extra)
            if is_service_enabled n-api; then
                check_ekko_nova_api
            fi
            ;;
        test-config)
            if is_service_enabled tempest; then
                configure_ekko_nova_tempest $TEMPEST_CONFIG
            fi
            ;;
    esac
elif [[ "$1" == "unstack" ]]; then
    # Nothing of ours runs but inside Nova, which devstack stops.
    :
elif [[ "$1" == "clean" ]]; then
    cleanup_ekko_nova
fi

$_XTRACE_EKKO_NOVA_PLUGIN
