#!/bin/sh
# Name servers: routes over two broker groups, brokers that come, go, die, and name servers that do.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in lib/proc lib/case lib/group integration/nodes; do
    . "$TOP/tests/$part.sh"
done

TOPIC=Routes

# route PORT TOPIC: the route's JSON from the name server at that port.
route() { "$PROBE" ask "$1" 105 "topic=$2"; }

# route_has PORT TOPIC WORD...: the route is there and holds every WORD.
route_has() {
    has_route=$(route "$1" "$2") || return 1
    echo "$has_route"
    shift 2
    for has_word in "$@"; do
        case $has_route in
        *"$has_word"*) ;;
        *)
            echo "the route has no $has_word"
            return 1
            ;;
        esac
    done
}

route_lacks() {
    lacks_route=$(route "$1" "$2") || return 0
    case $lacks_route in
    *"$3"*) return 1 ;;
    esac
}

start_all() {
    namesrv_start ns1 "$NS1" && namesrv_start ns2 "$NS2" && single_write left "$NAMESRVS" && triple_write right "$NAMESRVS" &&
        node_start left 0 || return 1
    for i in $GROUP_NODES; do
        node_start right "$i" || return 1
    done
    ms_until 10 "left leads" node_leads left 0 && ms_until 10 "one of right leads" leader_of right
}

topic_over_both_groups() {
    node_ask left 0 topic $TOPIC 2 && node_ask right "$(leader_of right)" topic $TOPIC 6 || return 1
    for port in $NS1 $NS2; do
        ms_until 3 "the route names both groups" route_has "$port" $TOPIC '"left"' '"right"' || return 1
        route_has "$port" $TOPIC '"writeQueueNums":2' '"writeQueueNums":6' "127.0.0.1:$(node_port left 0)" \
            "127.0.0.1:$(node_port right "$(leader_of right)")" || return 1
    done
}

# The leader is listed as 0, the others by their number + 1.
ids_are_right() {
    leader=$(leader_of right)
    leader_addr="127.0.0.1:$(node_port right "$leader")"
    route "$NS1" $TOPIC | tr -d ' ' | grep -E "\"?0\"?:\"$leader_addr\"" || return 1
    for i in $GROUP_NODES; do
        [ "$i" -eq "$leader" ] && continue
        ms_until 3 "member $i is listed" follower_is_listed "$i" || return 1
    done
}

follower_is_listed() {
    route "$NS1" $TOPIC | tr -d ' ' | grep -qE "\"?$(($1 + 1))\"?:\"127.0.0.1:$(node_port right "$1")\""
}

messages_in_both_groups() {
    node_ask left 0 send $TOPIC 1 0 40 && node_ask right "$(leader_of right)" send $TOPIC 5 0 60 &&
        holds left 0 $TOPIC 1 40 && holds right "$(leader_of right)" $TOPIC 5 60
}

# The program that users run spreads its messages over the queues of both.
client_spreads_over_both() {
    left_before=$(node_value left 0 messages)
    right_before=$(node_value right "$(leader_of right)" messages)
    timeout 30 "$RAFTMQ_BIN/raftmq" bench producer -n "127.0.0.1:$NS1" -t $TOPIC --seconds 1 -w 2 &&
        [ "$(node_value left 0 messages)" -gt "$left_before" ] &&
        [ "$(node_value right "$(leader_of right)" messages)" -gt "$right_before" ]
}

# The name server forgets everything when it dies; brokers must come back by themselves.
namesrv_returns() {
    proc_kill ns1 KILL && proc_start ns1 "$RAFTMQ_BIN/mqnamesrv" -c "$WORK/ns1.conf" &&
        ms_until 10 "the route is back" route_has "$NS1" $TOPIC '"left"' '"right"' && [ "$took_ms" -le 1200 ]
}

other_namesrv_knew_all_the_time() { route_has "$NS2" $TOPIC '"left"' '"right"'; }

new_leader_takes_id_0() {
    old=$(leader_of right)
    proc_kill right-"$old" KILL && ms_until 5 "another one leads" leader_of right || return 1
    new_addr="127.0.0.1:$(node_port right "$(leader_of right)")"
    ms_until 2 "the new leader is id 0" leader_is_0 "$NS1" "$new_addr" && ms_until 2 "on both" leader_is_0 "$NS2" "$new_addr" &&
        node_start right "$old"
}

leader_is_0() { route "$1" $TOPIC | tr -d ' ' | grep -qE "\"?0\"?:\"$2\""; }

stopped_broker_leaves() {
    node_stop left 0 && ms_until 7 "the route lacks it" route_lacks "$NS1" $TOPIC "127.0.0.1:$(node_port left 0)" &&
        route_has "$NS1" $TOPIC '"right"'
}

returned_broker_is_listed() {
    node_start left 0 && ms_until 5 "the route has it" route_has "$NS1" $TOPIC "127.0.0.1:$(node_port left 0)" &&
        holds left 0 $TOPIC 1 40
}

brokers_start_without_namesrv() {
    proc_kill ns1 KILL && proc_kill ns2 KILL && node_stop left 0 && node_start left 0 && ms_until 5 "leads" node_leads left 0 &&
        holds left 0 $TOPIC 1 40 && namesrv_start ns2 "$NS2" &&
        ms_until 3 "the route has it" route_has "$NS2" $TOPIC "127.0.0.1:$(node_port left 0)"
}

work_begin routes
# shellcheck disable=SC2046 # two ports
set -- $(free_ports 2)
NS1=$1
NS2=$2
NAMESRVS="127.0.0.1:$NS1;127.0.0.1:$NS2"
check "two name servers, a group of one and a group of three" start_all
check "a topic over both groups is routed to both" topic_over_both_groups
check "the leader is id 0, followers have their own" ids_are_right
check "messages are in both groups" messages_in_both_groups
check "a client spreads its messages over both" client_spreads_over_both
check "brokers register again within a second when a name server returns" namesrv_returns
check "the other name server knew all the time" other_namesrv_knew_all_the_time
check "after kill -9 of a leader the new one is id 0 everywhere" new_leader_takes_id_0
check "a broker that stops in order leaves the route" stopped_broker_leaves
check "a broker that returns is listed again" returned_broker_is_listed
check "brokers work without name servers and find them later" brokers_start_without_namesrv
case_end routes
