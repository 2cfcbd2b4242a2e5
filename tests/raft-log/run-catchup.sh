#!/bin/sh
# What it costs that a member lost its disk. A group of three with so much of a log; one member is wiped and replaced:
#
#   without load: how fast it is a full member again (a voter that has the whole log), beside what the disk writes in a
#   row in the same minute. Goal: 0.6 of that.
#   with SIGKILL for the member that gives and for the one that takes: it goes on with another one, and where it was.
#   with producers, and the back-fill limited: how late their answers are, beside the same load before. Goal: twice.
#
# Every message must be on the new directory in the end, and the logs must be the same bytes. The goals count only with
# --goals: a small log, or a machine that does other things, says nothing about them.
#
# Usage: tests/raft-log/run-catchup.sh [--mib N] [--limit BYTES] [--rate N] [--goals]
#   --mib N        log of the group (256 unless told)
#   --limit BYTES  raftBackfillBytesPerSecond with load (52428800)
#   --rate N       messages of 1 KiB a second, the load (2000)
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in lib/proc lib/case lib/group integration/nodes; do
    . "$TOP/tests/$part.sh"
done

MIB=256
LIMIT=52428800
RATE=2000
GOALS=no
while [ $# -gt 0 ]; do
    case $1 in
    --goals) GOALS=yes ;;
    --mib | --limit | --rate)
        [ $# -gt 1 ] || exit 2
        case $1 in
        --mib) MIB=$2 ;;
        --limit) LIMIT=$2 ;;
        --rate) RATE=$2 ;;
        esac
        shift
        ;;
    *)
        sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
    shift
done

GROUP=far
SEGMENT=67108864
BODY=16384
LIMIT_S=600 # for anything here

bench() { "$RAFTMQ_BIN/raftmq" bench producer -n "$NAMESRV" "$@"; }

# said I KEY: what node I says of itself.
said() {
    group_status "$NAMESRV" 2> /dev/null | grep " addr=[^ ]*:$(node_port $GROUP "$1") " | tr ' ' '\n' | sed -n "s/^$2=//p" | tr -d '"'
}

says() { [ "$(said "$1" "$2")" = "$3" ]; }

log_mib() { echo $(($(said "$(leader_of $GROUP)" appliedPos) / 1048576)); }

# mib_per_s BYTES MS
mib_per_s() { awk -v bytes="$1" -v ms="$2" 'BEGIN { printf "%.1f", bytes / 1048576 * 1000 / (ms > 0 ? ms : 1) }'; }

# is_at_most A B
is_at_most() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= b) }'; }

# --- the group ---

start_group() {
    triple_write $GROUP "$NAMESRV" "mappedFileSizeCommitLog=$SEGMENT" "snapshotLogBytes=$((MIB * 1048576 / 8))" \
        "raftFarBehindBytes=$((MIB * 1048576 / 4))" || return 1
    for i in $GROUP_NODES; do
        node_start $GROUP "$i" || return 1
    done
    ms_until 10 "one leads" leader_of $GROUP
}

# filled: producers work until the log has its size.
filled() {
    fill_tries=$LIMIT_S
    proc_start fill "$RAFTMQ_BIN/raftmq" bench producer -n "$NAMESRV" -t Fill -s $BODY -y --window 256 --seconds $LIMIT_S
    until [ "$(log_mib)" -ge "$MIB" ]; do
        fill_tries=$((fill_tries - 1))
        [ $fill_tries -gt 0 ] && proc_alive fill && sleep 1 || return 1
    done
    proc_kill fill INT
    wait_for 30 "level nodes" is_level $GROUP
}

# --- the disk ---

# disk_rate OPTION...: bytes a second of dd with them, for a file beside the nodes' logs.
disk_rate() {
    disk_begun=$(date +%s%3N)
    dd if=/dev/zero of="$WORK/disk" bs=4M count=$((MIB / 4)) "$@" 2> /dev/null || return 1
    disk_ms=$(($(date +%s%3N) - disk_begun))
    rm -f "$WORK/disk"
    mib_per_s $((MIB / 4 * 4194304)) $disk_ms
}

disk_measured() {
    disk_direct=$(disk_rate oflag=direct conv=fdatasync) && disk_synced=$(disk_rate oflag=dsync) || return 1
    echo "the disk: $disk_direct MiB/s in a row (O_DIRECT), $disk_synced MiB/s with a sync every 4 MiB"
}

# --- a member that lost its disk ---

wiped() {
    lost=$((($(leader_of $GROUP) + 1) % 3))
    proc_kill $GROUP-$lost KILL && rm -rf "${WORK:?}/$GROUP-$lost" && node_start $GROUP $lost &&
        wait_for 20 "node $lost is outside" says $lost outside true
}

asked_to_replace() { "$RAFTMQ_BIN/raftmq" group replace -n "$NAMESRV" -m n$lost; }

votes() { says $lost membership voter; }

# It holds what the others hold, and votes.
is_full() { votes && says $lost catchup none && says $lost startPos "$(said "$(leader_of $GROUP)" startPos)" && is_behind_by_little; }

is_behind_by_little() { [ $(($(said "$(leader_of $GROUP)" endPos) - $(said $lost endPos))) -lt 16777216 ]; }

# How often the node's log says that it lacks nothing: asked again and again this costs far less than its status, which
# would take a core from those who are measured.
fills_done() { grep -c 'back-fill done' "$LOGS/$GROUP-$lost.log"; }

is_filled() { [ "$(fills_done)" -gt "$fills_before" ]; }

replaced() {
    fills_before=$(fills_done)
    asked_to_replace && ms_until 60 "a voter" votes || return 1
    vote_ms=$took_ms
    ms_until $LIMIT_S "the whole log" is_filled || return 1
    full_ms=$((took_ms + vote_ms))
    ms_until 10 "a full member" is_full || return 1
    full_ms=$((took_ms + full_ms))
    log_bytes=$(($(said $lost endPos) - $(said $lost startPos)))
}

rate_without_load() {
    wiped && disk_measured && replaced || return 1
    full_rate=$(mib_per_s $log_bytes $full_ms)
    full_ratio=$(awk -v a="$full_rate" -v b="$disk_direct" 'BEGIN { printf "%.2f", a / b }')
}

# --- killed meanwhile ---

# What a killed member may have put before its log and fetches again: PUT_SETTLE_BYTES, what is on its way, and a segment.
AGAIN=$((67108864 + 8 * 1048576 + SEGMENT))

fills() { says $lost catchup backfill && [ "$(said $lost catchupBytes)" -gt "$1" ]; }

# The runtime information tells how far it is, how fast, for how long still, from whom and why it waits.
tells_progress() {
    for key in catchupBytesLeft catchupBytesPerSecond catchupMsLeft catchupLimit; do
        value=$(said $lost $key)
        echo "$key=$value"
        [ "${value:-0}" -gt 0 ] || return 1
    done
    giver=$(said $lost catchupFrom | tr -d n)
    cause=$(said $lost catchupCause)
    echo "from $giver: $cause"
    [ "$giver" != $lost ] && [ -n "$cause" ] && [ -f "$WORK/pids/$GROUP-$giver" ]
}

has_other_giver() { fills "$1" && ! says $lost catchupFrom "n$giver"; }

# The last line about it in the log has all of that, too.
log_tells_progress() {
    grep 'back-fill from member' "$LOGS/$GROUP-$lost.log" | tail -n 1 |
        grep -E 'bytes=[1-9][0-9]* left=[1-9][0-9]* bytes_per_s=[1-9][0-9]* limit=[1-9][0-9]* s_left=[0-9]+: [a-z]'
}

killed_meanwhile() {
    : > "$LOGS/$GROUP-$((($(leader_of $GROUP) + 1) % 3)).log"
    for i in $GROUP_NODES; do
        sed "/^raftBackfill/d" "$WORK/$GROUP-$i.conf" > "$WORK/conf" && mv "$WORK/conf" "$WORK/$GROUP-$i.conf"
        echo "raftBackfillBytesPerSecond=$((MIB * 1048576 / 16))" >> "$WORK/$GROUP-$i.conf"
    done
    wiped && asked_to_replace && wait_for 60 "a quarter of the log" fills $((MIB * 1048576 / 4)) && tells_progress || return 1
    proc_kill $GROUP-"$giver" KILL
    wait_for 30 "another member that gives" has_other_giver $((MIB * 1048576 * 3 / 8)) && node_start $GROUP "$giver" || return 1
    wait_for 60 "the log to tell" log_tells_progress || return 1
    kill_left=$(said $lost catchupBytesLeft)
    proc_kill $GROUP-$lost KILL && node_start $GROUP $lost && ms_until $LIMIT_S "a full member" is_full || return 1
    kill_again=$(sed -n 's/.*back-fill done: .* entries, \([0-9]*\) bytes.*/\1/p' "$LOGS/$GROUP-$lost.log" | tail -n 1)
    echo "$kill_left bytes were missing, $kill_again were fetched"
    [ "$kill_left" -gt 0 ] && [ "$kill_again" -le $((kill_left + AGAIN)) ]
}

# --- under load ---

# p99_of FILE: of one line of JSON, in milliseconds.
p99_of() { sed -n 's/.*"p99":\([0-9.]*\).*/\1/p' "$1" | awk '{ printf "%.2f", $1 / 1000 }'; }

limited() {
    for i in $GROUP_NODES; do
        sed "/^raftBackfill/d" "$WORK/$GROUP-$i.conf" > "$WORK/conf" && mv "$WORK/conf" "$WORK/$GROUP-$i.conf"
        echo "raftBackfillBytesPerSecond=$LIMIT" >> "$WORK/$GROUP-$i.conf"
    done
    load_s=$((MIB * 1048576 / LIMIT))
    [ $load_s -ge 5 ] || load_s=5
    bench -t Load -s 1024 -w 64 --rate "$RATE" --warmup 2 --seconds $load_s --json > "$WORK/before.json" || return 1
    wiped && asked_to_replace || return 1
    bench -t Load -s 1024 -w 64 --rate "$RATE" --seconds $load_s --json > "$WORK/meanwhile.json" &&
        ms_until $LIMIT_S "a full member" is_full || return 1
    bench -t Load -s 1024 -w 64 --rate "$RATE" --warmup 2 --seconds $load_s --json > "$WORK/after.json" || return 1
    load_before=$(p99_of "$WORK/before.json")
    load_meanwhile=$(p99_of "$WORK/meanwhile.json")
    load_after=$(p99_of "$WORK/after.json")
    load_times=$(awk -v a="$load_before" -v b="$load_meanwhile" -v c="$load_after" 'BEGIN { printf "%.2f", b / ((a + c) / 2) }')
}

same_logs() {
    for i in 1 2; do
        for file in "$WORK/$GROUP-0/raftlog/log/"[0-9]*[0-9]; do
            bytes=$(($(said 0 appliedPos) - $(basename "$file" | sed 's/^0*\(.\)/\1/')))
            [ $bytes -gt 0 ] || continue
            [ $bytes -lt $SEGMENT ] || bytes=$SEGMENT
            cmp -n $bytes "$file" "$WORK/$GROUP-$i/raftlog/log/$(basename "$file")" || return 1
        done
    done
}

# --- run ---

# goal NAME A B: a case only where goals count.
goal() {
    [ $GOALS = no ] || check "$@"
}

group_programs_exist
work_begin catchup
NAMESRV=127.0.0.1:$(free_ports 1)
check "a name server starts" namesrv_start ns "${NAMESRV#*:}"
check "a group of three starts" start_group
check "its log has $MIB MiB" filled
check "a member that lost its disk is a full member again" rate_without_load
if [ -n "${full_rate:-}" ]; then
    figure "the disk: $disk_direct MiB/s in a row (O_DIRECT), $disk_synced MiB/s with a sync every 4 MiB"
    figure "$((log_bytes / 1048576)) MiB in $full_ms ms (a voter after $vote_ms ms): $full_rate MiB/s, $full_ratio of the disk's rate"
    goal "that is 0.6 of the disk's rate or more" is_at_most 0.6 "$full_ratio"
fi
check "it goes on after SIGKILL for the member that gives and for itself" killed_meanwhile
if [ -n "${kill_again:-}" ]; then
    figure "killed with $((kill_left / 1048576)) MiB missing: $((kill_again / 1048576)) MiB were fetched after that"
fi
check "the same under load, limited to $LIMIT bytes a second" limited
if [ -n "${load_times:-}" ]; then
    figure "p99 of $RATE messages a second: $load_before ms before, $load_meanwhile ms meanwhile, $load_after ms after: $load_times times"
    goal "that is twice as late or less" is_at_most "$load_times" 2
fi
check "the nodes are level" wait_for 30 "level nodes" is_level $GROUP
check "the logs are the same bytes" same_logs
case_end catchup
