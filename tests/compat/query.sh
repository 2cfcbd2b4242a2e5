# Stock mqadmin looks for messages: by key, by unique id, by the id that names a position, by trace. Sourced by run-java.sh
# behind admin.sh, POSIX sh. What it looks for it has sent itself.

QUERY_TOPIC=compat_query
QUERY_ID=
query_queue= query_qoff= query_pos= query_host= # where a message lies, as mqadmin says

# query_send KEYS BODY OPTION...: leaves the unique id in QUERY_ID.
query_send() {
    query_keys=$1
    query_body=$2
    shift 2
    admin_output sendMessage -t $QUERY_TOPIC -k "$query_keys" -p "$query_body" -c TagA "$@" || return 1
    QUERY_ID=$(awk '$3 == "SEND_OK" { print $4 }' "$ADMIN_OUT")
    [ -n "$QUERY_ID" ] || { cat "$ADMIN_OUT"; return 1; }
}

# query_output COMMAND OPTION...: as admin_output, of a command that goes on to show who has consumed the message; where a broker does
# not answer that (300), what it has shown before counts.
query_output() {
    ADMIN_OUT=$LOGS/mqadmin-$1.log
    stock_admin "$@" -n "$NAMESRV" < /dev/null > "$ADMIN_OUT"
}

query_prepare() {
    admin_output updateTopic -c DefaultCluster -t $QUERY_TOPIC -r 4 -w 4 || return 1
    wait_for 40 "a route of $QUERY_TOPIC" admin_output topicRoute -t $QUERY_TOPIC
}

query_by_key() {
    query_prepare && query_send "left right" one || return 1
    query_first=$QUERY_ID
    query_send "right" two || return 1
    admin_output queryMsgByKey -t $QUERY_TOPIC -k left || return 1
    admin_expect "messages with the one key" 1 "$(rows "^$query_first ")" || return 1
    admin_output queryMsgByKey -t $QUERY_TOPIC -k right || return 1
    admin_expect "messages with the other" 2 "$(rows "^\($query_first\|$QUERY_ID\) ")"
}

query_by_unique_id() {
    query_send once "by unique id" || return 1
    query_output queryMsgByUniqueKey -t $QUERY_TOPIC -i "$QUERY_ID" || return 1
    admin_expect "its keys" 1 "$(rows '^Keys: *\[once\]')" || return 1
    query_queue=$(awk '/^Queue ID:/ { print $3 }' "$ADMIN_OUT")
    query_qoff=$(awk '/^Queue Offset:/ { print $3 }' "$ADMIN_OUT")
    query_pos=$(awk '/^CommitLog Offset:/ { print $3 }' "$ADMIN_OUT")
    query_host=$(awk '/^Store Host:/ { print $3 }' "$ADMIN_OUT")
    [ -n "$query_pos" ] && [ -n "$query_host" ]
}

# The id is made of address and position, as producers get it (offsetMsgId): the message above.
query_by_id() {
    # shellcheck disable=SC2046 # four numbers
    query_offset_id=$(printf '%02X%02X%02X%02X%08X%016X' $(echo "${query_host%:*}" | tr . ' ') "${query_host#*:}" "$query_pos")
    query_output queryMsgById -t $QUERY_TOPIC -i "$query_offset_id" || return 1
    admin_expect "its keys" 1 "$(rows '^Keys: *\[once\]')"
}

query_has_trace() {
    admin_output queryMsgTraceById -i "$QUERY_ID" && [ "$(rows '^Pub ')" -ge 1 ]
}

query_trace() {
    query_send traced "with a trace" -m true || return 1
    wait_for 60 "a trace of $QUERY_ID" query_has_trace
}

# The message above again, as a unit of its queue.
query_units() {
    admin_output queryCq -t $QUERY_TOPIC -q "$query_queue" -i "$query_qoff" -c 1 || return 1
    admin_expect "the unit" 1 "$(rows "^physicOffset: *$query_pos\|$query_pos")"
}

query_cases() {
    case_run "mqadmin queryMsgByKey" query_by_key || true
    case_run "mqadmin queryMsgByUniqueKey" query_by_unique_id || true
    case_run "mqadmin queryMsgById" query_by_id || true
    case_run "mqadmin queryCq" query_units || true
    case_run "mqadmin queryMsgTraceById" query_trace || true
}
