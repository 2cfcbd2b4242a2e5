# The brokers that the cases run against: a RaftMQ group of three, or one stock broker. Sourced after tests/lib and driver.sh, POSIX
# sh. The caller sets GROUP (the broker's name) and BROKERS (raftmq or stock) and calls brokers_start, which sets NAMESRV.

brokers_start() {
    NAMESRV_PORT=$(free_ports 1)
    NAMESRV=127.0.0.1:$NAMESRV_PORT
    brokers_start_$BROKERS
}

brokers_start_raftmq() {
    group_programs_exist || return 1
    namesrv_start ns "$NAMESRV_PORT"
    # On a machine that is busy with three nodes and two Java processes nobody shall lead anew but when the leader was killed.
    # shellcheck disable=SC2086 # a list of lines
    group_start "$GROUP" "$NAMESRV" $BROKER_LINES snapshotLogBytes=1048576 snapshotPeriodSeconds=20 raftElectionTimeoutMs=1500
}

brokers_start_stock() {
    STOCK_PORT=$(free_ports 1)
    stock_namesrv ns "$NAMESRV_PORT"
    brokers_again_stock
}

brokers_again_stock() {
    # shellcheck disable=SC2086 # a list of lines
    stock_broker "$GROUP" "$STOCK_PORT" "$NAMESRV" $BROKER_LINES
}

# Where the leader listens now.
leader_address() {
    if [ $BROKERS = stock ]; then
        echo "127.0.0.1:$STOCK_PORT"
    else
        leader_node=$(group_leader "$GROUP" "$NAMESRV") && echo "127.0.0.1:$(node_port "$GROUP" "$leader_node")"
    fi
}

on_kill() { on_kill_$BROKERS; }
on_restart() { on_restart_$BROKERS; }

on_kill_raftmq() {
    wait_for 30 "a leader to kill" group_leader "$GROUP" "$NAMESRV" || return 1
    killed=$(group_leader "$GROUP" "$NAMESRV") || return 1
    echo "    kill -9 of the leader, node $killed"
    proc_kill "$GROUP-$killed" KILL
}

on_restart_raftmq() {
    node_start "$GROUP" "$killed" || return 1
    echo "    node $killed restarted"
}

on_kill_stock() {
    echo "    kill -9 of the stock broker, restarted at once"
    proc_kill "$GROUP" KILL
    brokers_again_stock
}

on_restart_stock() { :; }
