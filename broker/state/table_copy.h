/* A table's rows on their way into a snapshot, while the table goes on changing.
 *
 * Each snapshot has a generation. A row that carries it is done: it was put, or it is younger than the snapshot. Who
 * is about to change or remove a row that does not carry it puts it first (table_copy_wants). The walk takes the
 * rest. */
#ifndef BROKER_STATE_TABLE_COPY_H
#define BROKER_STATE_TABLE_COPY_H

#include "raft-log/include/raftlog/fsm.h"
#include "remoting/base/buf.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#define TABLE_COPY_ROWS 64u          /* put in one step of the walk ... */
#define TABLE_COPY_BYTES (16u << 10) /* ... or as many as fill this */

struct table_copy {
    struct rlog_sink *sink; /* borrowed; NULL: no snapshot is being taken */
    uint16_t section;
    uint64_t generation;
    void *next;            /* the table's: the row that the walk looks at next */
    uint64_t bytes;        /* put so far */
    struct mq_buf scratch; /* owned */
};

/* A snapshot begins; @head: what the section's message holds beside rows. */
void table_copy_begin(struct table_copy *copy, uint16_t section, struct rlog_sink *sink, const ProtobufCMessage *head,
                      void *first);
/* It ended, well or not. Also frees what the struct owns. */
void table_copy_end(struct table_copy *copy);

/* Puts @row as field 1 of the section's message. A failure is the sink's: the snapshot is given up. */
void table_copy_put(struct table_copy *copy, const ProtobufCMessage *row);

static inline bool table_copy_wants(const struct table_copy *copy, uint64_t row_generation)
{
    return copy->sink != NULL && row_generation != copy->generation;
}

#endif
