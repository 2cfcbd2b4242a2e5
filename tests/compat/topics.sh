# Stock mqadmin as it changes topics, groups and offsets of the group that run-java.sh started, also over the death of the
# leader. Sourced by run-java.sh after admin.sh, POSIX sh.
#
# Cases follow each other: the topic compat_adm_t, the groups compat_adm_g and compat_adm_h.

T=compat_adm_t
G=compat_adm_g
H=compat_adm_h
consumed=0 # what the group G has consumed, by its offsets

# said WORDS COMMAND OPTION...: the command's output has a line with WORDS.
said() {
    said_words=$1
    shift
    admin_output "$@" || return 1
    [ "$(rows "$said_words")" -ge 1 ] || { echo "$1 does not say \"$said_words\""; cat "$ADMIN_OUT"; return 1; }
}

# send_lines N: so many messages to the topic, one after the other.
send_lines() {
    seq "$1" | "$RAFTMQ_BIN/raftmq" send -n "$NAMESRV" $T > "$LOGS/send-$T.log"
}

# queue_sums: minimum sum, maximum sum and queues of the topic, as topicStatus has them.
queue_sums() {
    admin_output topicStatus -t $T || return 1
    awk -v name="$GROUP" '$1 == name { low += $3; high += $4; rows++ } END { print low + 0, high + 0, rows + 0 }' "$ADMIN_OUT"
}

has_sums() { [ "$(queue_sums)" = "$1" ]; }

expect_sums() {
    admin_expect "minimum sum, maximum sum, queues of $T" "$1" "$(queue_sums)"
}

# progress_sums GROUP: the sums of the broker's and the consumer's offsets in the topic.
progress_sums() {
    admin_output consumerProgress -g "$1" -t $T || return 1
    awk -v name=$T '$1 == name { high += $4; done += $5 } END { print high + 0, done + 0 }' "$ADMIN_OUT"
}

topics_create() {
    said 'create topic to .* success' updateTopic -c DefaultCluster -t $T -r 4 -w 4 -o true || return 1
    wait_for 40 "the route of $T" "$RAFTMQ_BIN/raftmq" send -n "$NAMESRV" $T first || return 1
    send_lines 19 || return 1
    expect_sums "0 20 4" || return 1
    said "$GROUP:4" updateOrderConf -t $T -m get
}

topics_order() {
    said 'success' updateOrderConf -t $T -m put -v "$GROUP:2" || return 1
    said "$GROUP:2" updateOrderConf -t $T -m get || return 1
    said 'success' updateOrderConf -t $T -m delete || return 1
    admin_output updateOrderConf -t $T -m get || true
    admin_expect "order configurations left" 0 "$(rows "$GROUP:2")"
}

topics_list() {
    cat > "$WORK/topics.json" << END
[{"topicName":"compat_adm_l1","readQueueNums":3,"writeQueueNums":2,"perm":6,"topicFilterType":"SINGLE_TAG"},
 {"topicName":"compat_adm_l2","readQueueNums":1,"writeQueueNums":1,"perm":4,"topicFilterType":"SINGLE_TAG"}]
END
    said 'success' updateTopicList -c DefaultCluster -f "$WORK/topics.json" || return 1
    for topic in compat_adm_l1 compat_adm_l2; do
        wait_for 40 "the route of $topic" said 'brokerName' topicRoute -t $topic || return 1
    done
    admin_expect "permission of the second" 1 "$(rows '"perm":[ \t]*4')"
}

topics_groups() {
    for group in $G $H; do
        said 'create subscription group to .* success' updateSubGroup -c DefaultCluster -g $group -s true -m true -r 7 -q 2 \
            -p '{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":1000,"max":60000,"multiplier":3}}' || return 1
        said 'create topic to .* success' updateTopic -c DefaultCluster -t "%RETRY%$group" -r 1 -w 1 || return 1
    done
    said 'retryMaxTimes *= *7' getConsumerConfig -g $G || return 1
    said 'EXPONENTIAL' getConsumerConfig -g $G
}

topics_reset_by_time() {
    said "$T" resetOffsetByTime -g $G -t $T -s 0 || return 1
    admin_expect "broker and consumer offsets" "20 0" "$(progress_sums $G)" || return 1
    said "$T" resetOffsetByTime -g $G -t $T -s -1 || return 1
    admin_expect "broker and consumer offsets" "20 20" "$(progress_sums $G)"
}

# Queue 1 goes back to offset 2.
topics_reset_one() {
    admin_output topicStatus -t $T || return 1
    end=$(awk -v name="$GROUP" '$1 == name && $2 == 1 { print $4 }' "$ADMIN_OUT")
    said 'reset consumer offset to 2' resetOffsetByTime -g $G -t $T -s 0 -b "$(leader_address)" -q 1 -o 2 || return 1
    consumed=$((20 - end + 2))
    admin_expect "broker and consumer offsets" "20 $consumed" "$(progress_sums $G)"
}

topics_skip() {
    send_lines 4 || return 1
    admin_expect "broker and consumer offsets" "24 $consumed" "$(progress_sums $G)" || return 1
    said "^$GROUP" skipAccumulatedMessage -g $G -t $T || return 1
    admin_expect "broker and consumer offsets" "24 24" "$(progress_sums $G)"
}

topics_clone() {
    said 'clone group offset success' cloneGroupOffset -s $G -d $H -t $T -o true || return 1
    admin_expect "broker and consumer offsets" "24 24" "$(progress_sums $H)"
}

topics_write_perm() {
    said 'wipe write perm' wipeWritePerm -b "$GROUP" || return 1
    said '"perm":[ \t]*4' topicRoute -t $T || return 1
    said 'add write perm' addWritePerm -b "$GROUP" || return 1
    said '"perm":[ \t]*6' topicRoute -t $T
}

topics_delete_group() {
    said 'success' deleteSubGroup -g $H -c DefaultCluster -r true || return 1
    admin_output getConsumerConfig -g $H || true
    admin_expect "lines about $H" 0 "$(rows "^groupName *= *$H")" || return 1
    stock_admin topicRoute -t "%RETRY%$H" -n "$NAMESRV" < /dev/null > "$ADMIN_OUT" || true
    admin_expect "routes of its retry topic" 0 "$(rows '"brokerName"')"
}

topics_delete() {
    said 'delete topic .* success' deleteTopic -c DefaultCluster -t $T || return 1
    stock_admin topicRoute -t $T -n "$NAMESRV" < /dev/null > "$ADMIN_OUT" || true
    admin_expect "routes" 0 "$(rows '"brokerName"')" || return 1
    said 'create topic to .* success' updateTopic -c DefaultCluster -t $T -r 4 -w 4 || return 1
    wait_for 40 "the route of $T" "$RAFTMQ_BIN/raftmq" send -n "$NAMESRV" $T first || return 1
    expect_sums "0 1 4"
}

# The name begins anew, and the leader dies: who leads next counts on, and who comes back has the same.
topics_delete_and_kill() {
    send_lines 9 || return 1
    said 'delete topic .* success' deleteTopic -c DefaultCluster -t $T || return 1
    said 'create topic to .* success' updateTopic -c DefaultCluster -t $T -r 4 -w 4 || return 1
    wait_for 40 "the route of $T" "$RAFTMQ_BIN/raftmq" send -n "$NAMESRV" $T first || return 1
    on_kill || return 1
    wait_for 60 "sums behind the kill" has_sums "0 1 4" || return 1
    wait_for 60 "a send behind the kill" "$RAFTMQ_BIN/raftmq" send -n "$NAMESRV" $T second || return 1
    expect_sums "0 2 4" || return 1
    on_restart
}

topics_cases() {
    case_run "mqadmin updateTopic -o, topicStatus" topics_create || true
    case_run "mqadmin updateOrderConf" topics_order || true
    case_run "mqadmin updateTopicList" topics_list || true
    case_run "mqadmin updateSubGroup, getConsumerConfig" topics_groups || true
    case_run "mqadmin resetOffsetByTime, consumerProgress" topics_reset_by_time || true
    case_run "mqadmin resetOffsetByTime of one queue" topics_reset_one || true
    case_run "mqadmin skipAccumulatedMessage" topics_skip || true
    case_run "mqadmin cloneGroupOffset" topics_clone || true
    case_run "mqadmin wipeWritePerm, addWritePerm" topics_write_perm || true
    case_run "mqadmin deleteSubGroup" topics_delete_group || true
    case_run "mqadmin deleteTopic, and the name again" topics_delete || true
    case_run "mqadmin deleteTopic, and the leader dies" topics_delete_and_kill || true
}
