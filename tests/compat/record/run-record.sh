#!/bin/sh
# Records the golden files in tests/golden: what stock clients, a stock broker, name server and mqadmin say to each other.
# Usage: tests/compat/record/run-record.sh [SET...]   SET: stock-5.4.0 stock-5.4.0-binary stock-4.9.8 stock-4.9.8-binary (all)
# The files go to build/golden/SET; what is wanted is copied to tests/golden by hand.
#
# Everything runs in a network namespace of its own that has only the loopback interface, so that no frame holds an address
# of this machine; that needs root. The name server and the broker listen on 127.0.0.2 and the relay on the same
# ports of 127.0.0.1, which is the address the broker registers: nothing has to be rewritten in a frame.
set -eu

TOP=$(cd "$(dirname "$0")/../../.." && pwd)
. "$TOP/tests/lib/proc.sh"
. "$TOP/tests/lib/java.sh"
. "$TOP/tests/lib/stock.sh"

OUT=$TOP/build/golden
NAMESRV_PORT=9876
BROKER_PORT=10911
RECORD=$TOP/tests/compat/record

if [ "${RAFTMQ_RECORD_INSIDE:-}" != yes ]; then
    java_jars stock $STOCK_VERSION
    java_compile stock $STOCK_VERSION "$RECORD/tap"
    for version in 4.9.8 5.4.0; do
        java_jars client $version
        java_compile client $version "$RECORD/traffic"
    done
    exec env RAFTMQ_RECORD_INSIDE=yes unshare --net --mount --uts "$0" "$@"
fi

ip link set lo up
hostname golden
export TMPDIR=/tmp # the path shows up in the broker's answers
work_begin record
printf '127.0.0.1 localhost golden\n' > "$WORK/hosts"
mount --bind "$WORK/hosts" /etc/hosts
mkdir -p "$OUT"

# traffic VERSION OPTION...: a client run against the relay.
traffic() {
    traffic_version=$1
    shift
    # shellcheck disable=SC2046 # java_command prints words
    $(java_command client "$traffic_version") "$@" raftmq.record.Traffic 127.0.0.1:$NAMESRV_PORT
}

admin() {
    echo "mqadmin $*"
    stock_admin "$@" -n 127.0.0.1:$NAMESRV_PORT < /dev/null
}

# The mqadmin commands of the first release, and what the name server's own requests need.
administration() {
    admin updateTopic -c DefaultCluster -t AdminTopic -r 4 -w 4
    admin updateTopic -b 127.0.0.1:$BROKER_PORT -t AdminTopic -r 8 -w 8
    admin clusterList
    admin topicList
    admin topicList -c
    admin topicRoute -t GoldenTopic
    admin topicRoute -t NoSuchTopic || true
    admin topicStatus -t GoldenTopic
    admin brokerStatus -b 127.0.0.1:$BROKER_PORT
    admin getBrokerConfig -b 127.0.0.1:$BROKER_PORT
    admin updateBrokerConfig -b 127.0.0.1:$BROKER_PORT -k maxTransferCountOnMessageInMemory -v 32
    admin exportMetadata -b 127.0.0.1:$BROKER_PORT -t -f "$WORK/export"
    admin updateKvConfig -s GOLDEN -k key -v value
    admin deleteKvConfig -s GOLDEN -k key
    admin updateOrderConf -m get -t OrderTopic || true
    admin updateOrderConf -m put -t OrderTopic -v golden-a:2
    admin updateOrderConf -m get -t OrderTopic
    admin updateOrderConf -m delete -t OrderTopic
    admin wipeWritePerm -b golden-a
    admin addWritePerm -b golden-a
}

# recorded PATTERN: the index has a frame whose line matches.
recorded() { grep -q "$1" "$session_out/INDEX"; }

# What a broker sends to name servers only when it is told to: 904 and 901 every second, because slaves may act as master
# and the name servers are not old; 322 before each registration, every ten seconds, because none is forced. The name
# server starts after the broker and misses its first registration: the first answer is "changed", the next "unchanged".
broker_reports() {
    proc_kill ns TERM
    : > "$LOGS/golden-a.log"
    stock_broker golden-a $BROKER_PORT 127.0.0.1:$NAMESRV_PORT bindAddress=127.0.0.2 forceRegister=false \
        registerNameServerPeriod=10000 enableSlaveActingMaster=true compatibleWithOldNameSrv=false
    wait_for 60 "the broker" grep -q "boot success" "$LOGS/golden-a.log"
    stock_namesrv ns $NAMESRV_PORT 127.0.0.2
    wait_for 60 "a heartbeat" recorded '^904-request'
    wait_for 60 "an answer that nothing changed" recorded '^322-response.*body=yes'
    proc_kill golden-a TERM
}

# session FOLDER CLIENT_VERSION [SERIALIZE_TYPE]: everything once, on fresh servers.
session() {
    session_out=$OUT/$1
    rm -rf "$session_out"
    mkdir -p "$session_out"
    rm -rf "${WORK:?}/ns" "$WORK/golden-a" "$WORK/home"
    JVM_PLAIN=$JVM_SMALL
    if [ $# -gt 2 ]; then
        JVM_SMALL="$JVM_SMALL -Drocketmq.serialize.type=$3"
    fi
    stock_namesrv ns $NAMESRV_PORT 127.0.0.2
    # shellcheck disable=SC2046 # java_command prints words
    proc_start tap $(java_command stock $STOCK_VERSION) raftmq.record.FrameTap "$session_out" \
        127.0.0.1:$NAMESRV_PORT=127.0.0.2:$NAMESRV_PORT 127.0.0.1:$BROKER_PORT=127.0.0.2:$BROKER_PORT
    wait_for 20 "the relay" port_listening $BROKER_PORT
    stock_broker golden-a $BROKER_PORT 127.0.0.1:$NAMESRV_PORT bindAddress=127.0.0.2
    wait_for 60 "the broker" grep -q "boot success" "$LOGS/golden-a.log"
    if [ "$2" = 5.4.0 ]; then
        admin updateTopic -c DefaultCluster -t GoldenTopic -r 2 -w 2
    fi
    traffic "$2"
    traffic "$2" -Drecord.onlySends=true -Dorg.apache.rocketmq.client.sendSmartMsg=false
    if [ "$2" = 5.4.0 ]; then
        administration
    fi
    proc_kill golden-a TERM
    if [ "$2" = 5.4.0 ]; then
        broker_reports
    fi
    proc_kill tap TERM
    proc_kill ns TERM
    : > "$LOGS/golden-a.log"
    JVM_SMALL=$JVM_PLAIN
    echo "== $1: $(ls "$session_out" | wc -l) files"
}

[ $# -gt 0 ] || set -- stock-5.4.0 stock-5.4.0-binary stock-4.9.8 stock-4.9.8-binary
for name in "$@"; do
    version=${name#stock-}
    case $name in
    *-binary) session "$name" "${version%-binary}" ROCKETMQ ;;
    *) session "$name" "$version" ;;
    esac
done
