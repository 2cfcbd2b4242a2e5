#!/bin/sh
# Memory after a million entries and thousands of changes of leadership; see endurance.c.
#
# Usage: tests/raft-log/run-endurance.sh [ENTRIES [TRANSFERS]]
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case; do
    . "$TOP/tests/lib/$part.sh"
done

RAFTMQ_BIN=${RAFTMQ_BIN:-$TOP/build/release/bin}

work_begin endurance
"$RAFTMQ_BIN/../test-bin/endurance" "$@" > "$WORK/endurance.out" 2>&1 || true
cat "$WORK/endurance.out"
case_output "$WORK/endurance.out"
[ "$case_passed" -eq 2 ] || [ "$case_failed" -gt 0 ] || case_fail endurance "it ended without a result"
case_end endurance
