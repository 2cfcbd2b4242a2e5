#!/bin/sh
# What a start makes of every state of the disk that a power failure can leave, and of spoilt ones; see recovery_states.c.
#
# Usage: tests/recovery/run-recovery.sh [--states N] [--seed S]
# RAFTMQ_RECOVERY_STATES sets the states, too (25,000 unless told).
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case; do
    . "$TOP/tests/lib/$part.sh"
done

RAFTMQ_BIN=${RAFTMQ_BIN:-$TOP/build/release/bin}

work_begin recovery
status=0
"$RAFTMQ_BIN/../test-bin/recovery_states" --states "${RAFTMQ_RECOVERY_STATES:-25000}" "$@" > "$WORK/states.log" 2>&1 || status=$?
cat "$WORK/states.log"
case_output "$WORK/states.log"
[ "$status" -le 1 ] || case_fail "the program ends" "exit status $status"
case_end recovery
