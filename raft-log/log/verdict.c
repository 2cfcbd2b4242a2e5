#include "raft-log/log/verdict.h"

#include "raft-log/log/little.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#define AHEAD_BYTES (8u << 20) /* the kernel is asked for this much at a time */

/* What lies behind the good entries. */
struct behind {
    const struct recovered *found;
    uint64_t term_max;       /* no entry is younger */
    uint64_t data_end;       /* end of the last bytes that are not zero */
    uint64_t skip_to;        /* what is below lies inside an entry that was looked at */
    struct rlog_header last; /* of the good headers the one with the highest index; index 0: none */
    uint64_t last_end;       /* end of its entry */
    uint64_t commit;         /* highest commit field of them */
    uint64_t alien;          /* place of an entry of another format, ... */
    bool has_alien;          /* ... if there is one */
};

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Every byte equals the one before it and the first is zero: the C library compares 32 bytes at a time. */
static bool is_zero(const uint8_t *at, uint64_t n)
{
    return n == 0 || (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0);
}

uint64_t verdict_read_ahead(const struct segment *segment, struct segment_data *data)
{
    uint64_t n = data->to - data->from < AHEAD_BYTES ? data->to - data->from : AHEAD_BYTES;

    segment_advise(segment, data->from, data->from + n, MADV_WILLNEED);
    segment_advise(segment, data->from, data->from + n, MADV_POPULATE_READ);
    data->from += n;
    return n;
}

bool verdict_rest_is_zero(const struct segment *segment, uint64_t pos)
{
    struct segment_data data = segment_next_data(segment, pos);

    while (data.from < data.to) {
        uint64_t n = verdict_read_ahead(segment, &data);

        if (!is_zero(segment_at(segment, data.from - n), n)) {
            return false;
        }
        if (data.from == data.to) {
            data = segment_next_data(segment, data.to);
        }
    }
    return true;
}

/* --- what lies behind --------------------------------------------------------------------------------------- */

/* Whether an entry with this header can be in this log behind the good ones. A payload may hold anything, so a header
 * in it is not believed where it says what no log could say. */
static bool is_plausible(const struct behind *behind, const struct segment *segment, const struct rlog_header *h)
{
    const struct recovered *found = behind->found;

    return h->index > found->last_index && h->term >= found->last_term && h->term <= behind->term_max &&
           h->commit < h->index &&
           h->index - found->last_index - 1 <= (h->pos - found->end_pos) / RLOG_HEADER_BYTES &&
           rlog_entry_bytes(h->payload_bytes) <= segment_end(segment) - h->pos;
}

/* The magic number lies at @pos. */
static void look_at_header(struct behind *behind, const struct segment *segment, uint64_t pos)
{
    const uint8_t *at = segment_at(segment, pos);
    uint64_t left = segment_end(segment) - pos;
    struct rlog_header header;
    int rc = rlog_header_decode(at, left, &header);

    if (rc == MQ_EVERSION && rlog_le64_load(at + 32) == pos && !behind->has_alien) {
        behind->has_alien = true;
        behind->alien = pos;
    }
    if (rc != 0 || header.pos != pos || !is_plausible(behind, segment, &header)) {
        return;
    }
    behind->commit = max_u64(behind->commit, header.commit);
    if (header.index > behind->last.index) {
        behind->last = header;
        behind->last_end = pos + rlog_entry_bytes(header.payload_bytes);
    }
    if (rlog_entry_is_sound(&header, at)) {
        behind->skip_to = pos + rlog_entry_bytes(header.payload_bytes);
    }
}

static void search_piece(struct behind *behind, const struct segment *segment, uint64_t pos, uint64_t to)
{
    for (; pos < to; pos += 8) {
        const uint8_t *at = segment_at(segment, pos);

        if (rlog_le64_load(at) == 0) {
            continue;
        }
        behind->data_end = pos + 8;
        if (pos >= behind->skip_to && rlog_le32_load(at) == RLOG_ENTRY_MAGIC) {
            look_at_header(behind, segment, pos);
        }
    }
}

static void search_segment(struct behind *behind, const struct segment *segment, uint64_t pos)
{
    struct segment_data data = segment_next_data(segment, pos);

    data.from &= ~(uint64_t)7; /* entries are aligned, and so are segments */
    while (data.from < data.to) {
        uint64_t n = verdict_read_ahead(segment, &data);

        search_piece(behind, segment, data.from - n, data.from);
        if (data.from == data.to) {
            data = segment_next_data(segment, data.to);
        }
    }
}

/* --- the bad entry ------------------------------------------------------------------------------------------ */

/* Whether the bad entry looks as if a part of its write had never reached the disk. */
static bool looks_absent(const struct segment *segment, const struct bad_place *bad)
{
    uint64_t next_sector = (bad->pos & ~(uint64_t)(RLOG_SECTOR_BYTES - 1)) + RLOG_SECTOR_BYTES;
    const uint8_t *at = segment_at(segment, bad->pos);
    uint32_t n;

    if (is_zero(at, next_sector - bad->pos)) {
        return true;
    }
    if (!bad->header_follows) {
        return bad->pos + RLOG_HEADER_BYTES > next_sector && next_sector < segment_end(segment) &&
               is_zero(segment_at(segment, next_sector), RLOG_SECTOR_BYTES);
    }
    n = rlog_entry_bytes(bad->header.payload_bytes);
    return rlog_entry_bare_sectors(at, bad->pos, n, 0) > bad->header.bare_sectors;
}

/* An entry has at least a header, so bytes that cannot be read hold at most so many. */
static uint64_t entries_in(uint64_t bytes)
{
    return (bytes + RLOG_HEADER_BYTES - 1) / RLOG_HEADER_BYTES;
}

static void make_claim(struct recovered *found, const struct recover_known *known, const struct bad_place *bad,
                       const struct behind *behind)
{
    struct rlog_claim *claim = &found->claim;
    uint64_t read_to = bad->pos; /* what is behind it cannot be read */
    uint64_t least;

    claim->index = found->last_index;
    claim->term = found->last_term;
    if (bad->header_follows) {
        claim->index = bad->header.index;
        claim->term = bad->header.term;
        read_to = bad->pos + rlog_entry_bytes(bad->header.payload_bytes);
    }
    if (behind->last.index > claim->index) {
        claim->index = behind->last.index;
        claim->term = behind->last.term;
        read_to = behind->last_end;
    }
    least = max_u64(claim->committed, found->last_index + 1);
    if (found->torn_end > read_to || claim->index < least) {
        /* Nobody can tell what these bytes were, or how young. */
        claim->index += found->torn_end > read_to ? entries_in(found->torn_end - read_to) : 0;
        claim->index = max_u64(claim->index, least);
        claim->term = max_u64(claim->term, known->term);
    }
}

int verdict_reach(struct segment *const *segments, size_t n, const struct recover_known *known,
                  const struct bad_place *bad, struct recovered *found, uint64_t *alien)
{
    const struct segment *segment = segments[bad->k];
    struct behind behind = {
        .found = found, .term_max = known->term != 0 ? known->term : UINT64_MAX, .data_end = found->end_pos};
    uint64_t k = found->last_index + 1;
    uint64_t from = bad->pos;
    bool settled; /* a later segment has an entry: this one was synced */

    if (bad->header_follows) {
        /* The payload is its sender's bytes: what looks like a header in it is none. */
        from += rlog_entry_bytes(bad->header.payload_bytes);
        behind.data_end = from;
    }
    for (size_t i = bad->k; i < n; i++) {
        uint64_t pos = max_u64(from, segments[i]->first_pos);

        if (pos < segment_end(segments[i])) {
            search_segment(&behind, segments[i], pos);
        }
    }
    if (behind.has_alien) {
        *alien = behind.alien;
        return MQ_EVERSION;
    }
    settled = behind.last.index != 0 && behind.last.pos >= segment_end(segment);
    found->torn_end = behind.data_end;
    found->bad_pos = bad->pos;
    found->bad_reason = found->torn_end == found->end_pos ? "missing" : bad->reason;
    (void)snprintf(found->bad_name, sizeof(found->bad_name), "%s", segment->name);
    found->claim.committed = max_u64(known->committed, behind.commit);
    if (found->claim.committed >= k) {
        found->verdict = RECOVER_ROTTEN;
    } else if (found->torn_end == found->end_pos) {
        found->verdict = RECOVER_WHOLE;
    } else {
        found->verdict = looks_absent(segment, bad) && !settled ? RECOVER_TORN : RECOVER_AMBIGUOUS;
    }
    if (RAFTMQ_DEFECT(ROTTEN_CUT_AS_TORN) && found->verdict != RECOVER_WHOLE) {
        found->verdict = RECOVER_TORN;
    }
    if (found->verdict == RECOVER_ROTTEN || found->verdict == RECOVER_AMBIGUOUS) {
        make_claim(found, known, bad, &behind);
    } else {
        found->claim = (struct rlog_claim){0};
    }
    return 0;
}
