# What the integration tests do to nodes, over tests/lib/group.sh. Sourced after proc.sh, case.sh and group.sh, POSIX sh.
# Nodes are asked over the wire by the program probe (tests/lib/probe.c), so that a broken client library hides nothing.

PROBE=$RAFTMQ_BIN/../test-bin/probe

# single_write NAME NAMESRV [LINE...]: the configuration of a group of one, node NAME-0; later LINEs win.
single_write() {
    single_name=$1
    single_namesrv=$2
    # shellcheck disable=SC2046 # two ports
    set -- $(free_ports 2) "$@"
    single_listen=$1
    single_peer=$2
    shift 4
    {
        echo "brokerClusterName=DefaultCluster"
        echo "brokerName=$single_name"
        echo "brokerIP1=127.0.0.1"
        echo "bindAddress=127.0.0.1"
        echo "listenPort=$single_listen"
        echo "namesrvAddr=$single_namesrv"
        echo "storePathRootDir=$WORK/$single_name-0"
        echo "dLegerGroup=$single_name"
        echo "dLegerPeers=n0-127.0.0.1:$single_peer"
        echo "dLegerSelfId=n0"
        echo "mappedFileSizeCommitLog=16777216"
        for single_line in "$@"; do
            echo "$single_line"
        done
    } > "$WORK/$single_name-0.conf"
}

# triple_write NAME NAMESRV [LINE...]: the same for nodes NAME-0 to NAME-2.
triple_write() {
    triple_name=$1
    triple_namesrv=$2
    shift 2
    # shellcheck disable=SC2046 # six ports
    group_write "$triple_name" "$triple_namesrv" $(free_ports 6) "$@"
}

# node_ask NAME I WORD...: what probe's question WORD says of that node's port, e.g. node_ask a 0 status role.
node_ask() {
    ask_port=$(node_port "$1" "$2")
    ask_what=$3
    shift 3
    "$PROBE" "$ask_what" "$ask_port" "$@"
}

node_value() { node_ask "$1" "$2" status "$3" 2> /dev/null; }

node_leads() { [ "$(node_value "$1" "$2" role)" = leader ]; }

# leader_of NAME: the number of the node of a group of three that leads; false if none does.
leader_of() {
    for leader_i in $GROUP_NODES; do
        if proc_alive "$1-$leader_i" && node_leads "$1" "$leader_i"; then
            echo "$leader_i"
            return 0
        fi
    done
    return 1
}

# node_stop NAME I: SIGTERM; fails unless it exits with status 0 within 10 s.
node_stop() { proc_stop "$1-$2"; }

proc_stop() {
    stop_pid=$(proc_pid "$1") || return 1
    kill -TERM "$stop_pid" || return 1
    stop_tries=0
    while kill -0 "$stop_pid" 2> /dev/null && [ "$stop_tries" -lt 100 ]; do
        sleep 0.1
        stop_tries=$((stop_tries + 1))
    done
    rm -f "$WORK/pids/$1"
    stop_status=0
    kill -KILL "$stop_pid" 2> /dev/null && echo "$1 did not stop within 10 s"
    wait "$stop_pid" || stop_status=$?
    [ "$stop_status" -eq 0 ] || {
        echo "$1 ended with status $stop_status"
        return 1
    }
}

# refuses_to_start CONF WORD...: mqbroker with that configuration must exit with status 1 within 10 s and say each WORD.
refuses_to_start() { refuses mqbroker "$@"; }

refuses() {
    refuse_program=$1
    refuse_conf=$2
    shift 2
    refuse_status=0
    timeout 10 "$RAFTMQ_BIN/$refuse_program" -c "$refuse_conf" > "$WORK/refused.log" 2>&1 || refuse_status=$?
    cat "$WORK/refused.log"
    [ "$refuse_status" -eq 1 ] || {
        echo "ended with status $refuse_status, wanted 1"
        return 1
    }
    for refuse_word in "$@"; do
        grep -qF -e "$refuse_word" "$WORK/refused.log" || {
            echo "does not say: $refuse_word"
            return 1
        }
    done
}

# holds NAME I TOPIC QUEUE COUNT: the node gives the messages m0 to m<COUNT-1> at the offsets 0 to COUNT-1.
holds() {
    node_ask "$1" "$2" pull "$3" "$4" 0 "$5" > "$WORK/held" || return 1
    seq 0 $(($5 - 1)) | sed 's/.*/& m&/' | cmp - "$WORK/held"
}

# is_level NAME: the three nodes have applied the same last entry, with the same state.
is_level() {
    level_first=$(node_ask "$1" 0 status last commit applied applied_pos hash term) || return 1
    for level_i in 1 2; do
        [ "$(node_ask "$1" "$level_i" status last commit applied applied_pos hash term)" = "$level_first" ] || return 1
    done
    # shellcheck disable=SC2086 # the three indexes
    set -- $level_first
    [ "$1" = "$2" ] && [ "$2" = "$3" ]
}

# logs_equal NAME: the logs of the three level nodes are the same up to what they have applied.
logs_equal() {
    equal_end=$(node_value "$1" 0 applied_pos)
    for equal_i in 1 2; do
        for equal_file in "$WORK/$1-0/raftlog/log/"[0-9]*[0-9]; do
            equal_name=$(basename "$equal_file")
            equal_bytes=$((equal_end - $(echo "$equal_name" | sed 's/^0*\(.\)/\1/')))
            [ "$equal_bytes" -gt 0 ] || continue
            [ "$equal_bytes" -lt 16777216 ] || equal_bytes=16777216
            cmp -n "$equal_bytes" "$equal_file" "$WORK/$1-$equal_i/raftlog/log/$equal_name" || return 1
        done
    done
}

# ms_until SECONDS WHAT COMMAND...: waits for COMMAND, asked every 10 ms; prints how long it took as "WHAT after N ms" and sets
# took_ms.
ms_until() {
    until_begun=$(date +%s%3N)
    until_end=$((until_begun + $1 * 1000))
    until_what=$2
    shift 2
    until "$@" > /dev/null 2>&1; do
        if [ "$(date +%s%3N)" -ge "$until_end" ]; then
            echo "gave up waiting for: $until_what"
            return 1
        fi
        sleep 0.01
    done
    took_ms=$(($(date +%s%3N) - until_begun))
    echo "$until_what after $took_ms ms"
}

# check NAME COMMAND...: case_run for scripts that go on after a failure.
check() { case_run "$@" || true; }

# figure TEXT: printed among the cases, for whoever reads the log.
figure() { printf '     %s\n' "$*"; }
