/* Where the three threads of the log meet: the loop (appends, reads), the writer (makes appends durable) and the
 * spare (makes segments, zeroes ahead). The only file of the log with a mutex or an atomic; everything shared is in
 * this struct.
 *
 * Entries. The loop puts a list of writes; the writer takes all there are, writes and syncs them, and gives the list
 * back as done, in order; the loop takes what is done when its wake-up comes. A lone append costs one wake-up of the
 * writer (condition variable) and one of the loop (uv_async).
 *
 * Segments. All have the same size, so segment k begins at k * segment_bytes. The table only grows, and an entry in
 * it never changes: the loop reads it without the mutex, behind the count. The spare makes the next segment when less
 * than make_ahead bytes are left; the writer makes it when it is needed and still missing.
 *
 * Zeros. tail: nothing at or above it has been written by the writer. zeroed: zeros were written between the tail and
 * it. The spare claims a piece [zero_from, zero_to), which begins at or above both, and writes
 * zeros there once, without the mutex. Before the writer writes [from, to) it raises the tail to @to, so that no
 * later claim can touch it, and waits if a claim overlaps. So zeros never land on an entry. The wait is for one
 * pwrite of HANDOVER_ZERO_PIECE bytes into the page cache, which the file system would make it wait for anyway, and
 * never for a sync; it happens only when the tail has overtaken the zeroing.
 *
 * Zeroing pays for small syncs (a quarter of their time) and for bursts, which find a quarter of a segment ready.
 * Under a stream of large writes it would only write everything twice, so it stops while more than
 * HANDOVER_BUSY_BYTES are appended in HANDOVER_RATE_MS; the entries then go into allocated space, which reads as
 * zeros all the same. */
#ifndef RLOG_LOG_HANDOVER_H
#define RLOG_LOG_HANDOVER_H

#include "raft-log/log/segment.h"
#include "remoting/net/conn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HANDOVER_SEGMENTS_MAX 65536u        /* 64 TiB of 1 GiB segments */
#define HANDOVER_ZERO_PIECE (256u << 10)    /* zeroed in one step */
#define HANDOVER_ZERO_LOW_MAX (128u << 20)  /* less than this zeroed ahead of the tail: zero on, ... */
#define HANDOVER_ZERO_HIGH_MAX (256u << 20) /* ... up to this */
#define HANDOVER_RATE_MS 100u               /* appended bytes are counted over such windows */
#define HANDOVER_BUSY_BYTES (4u << 20)      /* more than this in one: the disk is better left to the writer */

/* One appended entry on its way to the disk. The loop owns it while it is in none of the lists here. */
struct log_write {
    struct log_write *next;
    const uint8_t *bytes; /* kept alive by ref, whose count only the loop touches */
    uint32_t n;
    uint64_t pos, index, term;
    struct net_ref *ref;
};

/* In order of index. */
struct write_list {
    struct log_write *first, *last;
};

void write_list_append(struct write_list *list, struct log_write *write);
/* Moves all of @from to the end of @to. */
void write_list_join(struct write_list *to, struct write_list *from);

/* What the writer has done so far. */
struct handover_stats {
    uint64_t entries, bytes, syncs, sync_ns;
};

enum spare_work { SPARE_STOP, SPARE_MAKE, SPARE_ZERO, SPARE_SYNC };

struct spare_task {
    enum spare_work work;
    struct segment *segment; /* SPARE_ZERO */
    uint64_t from, to;
};

struct handover {
    const struct rlog_disk *disk; /* borrowed */
    char *dir;                    /* owned; the member's */
    uint64_t segment_bytes;
    uint64_t zero_low, zero_high, make_ahead; /* bytes, for this segment size */
    void (*wake)(void *data);                 /* tells the loop that something is done; any thread, mutex not held */
    void *wake_data;

    struct segment **segments; /* owned, HANDOVER_SEGMENTS_MAX slots; untouched pages cost nothing */
    atomic_size_t n_segments;  /* raised under the mutex after the slot is set */

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t to_writer, to_spare, to_loop;
    pthread_cond_t moved; /* a segment was made, or a zeroed piece is written: writer */
    struct write_list queued, done;
    struct handover_stats stats;
    bool writer_busy, spare_waits, stop;
    bool making;              /* the writer or the spare is making the next segment */
    uint64_t make_not_before; /* after a failure the spare tries again when the tail has come here */
    uint64_t tail, zeroed;
    uint64_t zero_from, zero_to;          /* claimed by the spare, equal when nothing is */
    bool zero_on;                         /* between low and high on the way up */
    uint64_t rate_start_ms;               /* of the window that is being counted; monotonic */
    uint64_t rate_bytes, rate_last_bytes; /* appended in it, and in the one before */
};

/* @dir: copied. @wake: see the struct. Returns 0 or MQ_ENOMEM. */
int handover_init(struct handover *h, const struct rlog_disk *disk, const char *dir, uint64_t segment_bytes,
                  void (*wake)(void *data), void *wake_data);
/* Both threads are gone. Releases the segments. Lists must be empty. */
void handover_fini(struct handover *h);

/* Loop, before the threads run: the next segment of an existing log. @segment: taken. Returns 0 or MQ_ENOMEM (too
 * many). */
int handover_add_segment(struct handover *h, struct segment *segment);
/* Loop, before the threads run: where the log ends. */
void handover_set_tail(struct handover *h, uint64_t tail);

/* Any thread: the segment that holds @pos, borrowed, or NULL if it does not exist. */
struct segment *handover_segment_at(const struct handover *h, uint64_t pos);

/* Loop. */
void handover_put(struct handover *h, struct write_list *list);
void handover_take_done(struct handover *h, struct write_list *out);
void handover_wait_idle(struct handover *h); /* until everything put is done; blocks */
void handover_stats_get(struct handover *h, struct handover_stats *out);
/* The log was cut back to @tail, with zeros on disk from there to the old tail. The writer is idle. */
void handover_cut(struct handover *h, uint64_t tail);
/* Tells both threads to end; the writer first finishes what was put. */
void handover_stop(struct handover *h);

/* Writer. Blocks for work; false: stop. */
bool handover_take(struct handover *h, struct write_list *out);
/* The segment that holds @pos, made now if nobody did. Returns 0, MQ_ENOMEM or -errno. */
int handover_need_segment(struct handover *h, uint64_t pos, struct segment **out);
void handover_claim(struct handover *h, uint64_t from, uint64_t to);
/* @list is durable. @add: what it cost. */
void handover_give_done(struct handover *h, struct write_list *list, const struct handover_stats *add);

/* Spare. Blocks for work; with @unsynced zeros it gets SPARE_SYNC instead of a wait. */
void handover_next_task(struct handover *h, bool unsynced, struct spare_task *out);
void handover_zero_written(struct handover *h, uint64_t to);             /* the claim ends; all below @to are zeros */
void handover_made(struct handover *h, struct segment *segment, int rc); /* @segment: taken when @rc is 0 */

#endif
