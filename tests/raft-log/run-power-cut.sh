#!/bin/sh
# Power cuts of nodes of a group of three under load, with every message accounted for; see power_cut.c.
#
# Usage: tests/raft-log/run-power-cut.sh [--rounds N] [--seed N] [--rate N]
# RAFTMQ_FAULT_ROUNDS sets the rounds too (6 unless told). Needs root. A failed run keeps images and logs and says where.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
. "$TOP/tests/lib/proc.sh"
. "$TOP/tests/raft-log/disks.sh"

export RAFTMQ_BIN="${RAFTMQ_BIN:-$TOP/build/release/bin}"

disks_begin power-cut
"$RAFTMQ_BIN/../test-bin/power_cut" --dir "$DISKS/power-cut" --rounds "${RAFTMQ_FAULT_ROUNDS:-6}" "$@"
