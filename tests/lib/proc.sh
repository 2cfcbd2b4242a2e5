# Starts, watches and ends the processes of a test. Sourced, POSIX sh.
#
# Sets WORK, a directory of its own that work_end removes (kept when KEEP_WORK is set or the test failed), and LOGS for
# the output of what was started (RAFTMQ_LOG_DIR when ops/test says where). Processes are ended by the id they were
# started with, never by name. Every wait has a deadline in seconds.

work_begin() {
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/raftmq-$1.XXXXXX") || exit 1
    LOGS=${RAFTMQ_LOG_DIR:-$WORK/logs}
    mkdir -p "$WORK/logs" "$WORK/pids" "$LOGS"
    trap 'work_end $?' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

work_end() {
    trap - EXIT
    proc_stop_all
    if [ "$1" -eq 0 ] && [ -z "${KEEP_WORK:-}" ]; then
        rm -rf "$WORK"
    else
        echo "files of this run are kept in $WORK" >&2
    fi
    exit "$1"
}

# proc_start NAME COMMAND...: in the background, output appended to $LOGS/NAME.log.
proc_start() {
    proc_name=$1
    shift
    "$@" >> "$LOGS/$proc_name.log" 2>&1 &
    echo $! > "$WORK/pids/$proc_name"
}

proc_pid() { cat "$WORK/pids/$1"; }

proc_alive() { [ -f "$WORK/pids/$1" ] && kill -0 "$(proc_pid "$1")" 2> /dev/null; }

# proc_kill NAME SIGNAL: sends the signal and waits until the process is gone.
proc_kill() {
    proc_id=$(proc_pid "$1") || return 1
    rm -f "$WORK/pids/$1"
    kill -"$2" "$proc_id" 2> /dev/null || return 0
    wait "$proc_id" 2> /dev/null || true
}

proc_stop_all() {
    for proc_file in "$WORK"/pids/*; do
        [ -f "$proc_file" ] || continue
        kill -CONT "$(cat "$proc_file")" 2> /dev/null || true
        kill -TERM "$(cat "$proc_file")" 2> /dev/null || true
    done
    for proc_file in "$WORK"/pids/*; do
        [ -f "$proc_file" ] || continue
        proc_id=$(cat "$proc_file")
        proc_tries=0
        while kill -0 "$proc_id" 2> /dev/null && [ "$proc_tries" -lt 50 ]; do
            sleep 0.1
            proc_tries=$((proc_tries + 1))
        done
        kill -KILL "$proc_id" 2> /dev/null || true
        wait "$proc_id" 2> /dev/null || true
        rm -f "$proc_file"
    done
}

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds, asked ten times a second.
wait_for() {
    wait_end=$(($(date +%s) + $1))
    wait_what=$2
    shift 2
    until "$@" > /dev/null 2>&1; do
        if [ "$(date +%s)" -ge "$wait_end" ]; then
            echo "gave up waiting for $wait_what" >&2
            return 1
        fi
        sleep 0.1
    done
}

# port_listening PORT: somebody on this machine listens there (any address).
port_listening() {
    awk -v port="$(printf '%04X' "$1")" '$4 == "0A" && $2 ~ ":" port "$" { found = 1 } END { exit !found }' \
        /proc/net/tcp /proc/net/tcp6 2> /dev/null
}

# wait_proc_port NAME PORT SECONDS: until the port is open; fails at once when the process NAME has ended.
wait_proc_port() {
    wait_tries=$(($3 * 10))
    until port_listening "$2"; do
        wait_tries=$((wait_tries - 1))
        if [ "$wait_tries" -le 0 ] || ! proc_alive "$1"; then
            echo "$1 did not open port $2; the end of its log:" >&2
            tail -n 10 "$LOGS/$1.log" | sed 's/^/    | /' >&2
            return 1
        fi
        sleep 0.1
    done
}

# free_ports N: N ports, one a line, that nobody uses now, below the range that the system gives to outgoing connections.
# P-2 (a stock broker's second listener) to P+2 are free too. None is given twice in a run: $WORK/ports has them.
free_ports() {
    touch "$WORK/ports"
    awk -v count="$1" -v seed="$(od -An -N3 -tu4 /dev/urandom)" '
        function hex(text,   i, value) {
            for (i = 1; i <= length(text); i++)
                value = value * 16 + index("0123456789ABCDEF", substr(text, i, 1)) - 1
            return value
        }
        FILENAME ~ /ports$/ { used[$1 + 0] = 1; next }
        FNR > 1 { split($2, at, ":"); used[hex(at[2])] = 1 }
        END {
            srand(seed)
            for (i = 0; i < 16; i++) rand() # the first ones of near seeds are near in some awks
            while (given < count) {
                port = 20000 + 5 * int(rand() * 2400)
                free = 1
                for (near = port - 2; near <= port + 2; near++)
                    if (near in used) free = 0
                if (!free) continue
                used[port] = 1
                given++
                print port
            }
        }' "$WORK/ports" /proc/net/tcp /proc/net/tcp6 | tee -a "$WORK/ports"
}
