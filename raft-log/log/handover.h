/* Where the three threads of the log meet: the loop (appends, reads), the writer (makes appends durable) and the
 * spare (makes segments, zeroes ahead). Only handover*.c have a mutex or an atomic, but for put_stage.c, whose
 * thread is the spare's own; everything shared is in this struct.
 *
 * Entries. The loop puts a list of writes; the writer takes all there are, writes and syncs them, and gives the list
 * back as done, in order; the loop takes what is done when its wake-up comes. A lone append costs one wake-up of the
 * writer (condition variable) and one of the loop (uv_async).
 *
 * Segments. All have the same size, so segment number k begins at k * segment_bytes. The table is a ring that holds a
 * row of them, [first, end). An entry in it never changes, so it is read without the mutex, between the two counts:
 * end is raised by who made a segment, first is moved by the loop alone, when the log gets another beginning
 * (front.h). The writer and the spare look only at what lies at the tail and behind it. The spare makes the next
 * segment when less than make_ahead bytes are left; the writer makes it when it is needed and still missing. Both
 * take an old segment, one that the loop gave up, if there is one; the spare removes what is not needed for that.
 *
 * Jobs. What the loop wants done off its thread and in order, by the spare: between two steps of its own work it
 * carries out the next job, and gives it back. handover_rest_spare stops it between jobs, so that the loop may touch
 * what otherwise belongs to the spare.
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
#include "raft-log/log/space.h"
#include "remoting/base/log.h"
#include "remoting/net/conn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HANDOVER_SEGMENTS_MAX 65536u        /* a power of two; 64 TiB of 1 GiB segments */
#define HANDOVER_OLD_KEPT 1u                /* old segments that wait to become the next one; more are removed */
#define HANDOVER_ZERO_PIECE (256u << 10)    /* zeroed in one step */
#define HANDOVER_ZERO_LOW_MAX (128u << 20)  /* less than this zeroed ahead of the tail: zero on, ... */
#define HANDOVER_ZERO_HIGH_MAX (256u << 20) /* ... up to this */
#define HANDOVER_DIRTY_MAX (16u << 20)      /* more that is not synced: the writer waits for the flusher */
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

/* Something that the spare does for the loop. Embedded in its owner, who keeps it until done. */
struct spare_job {
    struct spare_job *next;
    void (*work)(struct spare_job *job); /* spare */
    void (*done)(struct spare_job *job); /* loop, from commitlog's wake-up or close; may free the job */
};

struct job_list {
    struct spare_job *first, *last;
};

enum spare_work { SPARE_STOP, SPARE_MAKE, SPARE_ASK, SPARE_REMOVE, SPARE_JOB, SPARE_ZERO, SPARE_SYNC };

struct spare_task {
    enum spare_work work;
    struct segment *segment; /* SPARE_ZERO: borrowed. SPARE_REMOVE, SPARE_MAKE (or NULL): an old one, given */
    struct spare_job *job;   /* SPARE_JOB */
    uint64_t from, to;
};

struct handover {
    const struct rlog_disk *disk; /* borrowed */
    char *dir;                    /* owned; the member's */
    uint64_t segment_bytes;
    uint64_t zero_low, zero_high, make_ahead; /* bytes, for this segment size */
    void (*wake)(void *data);                 /* tells the loop that something is done; any thread, mutex not held */
    void *wake_data;

    struct segment **segments;       /* owned, HANDOVER_SEGMENTS_MAX slots; untouched pages cost nothing */
    uint64_t origin;                 /* number of the segment in slot 0, set by handover_begin */
    atomic_uint_fast64_t first, end; /* numbers; end is raised under the mutex, either after the slot is set */

    struct mq_log_limit index_limit; /* loop: of lines about index files */
    struct space space;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t to_writer, to_spare, to_loop;
    pthread_cond_t moved; /* a segment was made, or a zeroed piece is written: writer */
    struct write_list queued, done;
    struct job_list jobs, jobs_done;
    struct segment *old; /* owned, linked by next; nobody else holds them */
    uint32_t n_old;
    struct handover_stats stats;
    bool writer_busy, spare_waits, stop;
    bool rest, resting;  /* the loop wants the spare to rest; it does */
    bool making;         /* the writer or the spare is making the next segment */
    uint64_t make_at_ms; /* after a failure the spare tries again then; monotonic; 0: at once */
    uint64_t ask_at_ms;  /* the file system is asked for its space then */
    uint64_t tail, zeroed;
    uint64_t zero_from, zero_to;          /* claimed by the spare, equal when nothing is */
    bool zero_on;                         /* between low and high on the way up */
    uint64_t rate_start_ms;               /* of the window that is being counted; monotonic */
    uint64_t rate_bytes, rate_last_bytes; /* appended in it, and in the one before */

    /* Flushing late. dirty: borrowed; what the writer wrote there since dirty_ns is not synced. */
    uint32_t flush_ms; /* 0: the writer syncs; set before the threads run */
    pthread_cond_t to_flusher, flushed;
    struct segment *dirty, *flushing_segment;
    uint64_t dirty_ns, dirty_bytes;
    uint64_t dirty_index, flushing_index, synced_index; /* last entry written; being synced; on disk */
    bool flushing, flush_now, stop_flusher;
};

/* @dir: copied. @wake: see the struct. Returns 0 or MQ_ENOMEM. */
int handover_init(struct handover *h, const struct rlog_disk *disk, const char *dir, uint64_t segment_bytes,
                  void (*wake)(void *data), void *wake_data);
/* Both threads are gone. Releases the segments. Lists must be empty. */
void handover_fini(struct handover *h);

/* The row is empty and the next segment that is added or made will begin at @pos. Loop; before the threads run, or
 * while the writer is idle and the spare rests. */
void handover_begin(struct handover *h, uint64_t pos);
/* Loop, before the threads run: the next segment of an existing log. @segment: taken. Returns 0 or MQ_ENOMEM (too
 * many). */
int handover_add_segment(struct handover *h, struct segment *segment);
/* As handover_begin: where the log ends. Nothing is zeroed ahead yet. */
void handover_set_tail(struct handover *h, uint64_t tail);

/* Any thread. */
static inline uint64_t handover_count(const struct handover *h)
{
    return atomic_load_explicit(&h->end, memory_order_acquire) -
           atomic_load_explicit(&h->first, memory_order_acquire);
}
/* Where it ends: everything below is allocated. */
static inline uint64_t handover_end(const struct handover *h)
{
    return atomic_load_explicit(&h->end, memory_order_acquire) * h->segment_bytes;
}
/* Where the row begins. Any thread, but only the loop knows that it stays. */
static inline uint64_t handover_start(const struct handover *h)
{
    return atomic_load_explicit(&h->first, memory_order_acquire) * h->segment_bytes;
}

/* Number of the lowest segment that the row has place for. */
static inline uint64_t handover_lowest(const struct handover *h)
{
    uint64_t end = atomic_load_explicit(&h->end, memory_order_acquire);

    return end > HANDOVER_SEGMENTS_MAX ? end - HANDOVER_SEGMENTS_MAX : 0;
}

/* Loop: a segment before the first one. @segment: taken. */
void handover_add_front(struct handover *h, struct segment *segment);
/* Loop: takes the first segment out of the row; given. */
struct segment *handover_drop_front(struct handover *h);
/* Loop: @segment, taken, is no longer needed and nobody else holds it. */
void handover_give_old(struct handover *h, struct segment *segment);
/* Loop, while the spare rests: lets all old segments go, whose files are gone. */
void handover_forget_old(struct handover *h);
/* Spare, or the loop while it rests: the old segment that begins at @pos, given, or NULL. */
struct segment *handover_take_old(struct handover *h, uint64_t pos);

/* Any thread: the segment that holds @pos, borrowed, or NULL if it does not exist. */
struct segment *handover_segment_at(const struct handover *h, uint64_t pos);

/* Loop. */
void handover_put(struct handover *h, struct write_list *list);
void handover_take_done(struct handover *h, struct write_list *out);
void handover_wait_idle(struct handover *h); /* until everything put is done and synced; blocks */
void handover_stats_get(struct handover *h, struct handover_stats *out);
/* The log was cut back to @tail, with zeros on disk from there to the old tail. The writer is idle. */
void handover_cut(struct handover *h, uint64_t tail);
void handover_put_job(struct handover *h, struct spare_job *job);
struct spare_job *handover_take_job(struct handover *h); /* the next one that is done, or NULL */
/* Waits until the spare has carried out all jobs and rests, with nothing unsynced; blocks. */
void handover_rest_spare(struct handover *h);
void handover_wake_spare(struct handover *h);
/* Tells both threads to end; the writer first finishes what was put, the spare its jobs. */
void handover_stop(struct handover *h);

/* Writer. Blocks for work; false: stop. */
bool handover_take(struct handover *h, struct write_list *out);
/* The segment that holds @pos, made now if nobody did. Returns 0, MQ_ENOMEM or -errno. */
int handover_need_segment(struct handover *h, uint64_t pos, struct segment **out);
void handover_claim(struct handover *h, uint64_t from, uint64_t to);
/* @list is durable. @add: what it cost. */
void handover_give_done(struct handover *h, struct write_list *list, const struct handover_stats *add);

/* Flushing late. The writer says what it wrote to @segment without a sync; before it writes to another segment, and
 * when it should wait because too much is not synced, it waits. */
void handover_dirty(struct handover *h, struct segment *segment, uint64_t bytes, uint64_t last_index);
void handover_wait_flushed(struct handover *h, const struct segment *but); /* all that is not in @but; may be NULL */
/* The flusher. Blocks until something has been dirty for flush_ms; false: stop. */
bool handover_take_dirty(struct handover *h, struct segment **out);
void handover_flushed(struct handover *h, uint64_t sync_ns);
/* The writer has ended: the flusher syncs what there is and ends. */
void handover_stop_flusher(struct handover *h);
/* Loop: the last entry that is known to be synced, of those written since the start; 0: none yet. */
uint64_t handover_synced(struct handover *h);
void handover_lower_synced(struct handover *h, uint64_t index); /* those above it are no more */

/* Spare. Blocks for work; with @unsynced zeros it gets SPARE_SYNC instead of a wait. */
void handover_next_task(struct handover *h, bool unsynced, struct spare_task *out);
void handover_zero_written(struct handover *h, uint64_t to);             /* the claim ends; all below @to are zeros */
void handover_made(struct handover *h, struct segment *segment, int rc); /* @segment: taken when @rc is 0 */
void handover_asked(struct handover *h);                                 /* for the space */
void handover_job_done(struct handover *h, struct spare_job *job);
/* Makes the segment that begins at @pos, out of @old (taken) if that is possible and not NULL. */
int handover_make(struct handover *h, uint64_t pos, struct segment *old, struct segment **out);

#endif
