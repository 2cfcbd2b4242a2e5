#!/bin/sh
# kill -9 of random nodes of a group of three under load, with every message accounted for; see fault_kill.c.
#
# Usage: tests/fault/run-fault.sh [--rounds N] [--seed N] [--rate N] [--dir DIR] [--only-fourth] [--keep]
# RAFTMQ_FAULT_ROUNDS sets the rounds too (20 unless told). A failed run keeps its files and says where.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
export RAFTMQ_BIN="${RAFTMQ_BIN:-$TOP/build/release/bin}"
exec "$RAFTMQ_BIN/../test-bin/fault_kill" "$@"
