#include "raft-log/log/index_writer.h"

#include "raft-log/log/entry_codec.h"
#include "raft-log/log/index_file.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>

/* One block on its way to its file, or the headers of its first and its last entry on their way into memory. */
struct index_job {
    struct spare_job job;
    struct index_writer *writer;
    struct mq_buf block;          /* owned */
    uint64_t first_pos, last_pos; /* of the headers */
    uint64_t first, last;         /* entries */
    uint64_t segment_pos, at;
    bool is_void; /* some of the entries have gone */
    int rc;
};

void index_writer_init(struct index_writer *writer, struct handover *h, struct entry_index *index)
{
    *writer = (struct index_writer){.h = h,
                                    .index = index,
                                    .next = entry_index_unfiled(index, index->first_index),
                                    .below = UINT64_MAX,
                                    .broken_pos = UINT64_MAX};
}

static void say(struct index_writer *writer, uint64_t segment_pos, int rc)
{
    mq_log_warn("log", "the index of segment %" PRIu64 " in %s cannot be written: %s; the next start reads it whole",
                segment_pos, writer->h->dir, mq_strerror(rc));
    writer->broken_pos = segment_pos;
}

static void job_work(struct spare_job *job)
{
    struct index_job *self = container_of(job, struct index_job, job);
    const struct handover *h = self->writer->h;

    self->rc = index_file_write(h->disk, h->dir, self->segment_pos, &self->block, self->at);
}

/* The index lets go of what the block says. */
static void settle(const struct index_job *job)
{
    bool in_file = job->rc == 0 && job->at + job->block.len < INDEX_BLOCK_NO_FILE;

    entry_index_seal(job->writer->index, job->first, job->last, in_file ? (uint32_t)job->at : INDEX_BLOCK_NO_FILE,
                     (uint32_t)job->block.len);
}

static void job_done(struct spare_job *job)
{
    struct index_job *self = container_of(job, struct index_job, job);
    struct index_writer *writer = self->writer;

    if (self->rc != 0) {
        say(writer, self->segment_pos, self->rc);
    }
    if (writer->job == self) {
        writer->job = NULL;
        if (!self->is_void) {
            settle(self);
        }
    }
    mq_buf_free(&self->block);
    mq_free(self);
}

/* By a read and not by the map, where the kernel would bring much of what lies around, too. What it says, and whether
 * it could be read, is found when the block is made. */
static void read_header(const struct handover *h, uint64_t pos)
{
    const struct segment *segment = handover_segment_at(h, pos); /* it may have gone meanwhile, but not now */
    uint8_t header[RLOG_HEADER_BYTES];

    if (segment != NULL) {
        (void)segment->disk->pread(segment->disk, segment->fd, header, sizeof(header), pos - segment->first_pos);
    }
}

static void read_work(struct spare_job *job)
{
    const struct index_job *self = container_of(job, struct index_job, job);

    read_header(self->writer->h, self->first_pos);
    read_header(self->writer->h, self->last_pos);
}

static void read_done(struct spare_job *job)
{
    struct index_job *self = container_of(job, struct index_job, job);
    struct index_writer *writer = self->writer;

    if (writer->job == self) {
        writer->job = NULL;
        writer->read_first = self->first;
        writer->read_last = self->last;
    }
    mq_free(self);
}

/* The last entry up to @durable for a block that begins with entry next: of the same segment, and not too many or too
 * large, so that a start that reads the end of the log need not read much more than that. */
static uint64_t block_end(const struct index_writer *writer, uint64_t durable, uint64_t segment_end)
{
    uint64_t last = writer->next + INDEX_BLOCK_ENTRIES_MAX - 1;
    uint64_t end = entry_index_pos(writer->index, writer->next) + INDEX_WRITER_BYTES;

    end = end < segment_end ? end : segment_end;
    last = last < durable ? last : durable;
    return entry_index_pos(writer->index, last) < end ? last : entry_index_from_pos(writer->index, end) - 1;
}

/* Where the block that begins with entry next goes in the file of the segment that begins at @segment_pos. */
static uint64_t place_of(const struct index_writer *writer, uint64_t segment_pos)
{
    const struct index_block *before = entry_index_block(writer->index, writer->next - 1);

    if (before == NULL || before->first_pos < segment_pos || before->file_at == INDEX_BLOCK_NO_FILE) {
        return 0;
    }
    return (uint64_t)before->file_at + before->file_bytes;
}

/* Whether what precedes entry next in its segment is in the file, so that its block follows there. */
static bool follows(const struct index_writer *writer, uint64_t segment_pos)
{
    const struct index_block *before = entry_index_block(writer->index, writer->next - 1);

    return before == NULL || before->first_pos < segment_pos || before->file_at != INDEX_BLOCK_NO_FILE;
}

/* Makes the next block, up to @last, in @job. next moves behind it. Returns whether it is to be written. */
static bool make_block(struct index_writer *writer, struct segment *segment, uint64_t last, struct index_job *job)
{
    int rc = MQ_EAGAIN;

    job->writer = writer;
    job->first = writer->next;
    job->last = last;
    job->segment_pos = segment->first_pos;
    job->at = place_of(writer, segment->first_pos);
    if (segment->first_pos != writer->broken_pos && follows(writer, segment->first_pos)) {
        rc = index_block_encode(writer->index, segment, writer->next, last, &job->block);
        if (rc != 0) {
            say(writer, segment->first_pos, rc);
        }
    }
    job->rc = rc;
    writer->next = last + 1;
    return rc == 0;
}

/* What was put before the log and lies in segments that are whole is durable, too. */
static void look_below(struct index_writer *writer)
{
    const struct entry_index *index = writer->index;
    uint64_t segment_bytes = writer->h->segment_bytes;
    uint64_t whole, first;

    if (index->first_index > index->last_index) {
        return;
    }
    first = entry_index_pos(index, index->first_index);
    whole = index->first_index == 1 ? 0 : (first / segment_bytes + 1) * segment_bytes;
    if (whole < writer->below) {
        first = entry_index_from_pos(index, whole);
        writer->next = first < writer->next ? first : writer->next;
    }
    writer->below = whole;
}

/* Whether there is a block to be made of entries up to @durable. @all: however small. */
static bool is_due(struct index_writer *writer, uint64_t durable, bool all, struct segment **segment, uint64_t *last)
{
    const struct entry_index *index = writer->index;

    look_below(writer);
    writer->next = writer->next < index->own_index ? writer->next : index->own_index;
    if (writer->next < index->first_index) {
        writer->next = index->first_index; /* a trim went past it */
    }
    writer->next = entry_index_unfiled(index, writer->next);
    if (writer->next > durable) {
        return false;
    }
    *segment = handover_segment_at(writer->h, entry_index_pos(index, writer->next));
    *last = block_end(writer, durable, segment_end(*segment));
    return all || *last < durable || index->n_runs > INDEX_WRITER_TERMS ||
           *last - writer->next + 1 == INDEX_BLOCK_ENTRIES_MAX; /* else it will be longer */
}

/* Whether the headers of the block up to @last may have to be read: it is among what was put before the log. */
static bool is_cold(const struct index_writer *writer, uint64_t last)
{
    return last < writer->index->own_index && (writer->read_first != writer->next || writer->read_last != last);
}

/* Has the spare read them. The next time the block is made. */
static void start_reading(struct index_writer *writer, uint64_t last, struct index_job *job)
{
    job->job = (struct spare_job){NULL, read_work, read_done};
    job->writer = writer;
    job->first = writer->next;
    job->last = last;
    job->first_pos = entry_index_pos(writer->index, job->first);
    job->last_pos = entry_index_pos(writer->index, last);
    writer->job = job;
    handover_put_job(writer->h, &job->job);
}

void index_writer_durable(struct index_writer *writer, uint64_t durable)
{
    struct segment *segment;
    struct index_job *job;
    uint64_t last;

    while (writer->job == NULL && !writer->closing && is_due(writer, durable, false, &segment, &last)) {
        job = entry_index_reserve_block(writer->index) == 0 ? mq_calloc(1, sizeof(*job)) : NULL;
        if (job == NULL) {
            return; /* perhaps the next time */
        }
        if (is_cold(writer, last)) {
            start_reading(writer, last, job);
            return;
        }
        job->job = (struct spare_job){NULL, job_work, job_done};
        if (make_block(writer, segment, last, job)) {
            writer->job = job;
            handover_put_job(writer->h, &job->job);
        } else {
            settle(job);
            mq_buf_free(&job->block);
            mq_free(job);
        }
    }
}

/* A block that loses entries at its end is written again from its beginning: what follows it in the file could not
 * be told to belong there. */
void index_writer_cut(struct index_writer *writer, uint64_t index)
{
    const struct index_block *block = entry_index_block(writer->index, index);
    uint64_t next = block != NULL ? block->first_index : index;

    if (writer->job != NULL && index <= writer->job->last) {
        writer->job->is_void = true;
        next = next < writer->job->first ? next : writer->job->first;
    }
    writer->next = writer->next < next ? writer->next : next;
}

void index_writer_close(struct index_writer *writer, uint64_t durable)
{
    const struct handover *h = writer->h;
    struct segment *segment;
    uint64_t last;

    while (is_due(writer, durable, true, &segment, &last)) {
        struct index_job job = {0};

        if (entry_index_reserve_block(writer->index) != 0) {
            return;
        }
        if (make_block(writer, segment, last, &job)) {
            job.rc = index_file_write(h->disk, h->dir, job.segment_pos, &job.block, job.at);
            if (job.rc != 0) {
                say(writer, job.segment_pos, job.rc);
            }
        }
        settle(&job);
        mq_buf_free(&job.block);
    }
}
