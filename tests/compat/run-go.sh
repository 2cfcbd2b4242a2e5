#!/bin/sh
# The Go client (rocketmq-client-go v2) against a RaftMQ group of three on loopback: every case on a healthy group, then all of them at
# once while the leader is killed by kill -9 and restarted.
#
# Usage: tests/compat/run-go.sh [--stock] [--only PART-OF-A-CASE] [--phases healthy,killed]
# With --stock the same cases run against a stock name server and one stock broker. The client asks for routes every 30 s, which cannot
# be changed: whatever is sent while the leader is away waits as long.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case java stock group go; do
    . "$TOP/tests/lib/$part.sh"
done
. "$TOP/tests/compat/driver.sh"
. "$TOP/tests/compat/brokers.sh"

GROUP=compat-go
BROKERS=raftmq
ONLY=
PHASES=healthy,killed
while [ $# -gt 0 ]; do
    case $1 in
    --stock) BROKERS=stock ;;
    --only)
        ONLY=$2
        shift
        ;;
    --phases)
        PHASES=$2
        shift
        ;;
    *)
        echo "unknown option $1" >&2
        exit 2
        ;;
    esac
    shift
done

work_begin compat-go
go_build "$TOP/tests/compat/go" "$COMPAT_BUILD/go-cases"
[ $BROKERS = raftmq ] || java_jars stock $STOCK_VERSION
brokers_start
if [ $BROKERS = stock ]; then
    set -- features="$(features all)" strict=false
else
    set -- features="$(features on)" strict=true
fi
driven go "client Go" "$COMPAT_BUILD/go-cases" "$NAMESRV" "$(date +%s)" "$@" only="$ONLY" phases="$PHASES"
[ $BROKERS = stock ] || case_run "three replicas hold the same bytes" wait_for 30 "equal logs" group_logs_equal $GROUP || true
case_end compat-go
