/* What goes to a peer: which entries, when, and what need not go at all. */
#ifndef RLOG_PEER_OUT_H
#define RLOG_PEER_OUT_H

#include "raft-log/core/core.h"

#include <stdint.h>

#define PEER_OUT_QUEUE_BYTES (4u << 20)    /* written but not yet taken by the kernel: no further frame above it */
#define PEER_OUT_UNACKED_BYTES (32u << 20) /* written but not yet acknowledged: no further frame above it */

struct peer;

/* State of a leadership towards one peer, on its live bulk connection. */
struct peer_out {
    uint64_t term;  /* of the leadership that the rest is about */
    uint64_t first; /* entries first ... next - 1 were written without a gap; 0: none yet */
    uint64_t next;
    uint64_t wanted;              /* last entry that the core asked for */
    uint64_t told_commit;         /* highest commit index in what was written */
    uint64_t bulk_ms, control_ms; /* when the last append was written there; 0: never */
    uint64_t install_ms;          /* when it was last told to fetch a snapshot; 0: never */
    uint64_t resends;             /* how often entries were written again: for tests and status */
    /* Up to here entries were written on a connection that was lost before they were acknowledged. Perhaps the peer
     * closed it because they are bad here: they are checked before they are written again. */
    uint64_t doubted;
    uint64_t damaged; /* this one is bad, and nothing is written until it was mended; 0: none */
};

/* A message of the core to this peer. */
void peer_out_send(struct peer *peer, const struct core_message *message);

/* Writes wanted entries as far as the bounds allow: after an acknowledgement, and when the connection has drained. */
void peer_out_pump(struct peer *peer);

/* The bulk connection was lost: nothing of what is unacknowledged may be taken for delivered. */
void peer_out_reset(struct peer *peer);

/* What was bad in this log is good now. */
void peer_out_mended(struct peer *peer);

/* The peer rejected an append of the term we lead in; called before the core hears of it. */
void peer_out_rejected(struct peer *peer, uint64_t term, uint64_t index);

#endif
