#!/bin/sh
# Messages that wait, while leaders die: each comes once, and none that was recalled.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in lib/proc lib/case lib/group integration/nodes; do
    . "$TOP/tests/$part.sh"
done

TOPIC=Delayed
MESSAGES=60

now_ms() { date +%s%3N; }

three_begin() {
    triple_write three 127.0.0.1:1 'messageDelayLevel=1s 3s 1h' || return 1
    for i in $GROUP_NODES; do
        node_start three "$i" || return 1
    done
    ms_until 10 "one leads" leader_of three && node_ask three "$(leader_of three)" topic $TOPIC 1
}

# send BODY PROPERTY VALUE: to whoever leads; what was answered is in $WORK/answer.
send() {
    ms_until 10 "one leads" leader_of three > "$WORK/until" || return 1
    node_ask three "$(leader_of three)" ask 310 a=PG b=$TOPIC c=TBW102 d=4 e=0 f=0 g=1 h=0 \
        "i=$(printf '%s\001%s\002' "$2" "$3")" -b "$1" > "$WORK/answer" 2>&1
}

# A third with a level, the others each with a time of its own in the next six seconds.
take_messages() {
    take_start=$(now_ms)
    for take_i in $(seq 1 $MESSAGES); do
        if [ $((take_i % 3)) -eq 0 ]; then
            send "w$take_i" DELAY $((1 + take_i / 3 % 2)) || return 1
        else
            send "w$take_i" TIMER_DELIVER_MS $((take_start + 2000 + take_i * 70)) || return 1
        fi
        echo "w$take_i" >> "$WORK/sent"
    done
}

recall_one() {
    send recalled TIMER_DELAY_SEC 6 || return 1
    recall_handle=$(sed -n 's/^recallHandle=//p' "$WORK/answer")
    [ -n "$recall_handle" ] || return 1
    recall_leader=$(leader_of three)
    node_ask three "$recall_leader" ask 370 producerGroup=PG topic=$TOPIC "recallHandle=$recall_handle" &&
        node_ask three "$recall_leader" ask 370 producerGroup=PG topic=$TOPIC "recallHandle=$recall_handle" > "$WORK/again"
    cat "$WORK/again"
    grep -q '^code=604 ' "$WORK/again"
}

# Twice, while messages are due.
leaders_die() {
    for die_round in 1 2; do
        die_victim=$(leader_of three) || return 1
        proc_kill three-"$die_victim" KILL && ms_until 5 "another one leads" leader_of three &&
            node_start three "$die_victim" && wait_for 10 "level nodes" is_level three || return 1
        sleep 1
    done
}

end_of() { node_ask three "$(leader_of three)" ask 30 topic=$TOPIC queueId=0 | sed -n 's/^offset=//p'; }
has_all() { [ "$(end_of)" -ge $MESSAGES ]; }

each_comes_once() {
    ms_until 30 "all are there" has_all || return 1
    sleep 1 # one that came twice would come about now
    wait_for 10 "level nodes" is_level three || return 1
    for come_i in $GROUP_NODES; do
        node_ask three "$come_i" pull $TOPIC 0 0 $MESSAGES > "$WORK/came" || return 1
        sed 's/.* //' "$WORK/came" | sort > "$WORK/came.sorted"
        sort "$WORK/sent" | cmp - "$WORK/came.sorted" || return 1
    done
    come_end=$(end_of)
    [ "$come_end" -eq $MESSAGES ] || {
        echo "$come_end messages came of $MESSAGES"
        return 1
    }
}

# A level of an hour outlives the end of all processes at once.
what_waits_survives_all() {
    send later DELAY 3 || return 1
    for all_i in $GROUP_NODES; do
        proc_kill three-"$all_i" KILL || return 1
    done
    for all_i in $GROUP_NODES; do
        node_start three "$all_i" || return 1
    done
    ms_until 10 "one leads" leader_of three && send behind TIMER_DELAY_MS 1 && ms_until 10 "it comes" more_than $MESSAGES &&
        wait_for 10 "level nodes" is_level three
}

more_than() { [ "$(end_of)" -gt "$1" ]; }

work_begin delayed
check "a group of three begins" three_begin
check "it takes messages that wait for a level or for a time" take_messages
check "a recalled message is one only once" recall_one
check "its leaders die by kill -9 while messages are due" leaders_die
check "each message has come once on every member, and the recalled one has not" each_comes_once
check "the group goes on behind the end of all its processes" what_waits_survives_all
case_end delayed
