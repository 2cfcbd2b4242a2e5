#include "raft-log/log/recover.h"

#include "raft-log/log/entry_codec.h"
#include "raft-log/log/little.h"
#include "raft-log/log/verdict.h"
#include "remoting/base/crc.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#include <inttypes.h>
#include <stdbool.h>
#include <sys/mman.h>

#define AHEAD_BYTES (8u << 20) /* read ahead of the walk */

enum sort {
    GOOD,
    NOTHING,  /* no header here: zeros, or bytes that do not check */
    BROKEN,   /* the header is good and follows, the rest does not check */
    STRANGER, /* a good header for this position that does not follow the entry before */
    ALIEN     /* a good header of another version */
};

struct walk {
    const struct recover_known *known;
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

/* @at: the whole entry. */
static bool padding_is_zero(const struct rlog_header *header, const uint8_t *at)
{
    uint32_t end = rlog_entry_bytes(header->payload_bytes);
    uint8_t all = 0;

    for (uint32_t i = RLOG_HEADER_BYTES + header->payload_bytes; i < end; i++) {
        all |= at[i];
    }
    return all == 0;
}

/* Judges what lies at @pos as the entry behind @so_far. @reason: set unless good. @header: set for GOOD, BROKEN and
 * STRANGER. */
static enum sort judge(const struct segment *segment, uint64_t pos, const struct recovered *so_far,
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
    if (RAFTMQ_DEFECT(TORN_TAIL_KEPT)) {
        return GOOD;
    }
    *reason = mq_crc32c(0, at + RLOG_HEADER_BYTES, header->payload_bytes) != header->payload_crc ? "payload checksum"
              : !padding_is_zero(header, at)                                                     ? "padding"
                                                                                                 : NULL;
    return *reason != NULL ? BROKEN : GOOD;
}

/* Whether the rest of this segment was left free because the next entry, in the next segment, did not fit. */
static bool goes_on_in_next(const struct walk *walk, struct rlog_header *header)
{
    const struct segment *segment = walk->segments[walk->k];
    const struct segment *next;
    const char *reason;
    enum sort sort;

    if (walk->k + 1 == walk->n || !verdict_rest_is_zero(segment, walk->pos)) {
        return false;
    }
    next = walk->segments[walk->k + 1];
    sort = judge(next, next->first_pos, walk->so_far, header, &reason);
    return (sort == GOOD || sort == BROKEN) &&
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
        verdict_read_ahead(segment, &walk->ahead);
    }
}

static void enter_segment(struct walk *walk, size_t k)
{
    walk->k = k;
    walk->pos = walk->segments[k]->first_pos;
    walk->ahead = (struct segment_data){walk->pos, walk->pos};
}

/* Goes over what is known to be good at the beginning of a segment that was just entered. */
static int skip_known(struct walk *walk)
{
    struct recovered *so_far = walk->so_far;
    struct index_mark mark = {so_far->last_index, so_far->last_term,     so_far->end_pos,
                              so_far->last_crc,   so_far->last_store_ms, walk->commit_max};
    int rc;

    if (walk->known->skip == NULL) {
        return 0;
    }
    rc = walk->known->skip(walk->known->data, walk->segments[walk->k], walk->index, &mark);
    if (rc == 0 && mark.last_index != so_far->last_index) {
        so_far->last_index = mark.last_index;
        so_far->last_term = mark.last_term;
        so_far->last_crc = mark.last_crc;
        so_far->last_store_ms = mark.store_ms;
        so_far->end_pos = walk->pos = mark.end_pos;
        walk->commit_max = mark.commit;
        walk->ahead = (struct segment_data){walk->pos, walk->pos};
    }
    return rc;
}

static int accept_entry(struct walk *walk, const struct rlog_header *header)
{
    struct recovered *so_far = walk->so_far;
    int rc = entry_index_reserve(walk->index);

    if (rc != 0) {
        return rc;
    }
    entry_index_append(walk->index, header->pos, header->term);
    if (header->type == RLOG_CHANGE) {
        entry_index_note_change(walk->index);
    }
    so_far->last_index = header->index;
    so_far->last_term = header->term;
    so_far->last_crc = header->crc;
    so_far->last_store_ms = header->store_ms;
    walk->commit_max = header->commit > walk->commit_max ? header->commit : walk->commit_max;
    walk->pos += rlog_entry_bytes(header->payload_bytes);
    so_far->end_pos = walk->pos;
    return 0;
}

/* Takes good entries up to the first place without one. Returns what is there with @header and @reason, or GOOD after
 * an allocation failed (@rc). */
static enum sort walk_good(struct walk *walk, struct rlog_header *header, const char **reason, int *rc)
{
    for (;;) {
        enum sort sort;

        if (walk->pos == segment_end(walk->segments[walk->k]) && walk->k + 1 < walk->n) {
            enter_segment(walk, walk->k + 1);
            *rc = skip_known(walk);
            if (*rc != 0) {
                return GOOD;
            }
            continue;
        }
        look_ahead(walk);
        sort = judge(walk->segments[walk->k], walk->pos, walk->so_far, header, reason);
        if (sort == NOTHING && goes_on_in_next(walk, header)) {
            enter_segment(walk, walk->k + 1);
            *rc = skip_known(walk);
            if (*rc != 0) {
                return GOOD;
            }
            continue;
        }
        if (sort != GOOD) {
            return sort;
        }
        *rc = accept_entry(walk, header);
        if (*rc != 0) {
            return GOOD;
        }
    }
}

/* With zeros up to the end of its segment, the next entry may as well be one that did not fit: then what is bad is at
 * the beginning of the next segment. @sort: of what is at walk->pos; changed when @bad is moved. */
static void try_next_segment(const struct walk *walk, struct bad_place *bad, enum sort *sort)
{
    const struct segment *next;
    struct rlog_header header;
    const char *reason;
    enum sort there;

    if (*sort != NOTHING || walk->k + 1 == walk->n || !verdict_rest_is_zero(walk->segments[walk->k], walk->pos)) {
        return;
    }
    next = walk->segments[walk->k + 1];
    if (verdict_rest_is_zero(next, next->first_pos)) {
        return;
    }
    there = judge(next, next->first_pos, walk->so_far, &header, &reason);
    if (there == NOTHING || there == ALIEN || (there == STRANGER && header.index <= walk->so_far->last_index)) {
        *sort = there;
        bad->k = walk->k + 1;
        bad->pos = next->first_pos;
        bad->reason = reason;
    }
}

static int refuse_alien(const struct walk *walk, uint64_t pos)
{
    const struct segment *segment = walk->segments[(pos - walk->segments[0]->first_pos) / walk->segments[0]->bytes];

    mq_buf_printf(walk->problem,
                  "%s: the entry at position %" PRIu64 ", behind entry %" PRIu64
                  ", has format version %u, this program knows %d",
                  segment->name, pos, walk->so_far->last_index, rlog_le16_load(segment_at(segment, pos) + 8),
                  RLOG_ENTRY_VERSION);
    return MQ_EVERSION;
}

/* What is known before the first entry. */
static struct recovered behind_base(const struct rlog_base *base)
{
    return (struct recovered){.last_index = base->index,
                              .last_term = base->term,
                              .last_crc = base->crc,
                              .last_store_ms = base->store_ms,
                              .end_pos = base->end_pos,
                              .torn_end = base->end_pos};
}

int recover_log(struct segment *const *segments, size_t n, const struct rlog_base *base,
                const struct recover_known *known, struct entry_index *index, struct recovered *out,
                struct mq_buf *problem)
{
    struct walk walk = {
        .known = known, .segments = segments, .n = n, .index = index, .so_far = out, .problem = problem};
    struct bad_place bad = {0};
    enum sort sort;
    uint64_t alien;
    int rc = 0;

    *out = behind_base(base);
    entry_index_begin(index, base->index);
    if (n == 0) {
        return 0;
    }
    for (size_t k = 0; k < n; k++) {
        segment_advise(segments[k], segments[k]->first_pos, segment_end(segments[k]),
                       MADV_RANDOM); /* see verdict_read_ahead */
    }
    enter_segment(&walk, 0);
    walk.pos = base->end_pos > walk.pos ? base->end_pos : walk.pos;
    rc = skip_known(&walk);
    if (rc != 0) {
        return rc;
    }
    sort = walk_good(&walk, &bad.header, &bad.reason, &rc);
    if (rc != 0) {
        return rc;
    }
    bad.k = walk.k;
    bad.pos = walk.pos;
    try_next_segment(&walk, &bad, &sort);
    if (sort == ALIEN) {
        return refuse_alien(&walk, bad.pos);
    }
    bad.header_follows = sort == BROKEN;
    if (verdict_reach(segments, n, known, &bad, out, &alien) != 0) {
        return refuse_alien(&walk, alien);
    }
    out->proven_commit = walk.commit_max < out->last_index ? walk.commit_max : out->last_index;
    return 0;
}

bool recover_check_again(struct segment *const *segments, const struct rlog_base *base,
                         const struct entry_index *index, const struct recovered *found, uint64_t from)
{
    uint64_t segment_bytes = segments[0]->bytes;
    uint64_t start = segments[0]->first_pos;
    uint64_t i = entry_index_from_pos(index, from);
    struct recovered before = behind_base(base);
    struct rlog_header header;
    const char *reason;

    if (i > index->first_index && i <= index->last_index) {
        uint64_t pos = entry_index_pos(index, i - 1);

        if (rlog_header_decode(segment_at(segments[(pos - start) / segment_bytes], pos), RLOG_HEADER_BYTES,
                               &header) != 0) {
            return false;
        }
        before = (struct recovered){.last_index = i - 1, .last_term = header.term, .last_crc = header.crc};
    }
    for (; i <= index->last_index; i++) {
        uint64_t pos = entry_index_pos(index, i);

        if (judge(segments[(pos - start) / segment_bytes], pos, &before, &header, &reason) != GOOD) {
            return false;
        }
        before = (struct recovered){.last_index = i, .last_term = header.term, .last_crc = header.crc};
    }
    return before.last_index == base->index || before.last_crc == found->last_crc;
}
