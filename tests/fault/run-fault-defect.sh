#!/bin/sh
# Proves that the accounting of fault_kill can fail: a build whose leader takes for committed what only its own disk holds
# must be caught losing acknowledged messages.
#
# Usage: tests/fault/run-fault-defect.sh
# Builds mqbroker and mqnamesrv with -DRAFTMQ_DEFECT=ack-before-majority in build/defect (RAFTMQ_DEFECT_BUILD).
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
for part in proc case; do
    . "$TOP/tests/lib/$part.sh"
done

RAFTMQ_BIN=${RAFTMQ_BIN:-$TOP/build/release/bin}
DEFECT_BUILD=${RAFTMQ_DEFECT_BUILD:-$TOP/build/defect}
ROUNDS=10

build_defect() {
    cmake -S "$TOP" -B "$DEFECT_BUILD" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DRAFTMQ_TESTS=OFF \
        -DRAFTMQ_DEFECT=ack-before-majority &&
        cmake --build "$DEFECT_BUILD" --target mqnamesrv mqbroker -j "$(nproc)"
}

# The run must fail, and not for any reason: acknowledged messages must be reported as lost.
is_caught() {
    caught_status=0
    RAFTMQ_BIN=$DEFECT_BUILD/bin "$RAFTMQ_BIN/../test-bin/fault_kill" --only-fourth --rounds "$ROUNDS" \
        --dir "$WORK/group" > "$WORK/fault.log" 2>&1 || caught_status=$?
    cat "$WORK/fault.log"
    caught_lost=$(sed -n 's/^messages .* lost=\([0-9]*\)$/\1/p' "$WORK/fault.log")
    echo "fault_kill ended with $caught_status and reported ${caught_lost:-no} lost messages"
    [ "$caught_status" -eq 1 ] && [ "${caught_lost:-0}" -gt 0 ]
}

work_begin fault-defect
case_run "a build that acknowledges before the majority" build_defect && case_run "is caught losing messages" is_caught
case_end fault-defect
