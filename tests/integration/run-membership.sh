#!/bin/sh
# A group that grows, shrinks, replaces a member and hands leadership over under load, with real processes; and one that
# is rescued from a single directory. Every message acknowledged meanwhile must be there in the end.
#
# Usage: tests/integration/run-membership.sh [--log MIB] [--senders N]
#   --log MIB      what the log holds before the group grows (0 unless told)
#   --senders N    how many send meanwhile, each one message after the other; 1, with pauses, unless told
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in lib/proc lib/case lib/group integration/nodes; do
    . "$TOP/tests/$part.sh"
done

LOG_MIB=0
SENDERS=1
PAUSE=0.005
while [ $# -gt 1 ]; do
    case $1 in
    --log) LOG_MIB=$2 ;;
    --senders) SENDERS=$2 PAUSE=0 ;;
    esac
    shift 2
done
[ $# -eq 0 ] || {
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

TOPIC=Membership
GROUP=grow

# --- nodes ---

# five_write: the configurations of five nodes; the first knows itself alone, each other one those before it.
five_write() {
    five_listen=$(free_ports 5)
    five_peer=$(free_ports 5)
    five_peers=
    for five_i in 0 1 2 3 4; do
        five_port=$(echo "$five_peer" | tr '\n' ' ' | cut -d' ' -f$((five_i + 1)))
        five_peers="${five_peers:+$five_peers;}n$five_i-127.0.0.1:$five_port"
        {
            echo "brokerClusterName=DefaultCluster"
            echo "brokerName=$GROUP"
            echo "brokerIP1=127.0.0.1"
            echo "bindAddress=127.0.0.1"
            echo "listenPort=$(echo "$five_listen" | tr '\n' ' ' | cut -d' ' -f$((five_i + 1)))"
            echo "namesrvAddr=$NAMESRV"
            echo "storePathRootDir=$WORK/$GROUP-$five_i"
            echo "dLegerGroup=$GROUP"
            echo "dLegerPeers=$five_peers"
            echo "dLegerSelfId=n$five_i"
            echo "mappedFileSizeCommitLog=16777216"
        } > "$WORK/$GROUP-$five_i.conf"
    done
}

peer_address() { sed -n "s/^dLegerPeers=.*n$1-\([^;]*\).*/\1/p" "$WORK/$GROUP-$1.conf"; }

group_do() { "$RAFTMQ_BIN/raftmq" group "$@"; }

# said I KEY: what node I says of itself, from raftmq group status.
said() {
    group_status "$NAMESRV" 2> /dev/null | grep " addr=[^ ]*:$(node_port $GROUP "$1") " | tr ' ' '\n' | sed -n "s/^$2=//p" | tr -d '"'
}

says() { [ "$(said "$1" "$2")" = "$3" ]; }

leader() {
    for leader_i in 0 1 2 3 4; do
        if proc_alive "$GROUP-$leader_i" && says "$leader_i" role leader; then
            echo "$leader_i"
            return 0
        fi
    done
    return 1
}

votes() { says "$1" membership voter; }

# --- load ---

# load_one N: messages that no other sender sends, one after the other.
load_one() {
    (
        load_i=0
        while [ -f "$WORK/load" ]; do
            echo "message-$1-$load_i"
            load_i=$((load_i + 1))
            [ "$PAUSE" = 0 ] || sleep $PAUSE
        done
    ) | "$RAFTMQ_BIN/raftmq" send -n "$NAMESRV" $TOPIC > "$WORK/acknowledged-$1" 2> "$WORK/refused-$1"
}

load_begin() {
    : > "$WORK/load"
    load_pids=
    for load_n in $(seq "$SENDERS"); do
        load_one "$load_n" &
        load_pids="$load_pids $!"
    done
}

load_end() {
    rm -f "$WORK/load"
    for load_pid in $load_pids; do
        wait "$load_pid" || true
    done
    cat "$WORK"/acknowledged-* > "$WORK/acknowledged"
    cat "$WORK"/refused-* > "$WORK/refused"
    figure "$(wc -l < "$WORK/acknowledged") messages acknowledged, $(wc -l < "$WORK/refused") refused or unknown"
    [ "$(wc -l < "$WORK/acknowledged")" -gt 200 ]
}

# Every queue and offset that the sender was told is there, and as many different messages as it was told of.
nothing_is_lost() {
    sed 's/.* queue=\([0-9]*\) offset=\([0-9]*\) .*/queue=\1 offset=\2/' "$WORK/acknowledged" | sort > "$WORK/want"
    "$RAFTMQ_BIN/raftmq" get -n "$NAMESRV" $TOPIC > "$WORK/got-raw" || return 1
    awk '{ print $2, $3 }' "$WORK/got-raw" | sort > "$WORK/got"
    comm -23 "$WORK/want" "$WORK/got" > "$WORK/lost"
    head -3 "$WORK/lost"
    [ ! -s "$WORK/lost" ] && [ "$(awk '{ print $5 }' "$WORK/got-raw" | sort -u | wc -l)" -ge "$(wc -l < "$WORK/want")" ]
}

# --- cases ---

one_founds() {
    five_write
    node_start $GROUP 0 && wait_for 10 "node 0 leads" says 0 role leader && node_ask $GROUP 0 topic $TOPIC 4 &&
        wait_for 10 "a route" "$RAFTMQ_BIN/raftmq" send -n "$NAMESRV" $TOPIC first && has_log && load_begin
}

# A log that newcomers need some time for.
has_log() {
    [ "$LOG_MIB" -eq 0 ] && return 0
    proc_start fill "$RAFTMQ_BIN/raftmq" bench producer -n "$NAMESRV" -t Fill -s 16384 -y --window 64 --seconds 60
    wait_for 60 "a log of $LOG_MIB MiB" has_reached $((LOG_MIB * 1048576))
    proc_kill fill INT
}

has_reached() { [ "$(said 0 appliedPos)" -ge "$1" ]; }

# takes_in I: a new node becomes a voter.
takes_in() {
    node_start $GROUP "$1" && wait_for 10 "node $1 is registered" group_do add -n "$NAMESRV" -m "n$1" -a "$(peer_address "$1")" &&
        ms_until 30 "node $1 votes" votes "$1"
}

grows_to_five() { takes_in 1 && takes_in 2 && takes_in 3 && takes_in 4; }

hands_over() {
    over_to=$((($(leader) + 1) % 5))
    over_begun=$(date +%s%3N)
    group_do transfer -n "$NAMESRV" -m "n$over_to" || return 1
    echo "transfer asked and answered in $(($(date +%s%3N) - over_begun)) ms"
    ms_until 5 "node $over_to leads" says "$over_to" role leader
}

refuses_nonsense() {
    group_do remove -n "$NAMESRV" -m n8 2>&1 | grep "no such member" &&
        group_do add -n "$NAMESRV" -m n1 -a "$(peer_address 1)" 2>&1 | grep "member already"
}

# A node loses its disk: its new directory is nothing until it is taken in.
replaces() {
    lost=$((($(leader) + 2) % 5))
    proc_kill $GROUP-$lost KILL && rm -rf "${WORK:?}/$GROUP-$lost" && node_start $GROUP $lost || return 1
    wait_for 10 "node $lost is outside" says $lost outside true
    group_do replace -n "$NAMESRV" -m n$lost && ms_until 30 "node $lost votes again" votes $lost
}

# gone I: asked to be removed, knows it, and is stopped. A hand-over has 400 ms, which a machine that is busy with other
# things may not have: it says so, leads on, and is asked again.
gone() {
    for gone_try in 1 2 3; do
        gone_status=0
        group_do remove -n "$NAMESRV" -m "n$1" > "$WORK/gone" 2>&1 || gone_status=$?
        cat "$WORK/gone"
        grep -q "handed over: no answer in time" "$WORK/gone" || break
    done
    [ $gone_status -eq 0 ] && wait_for 10 "node $1 knows it" says "$1" outside true && node_stop $GROUP "$1"
}

# The leader is one of those to go: it hands over first.
shrinks_to_three() {
    first=$(leader)
    second=$(((first + 1) % 5))
    gone "$first" && gone "$second"
}

survivors() {
    for survivor_i in 0 1 2 3 4; do
        [ "$survivor_i" -eq "$first" ] || [ "$survivor_i" -eq "$second" ] || echo "$survivor_i"
    done
}

three_are_equal() {
    equal_a=$(survivors | sed -n 1p)
    for equal_b in $(survivors); do
        wait_for 10 "level nodes" same_end "$equal_a" "$equal_b" || return 1
    done
    equal_end=$(said "$equal_a" appliedPos)
    for equal_b in $(survivors); do
        for equal_file in "$WORK/$GROUP-$equal_a/raftlog/log/"[0-9]*[0-9]; do
            equal_name=$(basename "$equal_file")
            equal_bytes=$((equal_end - $(echo "$equal_name" | sed 's/^0*\(.\)/\1/')))
            [ "$equal_bytes" -gt 0 ] || continue
            [ "$equal_bytes" -lt 16777216 ] || equal_bytes=16777216
            cmp -n "$equal_bytes" "$equal_file" "$WORK/$GROUP-$equal_b/raftlog/log/$equal_name" || return 1
        done
    done
}

same_end() { [ "$(said "$1" appliedPos)" = "$(said "$2" appliedPos)" ] && [ "$(said "$1" stateHash)" = "$(said "$2" stateHash)" ]; }

# Two of three disks are gone: what comes in their place founds nothing, and the third does not lead.
two_wiped_are_nothing() {
    one=$(survivors | sed -n 1p)
    for i in $(survivors); do
        node_stop $GROUP "$i" || return 1
        [ "$i" -eq "$one" ] || rm -rf "${WORK:?}/$GROUP-$i"
    done
    for i in $(survivors); do
        node_start $GROUP "$i" || return 1
    done
    for i in $(survivors); do
        [ "$i" -eq "$one" ] || wait_for 10 "node $i is outside" says "$i" outside true || return 1
    done
    sleep 1
    ! leader
}

# The way out, with what the third has.
rescued() {
    one=$(survivors | sed -n 1p)
    other=$(survivors | sed -n 2p)
    group_do rescue "$WORK/$GROUP-$one/raftlog" < /dev/null && return 1 # its node runs
    for i in $(survivors); do
        node_stop $GROUP "$i" || return 1
    done
    group_do rescue --yes-i-lose-data "no" "$WORK/$GROUP-$one/raftlog" && return 1
    echo "$GROUP loses what only others had" | group_do rescue "$WORK/$GROUP-$one/raftlog" || return 1
    node_start $GROUP "$one" && wait_for 10 "node $one leads" says "$one" role leader &&
        wait_for 10 "all messages" nothing_is_lost || return 1
    rm -rf "${WORK:?}/$GROUP-$other"
    takes_in "$other" && "$RAFTMQ_BIN/raftmq" send -n "$NAMESRV" $TOPIC last && nothing_is_lost
}

# --- run ---

group_programs_exist
work_begin membership
NAMESRV=127.0.0.1:$(free_ports 1)
namesrv_start namesrv "${NAMESRV#*:}"
check "one node founds a group and takes messages" one_founds
check "it grows to five members under load" grows_to_five
check "leadership is handed over on demand" hands_over
check "what cannot be is refused in words" refuses_nonsense
check "a member that lost its disk is replaced" replaces
check "it shrinks to three, leader first" shrinks_to_three
check "enough messages were acknowledged meanwhile" load_end
check "none of them is lost" nothing_is_lost
check "the three logs are the same bytes" three_are_equal
check "two wiped of three are nothing, and nobody leads" two_wiped_are_nothing
check "one directory is made a group of its own, which grows again" rescued
case_end membership
