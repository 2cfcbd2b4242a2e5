# Runs the Java cases of tests/compat/java for the run-*.sh scripts here. Sourced after tests/lib, POSIX sh.

CLIENT_VERSIONS=${RAFTMQ_CLIENT_VERSIONS:-4.9.8 5.4.0}
# What the cases of transactions and timers expect of either kind of broker.
BROKER_LINES='transactionTimeOut=3000 transactionCheckInterval=3000 timerWheelEnable=true recallMessageEnable=true
    enablePropertyFilter=true enableLmq=true enableMultiDispatch=true traceTopicEnable=true'

compat_prepare() {
    java_jars stock $STOCK_VERSION || return 1
    for prepare_version in $CLIENT_VERSIONS; do
        java_jars client "$prepare_version" || return 1
        java_compile client "$prepare_version" "$TOP/tests/compat/java/src" "$TOP/tests/compat/java/src-${prepare_version%%.*}" || return 1
    done
}

# features on|all: the names in tests/compat/features, those that are on or all, with commas between them.
features() { awk -v all="$1" '!/^#/ && NF == 2 && (all == "all" || $2 == "on") { printf "%s%s", comma, $1; comma = "," }' "$TOP/tests/compat/features"; }

has_feature() { features on | tr , '\n' | grep -qx "$1"; }

# What the clients are told beside routes once a second (Clients.java); failover is what stock settings make of it.
CLIENT_OPTIONS='-Drocketmq.client.rebalance.waitInterval=2000'

# java_cases VERSION NAMESRV SET NAME [KEY=VALUE...]: runs a set of cases with that client and counts them. While it runs, the
# functions on_kill and on_restart of the caller are called when the cases ask for it.
java_cases() {
    cases_version=$1
    cases_namesrv=$2
    cases_set=$3
    cases_name=$4
    shift 4
    cases_options=$CLIENT_OPTIONS
    [ "$cases_set" != failover ] || cases_options=
    # shellcheck disable=SC2046,SC2086 # lists of words
    driven "$cases_name" "client $cases_version" $(java_command client "$cases_version") -Xmx384m $cases_options raftmq.compat.Main "$cases_namesrv" \
        "$(date +%s)" "$cases_set" "$@"
}

# driven NAME WHO COMMAND...: a program that prints PASS and FAIL lines, asks for KILL-NOW and RESTART-NOW, and closes with
# "N passed, N failed". Its cases are counted and shown as those of WHO.
driven() {
    driven_name=$1
    driven_who=$2
    shift 2
    driven_out=$WORK/$driven_name.out
    driven_in=$WORK/$driven_name.in
    driven_seen=0
    mkfifo "$driven_in"
    trap '' PIPE # a program that ends while it is answered does not take us along
    : > "$driven_out"
    "$@" < "$driven_in" > "$driven_out" 2> "$LOGS/$driven_name.err" &
    driven_pid=$!
    echo $driven_pid > "$WORK/pids/$driven_name"
    exec 9> "$driven_in"
    driven_over=no
    while [ $driven_over = no ]; do
        kill -0 $driven_pid 2> /dev/null || driven_over=yes
        driven_news
        sleep 0.2
    done
    exec 9>&-
    rm -f "$WORK/pids/$driven_name" "$driven_in"
    driven_status=0
    wait $driven_pid || driven_status=$?
    cp "$driven_out" "$LOGS/$driven_name.log"
    case_output "$driven_out"
    if ! tail -n 1 "$driven_out" | grep -q '^[0-9]* passed, [0-9]* failed$'; then
        case_fail "$driven_who: $driven_name" "ended with status $driven_status before its last case, errors in $LOGS/$driven_name.err"
        tail -n 10 "$LOGS/$driven_name.err" | sed 's/^/    | /'
    fi
}

# What the program has printed since the last look: done and shown.
driven_news() {
    driven_lines=$(wc -l < "$driven_out")
    [ "$driven_lines" -gt "$driven_seen" ] || return 0
    sed -n "$((driven_seen + 1)),${driven_lines}p" "$driven_out" > "$WORK/$driven_name.new"
    driven_seen=$driven_lines
    while read -r driven_line; do
        case $driven_line in
        KILL-NOW)
            if on_kill; then echo KILLED >&9; else echo "NOT KILLED" >&9; fi
            ;;
        RESTART-NOW)
            if on_restart; then echo RESTARTED >&9; else echo "NOT RESTARTED" >&9; fi
            ;;
        esac
    done < "$WORK/$driven_name.new"
    sed -n "/^KILL-NOW\|^RESTART-NOW\|passed, .* failed\$/!{s/^\(PASS\|FAIL\|NOT YET\|NOT OFFERED\) /&$driven_who: /;p}" "$WORK/$driven_name.new"
}
