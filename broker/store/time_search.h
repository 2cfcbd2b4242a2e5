/* Search in a queue by store time, without waiting for the disk on the loop: where a record is cold it is touched on
 * the pool and the search goes on later. The edges are those of RocketMQ's getOffsetInQueueByTime. Loop thread. */
#ifndef BROKER_STORE_TIME_SEARCH_H
#define BROKER_STORE_TIME_SEARCH_H

#include "broker/store/fetch.h"

struct time_search {
    struct store *store;
    struct queue *queue; /* NULL: one that was never used */
    int64_t time_ms;
    bool upper;     /* the last message stored at time_ms or before it, instead of the first one at it or behind it */
    uint64_t found; /* the result: within the queue's bounds; 0 of an empty queue that begins at 0 */
    void *data;     /* caller's */
    /* Only where the start said MQ_EAGAIN; once. */
    void (*done)(struct time_search *search);

    /* Its own. */
    uint64_t low, high, middle;
    struct store_fetch fetch;
};

/* The upper five members are set; @search is the caller's memory until done. Returns 0 with found set, or MQ_EAGAIN:
 * done comes later. Some 20 records are looked at; those that the log no longer holds count as early. */
int time_search_start(struct time_search *search);

#endif
