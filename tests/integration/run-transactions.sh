#!/bin/sh
# Open and discarded transactions as `raftmq transaction` lists them, before and after kill -9 of the leader.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in lib/proc lib/case lib/group integration/nodes; do
    . "$TOP/tests/$part.sh"
done

TOPIC=Transactions

group_elects() {
    triple_write three "$NAMESRV" transactionTimeOut=1 transactionCheckInterval=1000 transactionCheckMax=2 || return 1
    for i in $GROUP_NODES; do
        node_start three "$i" || return 1
    done
    ms_until 10 "one leads" leader_of three && node_ask three "$(leader_of three)" topic $TOPIC 1
}

# prepare GROUP KEY [IMMUNE_SECONDS]: a half message whose producer nobody can ask; its position to $WORK/pos.
prepare() {
    prepare_leader=$(leader_of three) || return 1
    prepare_props=$(printf 'TRAN_MSG\001true\002PGROUP\001%s\002UNIQ_KEY\001%s\002CHECK_IMMUNITY_TIME_IN_SECONDS\001%s\002' \
        "$1" "$2" "${3:-600}")
    node_ask three "$prepare_leader" ask 10 producerGroup="$1" topic=$TOPIC defaultTopic=TBW102 defaultTopicQueueNums=4 queueId=0 \
        sysFlag=4 bornTimestamp="$(date +%s%3N)" flag=0 "properties=$prepare_props" -b "$2" > "$WORK/sent" || { cat "$WORK/sent"; return 1; }
    printf '%d' "0x$(sed -n 's/^msgId=//p' "$WORK/sent" | cut -c17-32)" > "$WORK/pos"
}

transactions() { "$RAFTMQ_BIN/raftmq" transaction "$@" -n "$NAMESRV" > "$WORK/listed"; }

# opened COUNT [OPTION...]: so many are open.
opened() {
    opened_count=$1
    shift
    transactions open "$@" || return 1
    [ "$(grep -c commitLogOffset= "$WORK/listed")" -eq "$opened_count" ] || { cat "$WORK/listed"; return 1; }
}

all_are_listed() {
    for i in $(seq 70); do
        prepare Orders "o$i" || return 1
    done
    prepare Others one && opened 71 && opened 70 -g Orders && opened 1 -g Others && opened 0 -g None && opened 71 -b three &&
        ! transactions open -b four 2> "$WORK/refused" && grep -q "no leader of four" "$WORK/refused"
}

ended_is_not_listed() {
    ended_pos=$(cat "$WORK/pos")
    node_ask three "$(leader_of three)" ask 37 producerGroup=Others tranStateTableOffset=70 commitLogOffset="$ended_pos" \
        commitOrRollback=8 msgId=one transactionId=one && opened 70 && opened 0 -g Others
}

leader_dies() {
    victim=$(leader_of three)
    proc_kill three-"$victim" KILL && ms_until 10 "another one leads" leader_of three &&
        ms_until 10 "it is registered" opened 70 && opened 70 -g Orders && node_start three "$victim" &&
        wait_for 20 "level nodes" is_level three
}

is_discarded() { transactions discarded && grep -q "producerGroup=Lost .*topic=$TOPIC msgId=gone " "$WORK/listed"; }

given_up_is_listed() {
    transactions discarded && [ ! -s "$WORK/listed" ] && prepare Lost gone 1 && opened 1 -g Lost &&
        wait_for 20 "it is given up" is_discarded && opened 0 -g Lost
}

work_begin transactions
NAMESRV=127.0.0.1:$(free_ports 1)
check "a name server starts" namesrv_start ns "${NAMESRV#*:}"
check "a group of three elects a leader" group_elects
check "open transactions are listed, all or of one producer group" all_are_listed
check "one that is committed is not listed any more" ended_is_not_listed
check "after kill -9 of the leader the next one lists the same" leader_dies
check "one that nobody ends is listed as discarded in the end" given_up_is_listed
case_end transactions
