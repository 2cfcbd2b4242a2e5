# Stock RocketMQ name server, broker and mqadmin for the tests. Sourced after proc.sh and java.sh, POSIX sh.

STOCK_VERSION=5.4.0

# stock_namesrv NAME PORT [ADDRESS]: started, its port open.
stock_namesrv() {
    mkdir -p "$WORK/$1" "$WORK/home/conf"
    cat > "$WORK/$1.conf" << END
listenPort=$2
bindAddress=${3:-127.0.0.1}
kvConfigPath=$WORK/$1/kvConfig.json
configStorePath=$WORK/$1/namesrv.properties
END
    # shellcheck disable=SC2046 # java_command prints words
    proc_start "$1" $(java_command stock $STOCK_VERSION) org.apache.rocketmq.namesrv.NamesrvStartup -c "$WORK/$1.conf"
    wait_proc_port "$1" "$2" 40
}

# stock_broker NAME PORT NAMESRV [LINE...]: a single master, its port open; further lines go into its broker.conf.
stock_broker() {
    stock_name=$1
    stock_port=$2
    mkdir -p "$WORK/$1" "$WORK/home/conf"
    cat > "$WORK/$1.conf" << END
brokerClusterName=DefaultCluster
brokerName=$1
brokerId=0
brokerIP1=127.0.0.1
brokerIP2=127.0.0.1
bindAddress=127.0.0.1
listenPort=$2
haListenPort=$(($2 + 1))
namesrvAddr=$3
storePathRootDir=$WORK/$1
storePathCommitLog=$WORK/$1/commitlog
mappedFileSizeCommitLog=16777216
mappedFileSizeConsumeQueue=60000
diskMaxUsedSpaceRatio=99
waitTimeMillsInSendQueue=3000
timerWheelEnable=false
flushDiskType=ASYNC_FLUSH
END
    shift 3
    for stock_line in "$@"; do
        echo "$stock_line"
    done >> "$WORK/$stock_name.conf"
    # shellcheck disable=SC2046 # java_command prints words
    proc_start "$stock_name" $(java_command stock $STOCK_VERSION) -XX:MaxDirectMemorySize=1g \
        org.apache.rocketmq.broker.BrokerStartup -c "$WORK/$stock_name.conf"
    wait_proc_port "$stock_name" "$stock_port" 60
}

# stock_admin_start: the process in which stock_admin runs its commands, one after the other.
stock_admin_start() {
    mkdir -p "$WORK/mqadmin"
    rm -f "$WORK"/mqadmin/*.cmd
    java_compile stock $STOCK_VERSION "$TOP/tests/compat/stock/src" || return 1
    # shellcheck disable=SC2046 # java_command prints words
    proc_start mqadmin $(java_command stock $STOCK_VERSION) raftmq.compat.AdminSpool "$WORK/mqadmin"
}

# stock_admin COMMAND...: one command of stock mqadmin; its output on stdout. False if it ended the process or took 60 s.
stock_admin() {
    proc_alive mqadmin || stock_admin_start || return 1
    stock_command=$(mktemp "$WORK/mqadmin/XXXXXX")
    printf '%s\n' "$@" > "$stock_command"
    mv "$stock_command" "$stock_command.cmd"
    stock_status=0
    stock_end=$(($(date +%s) + 60))
    until [ -f "$stock_command.done" ]; do
        if ! proc_alive mqadmin || [ "$(date +%s)" -ge "$stock_end" ]; then
            stock_status=1
            break
        fi
        sleep 0.02
    done
    cat "$stock_command.out" || stock_status=1
    rm -f "$stock_command".*
    return $stock_status
}
