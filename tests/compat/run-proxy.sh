#!/bin/sh
# The stock proxy in cluster mode before a RaftMQ group of three, and a client with gRPC (Python): send, receive, ack, change of invisible
# time, delay, transactions and messages in order, healthy and with the leader killed by kill -9.
#
# Usage: tests/compat/run-proxy.sh [--stock] [--phases healthy,killed]
# With --stock the same cases run with one stock broker behind the proxy. The suite needs what tests/compat/features calls pop, groups,
# timers and transactions; it says NOT YET while one of them is off.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case java stock group; do
    . "$TOP/tests/lib/$part.sh"
done
. "$TOP/tests/compat/driver.sh"
. "$TOP/tests/compat/brokers.sh"

GROUP=compat-proxy
BROKERS=raftmq
PHASES=healthy,killed
PYTHON_CLIENT=5.1.2
while [ $# -gt 0 ]; do
    case $1 in
    --stock) BROKERS=stock ;;
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

# The client from PyPI in a Python of its own below build/compat.
python_client() {
    PYTHON=$COMPAT_BUILD/python-$PYTHON_CLIENT/bin/python
    [ ! -f "$COMPAT_BUILD/python-$PYTHON_CLIENT/complete" ] || return 0
    rm -rf "$COMPAT_BUILD/python-$PYTHON_CLIENT"
    mkdir -p "$COMPAT_BUILD"
    python3 -m venv "$COMPAT_BUILD/python-$PYTHON_CLIENT" || return 1
    "$PYTHON" -m pip -q --disable-pip-version-check install "rocketmq-python-client==$PYTHON_CLIENT" || return 1
    touch "$COMPAT_BUILD/python-$PYTHON_CLIENT/complete"
}

proxy_start() {
    # shellcheck disable=SC2046 # two ports
    set -- $(free_ports 2)
    PROXY_PORT=$1
    mkdir -p "$WORK/home/conf"
    cat > "$WORK/home/conf/rmq-proxy.json" << END
{
  "rocketMQClusterName": "DefaultCluster",
  "proxyClusterName": "DefaultCluster",
  "proxyMode": "CLUSTER",
  "namesrvAddr": "$NAMESRV",
  "localServeAddr": "127.0.0.1",
  "grpcServerPort": $1,
  "remotingListenPort": $2,
  "topicRouteServiceCacheRefreshSeconds": 1,
  "topicConfigCacheRefreshSeconds": 1,
  "subscriptionGroupConfigCacheRefreshSeconds": 1
}
END
    # shellcheck disable=SC2046 # java_command prints words
    proc_start proxy $(java_command proxy $STOCK_VERSION) -XX:MaxDirectMemorySize=256m org.apache.rocketmq.proxy.ProxyStartup \
        -pc "$WORK/home/conf/rmq-proxy.json"
    wait_proc_port proxy "$PROXY_PORT" 60
}

admin() {
    stock_admin "$@" -n "$NAMESRV" > "$LOGS/mqadmin.log" < /dev/null
    grep -q 'success' "$LOGS/mqadmin.log" || { cat "$LOGS/mqadmin.log"; return 1; }
}

topics_and_groups() {
    for kind in normal:NORMAL delay:DELAY transaction:TRANSACTION fifo:FIFO; do
        admin updateTopic -c DefaultCluster -t "${kind%:*}_$RUN" -r 4 -w 4 -a "+message.type=${kind#*:}" || return 1
    done
    for name in ack:false again:false change:false delay:false transaction:false fifo:true; do
        for phase in healthy killed; do
            admin updateSubGroup -c DefaultCluster -g "group_${RUN}_${name%:*}_$phase" -o "${name#*:}" || return 1
        done
    done
}

work_begin compat-proxy
for feature in pop groups timers transactions; do
    [ $BROKERS = stock ] || has_feature $feature || missing="${missing:-} $feature"
done
if [ -n "${missing:-}" ]; then
    echo "NOT YET a proxy before RaftMQ, which needs$missing"
    case_run "the proxy's cases are there" test -s "$TOP/tests/compat/proxy/cases.py"
    case_end compat-proxy
    exit
fi
java_jars stock $STOCK_VERSION
java_jars proxy $STOCK_VERSION
python_client
RUN=$(date +%s)
brokers_start
case_run "topics and groups of all types" topics_and_groups
case_run "a stock proxy starts in cluster mode" proxy_start
cd "$WORK"
driven proxy-cases "client Python $PYTHON_CLIENT" "$PYTHON" "$TOP/tests/compat/proxy/cases.py" "127.0.0.1:$PROXY_PORT" "$RUN" "$PHASES"
[ $BROKERS = stock ] || case_run "three replicas hold the same bytes" wait_for 30 "equal logs" group_logs_equal $GROUP || true
case_end compat-proxy
