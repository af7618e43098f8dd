# shellcheck shell=bash
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

# Make the databases' tables, and what the services keep in files. Run in a
# shell that ends at the first error.

database() { echo "mysql+pymysql://root:$PASSWORD@$ADDRESS/$1?charset=utf8mb4"; }

migrate_keystone() {
    local manage=("$VENV/bin/keystone-manage"
        --config-file "$ETC/keystone/keystone.conf")
    local as=(--keystone-user root --keystone-group root)
    "${manage[@]}" db_sync
    "${manage[@]}" fernet_setup "${as[@]}"
    "${manage[@]}" credential_setup "${as[@]}"
    "${manage[@]}" bootstrap --bootstrap-password "$PASSWORD" \
        --bootstrap-region-id RegionOne \
        --bootstrap-admin-url "http://$ADDRESS:5000/v3" \
        --bootstrap-internal-url "http://$ADDRESS:5000/v3" \
        --bootstrap-public-url "http://$ADDRESS:5000/v3"
}

migrate_images() {
    "$VENV/bin/glance-manage" --config-file "$ETC/glance/glance-api.conf" \
        db_sync
    "$VENV/bin/placement-manage" \
        --config-file "$ETC/placement/placement.conf" db sync
}

migrate_nova() {
    local manage=("$VENV/bin/nova-manage" --config-file "$ETC/nova/nova.conf"
        --config-file "$ETC/nova/controller.conf")
    "${manage[@]}" api_db sync
    "${manage[@]}" cell_v2 map_cell0 \
        --database_connection "$(database nova_cell0)"
    "${manage[@]}" cell_v2 create_cell --name cell1 \
        --database_connection "$(database nova_cell1)" \
        --transport-url "rabbit://openstack:$PASSWORD@$ADDRESS:5672/"
    "${manage[@]}" db sync
}
