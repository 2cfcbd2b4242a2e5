/* A part of the state as it goes into snapshots and is compared between members: one for each table. */
#ifndef BROKER_STATE_SECTION_H
#define BROKER_STATE_SECTION_H

#include "raft-log/include/raftlog/fsm.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

struct state;

struct state_section {
    uint16_t id, version;
    uint32_t level; /* feature level that a member needs to load it */
    const char *name;
    const ProtobufCMessageDescriptor *rows; /* what its bytes are a message of, in pieces */

    /* Into a snapshot: begin, then step until it returns false, then end; end comes also when it is given up, and
     * once more than needed. */
    void (*copy_begin)(struct state *state, uint16_t section, struct rlog_sink *sink);
    bool (*copy_step)(struct state *state);
    void (*copy_end)(struct state *state);
    /* Out of one: everything is cleared, then rows come in pieces. Returns 0, MQ_ENOMEM or MQ_EBADMSG. */
    void (*clear)(struct state *state);
    int (*restore)(struct state *state, const ProtobufCMessage *rows);

    /* Equal on all members for equal content; in O(1), or in O(rows changed since the last time). */
    uint64_t (*hash)(struct state *state);
    /* The same, counted anew from every row; NULL: hash is that already. */
    uint64_t (*recount)(const struct state *state);
};

#endif
