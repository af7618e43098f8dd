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

# The cloud: what its services are, and in which order they start.

SWIFT_SERVERS=(account:6202 container:6201 object:6200)
DATABASES=(keystone glance placement nova_api nova_cell0 nova_cell1)

# --- what OpenStack stands on

start_infrastructure() {
    start_mariadb
    start_rabbitmq
    start memcached -- memcached -u nobody -l "$ADDRESS" -p 11211 -m 64
    make_databases
    say 'MariaDB, RabbitMQ and memcached are started'
}

# Durable only as long as the machine runs: that is all a test needs.
start_mariadb() {
    local data=$STATE/mariadb
    if [ ! -e "$data/made" ]; then
        rm -rf "$data"
        install -d -o mysql -g mysql "$data"
        logged mariadb mariadb-install-db --no-defaults --user=mysql \
            --datadir="$data" --skip-test-db \
            --auth-root-authentication-method=normal
        touch "$data/made"
    fi
    start mariadb -- mariadbd --no-defaults --user=mysql --datadir="$data" \
        --socket="$data/socket" --pid-file="$data/pid" \
        --bind-address="$ADDRESS" --port=3306 --skip-name-resolve \
        --max-connections=400 --performance-schema=OFF --skip-log-bin \
        --innodb-buffer-pool-size=128M --innodb-flush-log-at-trx-commit=0 \
        --innodb-doublewrite=0 --innodb-flush-method=nosync \
        --character-set-server=utf8mb4 --collation-server=utf8mb4_general_ci
}

# A node name and ports of its own, so that another RabbitMQ may run; and no
# busy waiting for work.
start_rabbitmq() {
    local state=$STATE/rabbitmq erlang
    mkdir -p "$state"
    erlang='+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none'
    erlang+=' -kernel inet_dist_use_interface {127,0,0,1}'
    start rabbitmq "$ETC"/rabbitmq/rabbitmq.conf -- env "HOME=$state" \
        RABBITMQ_NODENAME=ekko-onebox@localhost \
        RABBITMQ_CONFIG_FILE="$ETC/rabbitmq/rabbitmq" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$ETC/rabbitmq/enabled_plugins" \
        RABBITMQ_CONF_ENV_FILE=/dev/null \
        RABBITMQ_MNESIA_BASE="$state/mnesia" \
        RABBITMQ_LOG_BASE="$LOG" RABBITMQ_LOGS=- \
        RABBITMQ_PID_FILE="$state/pid" RABBITMQ_DIST_PORT=25674 \
        ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=4371 \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="$erlang" \
        /usr/lib/rabbitmq/bin/rabbitmq-server
}

make_databases() {
    local database script
    local sql=(mariadb --no-defaults --user=root
        --socket="$STATE/mariadb/socket")
    wait_for mariadb 60 listens "$ADDRESS" 3306
    [ ! -e "$STATE/mariadb/databases" ] || return 0
    script="ALTER USER root@localhost IDENTIFIED BY '$PASSWORD';
        CREATE USER IF NOT EXISTS root@'%' IDENTIFIED BY '$PASSWORD';
        GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
    for database in "${DATABASES[@]}"; do
        script+="CREATE DATABASE IF NOT EXISTS $database;"
    done
    "${sql[@]}" --execute "$script" 2>/dev/null ||
        logged mariadb "${sql[@]}" "--password=$PASSWORD" --execute "$script"
    touch "$STATE/mariadb/databases"
}

# --- the databases' tables

# Half of a first start; the three have nothing to do with each other.
migrate() {
    [ ! -e "$STATE/migrated" ] || return 0
    local each pids=()
    mkdir -p "$STATE"/{keystone,nova,glance/{images,staging,tasks,locks}}
    for each in keystone images nova; do
        logged "migrate-$each" bash -ec ". '$ONEBOX/lib/common.sh'
            . '$ONEBOX/lib/migrate.sh'; migrate_$each" &
        pids+=($!)
    done
    for each in "${pids[@]}"; do
        wait "$each"
    done
    touch "$STATE/migrated"
    say 'the databases have their tables'
}

# --- OpenStack

# start_wsgi NAME APPLICATION PORT CONFIG [VARIABLE...]
start_wsgi() {
    local name=$1 application=$2 port=$3 config
    read -ra config <<<"$4"
    shift 4
    start "$name" "${config[@]}" "$ONEBOX/lib/gunicorn.conf.py" -- env \
        "GUNICORN_CMD_ARGS=-c $ONEBOX/lib/gunicorn.conf.py" \
        "ONEBOX_APPLICATION=$application" "ONEBOX_BIND=$ADDRESS:$port" \
        "$@" "$VENV/bin/gunicorn"
}

start_services() {
    start_wsgi keystone keystone.wsgi.api:application 5000 \
        "$ETC/keystone/keystone.conf" "OS_KEYSTONE_CONFIG_DIR=$ETC/keystone"
    wait_for keystone 60 answers "http://$ADDRESS:5000/v3"
    seed identity "$ADDRESS" "$PASSWORD"
    start_wsgi placement placement.wsgi.api:application 8778 \
        "$ETC/placement/placement.conf" \
        "OS_PLACEMENT_CONFIG_DIR=$ETC/placement"
    start_wsgi glance glance.wsgi.api:application 9292 \
        "$ETC/glance/glance-api.conf" "OS_GLANCE_CONFIG_DIR=$ETC/glance"
    start_wsgi network network_service:application 9696 \
        "$ETC/neutron/neutron.conf" "PYTHONPATH=$ONEBOX/lib" \
        "NETWORK_CONFIG=$ETC/neutron/neutron.conf" \
        "NETWORK_STATE=$STATE/network.json"
    wait_for rabbitmq 60 listens "$ADDRESS" 5672
    start_nova
    start_swift
}

start_nova() {
    local each options
    local files=$ETC/nova/api-paste.ini
    for each in nova controller ekko; do
        files+=";$ETC/nova/$each.conf"
    done
    read -ra options <<<"$(nova_options controller)"
    for each in conductor scheduler; do
        start "nova-$each" "$ETC/nova/nova.conf" \
            "$ETC/nova/controller.conf" -- \
            "$VENV/bin/nova-$each" "${options[@]}"
    done
    start_wsgi nova-api nova.wsgi.osapi_compute:application 8774 \
        "${files//;/ } $VENV/ekko-installed" \
        "OS_NOVA_CONFIG_DIR=$ETC/nova" \
        "OS_NOVA_CONFIG_FILES=$files"
}

start_swift() {
    local each name
    mkdir -p "$STATE/swift/disk"
    for each in "${SWIFT_SERVERS[@]}"; do
        name=${each%:*}
        [ -e "$ETC/swift/$name.ring.gz" ] ||
            logged swift-rings make_ring "$name" "${each#*:}"
        start "swift-$name" "$ETC/swift/$name-server.conf" -- \
            "$VENV/bin/swift-$name-server" "$ETC/swift/$name-server.conf" -v
    done
    start swift-proxy "$ETC/swift/proxy-server.conf" -- \
        "$VENV/bin/swift-proxy-server" "$ETC/swift/proxy-server.conf" -v
}

# One disk, no replicas: make_ring NAME PORT
make_ring() {
    local ring=("$VENV/bin/swift-ring-builder" "$ETC/swift/$1.builder")
    rm -f "$ETC/swift/$1.builder"
    "${ring[@]}" create 4 1 0 &&
        "${ring[@]}" add "r1z1-$ADDRESS:$2/disk" 1 &&
        "${ring[@]}" rebalance
}

wait_for_services() {
    wait_for glance 90 answers "http://$ADDRESS:9292/"
    wait_for placement 90 answers "http://$ADDRESS:8778/"
    wait_for network 90 answers "http://$ADDRESS:9696/"
    wait_for swift-proxy 90 answers "http://$ADDRESS:8080/healthcheck"
    wait_for nova-api 120 answers "http://$ADDRESS:8774/"
}

# seed WHAT ARGUMENT...: see lib/seed.py
seed() {
    [ "$STATE/seeded-$1" -ot "$ONEBOX/lib/seed.py" ] || return 0
    logged "seed-$1" "$VENV/bin/python" "$ONEBOX/lib/seed.py" "$@"
    touch "$STATE/seeded-$1"
}

wait_for_computes() {
    local host options
    for host in "${HOSTS[@]}"; do
        wait_for_compute "$host"
    done
    [ ! -e "$STATE/discovered" ] || return 0
    read -ra options <<<"$(nova_options controller)"
    logged nova-manage "$VENV/bin/nova-manage" "${options[@]}" \
        cell_v2 discover_hosts
    touch "$STATE/discovered"
}
