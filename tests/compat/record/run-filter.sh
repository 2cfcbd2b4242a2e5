#!/bin/sh
# Records what stock RocketMQ makes of SQL92 expressions: build/golden/filter-5.4.0/cases.txt, to be copied to tests/golden by
# hand. Needs no server and no root. The cases are drawn with a fixed seed, so the same version writes the same file.
# Usage: tests/compat/record/run-filter.sh
set -eu

TOP=$(cd "$(dirname "$0")/../../.." && pwd)
. "$TOP/tests/lib/proc.sh"
. "$TOP/tests/lib/java.sh"
. "$TOP/tests/lib/stock.sh"

OUT=$TOP/build/golden/filter-$STOCK_VERSION
work_begin filter
java_jars stock "$STOCK_VERSION"
java_compile stock "$STOCK_VERSION" "$TOP/tests/compat/record/filter"
mkdir -p "$OUT"
# shellcheck disable=SC2046 # java_command prints words
$(java_command stock "$STOCK_VERSION") -Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8 FilterCases > "$OUT/cases.txt"
cut -f 1 "$OUT/cases.txt" | sort | uniq -c
