/* Processes that a test starts, and nothing but those: started with their output in a file, ended by their id. A
 * child dies with the thread that started it (PR_SET_PDEATHSIG), so that an interrupted test leaves nothing behind.
 */
#ifndef TESTS_LIB_PROCESS_H
#define TESTS_LIB_PROCESS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
    pid_t pid;           /* 0: not running */
    char log[PATH_MAX];  /* where its output is appended */
    int64_t log_from;    /* length of the log when it started */
    uint64_t started_ms; /* monotonic */
    int status;          /* as waitpid gave it, once it has ended */
};

/* Starts argv[0]. @log: a path. Returns 0 or -errno. */
int process_start(struct process *process, const char *log, char *const argv[]);

/* False from the moment its end was noticed; collects it. */
bool process_alive(struct process *process);

/* Waits until its output since the start holds @text. Returns the milliseconds since the start, or -1: it ended or
 * the time is up. */
int64_t process_wait_text(struct process *process, const char *text, uint32_t timeout_ms);

int process_signal(struct process *process, int signal);

/* Waits for its end. Returns the exit status, 128 + the signal that ended it, or -1 when it still runs. */
int process_wait(struct process *process, uint32_t timeout_ms);

/* SIGKILL and wait; nothing when it does not run. */
void process_kill(struct process *process);

/* Private memory and all resident memory in bytes, of smaps_rollup. Returns 0 or -errno. */
int process_memory(const struct process *process, uint64_t *anon_bytes, uint64_t *resident_bytes);

void test_sleep_ms(uint32_t ms);

#endif
