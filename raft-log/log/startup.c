#include "raft-log/log/startup.h"

#include "raft-log/log/aside.h"
#include "raft-log/log/cut.h"
#include "raft-log/log/entry_codec.h"
#include "raft-log/log/front.h"
#include "raft-log/log/index_file.h"
#include "raft-log/log/segment_dir.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>

/* More than what is appended but not yet synced at any time: the bound on what is in flight and one entry. */
#define UNSETTLED_BYTES_MAX (80u << 20)

static int cut_behind_end(struct handover *h, const struct recovered *found, struct mq_buf *problem)
{
    int rc;

    if (found->torn_end == found->end_pos) {
        return 0;
    }
    rc = cut_try(h, found->end_pos, found->torn_end);
    if (rc != 0) {
        mq_buf_printf(problem, "%s: cutting what is bad at position %" PRIu64 ": %s", found->bad_name, found->bad_pos,
                      mq_strerror(rc));
    }
    return rc;
}

static int cut_torn_tail(struct handover *h, const struct recovered *found, struct mq_buf *problem)
{
    int rc = cut_behind_end(h, found, problem);

    if (rc == 0) {
        mq_log_warn("log",
                    "cut a torn tail of %" PRIu64 " bytes at position %" PRIu64 ", after entry %" PRIu64
                    ": it was never acknowledged",
                    found->torn_end - found->end_pos, found->end_pos, found->last_index);
    }
    return rc;
}

/* The last membership in front of what is bad, and what makes the claim durable is told. */
static int ask_keeper(const struct handover *h, const struct startup_options *options, struct entry_index *index,
                      const struct recovered *found, const struct rlog_claim *claim, struct mq_buf *why)
{
    uint64_t change = entry_index_change_before(index, found->last_index);
    const uint8_t *payload = options->base->change;
    uint32_t n = options->base->change_bytes;
    struct rlog_header header;

    if (options->keep_claim == NULL) {
        return MQ_ECORRUPT;
    }
    if (change != 0) {
        uint64_t pos = entry_index_pos(index, change);
        const struct segment *segment = handover_segment_at(h, pos);
        int rc = rlog_header_decode(segment_at(segment, pos), segment_end(segment) - pos, &header);

        n = rc == 0 ? header.payload_bytes : 0; /* it was not read again, and is bad */
        payload = segment_at(segment, pos) + RLOG_HEADER_BYTES;
    }
    return options->keep_claim(options->data, claim, payload, n, why);
}

/* Nothing is lost that may have been acknowledged before the claim on it is durable. */
static int keep_claim(const struct handover *h, const struct startup_options *options, struct entry_index *index,
                      const struct recovered *found, struct mq_buf *problem)
{
    struct mq_buf why = {0};
    int rc = ask_keeper(h, options, index, found, &found->claim, &why);

    if (rc != 0) {
        mq_buf_printf(problem, "%s/%s: entry %" PRIu64 " at position %" PRIu64 " is bad (%s) and %s; %.*s", h->dir,
                      found->bad_name, found->last_index + 1, found->bad_pos, found->bad_reason,
                      found->verdict == RECOVER_ROTTEN ? "was committed" : "may have been acknowledged",
                      why.len != 0 ? (int)why.len : 13, why.len != 0 ? (const char *)why.base : "it is not cut");
    }
    mq_buf_free(&why);
    return rc;
}

/* Without a copy nothing is cut: if no member has what was acknowledged, these bytes are the last of it. */
static void say_no_copy(const struct handover *h, const struct recovered *found, int rc, struct mq_buf *problem)
{
    uint64_t total, free = 0;

    mq_buf_printf(problem, "%s: copying what is bad at position %" PRIu64 " beside the log: %s", found->bad_name,
                  found->bad_pos, mq_strerror(rc));
    if (rc == -ENOSPC && h->disk->space != NULL && h->disk->space(h->disk, h->dir, &total, &free) == 0) {
        mq_buf_printf(problem,
                      "; the copy takes %" PRIu64 " MiB and %" PRIu64
                      " are free: remove other files from this disk, or put %s on a larger one, and start again",
                      ((found->torn_end - found->end_pos) >> 20) + 1, free >> 20, h->dir);
    }
}

/* What is behind the end goes, but not the word that was given on it. */
static int cut_under_claim(struct handover *h, const struct startup_options *options, struct entry_index *index,
                           const struct recovered *found, struct mq_buf *problem)
{
    int rc = keep_claim(h, options, index, found, problem);

    if (rc != 0) {
        return rc;
    }
    rc = aside_keep(h, found->end_pos, found->torn_end);
    if (rc != 0) {
        say_no_copy(h, found, rc, problem);
        return rc;
    }
    rc = cut_behind_end(h, found, problem);
    if (rc == 0) {
        mq_log_error("log",
                     "%s: entry %" PRIu64 " at position %" PRIu64
                     " is bad (%s) and %s: the log ends before it, %" PRIu64
                     " bytes are kept in aside-*. Check this disk; the other members bring it again",
                     found->bad_name, found->last_index + 1, found->bad_pos, found->bad_reason,
                     found->verdict == RECOVER_ROTTEN ? "was committed" : "may have been acknowledged",
                     found->torn_end - found->end_pos);
    }
    return rc;
}

static int make_end(struct handover *h, const struct startup_options *options, struct entry_index *index,
                    const struct recovered *found, struct mq_buf *problem)
{
    switch (found->verdict) {
    case RECOVER_WHOLE:
        return 0;
    case RECOVER_TORN:
        return cut_torn_tail(h, found, problem);
    case RECOVER_ROTTEN:
    case RECOVER_AMBIGUOUS:
        return cut_under_claim(h, options, index, found, problem);
    }
    return MQ_ECORRUPT;
}

/* The walk has touched every page. They stay in the page cache; only our mappings of them, which count as
 * memory of this process, go. */
static void unmap_pages(struct handover *h)
{
    uint64_t end = handover_end(h);

    for (uint64_t pos = handover_start(h); pos < end; pos += h->segment_bytes) {
        const struct segment *segment = handover_segment_at(h, pos);

        segment_advise(segment, pos, segment_end(segment), MADV_DONTNEED);
        segment_advise(segment, pos, segment_end(segment), MADV_NORMAL);
    }
}

/* What was read may never have reached the disk: a killed process leaves written pages behind that nobody synced, and
 * a sync that failed leaves pages that look clean. Both can only be at the end of the last segment with entries,
 * because the writer syncs a segment before it writes the next. So that end is synced and read once more, from the
 * disk. Returns 0, MQ_EAGAIN (the disk has something else: walk again) or -errno. */
static int settle(struct handover *h, const struct rlog_base *base, const struct entry_index *index,
                  const struct recovered *found)
{
    struct segment *segment;
    uint64_t from;
    int rc;

    if (found->last_index == base->index) {
        return 0; /* nothing claims to be durable */
    }
    segment = handover_segment_at(h, found->end_pos - 1);
    rc = segment_sync(segment);
    if (rc < 0) {
        return rc;
    }
    from = found->end_pos - segment->first_pos > UNSETTLED_BYTES_MAX ? found->end_pos - UNSETTLED_BYTES_MAX
                                                                     : segment->first_pos;
    segment->disk->forget(segment->disk, segment->fd, from - segment->first_pos, found->end_pos - from);
    segment_advise(segment, from, found->end_pos, MADV_WILLNEED);
    return recover_check_again(h->segments, base, index, found, from) ? 0 : MQ_EAGAIN;
}

/* What a start reads again, however well it is known: the end of the log. */
static uint64_t skip_limit(const struct handover *h, uint64_t verify_bytes)
{
    uint64_t end = 0;

    for (uint64_t k = handover_count(h); k-- != 0 && end == 0;) {
        end = index_file_end(h->dir, h->segments[k]);
    }
    return end > verify_bytes ? end - verify_bytes : 0;
}

static int skip(void *data, const struct segment *segment, struct entry_index *index, struct index_mark *mark)
{
    const struct startup_index *self = data;

    return index_file_load(self->dir, segment, self->limit, index, mark);
}

/* A sync failed that some may have counted on: what it took is claimed, before anything else can fail. */
static int claim_unsynced(const struct handover *h, const struct startup_options *options, struct entry_index *index,
                          const struct recovered *found, struct mq_buf *problem)
{
    struct rlog_claim claim = {.term = found->last_term, .index = found->last_index};
    struct mq_buf why = {0};
    int rc = ask_keeper(h, options, index, found, &claim, &why);

    if (rc != 0) {
        mq_buf_printf(problem, "entries up to %" PRIu64 " were acknowledged but a sync failed: %.*s", claim.index,
                      (int)why.len, (const char *)why.base);
    }
    mq_buf_free(&why);
    return rc;
}

/* Walks the log and settles its end. */
static int walk_and_settle(struct handover *h, struct startup_options *o, struct entry_index *index,
                           struct recovered *found, struct mq_buf *problem)
{
    int rc;

    rc = recover_log(h->segments, handover_count(h), o->base, &o->known, index, found, problem);
    if (rc != 0) {
        return rc;
    }
    unmap_pages(h); /* a mapped page cannot be forgotten */
    rc = settle(h, o->base, index, found);
    if (rc != MQ_EAGAIN) {
        return rc;
    }
    mq_log_warn("log", "%s: the end of the log was in memory but not on the disk: an earlier sync failed", h->dir);
    rc = o->was_late ? claim_unsynced(h, o, index, found, problem) : 0;
    if (rc != 0) {
        return rc;
    }
    entry_index_fini(index);
    return recover_log(h->segments, handover_count(h), o->base, &o->known, index, found, problem);
}

int startup(struct handover *h, struct startup_options *options, struct entry_index *index, struct recovered *found,
            struct mq_buf *problem)
{
    int rc;

    rc = segment_dir_open(h, options->base->end_pos, problem);
    if (rc == 0) {
        rc = cut_finish(h, problem);
    }
    options->index = (struct startup_index){.dir = h->dir};
    options->known.skip = skip;
    options->known.data = &options->index;
    if (rc == 0) {
        options->index.limit =
            skip_limit(h, options->verify_bytes != 0 ? options->verify_bytes : STARTUP_VERIFY_BYTES);
        rc = walk_and_settle(h, options, index, found, problem);
    }
    if (rc == 0 && found->last_index == options->base->index) {
        rc = front_make_room(h, options->base->end_pos);
    }
    if (rc == 0) {
        rc = make_end(h, options, index, found, problem);
    }
    if (rc == 0) {
        unmap_pages(h);
        handover_set_tail(h, found->end_pos);
    }
    return rc;
}
