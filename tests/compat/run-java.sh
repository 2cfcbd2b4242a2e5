#!/bin/sh
# The stock Java clients against a RaftMQ group of three on loopback: what they do on a healthy group, then with
# the leader killed by kill -9 in the middle of sends and consumption and restarted later; then stock mqadmin, and
# the three logs compared byte for byte.
#
# Usage: tests/compat/run-java.sh [--stock]
# With --stock the same cases run against a stock name server and one stock broker instead, which shows that the cases ask for
# no more than the original does (the kill restarts that broker at once).
# RAFTMQ_CLIENT_VERSIONS chooses the clients ("4.9.8 5.4.0").
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case java stock group; do
    . "$TOP/tests/lib/$part.sh"
done
. "$TOP/tests/compat/driver.sh"
. "$TOP/tests/compat/admin.sh"
. "$TOP/tests/compat/query.sh"
. "$TOP/tests/compat/topics.sh"

GROUP=compat-a
BROKERS=raftmq
[ "${1:-}" != --stock ] || BROKERS=stock

start_raftmq() {
    group_programs_exist
    namesrv_start ns "$NAMESRV_PORT"
    group_start $GROUP "$NAMESRV"
}

start_stock() {
    # shellcheck disable=SC2046 # one port
    set -- $(free_ports 1)
    STOCK_PORT=$1
    stock_namesrv ns "$NAMESRV_PORT"
    stock_broker $GROUP "$STOCK_PORT" "$NAMESRV" enablePropertyFilter=true
}

on_kill_raftmq() {
    killed=$(group_leader $GROUP "$NAMESRV") || return 1
    echo "    kill -9 of the leader, node $killed"
    proc_kill $GROUP-"$killed" KILL
}

on_restart_raftmq() {
    sleep 3
    node_start $GROUP "$killed"
    echo "    node $killed restarted"
}

on_kill_stock() {
    echo "    kill -9 of the stock broker, restarted at once"
    proc_kill $GROUP KILL
    stock_broker $GROUP "$STOCK_PORT" "$NAMESRV" enablePropertyFilter=true
}

on_restart_stock() { :; }

on_kill() { on_kill_$BROKERS; }
on_restart() { on_restart_$BROKERS; }

work_begin compat-java
compat_prepare
NAMESRV_PORT=$(free_ports 1)
NAMESRV=127.0.0.1:$NAMESRV_PORT
start_$BROKERS
for version in $CLIENT_VERSIONS; do
    java_cases "$version" "$NAMESRV" basic "basic-$version"
    java_cases "$version" "$NAMESRV" query "query-$version"
    java_cases "$version" "$NAMESRV" failover "failover-$version"
done
admin_cases
query_cases
[ $BROKERS = stock ] || topics_cases
[ $BROKERS = stock ] || case_run "three replicas hold the same bytes" wait_for 30 "equal logs" group_logs_equal $GROUP || true
case_end compat-java
