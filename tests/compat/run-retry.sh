#!/bin/sh
# A consumer group of a stock Java client that fails every message, against a RaftMQ group of three whose delay levels take a
# second each: all levels up to the dead letters, on a healthy group and with the leader killed in the middle.
#
# Usage: tests/compat/run-retry.sh [healthy] [kill]      both unless told
# RAFTMQ_CLIENT_VERSIONS chooses the clients ("4.9.8 5.4.0").
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case java stock group; do
    . "$TOP/tests/lib/$part.sh"
done
CLIENT_VERSIONS=${RAFTMQ_CLIENT_VERSIONS:-4.9.8 5.4.0}
GROUP=retry-a
LEVELS='1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s'

# serve OUT: does what the program asks for, until it ends.
serve() {
    serve_seen=0
    while kill -0 "$program_pid" 2> /dev/null; do
        serve_lines=$(wc -l < "$1")
        if [ "$serve_lines" -gt "$serve_seen" ]; then
            case $(sed -n "${serve_lines}p" "$1") in
            KILL-NOW)
                killed=$(group_leader $GROUP "$NAMESRV")
                proc_kill $GROUP-"$killed" KILL
                echo KILLED >&9
                ;;
            RESTART-NOW)
                sleep 3
                node_start $GROUP "$killed"
                echo RESTARTED >&9
                ;;
            esac
            serve_seen=$serve_lines
        fi
        sleep 0.2
    done
}

# levels VERSION PHASE
levels() {
    levels_out=$WORK/$2-$1.out
    levels_in=$WORK/$2-$1.in
    mkfifo "$levels_in"
    : > "$levels_out"
    # shellcheck disable=SC2046 # java_command prints words
    $(java_command client "$1") RetryLevels "$NAMESRV" "$(date +%s)" "$2" < "$levels_in" > "$levels_out" 2> "$LOGS/$2-$1.err" &
    program_pid=$!
    echo $program_pid > "$WORK/pids/$2-$1"
    exec 9> "$levels_in"
    serve "$levels_out"
    exec 9>&-
    rm -f "$WORK/pids/$2-$1"
    wait $program_pid || true
    sed -n "s/^\(PASS\|FAIL\) /&client $1: /p;/^    /p" "$levels_out"
    case_output "$levels_out"
    tail -n 1 "$levels_out" | grep -q '^[0-9]* passed, [0-9]* failed$' ||
        case_fail "client $1: $2" "ended before its last case, errors in $LOGS/$2-$1.err"
}

work_begin compat-retry
group_programs_exist
NAMESRV_PORT=$(free_ports 1)
NAMESRV=127.0.0.1:$NAMESRV_PORT
namesrv_start ns "$NAMESRV_PORT"
group_start $GROUP "$NAMESRV" "messageDelayLevel=$LEVELS"
for version in $CLIENT_VERSIONS; do
    java_jars client "$version"
    java_compile client "$version" "$TOP/tests/compat/retry"
    for phase in ${*:-healthy kill}; do
        levels "$version" "$phase"
    done
done
case_run "three replicas hold the same bytes" wait_for 30 "equal logs" group_logs_equal $GROUP || true
case_end compat-retry
