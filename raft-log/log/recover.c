#include "raft-log/log/recover.h"

#include "raft-log/log/entry_codec.h"
#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#include <inttypes.h>
#include <stdbool.h>
#include <sys/mman.h>

#define AHEAD_BYTES (8u << 20) /* the kernel is asked for this much at a time */

enum verdict {
    GOOD,
    NOTHING,  /* no header here: zeros, or bytes that do not check */
    TORN,     /* the header is good and follows, the rest does not check */
    STRANGER, /* a good header for this position that does not follow the entry before */
    ALIEN     /* a good header of another version */
};

struct walk {
    struct segment *const *segments;
    size_t n;
    struct entry_index *index;
    struct recovered *so_far;
    struct mq_buf *problem;
    size_t k;                  /* segment of pos */
    uint64_t pos;              /* where the next entry should be */
    struct segment_data ahead; /* what the kernel was not yet asked for, of the stretch of data around pos */
    uint64_t commit_max;       /* of all headers */
};

static uint64_t pad_bytes(const struct rlog_header *header)
{
    return rlog_entry_bytes(header->payload_bytes) - RLOG_HEADER_BYTES - header->payload_bytes;
}

/* Every byte equals the one before it and the first is zero: the C library compares 32 bytes at a time. */
static bool is_zero(const uint8_t *at, uint64_t n)
{
    return n == 0 || (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0);
}

/* Judges what lies at @pos as the entry behind @so_far. @reason: set unless good. @header: set for GOOD, TORN and
 * STRANGER. */
static enum verdict judge(const struct segment *segment, uint64_t pos, const struct recovered *so_far,
                          struct rlog_header *header, const char **reason)
{
    const uint8_t *at = segment_at(segment, pos);
    uint64_t left = segment_end(segment) - pos;
    int rc = rlog_header_decode(at, left, header);

    *reason = rc == MQ_EVERSION ? "format version" : "header";
    if (rc == MQ_EVERSION) {
        return ALIEN;
    }
    if (rc != 0 || header->pos != pos) {
        return NOTHING;
    }
    *reason = header->index != so_far->last_index + 1          ? "index"
              : header->prev_crc != so_far->last_crc           ? "chain"
              : header->term < so_far->last_term               ? "term"
              : rlog_entry_bytes(header->payload_bytes) > left ? "length"
                                                               : NULL;
    if (*reason != NULL) {
        return STRANGER;
    }
    at += RLOG_HEADER_BYTES;
    if (RAFTMQ_DEFECT(TORN_TAIL_KEPT)) {
        return GOOD;
    }
    *reason = mq_crc32c(0, at, header->payload_bytes) != header->payload_crc ? "payload checksum"
              : !is_zero(at + header->payload_bytes, pad_bytes(header))      ? "padding"
                                                                             : NULL;
    return *reason != NULL ? TORN : GOOD;
}

/* Asks the kernel for the next piece of a stretch of data. Reading is only ever done inside such stretches and
 * pieces: a page of unwritten space that is read once counts as data from then on. */
static uint64_t read_ahead(const struct segment *segment, struct segment_data *data)
{
    uint64_t n = data->to - data->from < AHEAD_BYTES ? data->to - data->from : AHEAD_BYTES;

    segment_advise(segment, data->from, data->from + n, MADV_WILLNEED);
    segment_advise(segment, data->from, data->from + n, MADV_POPULATE_READ);
    data->from += n;
    return n;
}

static bool rest_is_zero(const struct segment *segment, uint64_t pos)
{
    struct segment_data data = segment_next_data(segment, pos);

    while (data.from < data.to) {
        uint64_t n = read_ahead(segment, &data);

        if (!is_zero(segment_at(segment, data.from - n), n)) {
            return false;
        }
        if (data.from == data.to) {
            data = segment_next_data(segment, data.to);
        }
    }
    return true;
}

/* Whether the rest of this segment was left free because the next entry, in the next segment, did not fit. */
static bool goes_on_in_next(const struct walk *walk, struct rlog_header *header)
{
    const struct segment *segment = walk->segments[walk->k];
    const struct segment *next;
    const char *reason;
    enum verdict verdict;

    if (walk->k + 1 == walk->n || !rest_is_zero(segment, walk->pos)) {
        return false;
    }
    next = walk->segments[walk->k + 1];
    verdict = judge(next, next->first_pos, walk->so_far, header, &reason);
    return (verdict == GOOD || verdict == TORN) &&
           rlog_entry_bytes(header->payload_bytes) > segment_end(segment) - walk->pos;
}

/* Keeps the kernel reading ahead of the walk, so that a cold log streams from the disk. */
static void look_ahead(struct walk *walk)
{
    const struct segment *segment = walk->segments[walk->k];

    if (walk->pos < segment_end(segment) && walk->pos >= walk->ahead.to) {
        walk->ahead = segment_next_data(segment, walk->pos);
    }
    while (walk->ahead.from < walk->ahead.to && walk->ahead.from < walk->pos + AHEAD_BYTES) {
        read_ahead(segment, &walk->ahead);
    }
}

static void enter_segment(struct walk *walk, size_t k)
{
    walk->k = k;
    walk->pos = walk->segments[k]->first_pos;
    walk->ahead = (struct segment_data){walk->pos, walk->pos};
}

static int accept_entry(struct walk *walk, const struct rlog_header *header)
{
    struct recovered *so_far = walk->so_far;
    int rc = entry_index_reserve(walk->index);

    if (rc != 0) {
        return rc;
    }
    entry_index_append(walk->index, header->pos, header->term);
    so_far->last_index = header->index;
    so_far->last_term = header->term;
    so_far->last_crc = header->crc;
    so_far->last_store_ms = header->store_ms;
    walk->commit_max = header->commit > walk->commit_max ? header->commit : walk->commit_max;
    walk->pos += rlog_entry_bytes(header->payload_bytes);
    so_far->end_pos = walk->pos;
    return 0;
}

/* Takes good entries up to the first place without one. Returns that place's verdict with @header and @reason, or
 * GOOD after an allocation failed (@rc). */
static enum verdict walk_good(struct walk *walk, struct rlog_header *header, const char **reason, int *rc)
{
    for (;;) {
        enum verdict verdict;

        if (walk->pos == segment_end(walk->segments[walk->k]) && walk->k + 1 < walk->n) {
            enter_segment(walk, walk->k + 1);
        }
        look_ahead(walk);
        verdict = judge(walk->segments[walk->k], walk->pos, walk->so_far, header, reason);
        if (verdict == NOTHING && goes_on_in_next(walk, header)) {
            enter_segment(walk, walk->k + 1);
            continue;
        }
        if (verdict != GOOD) {
            return verdict;
        }
        *rc = accept_entry(walk, header);
        if (*rc != 0) {
            return GOOD;
        }
    }
}

/* Searches [pos, to) of one segment. @torn_end: raised to the end of the last bytes that are not zero. Returns
 * whether a good header of a later entry lies there. */
static bool search_piece(const struct segment *segment, uint64_t pos, uint64_t to, uint64_t last_index,
                         uint64_t *torn_end, struct rlog_header *found)
{
    for (; pos < to; pos += 8) {
        const uint8_t *at = segment_at(segment, pos);

        if (rlog_le64_load(at) == 0) {
            continue;
        }
        *torn_end = pos + 8;
        if (rlog_le32_load(at) == RLOG_ENTRY_MAGIC &&
            rlog_header_decode(at, segment_end(segment) - pos, found) == 0 && found->pos == pos &&
            found->index > last_index) {
            return true;
        }
    }
    return false;
}

static bool search_segment(const struct segment *segment, uint64_t pos, uint64_t last_index, uint64_t *torn_end,
                           struct rlog_header *found)
{
    struct segment_data data = segment_next_data(segment, pos);

    data.from &= ~(uint64_t)7; /* entries are aligned, and so are segments */
    while (data.from < data.to) {
        uint64_t n = read_ahead(segment, &data);

        if (search_piece(segment, data.from - n, data.from, last_index, torn_end, found)) {
            return true;
        }
        if (data.from == data.to) {
            data = segment_next_data(segment, data.to);
        }
    }
    return false;
}

/* Searches everything behind the good entries. @from: where a later entry could begin; what is before it, from the
 * end of the log on, only counts as torn. */
static bool search_behind(const struct walk *walk, uint64_t from, struct rlog_header *found)
{
    struct recovered *so_far = walk->so_far;

    so_far->torn_end = from > walk->pos ? from : so_far->end_pos;
    for (size_t k = 0; k < walk->n; k++) {
        const struct segment *segment = walk->segments[k];
        uint64_t pos = from > segment->first_pos ? from : segment->first_pos;

        if (pos < segment_end(segment) &&
            search_segment(segment, pos, so_far->last_index, &so_far->torn_end, found)) {
            return true;
        }
    }
    return false;
}

static int refuse(const struct walk *walk, int rc, const char *reason, const struct rlog_header *behind)
{
    const char *name = walk->segments[walk->k]->name;
    uint64_t index = walk->so_far->last_index + 1;

    if (rc == MQ_EVERSION) {
        mq_buf_printf(walk->problem,
                      "%s: entry %" PRIu64 " at position %" PRIu64 " has format version %u, this program knows %d",
                      name, index, walk->pos, rlog_le16_load(segment_at(walk->segments[walk->k], walk->pos) + 8),
                      RLOG_ENTRY_VERSION);
    } else {
        mq_buf_printf(walk->problem,
                      "%s: entry %" PRIu64 " at position %" PRIu64 " is bad (%s) but entry %" PRIu64
                      " at position %" PRIu64
                      " %s good: refusing to cut; see README \"When a node refuses to start\"",
                      name, index, walk->pos, reason, behind->index, behind->pos,
                      behind->pos == walk->pos ? "there is" : "behind it is");
    }
    return rc;
}

int recover_log(struct segment *const *segments, size_t n, struct entry_index *index, struct recovered *out,
                struct mq_buf *problem)
{
    struct walk walk = {.segments = segments, .n = n, .index = index, .so_far = out, .problem = problem};
    struct rlog_header header, behind;
    const char *reason = NULL;
    enum verdict verdict;
    uint64_t from;
    int rc = 0;

    *out = (struct recovered){0};
    if (n == 0) {
        return 0;
    }
    for (size_t k = 0; k < n; k++) {
        segment_advise(segments[k], segments[k]->first_pos, segment_end(segments[k]),
                       MADV_RANDOM); /* see read_ahead */
    }
    enter_segment(&walk, 0);
    verdict = walk_good(&walk, &header, &reason, &rc);
    if (rc != 0) {
        return rc;
    }
    if (verdict == ALIEN) {
        return refuse(&walk, MQ_EVERSION, reason, NULL);
    }
    if (verdict == STRANGER) {
        return refuse(&walk, MQ_ECORRUPT, reason, &header);
    }
    /* The payload of a torn entry is its sender's bytes: what looks like a header in it is none. */
    from = verdict == TORN ? walk.pos + rlog_entry_bytes(header.payload_bytes) : walk.pos;
    if (search_behind(&walk, from, &behind) && !RAFTMQ_DEFECT(ROTTEN_CUT_AS_TORN)) {
        return refuse(&walk, MQ_ECORRUPT, reason, &behind);
    }
    out->proven_commit = walk.commit_max < out->last_index ? walk.commit_max : out->last_index;
    return 0;
}

/* The first entry that begins at or above @pos; last_index + 1 if there is none. */
static uint64_t first_from(const struct entry_index *index, uint64_t pos)
{
    uint64_t low = 1, high = index->last_index + 1;

    while (low < high) {
        uint64_t mid = low + (high - low) / 2;

        if (entry_index_pos(index, mid) < pos) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

bool recover_check_again(struct segment *const *segments, const struct entry_index *index,
                         const struct recovered *found, uint64_t from)
{
    uint64_t segment_bytes = segments[0]->bytes;
    uint64_t i = first_from(index, from);
    struct recovered before = {0};
    struct rlog_header header;
    const char *reason;

    if (i > 1 && i <= index->last_index) {
        uint64_t pos = entry_index_pos(index, i - 1);

        if (rlog_header_decode(segment_at(segments[pos / segment_bytes], pos), RLOG_HEADER_BYTES, &header) != 0) {
            return false;
        }
        before = (struct recovered){.last_index = i - 1, .last_term = header.term, .last_crc = header.crc};
    }
    for (; i <= index->last_index; i++) {
        uint64_t pos = entry_index_pos(index, i);

        if (judge(segments[pos / segment_bytes], pos, &before, &header, &reason) != GOOD) {
            return false;
        }
        before = (struct recovered){.last_index = i, .last_term = header.term, .last_crc = header.crc};
    }
    return before.last_index == 0 || before.last_crc == found->last_crc;
}
