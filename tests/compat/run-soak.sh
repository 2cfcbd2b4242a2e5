#!/bin/sh
# Every case of the matrix over and over, ten at a time, while the leader dies by kill -9 every 45 s: each case accounts for its messages
# itself. Memory of the nodes is printed every 30 s and must stay flat; at the end the states of the three are compared.
#
# Usage: tests/compat/run-soak.sh [--minutes N]     (10 unless told)
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case java stock group; do
    . "$TOP/tests/lib/$part.sh"
done
. "$TOP/tests/compat/driver.sh"
. "$TOP/tests/compat/brokers.sh"
. "$TOP/tests/compat/replay.sh"

GROUP=soak-a
BROKERS=raftmq
MINUTES=10
CLIENT_VERSIONS=5.4.0
GROWTH_KIB=32768 # what a node may gain between the first third and the end, beside what its new topics take
TOPIC_KIB=64     # of four queues
while [ $# -gt 0 ]; do
    case $1 in
    --minutes)
        MINUTES=$2
        shift
        ;;
    *)
        echo "unknown option $1" >&2
        exit 2
        ;;
    esac
    shift
done

anon_kib() { sed -n 's/^RssAnon:[ \t]*\([0-9]*\) kB/\1/p' "/proc/$(proc_pid "$1")/status" 2> /dev/null || true; }

topics_now() { find "$WORK/$GROUP-0/consumequeue" -mindepth 1 -maxdepth 1 2> /dev/null | wc -l; }

# Once in 30 s a line "seconds topics node0 node1 node2" (KiB) to $WORK/memory.
watch_memory() {
    watch_begun=$(date +%s)
    while sleep 30; do
        watch_line="$(($(date +%s) - watch_begun)) $(topics_now)"
        for watch_i in $GROUP_NODES; do
            watch_kib=$(anon_kib $GROUP-"$watch_i")
            watch_line="$watch_line ${watch_kib:-0}"
        done
        echo "$watch_line" >> "$WORK/memory"
        echo "    after $(echo "$watch_line" | awk '{ printf "%d s: %d topics, RssAnon %.1f, %.1f, %.1f MiB", $1, $2, $3 / 1024, $4 / 1024, $5 / 1024 }')"
    done
}

# The most of a node in the last third against the most of one in the second.
memory_is_flat() {
    awk -v growth=$GROWTH_KIB -v topic=$TOPIC_KIB '
        { most = $3 > $4 ? $3 : $4; most = $5 > most ? $5 : most; at[NR] = most; topics[NR] = $2 }
        END {
            if (NR < 3) { print "only " NR " samples"; exit 1 }
            third = int(NR / 3)
            for (i = third + 1; i <= 2 * third; i++) if (at[i] > before) before = at[i]
            for (i = 2 * third + 1; i <= NR; i++) if (at[i] > after) after = at[i]
            allowed = before + growth + topic * (topics[NR] - topics[third + 1])
            printf "%d KiB in the second third, %d in the last one, %d allowed\n", before, after, allowed
            exit after > allowed
        }' "$WORK/memory"
}

work_begin soak
compat_prepare
brokers_start
watch_memory &
echo $! > "$WORK/pids/watch"
java_cases 5.4.0 "$NAMESRV" soak soak features="$(features on)" exact=true cases=all minutes="$MINUTES"
proc_kill watch TERM
case_run "memory stays flat" memory_is_flat || true
replay_cases $GROUP
case_end soak
