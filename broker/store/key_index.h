/* The key index of one member: which records have a key, found by topic, key and time. Derived from committed records
 * alone; whatever is missing, damaged or of another log is made again from the log.
 *
 * It is a row of ranges of the log that do not overlap: sealed files, and the tail, a run in memory that follows what
 * is applied. Between them may be gaps: of a log that was fetched from peers backwards, of a file that was thrown
 * away. The patch, a second run, fills one gap at a time, the newest first, when the tail has caught up.
 *
 * One thread, the indexer's: nothing here knows of the loop. It says what it wants to read of the log, gets it as a
 * stretch, and is done with it in bounded steps. */
#ifndef BROKER_STORE_KEY_INDEX_H
#define BROKER_STORE_KEY_INDEX_H

#include "broker/store/key_files.h"
#include "raft-log/include/raftlog/raftlog.h"

#define KEY_INDEX_STEP_BYTES (1u << 20) /* of the log, looked at in one step */

/* What the loop knows of the log. */
struct key_view {
    uint64_t group_start; /* where the group's log begins: nothing below is found any more */
    uint64_t start, end;  /* what this node holds and has applied */
    uint64_t segment_bytes;
    bool room; /* the disk has some to spare; else nothing is written, and what no longer fits memory waits */
};

enum key_reading {
    KEY_READ_NOTHING,
    KEY_READ_CHECK, /* the last entry of a file, to see whether it is of this log */
    KEY_READ_TAIL,
    KEY_READ_PATCH
};

struct key_index {
    struct key_files files;
    struct key_run tail;
    bool has_tail;
    struct key_run patch;
    bool patching;
    uint64_t patch_end; /* where the gap ends that the patch fills */
    uint64_t void_end;  /* no entry lies below it; 0: not known to be so */
    struct key_view view;
    enum key_reading reading;
    struct rlog_walk walk; /* over the stretch that was given */
    /* The topic of the record before; most have the same. */
    char topic[256];
    uint32_t topic_bytes;
    uint64_t topic_hash;
};

/* Reads the headers of the files below @dir, made where it is missing; what cannot be used is removed. Blocking.
 * Returns 0, MQ_ENOMEM or -errno. */
int key_index_open(struct key_index *index, const char *dir);
/* Seals what is in memory, and frees. */
void key_index_close(struct key_index *index);

/* The log as it is now. Drops files that lie below its beginning. */
void key_index_see(struct key_index *index, const struct key_view *view);

/* What is to be read next: the stretch at *@pos, for key_index_begin. */
enum key_reading key_index_wants(struct key_index *index, uint64_t *pos);
/* Where the next stretch of the tail begins. */
uint64_t key_index_tail_end(const struct key_index *index);

/* @stretch is held until key_index_step returned something else than 1. */
void key_index_begin(struct key_index *index, enum key_reading reading, const struct rlog_stretch *stretch);
/* There is no such stretch: the log has another beginning, or ends before. */
void key_index_absent(struct key_index *index, enum key_reading reading);
/* A bounded step. Returns 1: there is more in the stretch; 0: done with it; MQ_ECORRUPT: the bytes at
 * index->walk.pos are not good (they may be repaired: to be asked for again later); MQ_ENOMEM or -errno: not now. */
int key_index_step(struct key_index *index);

/* Whether every record between the two times, in front of position @end, is in the index or gone. */
bool key_index_covers(const struct key_index *index, int64_t begin_ms, int64_t end_ms, uint64_t end);

/* Appends what is found below want->below, newest first, looking into at most @files_max files. Returns 0: @found is
 * full; 1: nothing is left; MQ_EAGAIN: to be called again with the same arguments, want->below tells how far it is;
 * MQ_ENOMEM or -errno. A file that turns out to be damaged is thrown away, and covers says no until it is made anew.
 */
int key_index_find(struct key_index *index, struct key_want *want, uint32_t files_max, struct key_found *found);

/* The newest record that has a key; zeros if there is none. */
void key_index_last(const struct key_index *index, uint64_t *pos, int64_t *store_ms);

#endif
