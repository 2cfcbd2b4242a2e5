/* Child processes of `raftmq try`. Nothing here ever signals a process that it did not start. */
#ifndef CLIENT_TOOLS_PROCESS_H
#define CLIENT_TOOLS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct process {
    char name[16];       /* "n0" */
    const char *program; /* "mqbroker" */
    char addr[32];       /* that clients use */
    int pid;             /* 0: not running */
    uint64_t started_ms; /* monotonic */
};

/* Runs argv[0] with its output appended to @log_path. @leave: it stays when we are gone; else it dies with us.
 * Returns 0 or -errno. */
int process_start(struct process *process, char *const argv[], const char *log_path, bool leave);

/* True while it runs. Reaps it when it ended; @how (may be NULL) gets its wait status then. */
bool process_running(struct process *process, int *how);

/* Sends a signal; nothing happens when it does not run. */
void process_signal(struct process *process, int number);

/* Waits up to @timeout_ms for its end. */
bool process_wait(struct process *process, uint32_t timeout_ms);

/* When process @pid started, in ticks since boot: with the pid it names a process for ever. 0 when there is none
 * or it ended and only waits for its parent to notice. */
uint64_t process_birth(int pid);

/* The path of @program beside this one. */
void process_beside(const char *program, char *path, unsigned bytes);

#endif
