#!/bin/sh
# Messages by key and by position over the deaths of nodes: every member of a group gives the same answers, whatever
# became of its index.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in lib/proc lib/case lib/group integration/nodes; do
    . "$TOP/tests/$part.sh"
done

TOPIC=Query

group_elects() {
    triple_write three "$NAMESRV" || return 1
    for i in $GROUP_NODES; do
        node_start three "$i" || return 1
    done
    ms_until 10 "one leads" leader_of three && node_ask three "$(leader_of three)" topic $TOPIC 4
}

# send_keyed FIRST LAST: messages m<i> with the keys k<i> and all, to queue 0. Leaves the id of the last one in $WORK/id.
send_keyed() {
    keyed_leader=$(leader_of three) || return 1
    for keyed_i in $(seq "$1" "$2"); do
        node_ask three "$keyed_leader" ask 10 producerGroup=P topic=$TOPIC defaultTopic=TBW102 defaultTopicQueueNums=4 queueId=0 \
            sysFlag=0 bornTimestamp=1 flag=0 "properties=$(printf 'KEYS\001k%s all\002' "$keyed_i")" -b "m$keyed_i" > "$WORK/sent" ||
            return 1
        sed -n 's/^msgId=//p' "$WORK/sent" > "$WORK/id"
    done
}

# finds NODE COUNT: each of k0 to k<COUNT-1> leads to its message alone, and "all" to the newest of them.
finds() {
    for finds_i in 0 $(($2 / 2)) $(($2 - 1)); do
        node_ask three "$1" find $TOPIC "k$finds_i" 32 > "$WORK/found" || { cat "$WORK/found"; return 1; }
        echo "$finds_i m$finds_i" | cmp - "$WORK/found" || return 1
    done
    node_ask three "$1" find $TOPIC all 64 > "$WORK/found" || { cat "$WORK/found"; return 1; }
    seq $(($2 > 64 ? $2 - 64 : 0)) $(($2 - 1)) | sed 's/.*/& m&/' | cmp - "$WORK/found"
}

all_find() {
    wait_for 10 "level nodes" is_level three || return 1
    for all_i in $GROUP_NODES; do
        finds "$all_i" "$1" || { echo "node $all_i"; return 1; }
    done
}

# The message is found by the very next request, on the node that acknowledged it.
found_at_once() {
    send_keyed 0 0 && finds "$(leader_of three)" 1 && send_keyed 1 79 && finds "$(leader_of three)" 80
}

# view_all: each node gives the message whose id is in $WORK/id.
view_all() {
    view_pos=$(printf '%d' "0x$(cut -c17-32 "$WORK/id")")
    for view_i in $GROUP_NODES; do
        node_ask three "$view_i" view "$view_pos" > "$WORK/view" || { cat "$WORK/view"; return 1; }
        grep -q " $1\$" "$WORK/view" || { echo "node $view_i gives another message"; return 1; }
    done
}

leader_dies() {
    victim=$(leader_of three)
    proc_kill three-"$victim" KILL && ms_until 5 "another one leads" leader_of three && finds "$(leader_of three)" 80 &&
        send_keyed 80 99 && finds "$(leader_of three)" 100 && node_start three "$victim" && all_find 100
}

ids_resolve_everywhere() { view_all m99; }

# harm FILES...: what the case does to the index of a node that is down.
lose_index() { rm -r "$WORK/three-$1/index"; }
garble_index() {
    for garbled in "$WORK/three-$1/index/"*; do
        [ -f "$garbled" ] || { echo "no file in the index"; return 1; }
        garbled_bytes=$(stat -c %s "$garbled")
        printf 'xxxx' | dd of="$garbled" bs=1 seek=$((garbled_bytes / 2)) conv=notrunc 2> /dev/null || return 1
    done
}

# index_made_again HARM NODE
index_made_again() {
    node_stop three "$2" && "$1" "$2" && node_start three "$2" && all_find 100
}

# 40 MiB, so that segments are sealed and a lagging node is sent a part of the log; then every node dies at once.
all_die() {
    PROBE_BODY_BYTES=65536 node_ask three "$(leader_of three)" send $TOPIC 1 0 640 && wait_for 20 "level nodes" is_level three || return 1
    for i in $GROUP_NODES; do
        proc_kill three-"$i" KILL || return 1
    done
    for i in $GROUP_NODES; do
        node_start three "$i" || return 1
    done
    ms_until 10 "one leads" leader_of three && all_find 100
}

# An empty directory in the place of a node's: it gets the log, and with it the index.
wiped_node_finds_all() {
    leader=$(leader_of three)
    wiped=$(((leader + 1) % 3))
    proc_kill three-"$wiped" KILL && rm -r "$WORK/three-$wiped" &&
        mkdir "$WORK/three-$wiped" && node_start three "$wiped" &&
        node_ask three "$leader" ask 30005 member=n"$wiped" && wait_for 30 "level nodes" is_level three && all_find 100
}

work_begin query
NAMESRV=127.0.0.1:$(free_ports 1)
check "a name server starts" namesrv_start ns "${NAMESRV#*:}"
check "a group of three elects a leader" group_elects
check "a message is found by its keys as soon as it is acknowledged" found_at_once
check "every member finds the same" all_find 80
check "after kill -9 of the leader the next one finds all, and so does the one that returns" leader_dies
check "an id from a dead leader leads to its message on every member" ids_resolve_everywhere
check "a node that stops in order and returns finds all" index_made_again true 0
check "a node that lost its index finds all" index_made_again lose_index 1
check "a node whose index is damaged finds all" index_made_again garble_index 2
check "after kill -9 of all of them each finds all" all_die
check "a node that was wiped and replaced finds all" wiped_node_finds_all
case_end query
