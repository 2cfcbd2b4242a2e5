#!/bin/sh
# Disks of 256 MiB that are full, on one, two and three nodes of a group: nothing dies, sends are refused definitely with the
# path, reads and elections go on, and all heals by itself within 5 s of space returning.
#
# Usage: tests/raft-log/run-disk-full.sh      needs root
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in lib/proc lib/case lib/group; do
    . "$TOP/tests/$part.sh"
done
. "$TOP/tests/integration/nodes.sh"
. "$TOP/tests/raft-log/disks.sh"

TOPIC=Full
IMAGE_MIB=256
BODY_BYTES=65536
# More than a segment and its spare have room for.
TOO_MANY=1000
HEAL_S=5

sent=0

# send_some COUNT: sends go on from $sent; raises it by what was acknowledged. Leaves the end of probe's answer in $WORK/answer.
send_some() {
    some_status=0
    PROBE_BODY_BYTES=$BODY_BYTES node_ask full "$(leader_of full || echo 0)" send $TOPIC 0 "$sent" "$1" > "$WORK/answer" 2>&1 ||
        some_status=$?
    sent=$((sent + $(sed -n 's/^acknowledged=\([0-9]*\) .*/\1/p' "$WORK/answer")))
    cat "$WORK/answer"
    return $some_status
}

all_alive() {
    for alive_i in $GROUP_NODES; do
        proc_alive "full-$alive_i" || {
            echo "node $alive_i has ended: $(tail -n 1 "$LOGS/full-$alive_i.log")"
            return 1
        }
    done
}

start_group() {
    triple_write full "$NAMESRV" || return 1
    for i in $GROUP_NODES; do
        disk_make "n$i" $IMAGE_MIB && ln -s "$DISKS/n$i" "$WORK/full-$i" && node_start full "$i" || return 1
    done
    ms_until 10 "one leads" leader_of full && node_ask full "$(leader_of full)" topic $TOPIC 1 && send_some 100
}

# With one full disk a majority still has room: a follower does not hold the others up, a leader refuses or hands over.
full_follower() {
    leader=$(leader_of full) && follower=$(((leader + 1) % 3)) && disk_fill "n$follower" 512 && send_some 300 && all_alive
}

follower_heals() {
    disk_free "n$follower" && ms_until $HEAL_S "level again" is_level full && all_alive
}

refused_definitely() {
    refused_status=0
    send_some $TOO_MANY || refused_status=$?
    # 1: an answer, and not a success.
    [ "$refused_status" -eq 1 ] && ! grep -F "[UNKNOWN]" "$WORK/answer" && grep "code=\(2\|14\) " "$WORK/answer" &&
        grep -q "$DISKS\|$WORK" "$WORK/answer"
}

# How often a leader has said that a majority has no room.
refusals() { cat "$LOGS/full-"*.log | grep -c "disks of a majority: .*refused" || true; }

has_refused_since() { [ "$(refusals)" -gt "$1" ]; }

# full_some I...: those nodes' disks have 512 KiB left, from one moment to the next. What is on its way in that moment waits for room;
# what comes once it is noticed is refused.
full_some() {
    full_before=$(refusals)
    for full_i in "$@"; do
        disk_fill "n$full_i" 512 || return 1
    done
    ms_until 2 "it is noticed" has_refused_since "$full_before" && refused_definitely && all_alive
}

reads_go_on() {
    read_from=$(leader_of full) && PROBE_BODY_BYTES=$BODY_BYTES holds full "$read_from" $TOPIC 0 "$sent"
}

elections_go_on() {
    elect_old=$(leader_of full) && kill -STOP "$(proc_pid "full-$elect_old")" || return 1
    elect_status=0
    ms_until 10 "another one leads" another_leads "$elect_old" || elect_status=1
    kill -CONT "$(proc_pid "full-$elect_old")"
    [ $elect_status -eq 0 ] && all_alive
}

# It is elected; it serves only when its first entry has room on a majority of the disks.
another_leads() {
    for another_i in $GROUP_NODES; do
        [ "$another_i" = "$1" ] || case $(node_value full "$another_i" role) in
        leader | leading) return 0 ;;
        esac
    done
    return 1
}

# heals I...: with their space back a send is acknowledged within 5 s, and all nodes become level.
heals() {
    for heal_i in "$@"; do
        disk_free "n$heal_i"
    done
    ms_until $HEAL_S "a send is acknowledged" send_some 1 && ms_until 10 "level" is_level full && all_alive
}

everything_is_there() {
    for there_i in $GROUP_NODES; do
        PROBE_BODY_BYTES=$BODY_BYTES holds full "$there_i" $TOPIC 0 "$sent" || return 1
    done
    logs_equal full
}

disks_begin disk-full
NAMESRV=127.0.0.1:$(free_ports 1)
check "a name server starts" namesrv_start ns "${NAMESRV#*:}"
check "a group of three on disks of $IMAGE_MIB MiB" start_group
check "one full disk, a follower's: the others go on" full_follower
check "it heals within $HEAL_S s of space returning" follower_heals
check "two full disks: sends are refused definitely, with the path" full_some 1 2
check "what is there can be read" reads_go_on
check "it heals within $HEAL_S s of space returning" heals 1 2
check "three full disks: sends are refused definitely, with the path" full_some 0 1 2
check "what is there can be read" reads_go_on
check "another leader can be elected" elections_go_on
check "it heals within $HEAL_S s of space returning" heals 0 1 2
check "every acknowledged message is on every node" everything_is_there
for i in $GROUP_NODES; do
    node_stop full "$i" || true
    disk_remove "n$i" || true
done
case_end disk-full
