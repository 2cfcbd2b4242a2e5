/* Back-fill: whole entries that end where the log begins are put before it, and the base moves down.
 *
 *   put_start -> spare: checks the entries from what is said to lie before them up to the base and writes them where
 * they belong (put_stage.h), making segments as it must -> loop: index and base take them in -> callback
 *
 * Failures: MQ_ECORRUPT (they do not end at the base, do not follow each other or are damaged), -errno (a segment
 * cannot be made), MQ_ENOTFOUND (the log got another beginning meanwhile), MQ_ECLOSED: nothing has changed. A failed
 * write or sync ends the process.
 *
 * The base is made durable with every PUT_SETTLE_BYTES, when a put lies in two segments, with entry 1, at
 * close, and when asked for. Everything that a durable base stands for was synced before. After a crash the log
 * begins at the base stored last; what was written below it is written again, the same bytes. */
#ifndef RLOG_LOG_PUT_H
#define RLOG_LOG_PUT_H

#include "raft-log/log/base_file.h"
#include "raft-log/log/handover.h"

#define PUT_SETTLE_BYTES (64u << 20)
#define PUT_PIECES_MAX 8u

struct front;
struct commitlog_put;
typedef void (*commitlog_put_cb)(struct commitlog_put *put, int status);

/* Entries that lie one behind the other. */
struct put_piece {
    const uint8_t *bytes; /* inside the memory of ref */
    uint32_t n;
    struct net_ref *ref;
};

/* The caller's, until its callback. */
struct commitlog_put {
    void *data; /* caller's, never read here */

    /* Private. */
    commitlog_put_cb cb;
    struct spare_job job;
    struct front *front;
    uint64_t serial;
    uint32_t resets;
    struct put_piece pieces[PUT_PIECES_MAX]; /* newest first; one reference of each is ours */
    uint32_t n_pieces;
    const uint8_t **entries; /* owned; oldest first */
    struct rlog_base end;    /* the base when it started, without membership */
    struct base_kept before; /* what becomes the base */
    struct segment *made;    /* linked by next, the highest one first */
    uint64_t row_pos;        /* where the row of segments began then */
    uint64_t room;           /* number of the lowest segment that the row has place for */
    int status;
};

/* As commitlog_put_before. Loop. */
int put_start(struct front *front, struct commitlog_put *put, const struct put_piece *pieces, uint32_t n_pieces,
              const struct rlog_base *before, commitlog_put_cb cb);

/* Makes what was put durable, and the base with it. Caller's until the callback, which comes later on the loop, or
 * while the log closes. */
struct commitlog_settle {
    void (*cb)(struct commitlog_settle *settle);
    struct spare_job job; /* private, like all below */
    struct front *front;
};

/* As commitlog_settle_front. Loop. */
void put_settle_start(struct front *front, struct commitlog_settle *settle,
                      void (*cb)(struct commitlog_settle *settle));

/* Spare, or the loop when the spare is gone: syncs what was put and makes its base durable. */
void put_settle(struct front *front);
/* The same threads: what is unsettled is void. */
void put_forget(struct front *front);

#endif
