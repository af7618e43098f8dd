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
#   NAME.start   the script that starts it, so that restart can; its second
#                line lists the files of its configuration
#   NAME.digest  of that script and those files, as it was started
#   NAME.pid     process and start time; its process group is its own

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
    local stat fields
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # Behind the name, which may contain anything.
    read -ra fields <<<"${stat##*) }"
    START_TIME=${fields[19]}
}

# alive NAME: whether its process lives; sets PID
alive() {
    local since
    { read -r PID since <"$RUN/$1.pid"; } 2>/dev/null &&
        start_time "$PID" && [ "$START_TIME" = "$since" ]
}

# lives_on NAME: whether any process of its group lives, be it that its first
# process has ended; sets PID
lives_on() {
    local since
    { read -r PID since <"$RUN/$1.pid"; } 2>/dev/null || return 1
    # Another process by that number can be only where the group is gone.
    ! start_time "$PID" || [ "$START_TIME" = "$since" ] || return 1
    # pgrep, because of one that is a zombie there is nothing left to end.
    kill -0 -- "-$PID" 2>/dev/null &&
        pgrep --pgroup "$PID" --runstates DRSTtI >/dev/null
}

services() {
    local file
    for file in "$RUN"/*.pid; do
        [ ! -e "$file" ] || basename "$file" .pid
    done
}

# start NAME [FILE...] -- COMMAND...: start a service; if it runs already,
# but was started otherwise or the files were others, start it anew
start() {
    local name=$1 files=() command
    shift
    while [ "$1" != -- ]; do
        files+=("$1")
        shift
    done
    shift
    printf -v command '%q ' exec env -i "${ENVIRONMENT[@]}" "$@"
    printf '%s\n' '#!/bin/bash' "# ${files[*]}" 'cd /' "$command" \
        >"$RUN/$name.start"
    if alive "$name"; then
        [ "$(digest "$name")" != "$(cat "$RUN/$name.digest")" ] || return 0
        say "$name is started anew, it is to run otherwise"
    fi
    stop 30 "$name"
    launch "$name"
}

digest() {
    local files
    read -ra files < <(sed -n '2s/^#//p' "$RUN/$1.start")
    cat "$RUN/$1.start" "${files[@]}" | sha256sum
}

launch() {
    digest "$1" >"$RUN/$1.digest"
    rm -f "$RUN/$1.pid"
    {
        setsid bash "$RUN/$1.start" &
        start_time $!
        echo "$! $START_TIME" >"$RUN/$1.pid"
        wait $!
        echo "$1 has ended with status $?"
    } </dev/null >>"$LOG/$1.log" 2>&1 9>&- &
    until [ -s "$RUN/$1.pid" ]; do
        sleep 0.02
    done
}

# stop SECONDS NAME...: end services, and kill those that take longer
stop() {
    local patience=$1 deadline=$((SECONDS + $1)) name
    shift
    local -A pids=()
    for name in "$@"; do
        if lives_on "$name"; then
            pids[$name]=$PID
            kill -TERM -- "-$PID" 2>/dev/null || true
        fi
    done
    while [ ${#pids[@]} != 0 ] && [ $SECONDS -lt $deadline ]; do
        sleep 0.1
        for name in "${!pids[@]}"; do
            lives_on "$name" || unset "pids[$name]"
        done
    done
    for name in "${!pids[@]}"; do
        [ "$patience" = 0 ] || say "$name is killed, it does not end"
        kill -KILL -- "-${pids[$name]}" 2>/dev/null || true
    done
    for name in "$@"; do
        rm -f "$RUN/$name.pid"
    done
}

# What is left of services that have died, or were killed.
stop_dead() {
    local name
    for name in $(services); do
        alive "$name" || stop 5 "$name"
    done
}

# wait_for SERVICE SECONDS COMMAND...: until the command succeeds
wait_for() {
    local name=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        alive "$name" || fail "$LOG/$name.log" "$name did not start, or died"
        if [ $SECONDS -ge $deadline ]; then
            # It may be waiting for another.
            require_all
            fail "$LOG/$name.log" "$name does not answer: $*"
        fi
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
