# shellcheck shell=bash disable=SC2153
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

# The configuration of every service, from the templates in config/.

# render TEMPLATE FILE [NAME=VALUE...]: @NAME@ becomes the value
render() {
    local template=$1 file=$2 each script=()
    shift 2
    for each in "ROOT=$ROOT" "VENV=$VENV" "ADDRESS=$ADDRESS" \
        "PASSWORD=$PASSWORD" "$@"; do
        script+=(-e "s|@${each%%=*}@|${each#*=}|g")
    done
    mkdir -p "$(dirname "$file")"
    sed "${script[@]}" "$ONEBOX/config/$template" >"$file"
}

# configure DRIVER CONCURRENCY
configure() {
    local host server
    render rabbitmq.conf "$ETC/rabbitmq/rabbitmq.conf"
    echo '[].' >"$ETC/rabbitmq/enabled_plugins"
    render keystone.conf "$ETC/keystone/keystone.conf"
    render glance-api.conf "$ETC/glance/glance-api.conf"
    render placement.conf "$ETC/placement/placement.conf"
    render neutron.conf "$ETC/neutron/neutron.conf"
    render nova.conf "$ETC/nova/nova.conf" "CONCURRENCY=$2"
    render nova-controller.conf "$ETC/nova/controller.conf"
    render ekko.conf "$ETC/nova/ekko.conf"
    configure_api_paste "$1"
    render swift.conf "$ETC/swift/swift.conf"
    render swift-proxy.conf "$ETC/swift/proxy-server.conf"
    for server in "${SWIFT_SERVERS[@]}"; do
        render swift-server.conf "$ETC/swift/${server%:*}-server.conf" \
            "SERVER=${server%:*}" "PORT=${server#*:}"
    done
    for host in "${HOSTS[@]}"; do
        configure_host "$host" "$1"
    done
}

# As an operator does it who follows doc/source/install/nova.rst.
configure_api_paste() {
    local paste=$ETC/nova/api-paste.ini files=$CHECKOUT/devstack/files
    cp "$VENV/etc/nova/api-paste.ini" "$paste"
    [[ $1 == ekko_nova.* ]] || return 0
    sed -i -e "/^\[composite:osapi_compute\]/ r $files/api-paste-urls.ini" \
        -e "\$ r $files/api-paste-sections.ini" "$paste"
}

configure_host() {
    local host=$1 address
    address=$(host_address "$host")
    render nova-compute.conf "$ETC/nova/$host.conf" "HOST=$host" \
        "HOST_ADDRESS=$address" "DRIVER=$2" \
        "PRIVSEP_CONFIG=$(nova_options "$host")"
    render libvirtd.conf "$ROOT/hosts/$host/etc-libvirt/libvirtd.conf" \
        "HOST_ADDRESS=$address" "HOST_UUID=$(host_uuid "$host")"
    render qemu.conf "$ROOT/hosts/$host/etc-libvirt/qemu.conf" \
        "HOST_ADDRESS=$address"
    render sshd_config "$ROOT/hosts/$host/sshd_config" \
        "HOST_ADDRESS=$address"
}

# nova_options NAME: the options that name Nova's configuration files
nova_options() {
    echo "--config-file $ETC/nova/nova.conf --config-file $ETC/nova/$1.conf" \
        "--config-file $ETC/nova/ekko.conf"
}
