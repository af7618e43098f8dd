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

# Where everything is, and words that every command uses.
# shellcheck disable=SC2034  # whoever sources this uses them

ONEBOX=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CHECKOUT=$(cd "$ONEBOX/../.." && pwd)
ROOT=$(realpath -m "${EKKO_ONEBOX:-/var/tmp/ekko-onebox}")
VENV=$ROOT/venv
ETC=$ROOT/etc
LOG=$ROOT/log
RUN=$ROOT/run
STATE=$ROOT/state
SHARED=$ROOT/hosts/shared

# One network for all, that only this machine sees.
BRIDGE=ekko0
PREFIX=10.78.0
ADDRESS=$PREFIX.1
HOSTS=(c1 c2)
# For every user of every service: nobody else can reach them.
PASSWORD=secret

host_address() { echo "$PREFIX.1${1#c}"; }
host_uuid() { printf '656b6b6f-0000-4000-8000-%012d\n' "${1#c}"; }
host_namespace() { echo "ekko-$1"; }

BEGAN=${EPOCHREALTIME/[^0-9]/}

elapsed() {
    local now=${EPOCHREALTIME/[^0-9]/}
    local tenths=$(((now - BEGAN) / 100000))
    echo "$((tenths / 10)).$((tenths % 10))"
}

say() { printf '%6s s  %s\n' "$(elapsed)" "$*" >&2; }

# fail [LOG] MESSAGE: the end of what LOG says, and the end
fail() {
    if [ $# = 2 ]; then
        echo "--- the end of $1:" >&2
        tail -n 25 "$1" >&2 || true
        echo '---' >&2
        shift
    fi
    echo "${0##*/}: $1" >&2
    exit 1
}

# The text between the licence and the first command is a command's help.
show_help() {
    awk 'NR > 12 && /^#/ { sub(/^# ?/, ""); print; next } NR > 12 { exit }' \
        "$0"
}

need_root() {
    [ "$(id -u)" = 0 ] || fail 'namespaces and users need root: run it as root'
}

# Only one command at a time may change the cloud.
lock() {
    mkdir -p "$RUN"
    exec 9>"$RUN/lock"
    flock --nonblock 9 || fail "another command is at work on $ROOT"
}

# logged NAME COMMAND...: what the command says goes to a log
logged() {
    local log=$LOG/$1.log
    shift
    "$@" >>"$log" 2>&1 || fail "$log" "$1 failed"
}
