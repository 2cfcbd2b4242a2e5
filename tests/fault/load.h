/* The load of the fault tests: producers with many sends under way, one that sends batches, and a long-polling reader
 * for every queue, all on one loop in a thread of its own. What happens goes into an account, which the lock guards;
 * the thread that breaks things calls the functions below and never touches the loop. */
#ifndef TESTS_FAULT_LOAD_H
#define TESTS_FAULT_LOAD_H

#include "tests/fault/account.h"

#include <stdbool.h>
#include <stdint.h>

#define LOAD_QUEUES_MAX 64

struct load_queue {
    const char *topic; /* borrowed */
    int32_t id;
};

struct load_options {
    const char *namesrv; /* "127.0.0.1:port" */
    const char *broker_name;
    const int *ports; /* of the nodes: batches go to one of them */
    uint32_t n_ports;
    const struct load_queue *queues; /* borrowed */
    uint32_t n_queues;
    uint32_t rate; /* messages a second, all producers together */
    uint64_t seed;
    uint16_t tag;
};

struct load;

/* Starts the thread; nothing is sent before load_resume. Returns 0 or a negative code. */
int load_start(const struct load_options *options, struct load **out);

/* Ends everything and frees; what was still under way is unknown. */
void load_stop(struct load *load);

void load_resume(struct load *load);

/* No new sends; waits until all are answered. Returns false when the time is up first. */
bool load_pause(struct load *load, uint32_t timeout_ms);

/* Waits until the readers have come to these offsets. Returns false when the time is up first. */
bool load_wait_read(struct load *load, const int64_t *ends, uint32_t timeout_ms);

/* Whether a group's offset that was read after load_pause is the one committed last; counted in the account if not.
 */
void load_check_commit(struct load *load, int64_t offset);

/* Offset commits acknowledged so far. */
uint64_t load_commits(struct load *load);

/* From now on the first acknowledgement of a send begun after this call is looked for. */
void load_mark(struct load *load);

/* Milliseconds from the mark to that acknowledgement, waiting for it; -1 when the time is up. */
int64_t load_wait_ack(struct load *load, uint32_t timeout_ms);

/* The account, to be used between these two only. */
struct account *load_lock(struct load *load);
void load_unlock(struct load *load);

#endif
