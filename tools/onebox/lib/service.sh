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

# Services: processes in the background, each with a log and these files in
# run/:
#
#   NAME.start   the script that starts it, so that restart can
#   NAME.pid     process and start time; its process group is its own
#   NAME.digest  of its command and configuration, as it was started

# A service sees nothing of the environment of who started it. The mark is how
# down finds processes that have left their service's group.
MARK=EKKO_ONEBOX_SERVICE=$ROOT
ENVIRONMENT=(
    "PATH=$VENV/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/root LANG=C.UTF-8
    "EKKO_ONEBOX=$ROOT" "$MARK"
)

# start_time PID: sets START_TIME to the time the process was started. With it
# a pid means one process for ever, even if the machine is started anew.
start_time() {
    { read -r START_TIME <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -ra START_TIME <<<"${START_TIME##*) }"
    START_TIME=${START_TIME[19]}
}

# alive NAME: whether its process lives; sets PID
alive() {
    local since
    { read -r PID since <"$RUN/$1.pid"; } 2>/dev/null &&
        start_time "$PID" && [ "$START_TIME" = "$since" ]
}

services() {
    local file
    for file in "$RUN"/*.pid; do
        [ -e "$file" ] && basename "$file" .pid
    done
}

# start NAME [FILE...] -- COMMAND...: start a service; if it runs already,
# but was started otherwise or the files were others, start it anew
start() {
    local name=$1 files=() command digest
    shift
    while [ "$1" != -- ]; do
        files+=("$1")
        shift
    done
    shift
    printf -v command '%q ' env -i "${ENVIRONMENT[@]}" "$@"
    digest=$(cat - "${files[@]}" <<<"$command" | sha256sum)
    if alive "$name"; then
        [ "$digest" = "$(cat "$RUN/$name.digest")" ] && return 0
        say "$name is started anew, it is to run otherwise"
        stop 10 "$name"
    fi
    echo "exec $command" >"$RUN/$name.start"
    echo "$digest" >"$RUN/$name.digest"
    launch "$name"
}

launch() {
    setsid bash "$RUN/$1.start" </dev/null >>"$LOG/$1.log" 2>&1 9>&- &
    start_time $!
    echo "$! $START_TIME" >"$RUN/$1.pid"
}

# stop SECONDS NAME...: end services, and kill those that take longer
stop() {
    local seconds=$1 name tenths
    shift
    local -A pids=()
    for name in "$@"; do
        if alive "$name"; then
            pids[$name]=$PID
            kill -TERM -- "-$PID" 2>/dev/null || true
        fi
    done
    for ((tenths = seconds * 10; tenths > 0; tenths--)); do
        for name in "${!pids[@]}"; do
            alive "$name" || unset "pids[$name]"
        done
        [ ${#pids[@]} = 0 ] && break
        sleep 0.1
    done
    for name in "${!pids[@]}"; do
        kill -KILL -- "-${pids[$name]}" 2>/dev/null || true
    done
    for name in "$@"; do
        rm -f "$RUN/$name.pid"
    done
}

# wait_for SERVICE SECONDS COMMAND...: until the command succeeds; no service
# may die meanwhile
wait_for() {
    local name=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        require_all
        [ $SECONDS -lt $deadline ] ||
            fail "$LOG/$name.log" "$name does not answer: $*"
        sleep 0.2
    done
}

require_all() {
    local file name
    for file in "$RUN"/*.pid; do
        name=${file##*/}
        name=${name%.pid}
        alive "$name" || fail "$LOG/$name.log" "$name did not start, or died"
    done
}

listens() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }
answers() { curl --silent --output /dev/null --max-time 5 "$1"; }
