# Runs the Java cases of tests/compat/java for the run-*.sh scripts here. Sourced after tests/lib, POSIX sh.

CLIENT_VERSIONS=${RAFTMQ_CLIENT_VERSIONS:-4.9.8 5.4.0}

compat_prepare() {
    java_jars stock $STOCK_VERSION || return 1
    for prepare_version in $CLIENT_VERSIONS; do
        java_jars client "$prepare_version" && java_compile client "$prepare_version" "$TOP/tests/compat/java/src" || return 1
    done
}

# java_cases VERSION NAMESRV SET NAME: runs a set of cases with that client and counts them. While it runs, the functions
# on_kill and on_restart of the caller are called when the cases ask for it.
java_cases() {
    cases_out=$WORK/$4.out
    cases_in=$WORK/$4.in
    cases_seen=0
    mkfifo "$cases_in"
    : > "$cases_out"
    # shellcheck disable=SC2046 # java_command prints words
    $(java_command client "$1") raftmq.compat.Main "$2" "$(date +%s)" "$3" < "$cases_in" > "$cases_out" 2> "$LOGS/$4.err" &
    cases_pid=$!
    echo $cases_pid > "$WORK/pids/$4"
    exec 9> "$cases_in"
    cases_over=no
    while [ $cases_over = no ]; do
        kill -0 $cases_pid 2> /dev/null || cases_over=yes
        cases_lines=$(wc -l < "$cases_out")
        if [ "$cases_lines" -gt "$cases_seen" ]; then
            sed -n "$((cases_seen + 1)),${cases_lines}p" "$cases_out" > "$WORK/$4.new"
            cases_seen=$cases_lines
            while read -r cases_line; do
                case $cases_line in
                KILL-NOW)
                    on_kill && echo KILLED >&9
                    ;;
                RESTART-NOW)
                    on_restart && echo RESTARTED >&9
                    ;;
                esac
            done < "$WORK/$4.new"
            sed -n "/^KILL-NOW\|^RESTART-NOW\|passed, .* failed\$/!{s/^\(PASS\|FAIL\) /&client $1: /;p}" "$WORK/$4.new"
        fi
        sleep 0.2
    done
    exec 9>&-
    rm -f "$WORK/pids/$4" "$cases_in"
    cases_status=0
    wait $cases_pid || cases_status=$?
    cp "$cases_out" "$LOGS/$4.log"
    case_output "$cases_out"
    if ! tail -n 1 "$cases_out" | grep -q '^[0-9]* passed, [0-9]* failed$'; then
        case_fail "client $1: $3" "ended with status $cases_status before its last case, errors in $LOGS/$4.err"
        tail -n 10 "$LOGS/$4.err" | sed 's/^/    | /'
    fi
}
