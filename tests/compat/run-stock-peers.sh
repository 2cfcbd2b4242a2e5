#!/bin/sh
# RaftMQ beside stock RocketMQ: a RaftMQ group registers with a stock name server, and a stock broker registers with a RaftMQ name
# server; one send and one consume with each stock client over either.
#
# Usage: tests/compat/run-stock-peers.sh [--stock-broker-only]      (only the second half, which needs mqnamesrv alone)
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case java stock group; do
    . "$TOP/tests/lib/$part.sh"
done
. "$TOP/tests/compat/driver.sh"

on_kill() { false; }
on_restart() { false; }

group_with_stock_namesrv() {
    namesrv_port=$(free_ports 1)
    stock_namesrv stock-ns "$namesrv_port"
    group_start peers-a "127.0.0.1:$namesrv_port"
    for version in $CLIENT_VERSIONS; do
        echo "    a RaftMQ group behind a stock name server, client $version"
        java_cases "$version" "127.0.0.1:$namesrv_port" once "group-stock-ns-$version"
    done
    for node in $GROUP_NODES; do
        proc_kill peers-a-"$node" TERM
    done
    proc_kill stock-ns TERM
}

stock_broker_with_namesrv() {
    # shellcheck disable=SC2046 # two ports
    set -- $(free_ports 2)
    namesrv_start ns "$1"
    stock_broker stock-a "$2" "127.0.0.1:$1"
    for version in $CLIENT_VERSIONS; do
        echo "    a stock broker behind a RaftMQ name server, client $version"
        java_cases "$version" "127.0.0.1:$1" once "stock-broker-ns-$version"
    done
    proc_kill stock-a TERM
    proc_kill ns TERM
}

work_begin stock-peers
compat_prepare
stock_broker_with_namesrv
[ "${1:-}" = --stock-broker-only ] || group_with_stock_namesrv
case_end stock-peers
