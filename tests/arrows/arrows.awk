# Checks the #include lines of C sources against the table of modules. Prints one line for each wrong include:
#     path:line: rule: text
# Run from the top of a tree: awk -f arrows.awk -v known=FILE SOURCE...; FILE lists every header of the tree, one a line.
#
# The tables below are the whole truth: MAY says whose headers a module may include, LEVEL how deep a folder of the broker lies.

function module_of(path) {
    if (path ~ /^remoting\/[a-z]+\//) { sub(/^remoting\//, "remoting:", path); sub(/\/.*/, "", path); sub(/:/, "/", path); return path }
    if (path ~ /^client\/tools\//) return "client/tools"
    sub(/\/.*/, "", path)
    return path
}

# What an included path counts as: a module's name, or its name with "/include" for headers that it shows to other modules.
function target_of(path,   module) {
    module = module_of(path)
    return path ~ /^[a-z-]+\/include\// ? module "/include" : module
}

function part_of(path, module) {
    path = substr(path, length(module) + 2)
    if (path !~ /\//) { sub(/\.[ch]$/, "", path); return path }
    sub(/\/.*/, "", path)
    return path
}

function wrong(rule, text) { printf "%s:%d: %s: %s\n", FILENAME, FNR, rule, text }

function check_module(path,   from, to) {
    from = module_of(FILENAME)
    to = target_of(path)
    if (!(from in MAY)) { wrong("module-unknown", "no row for " from " in the table of modules"); return 0 }
    if (from == "tests" || module_of(path) == from) return 1
    if (index(MAY[from], " " to " ") || (from in NAMED && index(NAMED[from], " " path " "))) return 1
    wrong(from " <-", "must not include " path)
    return 0
}

# Above core, log and peer stands the driver, which they do not know.
function check_raft_log(path,   part) {
    part = part_of(FILENAME, "raft-log")
    if (part ~ /^(core|log|peer)$/ && path ~ /^raft-log\/(driver|propose|role)\.h$/)
        wrong("raft-log/" part " <-", "must not include " path)
}

# Downwards only; what lies beside does not look across.
function check_broker(path,   from, to) {
    from = part_of(FILENAME, "broker")
    to = part_of(path, "broker")
    if (from == to || !(from in LEVEL)) return
    if (!(to in LEVEL)) return
    if (LEVEL[to] >= LEVEL[from]) wrong("broker/" from " <-", "must not include " path ": broker/" to " does not lie below it")
}

BEGIN {
    base = " remoting/base "
    protocol = " remoting/protocol "
    net = " remoting/net "
    shown = " raft-log/include namesrv/include broker/include client/include "
    MAY["remoting/base"] = " "
    MAY["remoting/protocol"] = base
    MAY["remoting/net"] = base protocol
    MAY["raft-log"] = base
    NAMED["raft-log"] = " remoting/net/loop.h remoting/net/conn.h remoting/net/tls.h "
    MAY["namesrv"] = base protocol net
    MAY["client"] = base protocol net
    MAY["client/tools"] = base protocol net " client " shown
    MAY["broker"] = base protocol net " raft-log/include "
    MAY["jepsen"] = base " client/include "
    MAY["tests"] = "everything"

    LEVEL["main"] = 8
    LEVEL["broker"] = 7
    LEVEL["dispatch"] = 6
    LEVEL["processor"] = 5
    LEVEL["flow"] = 4
    LEVEL["session"] = 4
    LEVEL["state"] = 3
    LEVEL["store"] = 2

    while ((getline header < known) > 0) HEADER[header] = 1
}

/^[ \t]*#[ \t]*include[ \t]*</ {
    if ($0 ~ /<raft(\/[a-z_]+)?\.h>|<raft\/[^>]*>/ && FILENAME != "raft-log/core/core_libraft.h" && FILENAME !~ /^tests\//)
        wrong("libraft", "only raft-log/core/core_libraft.h includes it")
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
    path = $0
    sub(/^[^"]*"/, "", path)
    sub(/".*/, "", path)
    if (path == "raft-log/core/core_libraft.h" && FILENAME !~ /^raft-log\/core\/core[a-z_]*\.c$/)
        wrong("libraft", "core_libraft.h is for raft-log/core/core*.c alone")
    if (path !~ /\// && module_of(FILENAME) == "tests") next # a fixture beside its test
    if (path ~ /^\.\.?\// || path ~ /\/\.\.\// || path !~ /\//) {
        wrong("spelling", "\"" path "\" is not written from the top of the tree")
        next
    }
    if (path !~ /\.pb-c\.h$/ && !(path in HEADER)) {
        wrong("missing", "no header " path)
        next
    }
    if (!check_module(path)) next
    if (module_of(FILENAME) == "raft-log" && module_of(path) == "raft-log") check_raft_log(path)
    if (module_of(FILENAME) == "broker" && module_of(path) == "broker") check_broker(path)
}
