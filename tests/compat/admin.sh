# Stock mqadmin against the group that run-java.sh started: each command's output has the facts that operators read.
# Sourced by run-java.sh, POSIX sh. A command's output is kept in $LOGS/mqadmin-<command>.log.

# admin_output COMMAND OPTION...: runs it and leaves its output in $ADMIN_OUT.
admin_output() {
    ADMIN_OUT=$LOGS/mqadmin-$1.log
    stock_admin "$@" -n "$NAMESRV" < /dev/null > "$ADMIN_OUT" || return 1
    ! grep -q 'Exception' "$ADMIN_OUT" || { cat "$ADMIN_OUT"; return 1; }
}

# rows PATTERN: how many lines of the last output match.
rows() { grep -c "$1" "$ADMIN_OUT" || true; }

admin_expect() {
    [ "$2" = "$3" ] || { echo "$1: $3, expected $2"; cat "$ADMIN_OUT"; return 1; }
}

# The ids of the group's members: 0 for the leader, its number + 1 for a follower.
admin_cluster_list() {
    admin_output clusterList || return 1
    ids=$(awk -v name="$GROUP" '$2 == name { print $3 }' "$ADMIN_OUT" | sort -n | tr '\n' ' ')
    if [ "$BROKERS" = stock ]; then
        admin_expect "broker ids" "0 " "$ids"
        return
    fi
    leader=$(group_leader "$GROUP" "$NAMESRV") || return 1
    followers=$(for node in $GROUP_NODES; do [ "$node" = "$leader" ] || echo $((node + 1)); done | tr '\n' ' ')
    admin_expect "broker ids" "0 $followers" "$ids" || return 1
    admin_expect "leader address" 1 "$(rows "$GROUP  *0  *127.0.0.1:$(node_port "$GROUP" "$leader") ")"
}

admin_update_topic_cluster() {
    admin_output updateTopic -c DefaultCluster -t compat_admin -r 6 -w 6 || return 1
    admin_expect "success lines" 1 "$(rows 'create topic to .* success')"
}

admin_update_topic_broker() {
    address=$(leader_address) || return 1
    admin_output updateTopic -b "$address" -t compat_admin -r 8 -w 8 || return 1
    admin_expect "success lines" 1 "$(rows 'create topic to .* success')"
}

topic_route_has() {
    admin_output topicRoute -t compat_admin && [ "$(rows "\"readQueueNums\":[ \t]*$1")" = 1 ]
}

admin_topic_route() {
    wait_for 40 "8 queues in the route" topic_route_has 8 || return 1
    admin_expect "write queues" 1 "$(rows '"writeQueueNums":[ \t]*8')" || return 1
    admin_expect "permission" 1 "$(rows '"perm":[ \t]*6')" || return 1
    admin_expect "broker names" 2 "$(rows "\"brokerName\":[ \t]*\"$GROUP\"")"
}

admin_topic_list() {
    admin_output topicList || return 1
    admin_expect "the topic" 1 "$(rows '^compat_admin$')"
}

# What stands in the table is what was sent: batches of 20, at least ten of them, from offset 0 on.
admin_topic_status() {
    batch_topics=$(grep -o '^compat_batch_[0-9_]*' "$LOGS/mqadmin-topicList.log") || { echo "no topic of the batch case"; return 1; }
    for topic in $batch_topics; do
        admin_output topicStatus -t "$topic" || return 1
        sums=$(awk -v name="$GROUP" '$1 == name { low += $3; high += $4; rows++ }
            END { print low + 0, high % 20, (high >= 200 ? "enough" : high), rows + 0 }' "$ADMIN_OUT")
        admin_expect "minimum sum, rest of batches, enough, queues of $topic" "0 0 enough 4" "$sums" || return 1
    done
}

admin_cases() {
    case_run "mqadmin clusterList" admin_cluster_list || true
    case_run "mqadmin updateTopic -c" admin_update_topic_cluster || true
    case_run "mqadmin updateTopic -b" admin_update_topic_broker || true
    case_run "mqadmin topicRoute" admin_topic_route || true
    case_run "mqadmin topicList" admin_topic_list || true
    case_run "mqadmin topicStatus" admin_topic_status || true
}
