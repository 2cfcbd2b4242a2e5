# Starts a RaftMQ name server and broker groups of three nodes for tests. Sourced after proc.sh, POSIX sh.
#
# Programs come from $RAFTMQ_BIN (build/release/bin). Nodes are processes NAME-0, NAME-1, NAME-2 of a group NAME; their files lie
# below $WORK/NAME-<i>, their configuration in $WORK/NAME-<i>.conf, their output in $LOGS/NAME-<i>.log.

RAFTMQ_BIN=${RAFTMQ_BIN:-$TOP/build/release/bin}
GROUP_NODES='0 1 2'

group_programs_exist() {
    for group_program in mqnamesrv mqbroker raftmq; do
        [ -x "$RAFTMQ_BIN/$group_program" ] && continue
        echo "$RAFTMQ_BIN/$group_program is not built" >&2
        return 1
    done
}

# namesrv_start NAME PORT: started, its port open.
namesrv_start() {
    mkdir -p "$WORK/$1"
    printf 'listenPort=%s\nbindAddress=127.0.0.1\nkvConfigPath=%s\n' "$2" "$WORK/$1/kvConfig.json" > "$WORK/$1.conf"
    proc_start "$1" "$RAFTMQ_BIN/mqnamesrv" -c "$WORK/$1.conf"
    wait_proc_port "$1" "$2" 10
}

# group_write NAME NAMESRV PORT0 PORT1 PORT2 PEER0 PEER1 PEER2 [LINE...]: the three broker.conf files; the first three ports are
# for clients, the others for the peers.
group_write() {
    group_name=$1
    group_namesrv=$2
    group_listen="$3 $4 $5"
    group_peers="n0-127.0.0.1:$6;n1-127.0.0.1:$7;n2-127.0.0.1:$8"
    shift 8
    for group_i in $GROUP_NODES; do
        {
            echo "brokerClusterName=DefaultCluster"
            echo "brokerName=$group_name"
            echo "brokerIP1=127.0.0.1"
            echo "bindAddress=127.0.0.1"
            echo "listenPort=$(echo "$group_listen" | cut -d' ' -f$((group_i + 1)))"
            echo "namesrvAddr=$group_namesrv"
            echo "storePathRootDir=$WORK/$group_name-$group_i"
            echo "enableDLegerCommitLog=true"
            echo "dLegerGroup=$group_name"
            echo "dLegerPeers=$group_peers"
            echo "dLegerSelfId=n$group_i"
            echo "mappedFileSizeCommitLog=16777216"
            for group_line in "$@"; do
                echo "$group_line"
            done
        } > "$WORK/$group_name-$group_i.conf"
    done
}

# node_start NAME I: started, its port open.
node_start() {
    mkdir -p "$WORK/$1-$2"
    proc_start "$1-$2" "$RAFTMQ_BIN/mqbroker" -c "$WORK/$1-$2.conf"
    wait_proc_port "$1-$2" "$(node_port "$1" "$2")" 20
}

node_port() { sed -n 's/^listenPort=//p' "$WORK/$1-$2.conf"; }

# group_start NAME NAMESRV [LINE...]: writes the configuration with free ports, starts all nodes, waits for a leader. The
# LINEs go into every broker.conf.
group_start() {
    group_ports=$(free_ports 6)
    group_name=$1
    group_namesrv=$2
    shift 2
    # shellcheck disable=SC2086 # six ports
    group_write "$group_name" "$group_namesrv" $group_ports "$@"
    for group_i in $GROUP_NODES; do
        node_start "$group_name" "$group_i" || return 1
    done
    wait_for 20 "a leader of $group_name" group_leader "$group_name" "$group_namesrv"
}

# group_status NAMESRV: a line for each member of each group that the name server knows.
group_status() { "$RAFTMQ_BIN/raftmq" group status -n "$1"; }

# group_leader NAME NAMESRV: the number (0 to 2) of the node that says it leads; false if none does.
group_leader() {
    leader_port=$(group_status "$2" 2> /dev/null | sed -n "s/^$1 .*addr=[^ ]*:\([0-9]*\) .*role=\"\{0,1\}leader.*/\1/p")
    for leader_i in $GROUP_NODES; do
        if [ "$(node_port "$1" "$leader_i")" = "$leader_port" ]; then
            echo "$leader_i"
            return 0
        fi
    done
    return 1
}

# group_logs_equal NAME: the segments of the three nodes' logs are there and the same, byte for byte.
group_logs_equal() {
    (cd "$WORK/$1-0" && find . -path '*/log/*' -type f -name '[0-9]*[0-9]' | sort) > "$WORK/$1.segments"
    [ -s "$WORK/$1.segments" ] || { echo "no segments below $WORK/$1-0"; return 1; }
    for equal_i in 1 2; do
        (cd "$WORK/$1-$equal_i" && find . -path '*/log/*' -type f -name '[0-9]*[0-9]' | sort) | cmp - "$WORK/$1.segments" || return 1
        while read -r equal_file; do
            cmp "$WORK/$1-0/$equal_file" "$WORK/$1-$equal_i/$equal_file" || return 1
        done < "$WORK/$1.segments"
    done
}
