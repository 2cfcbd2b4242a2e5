#!/bin/sh
# The stock Java clients against a RaftMQ group of three on loopback: every case on a healthy group and with the leader killed by
# kill -9 in its middle and restarted; then stock mqadmin, and the three nodes' states and logs compared.
#
# Usage: tests/compat/run-java.sh [--stock] [--all] [--only PART-OF-A-CASE] [--phases healthy,killed]
# With --stock the same cases run against a stock name server and one stock broker instead, which shows that the cases ask for
# no more than the original does (the kill restarts that broker at once). --all runs every case, not only the default selection, and
# the failover of clients with stock settings. RAFTMQ_CLIENT_VERSIONS chooses the clients ("4.9.8 5.4.0").
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case java stock group; do
    . "$TOP/tests/lib/$part.sh"
done
. "$TOP/tests/compat/driver.sh"
. "$TOP/tests/compat/brokers.sh"
. "$TOP/tests/compat/admin.sh"
. "$TOP/tests/compat/query.sh"
. "$TOP/tests/compat/topics.sh"
. "$TOP/tests/compat/replay.sh"

GROUP=compat-a
BROKERS=raftmq
CASES=default
ONLY=
PHASES=healthy,killed
while [ $# -gt 0 ]; do
    case $1 in
    --stock) BROKERS=stock ;;
    --all) CASES=all ;;
    --only | --phases)
        [ "$1" = --only ] && ONLY=$2 CASES=all || PHASES=$2
        shift
        ;;
    *)
        echo "unknown option $1" >&2
        exit 2
        ;;
    esac
    shift
done

work_begin compat-java
compat_prepare
brokers_start
if [ $BROKERS = stock ]; then
    set -- features="$(features all)" exact=false
else
    set -- features="$(features on)" exact=true
fi
for version in $CLIENT_VERSIONS; do
    java_cases "$version" "$NAMESRV" matrix "matrix-$version" "$@" cases=$CASES only="$ONLY" phases="$PHASES"
    [ "$CASES$ONLY" != all ] || java_cases "$version" "$NAMESRV" failover "failover-$version"
done
if [ -z "$ONLY" ]; then
    admin_cases
    query_cases
    [ $BROKERS = stock ] || topics_cases
fi
[ $BROKERS = stock ] || replay_cases $GROUP
case_end compat-java
