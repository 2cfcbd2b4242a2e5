#!/bin/sh
# EIO from each of the first 300 system calls on the log's directory, each on a node of its own; see io_error.c.
#
# Usage: tests/raft-log/run-io-error.sh [LAST]
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case; do
    . "$TOP/tests/lib/$part.sh"
done

export RAFTMQ_BIN="${RAFTMQ_BIN:-$TOP/build/release/bin}"
LAST=${1:-300}

# Every other call by another process, so that both processors have work. Directories of failed runs are kept in $LOGS.
work_begin io-error
for half in 1 2; do
    "$RAFTMQ_BIN/../test-bin/io_error" "$LOGS/half-$half" "$half" "$LAST" 2 > "$WORK/half-$half.out" 2>&1 &
    echo $! > "$WORK/half-$half.pid"
done
for half in 1 2; do
    wait "$(cat "$WORK/half-$half.pid")" || true
    cat "$WORK/half-$half.out"
    grep -q '^PASS \|^FAIL ' "$WORK/half-$half.out" || case_fail "half $half" "it ended without a result"
    case_output "$WORK/half-$half.out"
done
case_end io-error
