/* Reading again what the disk has of entries that are durable here, past the page cache, and judging it.
 *
 *   scrub_prepare: which entries, where the index has them, their segment kept -> scrub_read on a worker: drops what
 * memory holds of them, reads them in pieces, checks each entry and the links between them -> the loop looks at what
 * was found -> scrub_end
 *
 * An entry is good if its header is whole and says the index, term and position that this log's index has for it,
 * payload and padding are what the header says, and it ends where the next one begins. Where two good entries do not
 * link (the chain of header checksums), both are called bad: which one is wrong another member will show. What cannot
 * be read counts as zeros. Behind the last entry of a segment that has a successor there are only zeros. */
#ifndef RLOG_LOG_SCRUB_H
#define RLOG_LOG_SCRUB_H

#include "raft-log/log/entry_codec.h"
#include "raft-log/log/entry_index.h"
#include "raft-log/log/handover.h"

#define SCRUB_PIECE_BYTES (1u << 20)
#define SCRUB_BAD_MAX 32u /* stretches of bad entries that one job finds; it ends there */

/* Bad entries that lie one behind the other. */
struct scrub_bad {
    uint64_t first, last;
    uint64_t pos; /* of the first one */
    bool has_crc; /* the entry behind the last one is good and says ... */
    uint32_t crc; /* ... the header checksum that the last one must have */
};

/* The caller's. While scrub_read runs, nobody else touches it. */
struct scrub_job {
    /* What is to be read: entries of one segment. Set by scrub_prepare. */
    struct segment *segment; /* counted */
    uint64_t first, last;    /* out: last is the one that was looked at last */
    uint32_t *offsets;       /* owned: where each begins in the segment */
    uint64_t *terms;         /* owned */
    uint8_t *buffer;         /* owned; SCRUB_PIECE_BYTES */
    uint64_t end; /* in the segment: where the last one ends, if @end_known; else it ends there or before */
    bool end_known;
    /* By the caller. */
    bool chained; /* the entry before the first one is good and has the header checksum prev_crc */
    uint32_t prev_crc;
    bool sync; /* the segment first, so that nothing of it is in memory alone: a repair that a crash interrupted */
    bool rest; /* what lies behind the last one in its segment should be zeros */
    /* What the entry behind the last one says of it: read from this segment, or known already if there is none. */
    bool look_behind;
    struct segment *next_segment; /* counted, or NULL */
    uint64_t next_pos, next_term;
    uint32_t next_crc; /* out, unless next_bad */

    /* What was found. */
    struct scrub_bad bad[SCRUB_BAD_MAX];
    uint32_t n_bad;
    bool before_bad; /* the first one is good and says that the one before it has another checksum */
    bool next_bad;   /* the entry behind the last one */
    bool bad_rest;   /* something lies behind the last one */
    bool last_good;
    uint32_t last_crc; /* of its header */
    uint64_t bytes_read;
    bool unreadable; /* a read failed */

    /* Private. */
    uint64_t at; /* the buffer has the segment's bytes from here on ... */
    uint32_t n;  /* ... so many */
};

/* Loop. Entries @first to at most @last, in one segment, of about SCRUB_PIECE_BYTES in all, or a single larger one.
 * @h, @index: of the log. The entries are held and synced. Everything else of @job is zero. Returns 0 or MQ_ENOMEM.
 */
int scrub_prepare(struct scrub_job *job, const struct handover *h, const struct entry_index *index, uint64_t first,
                  uint64_t last);
/* Any thread. */
void scrub_read(struct scrub_job *job);
/* Loop: frees what the job owns, and zeroes it. */
void scrub_end(struct scrub_job *job);

/* Any thread: reads [@from, @from + @n) of the segment's file into @to, from the disk and not from memory. What
 * cannot be read is zeros then. Returns whether all could be read. */
bool scrub_reread(const struct segment *segment, uint64_t from, uint32_t n, uint8_t *to);

#endif
