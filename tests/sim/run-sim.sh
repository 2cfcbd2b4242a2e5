#!/bin/sh
# Simulated clusters (tests/sim/main.c): the scenarios, many seeds, and ten seeds twice with equal traces.
#
# Usage: tests/sim/run-sim.sh [--seeds N] [--seed S] [--trace] [--mutants]     500 seeds unless told
#   --mutants   a build with all defects compiled in, each of which has to be found; nothing else then
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)

SIM=${RAFTMQ_BIN:-$TOP/build/release/bin}/../test-bin/sim
DEFECTS_BUILD=${RAFTMQ_DEFECTS_BUILD:-$TOP/build/defects}

mutants=no
for option; do
    shift
    case $option in
    --mutants) mutants=yes ;;
    *) set -- "$@" "$option" ;;
    esac
done

if [ "$mutants" = yes ]; then
    cmake -S "$TOP" -B "$DEFECTS_BUILD" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DRAFTMQ_TESTS=ON -DRAFTMQ_DEFECTS=ON &&
        cmake --build "$DEFECTS_BUILD" --target sim -j "$(nproc)" || {
        echo "sim: 0 passed, 1 failed"
        exit 1
    }
    exec "$DEFECTS_BUILD/test-bin/sim" mutants "$@"
fi
case " $* " in
*" --trace "* | *" --seed "*) exec "$SIM" run "$@" ;;
esac

passed=0
failed=0

# count NAME COMMAND...: adds up what its closing line says.
count() {
    count_log=$(mktemp)
    echo "== $1"
    shift
    {
        count_status=0
        "$@" 2>&1 || count_status=$?
        echo "$count_status" > "$count_log.status"
    } | tee "$count_log"
    count_status=$(cat "$count_log.status")
    set -- $(sed -n 's/^sim: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$count_log") 0 0
    passed=$((passed + $1))
    failed=$((failed + $2))
    [ "$count_status" -eq 0 ] || [ "$2" -ne 0 ] || failed=$((failed + 1))
    rm -f "$count_log" "$count_log.status"
}

# The same seeds in two runs, with another number of processes: equal to the last event.
same_traces() {
    [ "$("$SIM" run --seeds 10 --jobs 1 --hashes | grep '^seed ' | sort)" = \
        "$("$SIM" run --seeds 10 --hashes | grep '^seed ' | sort)" ]
}

count scenarios "$SIM" scenarios
count seeds "$SIM" run "$@"
if same_traces; then
    echo "PASS ten seeds have the same traces twice"
    passed=$((passed + 1))
else
    echo "FAIL ten seeds do not have the same traces twice"
    failed=$((failed + 1))
fi
echo "sim: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
