#!/bin/sh
# What a node must not start with: bad configurations, ports that are taken, and directories that are not its own.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in lib/proc lib/case lib/group integration/nodes; do
    . "$TOP/tests/$part.sh"
done

TOPIC=Config

# --- broker.conf and namesrv.conf ---

# with LINE WORD...: a copy of the good configuration with LINE as line 12 must be refused with all WORDs.
with() {
    cp "$WORK/good-0.conf" "$WORK/bad.conf"
    echo "$1" >> "$WORK/bad.conf"
    shift
    refuses_to_start "$WORK/bad.conf" "$@"
}

unknown_key() { with "listenPrt=10911" "$WORK/bad.conf" 12 listenPrt listenPort; }
unknown_key_far_from_all() { with "completelyOther=1" "$WORK/bad.conf" 12 completelyOther; }
value_no_number() { with "maxMessageSize=large" "$WORK/bad.conf" 12 maxMessageSize large; }
value_out_of_range() { with "listenPort=70000" "$WORK/bad.conf" 12 listenPort 70000 65535; }
value_no_word() { with "flushDiskType=NEVER" "$WORK/bad.conf" 12 flushDiskType NEVER SYNC_FLUSH; }
no_equals_sign() { with "this line says nothing" "$WORK/bad.conf" 12; }
self_not_a_member() { with "dLegerSelfId=n7" dLegerSelfId n7; }
heartbeat_too_slow() { with "raftHeartbeatMs=200" raftHeartbeatMs 200; }
peers_ill_formed() { with "dLegerPeers=n0:127.0.0.1:1" dLegerPeers n0-host:port; }
no_such_file() { refuses_to_start "$WORK/nowhere.conf" "$WORK/nowhere.conf"; }
namesrv_unknown_key() {
    printf 'listenPort=%s\nlistenPrt=1\n' "$(free_ports 1)" > "$WORK/bad-ns.conf"
    refuses mqnamesrv "$WORK/bad-ns.conf" "$WORK/bad-ns.conf" 2 listenPrt listenPort
}
namesrv_bad_value() {
    printf 'listenPort=-1\n' > "$WORK/bad-ns.conf"
    refuses mqnamesrv "$WORK/bad-ns.conf" "$WORK/bad-ns.conf" 1 listenPort -1
}

# RocketMQ's keys without meaning here, those a DLedger configuration has among them.
foreign_keys_warn() {
    single_write foreign "$NAMESRV" "sendMessageThreadPoolNums=16" "enableDLegerCommitLog=true" "brokerRole=ASYNC_MASTER" &&
        node_start foreign 0 && ms_until 5 "leads" node_leads foreign 0 &&
        [ "$(grep -c sendMessageThreadPoolNums "$LOGS/foreign-0.log")" -eq 1 ] && node_stop foreign 0
}

prints_configuration() {
    "$RAFTMQ_BIN/mqbroker" -c "$WORK/good-0.conf" -p > "$WORK/printed" && grep -q '^brokerName=good$' "$WORK/printed"
}

# --- ports ---

listen_port_taken() {
    single_write clash "$NAMESRV" "listenPort=$(node_port good 0)" &&
        refuses_to_start "$WORK/clash-0.conf" "$(node_port good 0)"
}

peer_port_taken() {
    single_write clash "$NAMESRV" "dLegerPeers=n0-127.0.0.1:$(node_port good 0)" &&
        refuses_to_start "$WORK/clash-0.conf" "$(node_port good 0)"
}

namesrv_port_taken() {
    printf 'listenPort=%s\nbindAddress=127.0.0.1\n' "${NAMESRV#*:}" > "$WORK/bad-ns.conf"
    refuses mqnamesrv "$WORK/bad-ns.conf" "${NAMESRV#*:}"
}

# --- directories ---

# copied_to NAME [LINE...]: a configuration NAME whose directory is a copy of that of the stopped node good-0.
copied_to() {
    copy_name=$1
    shift
    rm -rf "$WORK/$copy_name-0" && cp -r "$WORK/good-0" "$WORK/$copy_name-0" &&
        sed "s,^storePathRootDir=.*,storePathRootDir=$WORK/$copy_name-0," "$WORK/good-0.conf" > "$WORK/$copy_name-0.conf" &&
        for copy_line in "$@"; do
            echo "$copy_line" >> "$WORK/$copy_name-0.conf"
        done
}

directory_in_use() {
    sed "s/^listenPort=.*/listenPort=$(free_ports 1)/" "$WORK/good-0.conf" > "$WORK/second.conf" &&
        refuses_to_start "$WORK/second.conf" "$WORK/good-0/raftlog" "another process"
}

copy_is_good() { node_stop good 0 && copied_to copy && node_start copy 0 && holds copy 0 $TOPIC 0 50 && node_stop copy 0; }

other_member() {
    copied_to member "dLegerSelfId=n1" "dLegerPeers=n0-127.0.0.1:1;n1-127.0.0.1:$(free_ports 1)" &&
        refuses_to_start "$WORK/member-0.conf" "$WORK/member-0/raftlog" "belongs to member 1 of group good" "member 2"
}

other_group() {
    copied_to group "dLegerGroup=another" "brokerName=another" &&
        refuses_to_start "$WORK/group-0.conf" "$WORK/group-0/raftlog" "group good" "group another"
}

# Who the members are is in the log; a configuration that names others gets a line.
more_members() {
    copied_to more "dLegerPeers=n0-127.0.0.1:$(free_ports 1);n1-127.0.0.1:1" &&
        node_start more 0 && holds more 0 $TOPIC 0 50 && node_stop more 0 &&
        grep -q "the configuration names other members" "$LOGS/more-0.log"
}

other_identity_format() {
    copied_to newer && "$PROBE" reseal "$WORK/newer-0/raftlog/identity" 0 9 &&
        refuses_to_start "$WORK/newer-0.conf" "identity" "version 9"
}

other_meta_format() {
    copied_to newer && "$PROBE" reseal "$WORK/newer-0/raftlog/meta-0" 64 9 &&
        refuses_to_start "$WORK/newer-0.conf" "meta-0" "version 9"
}

other_entry_format() {
    copied_to newer && "$PROBE" reseal "$WORK/newer-0/raftlog/log/00000000000000000000" 96 9 &&
        refuses_to_start "$WORK/newer-0.conf" "position 0" "version 9"
}

other_segment_size() {
    copied_to small "mappedFileSizeCommitLog=8388608" && refuses_to_start "$WORK/small-0.conf" "8388608" "segment"
}

no_identity() {
    copied_to lost && rm "$WORK/lost-0/raftlog/identity" && refuses_to_start "$WORK/lost-0.conf" "identity"
}

identity_damaged() {
    copied_to hurt && printf 'x' | dd of="$WORK/hurt-0/raftlog/identity" bs=1 seek=20 conv=notrunc 2> /dev/null &&
        refuses_to_start "$WORK/hurt-0.conf" "identity" "bad checksum"
}

one_meta_damaged() {
    copied_to meta && printf 'x' | dd of="$WORK/meta-0/raftlog/meta-1" bs=1 seek=24 conv=notrunc 2> /dev/null &&
        node_start meta 0 && ms_until 5 "leads" node_leads meta 0 && holds meta 0 $TOPIC 0 50 &&
        grep -q 'meta-1 is bad' "$LOGS/meta-0.log" && node_stop meta 0
}

both_metas_damaged() {
    copied_to metas || return 1
    for meta in meta-0 meta-1; do
        printf 'x' | dd of="$WORK/metas-0/raftlog/$meta" bs=1 seek=24 conv=notrunc 2> /dev/null || return 1
    done
    refuses_to_start "$WORK/metas-0.conf" "meta-0" "meta-1"
}

log_missing() {
    copied_to gone && rm -r "$WORK/gone-0/raftlog/log" && refuses_to_start "$WORK/gone-0.conf" "$WORK/gone-0/raftlog" log
}

directory_not_writable() {
    single_write closed "$NAMESRV" "storePathRootDir=/proc/raftmq" && refuses_to_start "$WORK/closed-0.conf" "/proc/raftmq"
}

start_good() {
    namesrv_start ns "${NAMESRV#*:}" && single_write good "$NAMESRV" && node_start good 0 &&
        ms_until 5 "leads" node_leads good 0 && node_ask good 0 topic $TOPIC 1 && node_ask good 0 send $TOPIC 0 0 50
}

work_begin config
NAMESRV=127.0.0.1:$(free_ports 1)
check "a good configuration starts" start_good
check "an unknown key: file, line, key and the nearest key" unknown_key
check "an unknown key that is near to none" unknown_key_far_from_all
check "a value that is no number" value_no_number
check "a value out of range, with the limit" value_out_of_range
check "a value that is none of the words, with the words" value_no_word
check "a line without an equals sign" no_equals_sign
check "dLegerSelfId that is no member" self_not_a_member
check "a heartbeat too slow for the election time" heartbeat_too_slow
check "dLegerPeers of another form" peers_ill_formed
check "a file that is not there" no_such_file
check "name server: an unknown key" namesrv_unknown_key
check "name server: a bad value" namesrv_bad_value
check "RocketMQ's keys without meaning here are one warning each" foreign_keys_warn
check "-p prints the configuration" prints_configuration
check "a listenPort that is taken is named" listen_port_taken
check "a peer port that is taken is named" peer_port_taken
check "name server: a port that is taken is named" namesrv_port_taken
check "a directory that another process uses" directory_in_use
check "a copy of a stopped node's directory is good" copy_is_good
check "the directory of another member" other_member
check "the directory of another group" other_group
check "a configuration that names other members than the log does" more_members
check "an identity of another format version" other_identity_format
check "a meta file of another format version" other_meta_format
check "a log entry of another format version" other_entry_format
check "segments of another size" other_segment_size
check "a log without an identity" no_identity
check "a damaged identity" identity_damaged
check "one damaged copy of term and vote is written anew" one_meta_damaged
check "both copies damaged" both_metas_damaged
check "an identity without its log" log_missing
check "a directory that cannot be made" directory_not_writable
case_end config
