/* Pulls whose pages have to come from the disk. A few are read at a time on the pool; the others wait their turn, so
 * that many consumers far behind cost a bounded amount of memory. Loop thread. */
#ifndef BROKER_FLOW_COLD_READS_H
#define BROKER_FLOW_COLD_READS_H

#include "broker/store/store.h"
#include "remoting/net/channel.h"

#define COLD_READS_RUNNING_MAX 16
#define COLD_READS_WAITING_MAX 16384

struct cold_reads {
    struct store *store;            /* borrowed */
    struct cold_read *first, **end; /* waiting, oldest first */
    uint32_t running, waiting;
};

/* The caller's memory from a successful start until done. */
struct cold_read {
    struct net_channel *ch;        /* counted by the caller: a dead one's read is not made any more */
    struct reader_request request; /* its filter lives until done */
    struct cold_reads *reads;
    struct cold_read *next;
    /* @status 0: the pages are in memory, read again. MQ_ECLOSED: the channel is dead. MQ_ENOMEM. */
    void (*done)(struct cold_read *read, int status);
};

void cold_reads_init(struct cold_reads *reads, struct store *store);

/* ch, request and done are set. Returns 0 (done comes, never inside), MQ_EBUSY (COLD_READS_WAITING_MAX) or MQ_ENOMEM.
 */
int cold_reads_start(struct cold_reads *reads, struct cold_read *read);

#endif
