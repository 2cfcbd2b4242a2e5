#!/bin/sh
# Start, stop, death and return of nodes: a group of one, and a group of three.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in lib/proc lib/case lib/group integration/nodes; do
    . "$TOP/tests/$part.sh"
done

TOPIC=Lifecycle

# --- a group of one ---

one_elects_itself() {
    single_write one "$NAMESRV" && node_start one 0 && ms_until 5 "leads" node_leads one 0 &&
        node_ask one 0 topic $TOPIC 4
}

one_takes_messages() { node_ask one 0 send $TOPIC 0 0 500 && holds one 0 $TOPIC 0 500; }

one_stops_in_order() { node_stop one 0; }

one_returns() {
    node_start one 0 && ms_until 5 "leads" node_leads one 0 && holds one 0 $TOPIC 0 500 &&
        node_ask one 0 send $TOPIC 0 500 100 && holds one 0 $TOPIC 0 600
}

one_survives_kill() {
    proc_kill one-0 KILL && node_start one 0 && ms_until 5 "leads" node_leads one 0 && holds one 0 $TOPIC 0 600
}

# --- a group of three ---

three_elect() {
    triple_write three "$NAMESRV" || return 1
    three_begun=$(date +%s%3N)
    for i in $GROUP_NODES; do
        node_start three "$i" || return 1
    done
    ms_until 10 "one leads" leader_of three || return 1
    three_ms=$(($(date +%s%3N) - three_begun))
    node_ask three "$(leader_of three)" topic $TOPIC 4
}

follower_of() { echo $((($1 + 1) % 3)); }

follower_refuses_sends() {
    leader=$(leader_of three)
    follower=$(follower_of "$leader")
    node_ask three "$follower" send $TOPIC 0 0 1 > "$WORK/answer" && return 1
    cat "$WORK/answer"
    grep -q '^code=14 ' "$WORK/answer" && grep -q "n$leader leads" "$WORK/answer"
}

follower_serves_pulls() {
    leader=$(leader_of three)
    node_ask three "$leader" send $TOPIC 0 0 300 && wait_for 5 "level nodes" is_level three || return 1
    for i in $GROUP_NODES; do
        holds three "$i" $TOPIC 0 300 || return 1
    done
}

leader_dies() {
    victim=$(leader_of three)
    echo "$victim" > "$WORK/victim"
    proc_kill three-"$victim" KILL && ms_until 5 "another one leads" leader_of three &&
        node_ask three "$(leader_of three)" send $TOPIC 0 300 100
}

# committed: what the leader says that the group of the probe has committed in queue 0.
committed() { node_ask three "$(leader_of three)" ask 14 consumerGroup=TEST_CONSUMER topic=$TOPIC queueId=0; }

# lock CLIENT: asks the leader for queue 0 of the topic; its answer lists the queue when it was given.
lock() {
    node_ask three "$(leader_of three)" ask 41 -b "{\"consumerGroup\":\"ORDERLY\",\"clientId\":\"$1\",\"mqSet\":[{\"topic\":\"$TOPIC\",\"brokerName\":\"three\",\"queueId\":0}]}"
}

# What consumers depend on is known to the next leader: offsets (the last commit counts, also a smaller one) and locks.
offsets_and_locks_survive() {
    leader=$(leader_of three)
    for offset in 250 120; do
        node_ask three "$leader" ask 15 consumerGroup=TEST_CONSUMER topic=$TOPIC queueId=0 commitOffset=$offset || return 1
    done
    lock first | tee "$WORK/lock" && grep -q '"queueId":0' "$WORK/lock" && proc_kill three-"$leader" KILL &&
        ms_until 5 "another one leads" leader_of three && committed | tee "$WORK/offset" &&
        grep -q '^offset=120$' "$WORK/offset" && lock second | tee "$WORK/lock" && ! grep -q '"queueId":0' "$WORK/lock" &&
        lock first | tee "$WORK/lock" && grep -q '"queueId":0' "$WORK/lock" && node_start three "$leader" &&
        wait_for 10 "level nodes" is_level three
}

# 48 MiB, three segments: too much for what the leader keeps in memory, so they come from its disk.
lagging_node_catches_up() {
    victim=$(cat "$WORK/victim")
    PROBE_BODY_BYTES=65536 node_ask three "$(leader_of three)" send $TOPIC 1 0 768 && node_start three "$victim" &&
        ms_until 30 "level" is_level three && holds three "$victim" $TOPIC 0 400 && holds three "$victim" $TOPIC 1 768
}

replicas_are_equal() { logs_equal three; }

three_stop_in_order() {
    for i in $GROUP_NODES; do
        node_stop three "$i" || return 1
    done
}

three_return() {
    for i in $GROUP_NODES; do
        node_start three "$i" || return 1
    done
    ms_until 10 "one leads" leader_of three && node_ask three "$(leader_of three)" send $TOPIC 0 400 100 &&
        wait_for 5 "level nodes" is_level three && holds three 0 $TOPIC 0 500 && holds three 2 $TOPIC 1 768
}

# A leader that is told to stop while sends come in: each is answered, or its connection ends; none that was acknowledged
# is missing afterwards.
leader_stops_under_load() {
    leader=$(leader_of three)
    node_ask three "$leader" send $TOPIC 2 0 20000 > "$WORK/load.log" 2>&1 &
    load_pid=$!
    sleep 0.3
    node_stop three "$leader" || return 1
    wait $load_pid && return 1
    cat "$WORK/load.log"
    acknowledged=$(sed -n 's/^acknowledged=\([0-9]*\) .*/\1/p' "$WORK/load.log")
    ms_until 5 "another one leads" leader_of three && node_start three "$leader" &&
        wait_for 10 "level nodes" is_level three && [ "$acknowledged" -gt 0 ] &&
        holds three "$leader" $TOPIC 2 "$acknowledged" && replicas_are_equal
}

two_of_three_are_down() {
    leader=$(leader_of three)
    first=$(follower_of "$leader")
    second=$(follower_of "$first")
    proc_kill three-"$first" KILL && proc_kill three-"$second" KILL &&
        ms_until 5 "the leader steps down" no_leader && ! node_ask three "$leader" send $TOPIC 0 0 1 &&
        node_start three "$first" && ms_until 5 "one leads" leader_of three && node_start three "$second" &&
        wait_for 10 "level nodes" is_level three
}

no_leader() { ! leader_of three; }

print_figures() {
    for i in $GROUP_NODES; do
        figure "node $i: anonymous memory $(($(node_value three "$i" anon_bytes) >> 10)) KiB, opened its log in" \
            "$(node_value three "$i" open_ms) ms with $(node_value three "$i" replayed) entries"
    done
    figure "name server: $(awk '/^RssAnon/ { print $2, $3 }' "/proc/$(proc_pid ns)/status") anonymous"
}

three_ms=unknown
work_begin lifecycle
NAMESRV=127.0.0.1:$(free_ports 1)
check "a name server starts" namesrv_start ns "${NAMESRV#*:}"
check "a group of one elects itself" one_elects_itself
figure "anonymous memory of an idle broker: $(($(node_value one 0 anon_bytes) >> 10)) KiB"
check "it takes messages and gives them back" one_takes_messages
check "it stops with status 0 on SIGTERM" one_stops_in_order
check "it returns with its messages and goes on where it was" one_returns
check "it returns after kill -9" one_survives_kill
check "a group of three elects a leader" three_elect
figure "a leader $three_ms ms after the first of the three processes was started, one after the other"
check "a follower refuses sends with 14 and names the leader" follower_refuses_sends
check "a follower serves pulls" follower_serves_pulls
check "after kill -9 of the leader another one takes sends" leader_dies
check "a node that is 48 MiB behind catches up" lagging_node_catches_up
check "the three logs are equal byte for byte" replicas_are_equal
check "committed offsets and queue locks are known to the next leader" offsets_and_locks_survive
check "three nodes stop with status 0 on SIGTERM" three_stop_in_order
check "they return and have everything" three_return
check "a leader stops in order while sends come in" leader_stops_under_load
check "a leader without a majority takes nothing, and again with one" two_of_three_are_down
print_figures
check "the name server stops with status 0 on SIGTERM" proc_stop ns
case_end lifecycle
