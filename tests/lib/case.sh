# Counts test cases for a run-*.sh script and prints its closing line. Sourced, POSIX sh.
#
#   case_pass NAME            prints and counts "PASS NAME"
#   case_fail NAME REASON     prints and counts "FAIL NAME: REASON"
#   case_run NAME COMMAND...  passes when COMMAND succeeds; its output goes to the log, the end of it is shown on failure
#   case_output FILE          takes over the PASS/FAIL lines that another program printed into FILE
#   case_end SUITE            prints "SUITE: N passed, N failed"; false if any case failed or none ran

case_passed=0
case_failed=0

case_pass() {
    case_passed=$((case_passed + 1))
    printf 'PASS %s\n' "$1"
}

case_fail() {
    case_failed=$((case_failed + 1))
    printf 'FAIL %s: %s\n' "$1" "$2"
}

case_run() {
    case_name=$1
    shift
    case_log="$WORK/logs/$(printf '%s' "$case_name" | tr -c 'A-Za-z0-9._-' '_').log"
    if "$@" > "$case_log" 2>&1; then
        case_pass "$case_name"
    else
        case_fail "$case_name" "exit status $?, log $case_log"
        tail -n 15 "$case_log" | sed 's/^/    | /'
        return 1
    fi
}

case_output() {
    case_passed=$((case_passed + $(grep -c '^PASS ' "$1" || true)))
    case_failed=$((case_failed + $(grep -c '^FAIL ' "$1" || true)))
}

case_end() {
    printf '%s: %d passed, %d failed\n' "$1" "$case_passed" "$case_failed"
    [ "$case_failed" -eq 0 ] && [ "$case_passed" -gt 0 ]
}
