/* Answers what others ask on the range lane. Owned by the loop's thread.
 *
 * One question after the other: the loop picks a piece of one segment -> a worker of the pool reads and checks the
 * entries, which also brings their pages into memory -> the loop writes the answer as a view of the map. The loop
 * itself never touches a page that may be cold. A part of a snapshot's file is read into memory in the same way.
 * Bounds of a connection: SERVE_ASKS_MAX questions wait, one is being read, and none is read while more than
 * SERVE_QUEUE_BYTES of answers wait for the kernel. */
#ifndef RLOG_SERVE_H
#define RLOG_SERVE_H

#include "raft-log/peer/fetch.h"

#define SERVE_ASKS_MAX FETCH_OPEN_MAX
#define SERVE_QUEUE_BYTES (2u << 20)
#define SERVE_SNAPSHOT_MS 30000u /* a file that nobody asked for so long is not kept for it any more */
#define SERVE_PATH_MAX 1024u

struct peer_conn;
struct rlog_disk;
struct serve_job;

/* A snapshot's file. */
struct serve_file {
    uint64_t index, term; /* of the last entry that it stands for; index 0: none */
    uint64_t bytes;
    char path[SERVE_PATH_MAX];
};

/* What this member has to give of snapshots. */
struct serve_snapshots {
    const struct rlog_disk *disk; /* borrowed; reads the files, on the pool */
    /* The newest one. Returns 0 or MQ_ENOTFOUND. */
    int (*newest)(void *data, struct serve_file *out);
    /* Keeps the file until the release. Returns false when it is not there any more. */
    bool (*acquire)(void *data, uint64_t index);
    void (*release)(void *data, uint64_t index);
    void *data;
};

/* Of one accepted connection of the range lane. */
struct serve {
    struct serve_job *job; /* the question that is being read for; NULL: none */
    struct peer_ask asks[SERVE_ASKS_MAX];
    uint32_t first, n;         /* ring */
    uint64_t went_id, went_to; /* of the last answer with entries from behind: its question, and its first entry */
    struct serve_file file;    /* acquired for this connection */
    uint64_t file_ms;          /* when it was last asked for; monotonic */
};

/* A question. Returns 0, or a negative code that closes the connection. */
int serve_frame(struct peer_conn *conn, const struct peer_frame *frame);

/* The connection has drained. */
void serve_pump(struct peer_conn *conn);

/* Lets go of a file that is not asked for any more. */
void serve_tick(struct peer_conn *conn, uint64_t now_ms);

/* The connection will not be used again; what is being read for it goes nowhere. */
void serve_conn_closed(struct peer_conn *conn);

#endif
