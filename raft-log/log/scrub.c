#include "raft-log/log/scrub.h"

#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES SEGMENT_ALIGN /* what is lost at most for a sector that cannot be read */

/* ---- reading ---- */

/* After a read that failed: page by page, so that one bad sector takes no more than its page. */
static void read_pages(const struct segment *segment, uint64_t from, uint32_t n, uint8_t *to)
{
    const struct rlog_disk *disk = segment->disk;
    uint32_t at = 0;

    while (at < n) {
        uint32_t part = PAGE_BYTES - (uint32_t)((from + at) % PAGE_BYTES);

        part = part < n - at ? part : n - at;
        if (rlog_disk_read_all(disk, segment->fd, to + at, part, from + at) != (ssize_t)part) {
            memset(to + at, 0, part);
        }
        at += part;
    }
}

bool scrub_reread(const struct segment *segment, uint64_t from, uint32_t n, uint8_t *to)
{
    const struct rlog_disk *disk = segment->disk;

    /* Pages that are mapped stay in memory whatever the second call says, so they are let go first. */
    segment_advise(segment, segment->first_pos + from, segment->first_pos + from + n, MADV_DONTNEED);
    (void)disk->forget(disk, segment->fd, from - from % PAGE_BYTES, n + from % PAGE_BYTES);
    if (rlog_disk_read_all(disk, segment->fd, to, n, from) == (ssize_t)n) {
        return true;
    }
    read_pages(segment, from, n, to);
    return false;
}

/* The bytes at @at, at least @least of them (few: a header); in @n how many there are in memory. */
static const uint8_t *bytes_at(struct scrub_job *job, uint64_t at, uint32_t least, uint32_t *n)
{
    if (at < job->at || at + least > job->at + job->n) {
        uint64_t left = (at < job->end ? job->end : job->segment->bytes) - at;

        job->at = at;
        job->n = left < SCRUB_PIECE_BYTES ? (uint32_t)left : SCRUB_PIECE_BYTES;
        job->unreadable |= !scrub_reread(job->segment, at, job->n, job->buffer);
        job->bytes_read += job->n;
    }
    *n = (uint32_t)(job->at + job->n - at);
    return job->buffer + (at - job->at);
}

/* ---- judging ---- */

static bool payload_is_good(struct scrub_job *job, uint64_t at, const struct rlog_header *header)
{
    uint32_t left = header->payload_bytes;
    uint32_t pad = rlog_entry_bytes(left) - RLOG_HEADER_BYTES - left;
    uint32_t crc = 0, n;
    const uint8_t *bytes;

    at += RLOG_HEADER_BYTES;
    while (left > 0) {
        bytes = bytes_at(job, at, 1, &n);
        n = n < left ? n : left;
        crc = mq_crc32c(crc, bytes, n);
        at += n;
        left -= n;
    }
    if (crc != header->payload_crc) {
        return false;
    }
    while (pad-- > 0) {
        if (*bytes_at(job, at++, 1, &n) != 0) {
            return false;
        }
    }
    return true;
}

/* The header of an entry that should be @index with @term at @pos, from @n bytes. */
static bool header_is_good(const uint8_t *at, uint32_t n, uint64_t index, uint64_t term, uint64_t pos,
                           struct rlog_header *out)
{
    return rlog_header_decode(at, n, out) == 0 && out->index == index && out->term == term && out->pos == pos;
}

/* Entry number @i of the job, by itself. */
static bool entry_is_good(struct scrub_job *job, uint64_t i, struct rlog_header *header)
{
    uint64_t at = (uint64_t)job->offsets[i] * 8;
    bool is_last = job->first + i == job->last;
    uint64_t end = is_last ? job->end : (uint64_t)job->offsets[i + 1] * 8;
    uint64_t is;
    uint32_t n;
    const uint8_t *bytes;

    if (end - at < RLOG_HEADER_BYTES) {
        return false;
    }
    bytes = bytes_at(job, at, RLOG_HEADER_BYTES, &n);
    if (!header_is_good(bytes, RLOG_HEADER_BYTES, job->first + i, job->terms[i], job->segment->first_pos + at,
                        header)) {
        return false;
    }
    is = at + rlog_entry_bytes(header->payload_bytes);
    return (is_last && !job->end_known ? is <= end : is == end) && payload_is_good(job, at, header);
}

/* Returns false when there is no place for more. */
static bool found_bad(struct scrub_job *job, uint64_t index)
{
    struct scrub_bad *last = job->n_bad > 0 ? &job->bad[job->n_bad - 1] : NULL;

    if (last != NULL && last->last >= index) {
        return true;
    }
    if (last != NULL && last->last + 1 == index) {
        last->last = index;
        last->has_crc = false;
        return true;
    }
    if (job->n_bad == SCRUB_BAD_MAX) {
        return false;
    }
    job->bad[job->n_bad++] = (struct scrub_bad){
        .first = index,
        .last = index,
        .pos = job->segment->first_pos + (uint64_t)job->offsets[index - job->first] * 8,
    };
    return true;
}

/* A good entry says that the one before it, number @index, has the header checksum @crc. */
static void note_crc(struct scrub_job *job, uint64_t index, uint32_t crc)
{
    struct scrub_bad *last = job->n_bad > 0 ? &job->bad[job->n_bad - 1] : NULL;

    if (last != NULL && last->last == index) {
        last->has_crc = true;
        last->crc = crc;
    }
}

/* Whether entry @index, good by itself, follows the one before it. */
static bool links(struct scrub_job *job, uint64_t index, const struct rlog_header *header)
{
    if (!job->chained || header->prev_crc == job->prev_crc) {
        return true;
    }
    if (index == job->first) {
        job->before_bad = true;
    } else {
        (void)found_bad(job, index - 1); /* a place that is missing costs the next pass */
    }
    return false;
}

static void look_behind(struct scrub_job *job)
{
    const struct segment *segment = job->next_segment;
    struct rlog_header header;
    uint8_t bytes[RLOG_HEADER_BYTES];

    if (segment != NULL) {
        job->unreadable |= !scrub_reread(segment, job->next_pos - segment->first_pos, RLOG_HEADER_BYTES, bytes);
        job->next_bad =
            !header_is_good(bytes, RLOG_HEADER_BYTES, job->last + 1, job->next_term, job->next_pos, &header);
        job->next_crc = header.prev_crc;
    }
    if (job->next_bad) {
        return;
    }
    if (job->last_good && job->last_crc != job->next_crc) {
        job->last_good = false;
        (void)found_bad(job, job->last);
    }
    note_crc(job, job->last, job->next_crc);
}

static bool rest_is_zeros(struct scrub_job *job, uint64_t at)
{
    while (at < job->segment->bytes) {
        uint32_t n;
        const uint8_t *bytes = bytes_at(job, at, 1, &n);

        if (bytes[0] != 0 || memcmp(bytes, bytes + 1, n - 1) != 0) {
            return false;
        }
        at += n;
    }
    return true;
}

void scrub_read(struct scrub_job *job)
{
    struct rlog_header header;
    uint64_t end = 0;
    int rc = job->sync ? segment_sync(job->segment) : 0;

    if (rc < 0) {
        rlog_disk_failed("fdatasync", job->segment->name, rc);
    }
    for (uint64_t i = 0; job->first + i <= job->last; i++) {
        uint64_t index = job->first + i;
        bool good = entry_is_good(job, i, &header);

        if (good) {
            note_crc(job, index - 1, header.prev_crc);
        }
        if ((!good || !links(job, index, &header)) && !found_bad(job, index)) {
            job->last = index - 1; /* the next job begins with this one */
            job->rest = job->look_behind = false;
            return;
        }
        job->chained = job->last_good = good;
        job->prev_crc = job->last_crc = good ? header.crc : 0;
        end = good ? (uint64_t)job->offsets[i] * 8 + rlog_entry_bytes(header.payload_bytes) : 0;
    }
    if (job->look_behind) {
        look_behind(job);
    }
    if (job->rest && end != 0) {
        job->bad_rest = !rest_is_zeros(job, end);
    }
}

/* ---- on the loop ---- */

/* Sets job->last: as many entries as about a piece has, in one segment. */
static void pick(struct scrub_job *job, const struct entry_index *index, uint64_t pos, uint64_t last)
{
    job->last = job->first;
    while (job->last < last) {
        uint64_t next = entry_index_pos(index, job->last + 1);

        if (next >= segment_end(job->segment) || next - pos >= SCRUB_PIECE_BYTES) {
            break;
        }
        job->last++;
    }
}

int scrub_prepare(struct scrub_job *job, const struct handover *h, const struct entry_index *index, uint64_t first,
                  uint64_t last)
{
    uint64_t pos = entry_index_pos(index, first);
    uint64_t n, next;

    MQ_ASSERT(job->segment == NULL && first <= last && last <= index->last_index);
    job->segment = handover_segment_at(h, pos);
    job->first = first;
    pick(job, index, pos, last);
    n = job->last - first + 1;
    job->offsets = mq_malloc(n * sizeof(job->offsets[0]));
    job->terms = mq_malloc(n * sizeof(job->terms[0]));
    job->buffer = mq_malloc(SCRUB_PIECE_BYTES);
    if (job->offsets == NULL || job->terms == NULL || job->buffer == NULL) {
        job->segment = NULL;
        scrub_end(job);
        return MQ_ENOMEM;
    }
    net_ref_acquire(&job->segment->ref);
    for (uint64_t i = 0; i < n; i++) {
        job->offsets[i] = (uint32_t)((entry_index_pos(index, first + i) - job->segment->first_pos) / 8);
        job->terms[i] = entry_index_term(index, first + i);
    }
    next = job->last < index->last_index ? entry_index_pos(index, job->last + 1) : UINT64_MAX;
    job->end_known = next < segment_end(job->segment);
    job->end = job->end_known ? next - job->segment->first_pos : job->segment->bytes;
    return 0;
}

void scrub_end(struct scrub_job *job)
{
    if (job->segment != NULL) {
        net_ref_release(&job->segment->ref);
    }
    if (job->next_segment != NULL) {
        net_ref_release(&job->next_segment->ref);
    }
    mq_free(job->offsets);
    mq_free(job->terms);
    mq_free(job->buffer);
    memset(job, 0, sizeof(*job));
}
