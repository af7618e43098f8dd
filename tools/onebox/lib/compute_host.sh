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

# A compute host: a network namespace on the bridge, and in it a process (pid
# 1 of the host) that holds namespaces for mounts, processes and the host's
# name. When it ends, the kernel ends all that runs there, guests included:
# for tests, that is how a host crashes.

# As distributions have it: a user of the system, with a shell because files
# of a migration come by ssh, and with the groups that let it use libvirt.
make_user() {
    local address=()
    id nova >/dev/null 2>&1 ||
        address=(--system --user-group --home-dir /var/lib/nova
            --no-create-home --shell /bin/bash)
    [ ${#address[@]} = 0 ] || logged packages useradd "${address[@]}" nova
    # "*" is no password that fits; "!" would be a locked account, for ssh too.
    logged packages usermod --password '*' --append --groups libvirt nova
}

make_keys() {
    mkdir -p "$STATE/ssh"
    local name
    for name in host_key nova_key; do
        [ -e "$STATE/ssh/$name" ] ||
            ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$STATE/ssh/$name"
    done
}

# make_host HOST: its files; they stay when it is down
make_host() {
    local host=$1 files=$ROOT/hosts/$1 each
    mkdir -p "$files"/{var-lib-libvirt/qemu,run-libvirt,cache-libvirt} \
        "$files"/{etc-libvirt/qemu,run-sshd,sudoers.d} "$LOG/libvirt-$host"
    chown libvirt-qemu: "$files/var-lib-libvirt/qemu"
    make_nova_directories "$files/var-lib-nova"

    {
        echo 127.0.0.1 localhost
        for each in "${HOSTS[@]}"; do
            echo "$(host_address "$each") $each"
        done
        echo "$ADDRESS controller"
    } >"$files/etc-hosts"
    echo "nova ALL=(root) NOPASSWD: $VENV/bin/privsep-helper" \
        "$(nova_options "$host") *" >"$files/sudoers.d/nova"
    chmod 440 "$files/sudoers.d/nova"
}

make_nova_directories() {
    install -d -o nova -g nova -m 755 "$1" "$1/instances" "$1/locks"
    install -d -o nova -g nova -m 700 "$1/.ssh"
    install -o nova -g nova -m 600 "$STATE/ssh/nova_key" "$1/.ssh/id_ed25519"
    install -o nova -g nova -m 600 "$STATE/ssh/nova_key.pub" \
        "$1/.ssh/authorized_keys"
    printf '%s\n' 'Host *' '    StrictHostKeyChecking no' \
        '    UserKnownHostsFile /dev/null' '    LogLevel ERROR' \
        >"$1/.ssh/config"
    chown nova: "$1/.ssh/config"
}

make_network() {
    ip link show "$BRIDGE" >/dev/null 2>&1 ||
        ip link add "$BRIDGE" type bridge
    ip addr replace "$ADDRESS/24" dev "$BRIDGE"
    ip link set "$BRIDGE" up
}

# plug HOST: its network
plug() {
    local host=$1 space
    space=$(host_namespace "$host")
    ip netns pids "$space" >/dev/null 2>&1 || ip netns add "$space"
    if ! ip link show "ekko-$host" >/dev/null 2>&1; then
        ip link add "ekko-$host" type veth peer name eth0 netns "$space"
        ip link set "ekko-$host" master "$BRIDGE" up
    fi
    ip -n "$space" link set lo up
    ip -n "$space" link set eth0 up
    ip -n "$space" addr replace "$(host_address "$host")/24" dev eth0
}

# A directory of instances for both hosts. libvirt migrates a guest to the same
# disk only if the file system is of a kind that it knows to be shared, so this
# one, which passes everything on, says that it is GlusterFS.
start_shared_storage() {
    if ! alive shared-storage; then
        umount --lazy "$SHARED/instances" 2>/dev/null || true
        install -d -o nova -g nova "$SHARED"/{,files,instances}
    fi
    start shared-storage -- bindfs -f -o allow_other,subtype=glusterfs \
        "$SHARED/files" "$SHARED/instances"
    wait_for shared-storage 10 mountpoint "$SHARED/instances"
}

# start_host HOST INSTANCES: all but nova-compute; INSTANCES is the directory
# of the instances, if it is not the host's own
start_host() {
    local host=$1 files=$ROOT/hosts/$1
    plug "$host"
    start "host-$host" "$ONEBOX/lib/host-init" -- \
        nsenter "--net=/run/netns/$(host_namespace "$host")" \
        unshare --mount --uts --pid --fork --kill-child --mount-proc \
        --propagation private \
        bash "$ONEBOX/lib/host-init" "$host" "$files" "$LOG" "$2"
    wait_for "host-$host" 10 test "$files/ready" -nt "$RUN/host-$host.pid"
    start "virtlogd-$host" -- "$ONEBOX/host" "$host" \
        virtlogd -p /run/libvirt/virtlogd.pid
    start "sshd-$host" "$files/sshd_config" -- "$ONEBOX/host" "$host" \
        /usr/sbin/sshd -D -e -f "$files/sshd_config"
    wait_for "virtlogd-$host" 20 \
        "$ONEBOX/host" "$host" test -S /run/libvirt/virtlogd-sock
    start "libvirtd-$host" "$files"/etc-libvirt/{libvirtd,qemu}.conf -- \
        "$ONEBOX/host" "$host" libvirtd --listen -p /run/libvirt/libvirtd.pid
}

# start_compute HOST
start_compute() {
    local options
    wait_for "libvirtd-$1" 60 timeout 5 virsh --quiet \
        --connect "qemu+tcp://$(host_address "$1")/system" version
    wait_for "sshd-$1" 20 listens "$(host_address "$1")" 22
    read -ra options <<<"$(nova_options "$1")"
    start "nova-compute-$1" "$ETC/nova/nova.conf" "$ETC/nova/$1.conf" \
        "$ETC/nova/ekko.conf" \
        "$VENV/ekko-installed" -- \
        "$ONEBOX/host" --user nova "$1" "$VENV/bin/nova-compute" \
        "${options[@]}"
}

# wait_for_compute HOST: until Nova's service there has said that it is up
# since it was started. Who asks it for a server before finds it in ERROR.
wait_for_compute() {
    wait_for "nova-compute-$1" 120 \
        "$VENV/bin/python" "$ONEBOX/lib/host_is_up.py" "$1" \
        "$(stat -c %Y "$RUN/nova-compute-$1.pid")"
}
