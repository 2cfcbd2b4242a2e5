/* Answers what others ask on the range lane. Owned by the loop's thread.
 *
 * One question after the other: the loop picks a piece of one segment -> a worker of the pool reads and checks the
 * entries, which also brings their pages into memory -> the loop writes the answer as a view of the map. The loop
 * itself never touches a page that may be cold. Bounds of a connection: SERVE_ASKS_MAX questions wait, one is being
 * read, and none is read while more than SERVE_QUEUE_BYTES of answers wait for the kernel. */
#ifndef RLOG_SERVE_H
#define RLOG_SERVE_H

#include "raft-log/peer/fetch.h"

#define SERVE_ASKS_MAX FETCH_OPEN_MAX
#define SERVE_QUEUE_BYTES (2u << 20)

struct peer_conn;
struct serve_job;

/* Of one accepted connection of the range lane. */
struct serve {
    struct serve_job *job; /* the question that is being read for; NULL: none */
    struct peer_fetch asks[SERVE_ASKS_MAX];
    uint32_t first, n; /* ring */
};

/* A question. Returns 0, or a negative code that closes the connection. */
int serve_frame(struct peer_conn *conn, const struct peer_frame *frame);

/* The connection has drained. */
void serve_pump(struct peer_conn *conn);

/* The connection will not be used again; what is being read for it goes nowhere. */
void serve_conn_closed(struct peer_conn *conn);

#endif
