#!/bin/sh
# Power cuts of nodes of a group of three under load, with every message accounted for; see power_cut.c. First with every
# entry synced before it is acknowledged: all nodes at once, and some. Then with entries flushed late: one node at a time.
#
# Usage: tests/raft-log/run-power-cut.sh [--rounds N] [--seed N] [--rate N]
# RAFTMQ_FAULT_ROUNDS sets the rounds too (6 unless told). Needs root. A failed run keeps images and logs and says where.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case; do
    . "$TOP/tests/lib/$part.sh"
done
. "$TOP/tests/raft-log/disks.sh"

export RAFTMQ_BIN="${RAFTMQ_BIN:-$TOP/build/release/bin}"

# cuts NAME OPTION...: one run of the program.
cuts() {
    cuts_name=$1
    shift
    "$RAFTMQ_BIN/../test-bin/power_cut" --dir "$DISKS/$cuts_name" --rounds "${RAFTMQ_FAULT_ROUNDS:-6}" "$@" 2>&1 |
        tee "$WORK/$cuts_name.out"
    tail -n 1 "$WORK/$cuts_name.out" | grep -q '^power_cut: [0-9]* passed, ' ||
        case_fail "$cuts_name" "it ended without a result"
    case_output "$WORK/$cuts_name.out"
}

disks_begin power-cut
cuts synced "$@"
cuts flushed-late --async "$@"
case_end power-cut
