/* The log of one member on disk: segments <dir>/log/<first position, 20 digits>, one entry behind the other. The
 * loop's thread appends and reads; a writer thread makes appended entries durable in order, many per pwritev and
 * fdatasync; a spare thread makes the next segment and zeroes ahead of the tail. An appended entry is served from its
 * blob until it is durable, from the mapped segment afterwards.
 *
 * The log need not begin with entry 1: what lies before the first entry is its base (base_file.h), which moves up
 * (commitlog_trim), down (commitlog_put_before) or anywhere (commitlog_reset).
 *
 * A failed write or sync logs one line and ends the process before anything is reported. */
#ifndef RLOG_LOG_COMMITLOG_H
#define RLOG_LOG_COMMITLOG_H

#include "raft-log/include/raftlog/raftlog.h"
#include "raft-log/log/base_file.h"
#include "raft-log/log/claim.h"
#include "raft-log/log/entry_codec.h"
#include "raft-log/log/put.h"
#include "raft-log/log/rewrite.h"
#include "raft-log/log/scrub.h"

struct commitlog;
struct rlog_disk;

struct commitlog_options {
    const struct rlog_disk *disk; /* borrowed */
    const char *dir;              /* the member's directory; copied */
    uint64_t segment_bytes;
    /* On the loop's thread: everything up to @index, which had @term when it was appended, is on disk. Not called for
     * what a truncation took away meanwhile. */
    void (*durable)(void *data, uint64_t index, uint64_t term);
    void *data;
    /* 0: an entry is reported when it is synced. Else when it is written, which a killed process survives, and it is
     * synced within about so many milliseconds. */
    uint32_t flush_ms;
    uint64_t reserve_bytes;   /* kept beside the segment in use (space.h); 0: SPACE_RESERVE_BYTES */
    uint32_t space_period_ms; /* 0: SPACE_PERIOD_MS */
    uint64_t verify_bytes;    /* of the log's end are read by every start (startup.h); 0: STARTUP_VERIFY_BYTES */
    uint64_t term;            /* of the member: no entry is younger; 0: not known */
    uint64_t committed;       /* entries up to here were durable here and committed (commit_mark.h); 0: not known */
    bool was_late;            /* the last use reported entries before they were synced, and did not end in order */
    /* While the log is opened: entries that may have been acknowledged are bad, or missing because of a failed sync.
     * Once @claim is durable they are cut, with a copy beside the log. Returns 0; or a negative code, and in @why the
     * end of a sentence for people: then nothing is changed and the log is refused. NULL: refused. */
    rlog_keep_claim_cb keep_claim;
};

/* An entry as it lies in the log. @bytes: header, payload and padding, contiguous. Valid until the next call into the
 * log, longer with a reference from commitlog_hold. */
struct commitlog_entry {
    struct rlog_header header;
    const uint8_t *bytes;
    uint32_t n;
};

/* Opens and recovers: walks all entries, checks headers, chain, positions, payload CRCs; cuts a torn tail (zeroes
 * it); keeps a claim on what is bad and may have been acknowledged (recover.h). Returns 0; MQ_ECORRUPT or MQ_EVERSION
 * or -errno with one line in @problem that names file, position, index. */
int commitlog_open(struct net_loop *loop, const struct commitlog_options *options, struct commitlog **out,
                   struct mq_buf *problem);

/* Waits for the writer to finish what was appended, stops the threads, frees. Blocking. */
void commitlog_close(struct commitlog *log);

uint64_t commitlog_first_index(const struct commitlog *log); /* base.index + 1 */
/* The first byte held: positions from here to the end of the last entry can be viewed. */
uint64_t commitlog_start_pos(const struct commitlog *log);
/* What the log begins behind. @out: its membership is borrowed until the beginning moves. */
void commitlog_base_get(const struct commitlog *log, struct rlog_base *out);
/* What lies before entry @index, first_index to last_index + 1: what the base of a log that begins there would be,
 * but without membership. Returns 0 or MQ_ENOTFOUND. */
int commitlog_before(const struct commitlog *log, uint64_t index, struct rlog_base *out);
/* The last CHANGE entry that is held up to @index; 0 if there is none: then the base's membership holds. */
uint64_t commitlog_change_before(const struct commitlog *log, uint64_t index);

uint64_t commitlog_last_index(const struct commitlog *log); /* the base's when empty */
uint64_t commitlog_durable_index(const struct commitlog *log);
/* The last entry that is synced: below the durable one only where entries are flushed late. */
uint64_t commitlog_synced_index(const struct commitlog *log);
uint64_t commitlog_end_pos(const struct commitlog *log);
uint64_t commitlog_unsynced_bytes(const struct commitlog *log); /* appended and not durable: held in memory */
int64_t commitlog_last_store_ms(const struct commitlog *log);
/* The highest index that the log itself proves committed (commit fields of its headers), at most last_index. */
uint64_t commitlog_proven_commit(const struct commitlog *log);
bool commitlog_writing(const struct commitlog *log);

/* Header of an entry, from memory or from the map. Returns 0, MQ_ENOTFOUND, or MQ_ECORRUPT: it was good when it came
 * in or when the log was opened, and its header is not any more. */
int commitlog_read(const struct commitlog *log, uint64_t index, struct commitlog_entry *out);
/* The same for those who cannot go on without it: a bad header ends the process. */
int commitlog_get(const struct commitlog *log, uint64_t index, struct commitlog_entry *out);
uint64_t commitlog_term_of(const struct commitlog *log, uint64_t index); /* the base's too; 0 if not known */
/* The last entry of those that follow entry @index, which is held, in the same term. */
uint64_t commitlog_term_end(const struct commitlog *log, uint64_t index);
/* The first entry that begins at or above @pos; last_index + 1 if there is none. */
uint64_t commitlog_from_pos(const struct commitlog *log, uint64_t pos);
/* Position of the header of an entry that is held. Does not look at the entry's bytes; of an old one it may read up
 * to 64 KiB of an index file. */
uint64_t commitlog_pos_of(const struct commitlog *log, uint64_t index);

/* Keeps the bytes of an entry alive: a reference to its blob or its segment. Returns it acquired, or NULL if not
 * held. */
struct net_ref *commitlog_hold(struct commitlog *log, uint64_t index);

/* Position of the header if the next entry has @payload_bytes. */
uint64_t commitlog_next_pos(const struct commitlog *log, uint32_t payload_bytes);
/* Whether an entry with @header can lie behind one that ends at @end: a segment can hold it, and its position is the
 * one that every member gives it. */
bool commitlog_has_place(const struct commitlog *log, uint64_t end, const struct rlog_header *header);

/* Appends an entry of this leader: sets pos, prev_crc, payload_crc and crc in @header, writes the header and the
 * padding into the blob, and queues it to the writer. @blob: one reference taken on success. header->index must be
 * last + 1. Returns 0, MQ_ETOOBIG (does not fit a segment) or MQ_ENOMEM. */
int commitlog_append(struct commitlog *log, struct rlog_header *header, struct rlog_blob *blob);

/* Appends an entry as a peer sent it (@bytes inside @ref's memory): checks that index, position and chain follow our
 * tail and that the payload CRC holds. @ref: one reference acquired. Returns 0, MQ_ECORRUPT (does not follow or is
 * damaged: nothing appended), MQ_ENOMEM. */
int commitlog_append_copy(struct commitlog *log, const struct rlog_header *header, const uint8_t *bytes, uint32_t n,
                          struct net_ref *ref);
/* The same for an entry of which the caller knows that it is sound (rlog_entry_is_sound): the payload is not read. */
int commitlog_append_sound(struct commitlog *log, const struct rlog_header *header, const uint8_t *bytes, uint32_t n,
                           struct net_ref *ref);

/* Tells the writer that what was appended may go: called once after a group of appends. */
void commitlog_kick(struct commitlog *log);

/* Removes entries from @index on (uncommitted ones that a new leader replaces). Blocking: waits for the writer, then
 * makes the removal durable so that a crash at any instant shows the old tail or the new one, never a stale entry
 * behind a newer one. */
void commitlog_truncate(struct commitlog *log, uint64_t index);

/* Drops the segments that lie wholly below @pos, which is not above what is in a snapshot. The log begins later at
 * once, on disk too a little later; the files become new segments or are removed, off the loop. The segment with the
 * end of the log always stays. Views taken before stay valid. Returns 0 (also when there is nothing to drop) or
 * MQ_ENOMEM. */
int commitlog_trim(struct commitlog *log, uint64_t pos);

/* The log is empty behind @base (borrowed), whatever it held; durable on return. For a snapshot that was installed.
 * Blocking. Nothing that was appended before is reported durable any more. Returns 0, MQ_EINVAL (a base that cannot
 * be) or MQ_ETOOBIG (the membership) with nothing changed. */
int commitlog_reset(struct commitlog *log, const struct rlog_base *base);

/* Puts whole entries before the first one: up to PUT_PIECES_MAX pieces, newest first, each of which ends where the
 * one before it begins. Of the memory of each one reference is acquired until @cb. @before: what lies before the
 * oldest, as the sender's commitlog_before says; borrowed. Its membership is that of its own index, or left out. They
 * are checked against the base and written off the loop; then the log begins with them. One at a time. Returns 0;
 * MQ_EBUSY, MQ_ECLOSED, MQ_ENOMEM, or MQ_ECORRUPT (@before cannot be). @cb: put.h has the codes. */
int commitlog_put_before(struct commitlog *log, struct commitlog_put *put, const struct put_piece *pieces,
                         uint32_t n_pieces, const struct rlog_base *before, commitlog_put_cb cb);

/* What was put before the first entry so far becomes durable, and that the log begins with it. @settle: the caller's
 * until @cb, which comes later on the loop, also while the log is closed. */
void commitlog_settle_front(struct commitlog *log, struct commitlog_settle *settle,
                            void (*cb)(struct commitlog_settle *settle));
/* The last entry of the segments before the one that holds entry @index; that of the base if there is none. */
uint64_t commitlog_sealed_before(const struct commitlog *log, uint64_t index);

/* Prepares reading entries @first to at most @last, all synced, from the disk (scrub.h); job->chained and rest are
 * the caller's to set. @look: what the entry behind them says of the last one is found out, too. Returns 0,
 * MQ_ENOTFOUND (not held, or not synced yet) or MQ_ENOMEM. */
int commitlog_scrub(const struct commitlog *log, struct scrub_job *job, uint64_t first, uint64_t last, bool look);

/* Puts the @n bytes at @bytes, inside @ref's memory (one reference acquired until @cb), in the place of the entries
 * that they are: @first and those behind it, synced and committed, in one segment. @crc: the header checksum that the
 * last of them must have, as the entry behind it says. Returns 0; MQ_ENOTFOUND (not held, or not synced yet) or
 * MQ_ECORRUPT (these do not belong there) with nothing done. @cb: rewrite.h has the codes. */
int commitlog_rewrite(struct commitlog *log, struct commitlog_rewrite *rewrite, uint64_t first, uint32_t crc,
                      const uint8_t *bytes, uint32_t n, struct net_ref *ref, commitlog_rewrite_cb cb);
/* Zeroes what lies behind entry @index, the last one of its segment, as the one behind it is committed. Returns 0,
 * MQ_ENOTFOUND, or MQ_ECORRUPT (its header is bad). */
int commitlog_rewrite_rest(struct commitlog *log, struct commitlog_rewrite *rewrite, uint64_t index,
                           commitlog_rewrite_cb cb);

/* The last part of a disk's room that its levels divide (log/space.h), in bytes of log. */
uint64_t commitlog_last_bytes(const struct commitlog *log);
/* How much room there is to grow. A change of the level is a line in the log. */
enum rlog_space_level commitlog_space_level(struct commitlog *log);
void commitlog_space(const struct commitlog *log, struct rlog_space *out);
/* Whether entries up to @end_pos can be taken from a leader: they fit what is allocated, or there is enough for more.
 */
bool commitlog_can_hold(const struct commitlog *log, uint64_t end_pos);

/* Bytes in a mapped segment (durable ones only). As rlog_view, without the applied check. */
int commitlog_view(struct commitlog *log, uint64_t pos, uint32_t bytes, const uint8_t **at, struct net_ref **ref);
bool commitlog_is_cold(struct commitlog *log, uint64_t pos, uint32_t bytes);

struct commitlog_stats {
    uint64_t entries_written, bytes_written, syncs, sync_ns_total, segments, mapped_bytes;
    uint64_t cut_bytes; /* of a torn tail, at the start */
};
void commitlog_stats_get(const struct commitlog *log, struct commitlog_stats *out);

#endif
