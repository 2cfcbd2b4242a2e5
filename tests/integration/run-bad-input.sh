#!/bin/sh
# What no client should send, to a real broker and a real name server; see bad_input.c.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
export RAFTMQ_BIN="${RAFTMQ_BIN:-$TOP/build/release/bin}"
exec "$RAFTMQ_BIN/../test-bin/bad_input"
