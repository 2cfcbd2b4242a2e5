#!/bin/sh
# Product and limit side by side: the cells of the speed table, driven by the same `raftmq bench`, one after the other and
# interleaved, so that both meet the same machine. Prints a table and writes the same as JSON.
#
#   run-bench.sh [limit|producer|consumer|log|all] [OPTION...]
#     log            only what consensus costs: three raft logs against three bare writers (log_bench.c)
#     --cells LIST   of one,callers,pipelined,pipelined1k,consume1k (default: what the word before names)
#     --seconds N    of each measurement (default 10), after --warmup N more (default 1)
#     --rounds N     of every cell; the best one counts (default 1)
#     --json FILE    default bench.json in the directory of the run
#     --dir DIR      where logs of brokers and limit are written (default a new one under TMPDIR; its disk is what counts)
#     --bin DIR      the programs (default build/release/bin)
set -eu
cd "$(dirname "$0")/../.."
. tests/lib/proc.sh

usage() {
    sed -n '2,/^set /s/^# \{0,1\}//p' tests/bench/run-bench.sh
    exit "$1"
}

suite=all
cells=
seconds=10
warmup=1
rounds=1
json=
bin=build/release/bin
case ${1:-} in
limit | producer | consumer | log | all)
    suite=$1
    shift
    ;;
esac
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage 0 ;;
    --cells | --seconds | --warmup | --rounds | --json | --dir | --bin) [ $# -ge 2 ] || usage 2 ;;
    *)
        echo "run-bench.sh: unknown argument $1" >&2
        usage 2
        ;;
    esac
    case $1 in
    --cells) cells=$(echo "$2" | tr ',' ' ') ;;
    --seconds) seconds=$2 ;;
    --warmup) warmup=$2 ;;
    --rounds) rounds=$2 ;;
    --json) json=$2 ;;
    --dir) TMPDIR=$2 && export TMPDIR && mkdir -p "$2" ;;
    --bin) bin=$2 ;;
    esac
    shift 2
done
if [ -z "$cells" ]; then
    case $suite in
    producer) cells="one callers pipelined pipelined1k" ;;
    consumer) cells="consume1k" ;;
    *) cells="one callers pipelined pipelined1k consume1k" ;;
    esac
fi

# cell_switches CELL: the switches of raftmq bench, without topic and name server.
cell_switches() {
    case $1 in
    one) echo "producer -w 1 -s 128" ;;
    callers) echo "producer -w 64 -s 128" ;;
    pipelined) echo "producer -w 1 -y --window 1024 -s 128" ;;
    pipelined1k) echo "producer -w 1 -y --window 1024 -s 1024" ;;
    consume1k) echo "consumer -w 4 --repeat" ;;
    *)
        echo "run-bench.sh: no cell \"$1\"" >&2
        return 1
        ;;
    esac
}

# floor_of CELL: what the product must reach, messages a second (for one caller: p50 in milliseconds).
floor_of() {
    case $1 in
    one) echo 0.7 ;;
    callers) echo 35000 ;;
    pipelined) echo 250000 ;;
    pipelined1k) echo 130000 ;;
    consume1k) echo 800000 ;;
    esac
}

for cell in $cells; do
    cell_switches "$cell" > /dev/null
done
for program in raftmq mqbroker mqnamesrv bench_limit log_bench; do
    [ -x "$bin/$program" ] || {
        echo "run-bench.sh: $bin/$program is missing: build first (ops/bench does)" >&2
        exit 1
    }
done

work_begin bench

# What consensus costs, in turns of a second. The log lines of the members go to $LOGS.
bench_log() {
    echo
    echo "three raft logs against three bare writers of the same pattern, in turns:"
    "$bin/log_bench" --dir "$WORK/log" 2>> "$LOGS/log_bench.log"
}

if [ "$suite" = log ]; then
    echo "machine: $(nproc) processors, kernel $(uname -r), data in $WORK"
    bench_log
    exit
fi
[ -n "$json" ] || json=$WORK/bench.json
set -- $(free_ports 8)
namesrv_port=$1
limit_port=$2
broker_ports="$3 $4 $5"
peer_ports="$6 $7 $8"

now_ms() { date +%s%3N; }

start_product() {
    proc_start namesrv "$bin/mqnamesrv" -o bindAddress=127.0.0.1 -o "listenPort=$namesrv_port" \
        -o "kvConfigPath=$WORK/kvConfig.json"
    wait_proc_port namesrv "$namesrv_port" 10
    peers=
    node=0
    for port in $peer_ports; do
        peers="$peers${peers:+;}n$node-127.0.0.1:$port"
        node=$((node + 1))
    done
    started_ms=$(now_ms)
    node=0
    for port in $broker_ports; do
        cat > "$WORK/n$node.conf" << EOF
brokerClusterName=BenchCluster
dLegerGroup=bench
dLegerPeers=$peers
dLegerSelfId=n$node
brokerIP1=127.0.0.1
bindAddress=127.0.0.1
listenPort=$port
namesrvAddr=127.0.0.1:$namesrv_port
storePathRootDir=$WORK/n$node
EOF
        proc_start "n$node" "$bin/mqbroker" -c "$WORK/n$node.conf"
        node=$((node + 1))
    done
    wait_leader
    start_ms=$(($(now_ms) - started_ms))
}

has_leader() { "$bin/raftmq" group status -n "127.0.0.1:$namesrv_port" 2> /dev/null | grep -q 'role=leader'; }

wait_leader() {
    tries=0
    until has_leader; do
        tries=$((tries + 1))
        [ $tries -lt 1000 ] || {
            echo "no leader; see $LOGS" >&2
            return 1
        }
        sleep 0.01
    done
}

start_limit() {
    mkdir -p "$WORK/limit"
    proc_start limit "$bin/bench_limit" -d "$WORK/limit" -p "$limit_port" -m 1024
    wait_proc_port limit "$limit_port" 120
}

# field NAME FILE: a number of the one line of JSON.
field() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" "$2"; }

# measure WHO PORT CELL ROUND: leaves the JSON of the run in $WORK/WHO-CELL-ROUND.json.
measure() {
    measure_file="$WORK/$1-$3-$4.json"
    # The backlog that is consumed has been produced by the 1 KiB cell or is made here.
    if [ "$3" = consume1k ] && [ ! -f "$WORK/$1-backlog" ]; then
        "$bin/raftmq" bench producer -n "127.0.0.1:$2" -t bench-consume1k --seconds 3 -y -s 1024 --json \
            > "$WORK/$1-backlog" 2> /dev/null
    fi
    # shellcheck disable=SC2046
    "$bin/raftmq" bench $(cell_switches "$3") -n "127.0.0.1:$2" -t "bench-$3" --seconds "$seconds" --warmup "$warmup" \
        --json > "$measure_file" 2>> "$LOGS/bench.log" || echo "$1 $3: raftmq bench failed, see $LOGS/bench.log" >&2
}

# best WHO CELL: the file of the fastest round (of one caller: of the lowest p50).
best() {
    best_file=
    best_value=
    for round in $(seq "$rounds"); do
        value=$(field perSecond "$WORK/$1-$2-$round.json")
        [ -n "$value" ] || continue
        if [ -z "$best_value" ] || [ "$value" -gt "$best_value" ]; then
            best_value=$value
            best_file="$WORK/$1-$2-$round.json"
        fi
    done
    echo "${best_file:-/dev/null}"
}

memory_of() { "$bin/raftmq" group status -n "127.0.0.1:$namesrv_port" | tr ' ' '\n' | sed -n "s/^$1=//p"; }

mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f", bytes / 1048576 }'; }

largest() { sort -n | tail -n 1; }

print_row() {
    product_file=/dev/null
    [ "$suite" = limit ] || product_file=$(best product "$1")
    limit_file=$(best limit "$1")
    awk -v cell="$1" -v floor="$(floor_of "$1")" \
        -v p="$(field perSecond "$product_file")" -v pp="$(field p50 "$product_file")" -v p99="$(field p99 "$product_file")" \
        -v pc="$(field cpuMicrosPerMessage "$product_file")" \
        -v l="$(field perSecond "$limit_file")" -v lp="$(field p50 "$limit_file")" '
        BEGIN {
            ratio = l > 0 && p != "" ? sprintf("%.2f", p / l) : "-"
            reached = p == "" ? "-" : cell == "one" ? (pp / 1000 <= floor ? "yes" : "no") : (p >= floor ? "yes" : "no")
            printf "%-12s %10s %8s %8s %12s %8s %7s %9s %7s %9s\n", cell, p == "" ? "-" : p,
                pp == "" ? "-" : sprintf("%.2f", pp / 1000), p99 == "" ? "-" : sprintf("%.2f", p99 / 1000),
                l == "" ? "-" : l, lp == "" ? "-" : sprintf("%.2f", lp / 1000), ratio, floor, reached, pc == "" ? "-" : pc
        }'
}

# One object: every cell with the whole line of both sides.
write_json() {
    {
        printf '{"seconds":%s,"rounds":%s,"startMs":%s,"memoryIdleBytes":%s,"memoryAfterBytes":%s,"cells":{' "$seconds" \
            "$rounds" "${start_ms:-null}" "${idle_bytes:-null}" "${after_bytes:-null}"
        comma=
        for cell in $cells; do
            product_json=null
            [ "$suite" = limit ] || product_json=$(cat "$(best product "$cell")")
            limit_json=$(cat "$(best limit "$cell")")
            printf '%s"%s":{"product":%s,"limit":%s}' "$comma" "$cell" "${product_json:-null}" "${limit_json:-null}"
            comma=,
        done
        printf '}}\n'
    } > "$json"
}

echo "machine: $(nproc) processors, kernel $(uname -r), data in $WORK"
if [ "$suite" != limit ]; then
    start_product
    echo "product: three brokers and a name server, a leader ${start_ms} ms after the start"
    idle_bytes=$(memory_of anonBytes | largest)
fi
start_limit
for round in $(seq "$rounds"); do
    for cell in $cells; do
        [ "$suite" = limit ] || measure product "$namesrv_port" "$cell" "$round"
        measure limit "$limit_port" "$cell" "$round"
        echo "measured $cell, round $round" >&2
    done
done
printf '\n%-12s %10s %8s %8s %12s %8s %7s %9s %7s %9s\n' cell "product/s" "p50 ms" "p99 ms" "limit/s" "p50 ms" ratio \
    floor reached "load us"
for cell in $cells; do
    print_row "$cell"
done
if [ "$suite" != limit ]; then
    after_bytes=$(memory_of anonBytes | largest)
    echo
    echo "memory of the largest broker (not counting mapped files, RssAnon): idle $(mib "$idle_bytes") MiB," \
        "after $(memory_of messages | largest) messages $(mib "$after_bytes") MiB"
fi
[ "$suite" != all ] || bench_log
write_json
echo "JSON: $json"
[ "$json" != "$WORK/bench.json" ] || KEEP_WORK=1
rm -rf "$WORK/limit" "$WORK"/n[0-2]
