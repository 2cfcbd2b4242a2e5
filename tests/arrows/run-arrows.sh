#!/bin/sh
# Checks every #include of the tree against the table of modules (arrows.awk): one case for each module. Then proves that the
# check can fail: in a small tree of its own every rule is broken once, and each breach has to be found.
set -eu

TOP=$(cd "$(dirname "$0")/../.." && pwd)
ARROWS=$TOP/tests/arrows/arrows.awk
. "$TOP/tests/lib/proc.sh"
. "$TOP/tests/lib/case.sh"
work_begin arrows

MODULES='remoting/base remoting/protocol remoting/net raft-log namesrv client broker jepsen tests'

# breaches TREE PATH...: what arrows.awk says about the sources below these paths of the tree.
breaches() (
    cd "$1"
    shift
    find . -name '*.h' -o -name '*.def' | sed 's|^\./||' > "$WORK/headers"
    find "$@" -name '*.[ch]' -exec awk -v known="$WORK/headers" -f "$ARROWS" {} +
)

for module in $MODULES; do
    [ -n "$(find "$TOP/$module" -name '*.[ch]' 2> /dev/null)" ] || continue
    found=$(breaches "$TOP" "$module")
    if [ -z "$found" ]; then
        case_pass "$module"
    else
        case_fail "$module" "$(echo "$found" | wc -l) wrong includes"
        echo "$found" | sed 's/^/    /'
    fi
done

# breach RULE FILE INCLUDE: in a tree where all named headers exist, FILE with this include is refused under RULE.
# With the rule "-" it has to be allowed.
breach() {
    tree=$WORK/tree
    rm -rf "$tree"
    mkdir -p "$tree/$(dirname "$2")"
    for header in remoting/base/err.h remoting/protocol/frame.h remoting/net/loop.h remoting/net/server.h \
        raft-log/driver.h raft-log/core/core_libraft.h raft-log/log/meta.h raft-log/include/raftlog/raftlog.h broker/include/broker/broker.h \
        broker/dispatch.h broker/processor/pull.h broker/flow/quota.h broker/session/notify.h broker/state/fsm.h \
        broker/store/store.h client/route_cache.h client/include/raftmq/raftmq.h tests/lib/fixture.h; do
        mkdir -p "$tree/$(dirname "$header")"
        : > "$tree/$header"
    done
    printf '/* a comment */\n#include <stdio.h>\n#include %s\n' "$3" > "$tree/$2"
    found=$(breaches "$tree" "$2")
    wanted=$2:3:\ $1:\ *
    # shellcheck disable=SC2254 # the pattern is meant as one
    case $found in
    '') [ "$1" = - ] && case_pass "allows $3 in $2" || case_fail "refuses $3 in $2" "nothing was found" ;;
    $wanted) case_pass "refuses $3 in $2" ;;
    *) case_fail "$3 in $2" "unexpected: $found" ;;
    esac
}

breach 'remoting/base <-' remoting/base/x.c '"remoting/protocol/frame.h"'
breach 'remoting/protocol <-' remoting/protocol/x.c '"remoting/net/loop.h"'
breach 'remoting/net <-' remoting/net/x.c '"raft-log/include/raftlog/raftlog.h"'
breach 'raft-log <-' raft-log/log/x.c '"remoting/protocol/frame.h"'
breach 'raft-log <-' raft-log/peer/x.c '"remoting/net/server.h"'
breach - raft-log/peer/x.c '"remoting/net/loop.h"'
breach 'raft-log/log <-' raft-log/log/x.c '"raft-log/driver.h"'
breach 'libraft' raft-log/driver.c '<raft.h>'
breach - raft-log/core/core_libraft.h '<raft.h>'
breach 'libraft' raft-log/driver.c '"raft-log/core/core_libraft.h"'
breach - raft-log/core/core_base.c '"raft-log/core/core_libraft.h"'
breach 'namesrv <-' namesrv/x.c '"raft-log/include/raftlog/raftlog.h"'
breach 'client <-' client/x.c '"broker/include/broker/broker.h"'
breach 'client/tools <-' client/tools/x.c '"broker/store/store.h"'
breach - client/tools/x.c '"broker/include/broker/broker.h"'
breach 'broker <-' broker/store/x.c '"raft-log/log/meta.h"'
breach - broker/store/x.c '"raft-log/include/raftlog/raftlog.h"'
breach 'broker <-' broker/x.c '"client/include/raftmq/raftmq.h"'
breach 'broker/store <-' broker/store/x.c '"broker/state/fsm.h"'
breach 'broker/state <-' broker/state/x.c '"broker/flow/quota.h"'
breach 'broker/flow <-' broker/flow/x.c '"broker/session/notify.h"'
breach 'broker/flow <-' broker/flow/x.h '"broker/processor/pull.h"'
breach 'broker/processor <-' broker/processor/x.c '"broker/dispatch.h"'
breach - broker/processor/x.c '"broker/session/notify.h"'
breach 'broker <-' broker/main.c '"tests/lib/fixture.h"'
breach - tests/unit/base/x.c '"remoting/base/err.h"'
breach 'jepsen <-' jepsen/x.c '"client/route_cache.h"'
breach 'module-unknown' cellar/x.c '"remoting/base/err.h"'
breach 'spelling' broker/store/x.c '"store.h"'
breach 'spelling' broker/store/x.c '"../state/fsm.h"'
breach - tests/unit/base/x.c '"fixture.h"'
breach 'missing' broker/store/x.c '"broker/store/nothing.h"'

case_end arrows
