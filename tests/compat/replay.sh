# After all workloads: the state of the three nodes is the same, and comes out the same from a snapshot with the log behind it and from
# the log alone. Sourced after tests/lib and brokers.sh, POSIX sh; nobody may send meanwhile.

# member_value NAME I KEY: what node I says of itself in its status.
member_value() {
    group_status "$NAMESRV" | sed -n "s/^$1 .* member=n$2 .* $3=\([^ ]*\) .*/\1/p"
}

# hashes_equal NAME: all three have applied the same entry and have the same state there.
hashes_equal() {
    equal_states=$(group_status "$NAMESRV" | sed -n "s/^$1 .* appliedIndex=\([^ ]*\) .* stateHash=\([^ ]*\) .*/\1 \2/p")
    echo "entry and state: $(echo "$equal_states" | tr '\n' ';')"
    [ "$(echo "$equal_states" | wc -l)" = 3 ] && [ "$(echo "$equal_states" | sort -u | wc -l)" = 1 ]
}

follower_of() {
    follower_leader=$(group_leader "$1" "$NAMESRV") || return 1
    echo $(((follower_leader + 1) % 3))
}

has_snapshot() { [ -n "$(find "$WORK/$1-$2/raftlog/snapshot" -type f -name '[0-9]*[0-9]' 2> /dev/null)" ]; }

snapshot_and_log() {
    again=$(follower_of "$1") || return 1
    wait_for 30 "a snapshot of node $again" has_snapshot "$1" "$again" || return 1
    proc_kill "$1-$again" TERM
    node_start "$1" "$again" || return 1
    wait_for 60 "the same state hash" hashes_equal "$1" || { hashes_equal "$1"; return 1; }
    hashes_equal "$1"
}

# Snapshots and all that is derived from the log are taken away.
log_alone() {
    again=$(follower_of "$1") || return 1
    proc_kill "$1-$again" TERM
    rm -rf "$WORK/$1-$again/raftlog/snapshot" "$WORK/$1-$again/consumequeue"
    node_start "$1" "$again" || return 1
    wait_for 30 "the status of three" hashes_equal "$1" || { hashes_equal "$1"; return 1; }
    # All that lies in the log but what came while it started.
    replayed=$(member_value "$1" "$again" replayedEntries)
    applied=$(member_value "$1" "$again" appliedIndex)
    [ $((replayed + 20)) -ge "$applied" ] || { echo "replayed $replayed of $applied entries"; return 1; }
    hashes_equal "$1"
}

replay_cases() {
    case_run "three replicas have the same state" wait_for 60 "equal state hashes" hashes_equal "$1" || true
    case_run "a node started from its snapshot and the log behind it has it too" snapshot_and_log "$1" || true
    case_run "a node rebuilt from the log alone has it too" log_alone "$1" || true
    case_run "three replicas hold the same bytes" wait_for 30 "equal logs" group_logs_equal "$1" || true
}
