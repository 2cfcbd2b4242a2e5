# Fetches jars through Maven, compiles and runs Java for the tests with stock clients. Sourced after proc.sh, POSIX sh.
#
# Jars are copied once into build/compat/<set>-<version>/lib; later runs need neither Maven nor a network.

COMPAT_BUILD=$TOP/build/compat
JVM_SMALL="-Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData"

# java_jars SET VERSION: makes $COMPAT_BUILD/SET-VERSION/lib out of tests/compat/<java|stock|...>/pom.xml.
java_jars() {
    java_set=$COMPAT_BUILD/$1-$2
    case $1 in
    client) java_pom=$TOP/tests/compat/java/pom.xml ;;
    *) java_pom=$TOP/tests/compat/$1/pom.xml ;;
    esac
    java_stamp=$(cksum < "$java_pom")
    [ "$(cat "$java_set/complete" 2> /dev/null)" != "$java_stamp" ] || return 0
    rm -rf "$java_set"
    mkdir -p "$java_set"
    for java_network in -o -U; do
        if mvn -q -B $java_network -f "$java_pom" dependency:copy-dependencies -DincludeScope=runtime \
            -Drocketmq.version="$2" -DoutputDirectory="$java_set/lib" > "$java_set/mvn.log" 2>&1; then
            echo "$java_stamp" > "$java_set/complete"
            return 0
        fi
    done
    echo "Maven could not fetch the $1 jars of RocketMQ $2 (log: $java_set/mvn.log):" >&2
    grep -m 1 ERROR "$java_set/mvn.log" | cut -c 1-400 >&2
    return 1
}

# java_compile SET VERSION FOLDER...: compiles the FOLDERs' *.java against that set into $COMPAT_BUILD/SET-VERSION/classes.
java_compile() {
    java_set=$COMPAT_BUILD/$1-$2
    shift 2
    rm -rf "$java_set/classes"
    mkdir -p "$java_set/classes"
    if ! find "$@" -name '*.java' -exec javac -encoding UTF-8 -d "$java_set/classes" -cp "$java_set/lib/*" {} + > "$java_set/javac.log" 2>&1; then
        cat "$java_set/javac.log" >&2
        return 1
    fi
}

# java_command SET VERSION: the words that start a program of that set; the caller adds options and the main class.
# The logs of RocketMQ go to a home below $WORK.
java_command() {
    java_set=$COMPAT_BUILD/$1-$2
    echo "java $JVM_SMALL -Duser.home=$WORK/home -Drocketmq.home.dir=$WORK/home" \
        "-Drocketmq.client.logUseSlf4j=false -cp $java_set/classes:$java_set/lib/*"
}
