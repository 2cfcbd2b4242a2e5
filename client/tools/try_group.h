/* The group that `raftmq try` plays with: a directory, a name server, three brokers. */
#ifndef CLIENT_TOOLS_TRY_GROUP_H
#define CLIENT_TOOLS_TRY_GROUP_H

#include "client/tools/process.h"
#include "client/tools/tool.h"

#define TRY_BROKERS 3

struct try_group {
    const char *dir;
    int port_base;
    bool leave; /* processes stay when we end */
    struct process namesrv;
    struct process brokers[TRY_BROKERS];
    char namesrv_path[4096], broker_path[4096];
};

/* What a member says of itself. */
struct try_status {
    bool answered;
    char role[16];
    uint64_t term, commit_index, applied_index, end_pos, applied_pos;
    char state_hash[20];
};

/* Checks programs, ports and directory; removes what a crashed run left, and says so. Prints what is wrong. */
bool try_group_prepare(struct try_group *group);

bool try_group_start_namesrv(struct try_group *group);
bool try_group_start_broker(struct try_group *group, int i);

/* Ends all processes (politely, then not) and removes the directory unless @keep_files. */
void try_group_stop(struct try_group *group, bool keep_files);

/* Asks broker @i; waits at most @timeout_ms. */
void try_group_ask(struct try_group *group, struct tool *tool, int i, uint32_t timeout_ms, struct try_status *out);

/* Prints the end of the log of a process that did not do what it should. */
void try_group_show_log(const struct try_group *group, const char *name);

#endif
