#include "raft-log/log/index_writer.h"

#include "raft-log/log/index_file.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>

struct block_job {
    struct spare_job job;
    struct index_writer *writer;
    struct mq_buf block; /* owned */
    uint64_t segment_pos, at;
    int rc;
};

void index_writer_init(struct index_writer *writer, struct handover *h, struct entry_index *index, uint64_t next,
                       uint64_t segment_pos, uint64_t file_bytes)
{
    *writer = (struct index_writer){.h = h,
                                    .index = index,
                                    .next = next,
                                    .segment_pos = segment_pos,
                                    .file_bytes = file_bytes,
                                    .broken_pos = UINT64_MAX};
}

static void block_work(struct spare_job *job)
{
    struct block_job *self = container_of(job, struct block_job, job);
    const struct handover *h = self->writer->h;

    self->rc = index_file_write(h->disk, h->dir, self->segment_pos, &self->block, self->at);
}

static void say(struct index_writer *writer, uint64_t segment_pos, int rc)
{
    mq_log_warn("log", "the index of segment %" PRIu64 " in %s cannot be written: %s; the next start reads it whole",
                segment_pos, writer->h->dir, mq_strerror(rc));
    writer->broken_pos = segment_pos;
}

static void block_done(struct spare_job *job)
{
    struct block_job *self = container_of(job, struct block_job, job);

    self->writer->busy = false;
    if (self->rc != 0) {
        say(self->writer, self->segment_pos, self->rc);
    }
    mq_buf_free(&self->block);
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

/* The next block, if one is due. @all: however small. Returns whether it is in @block; next has moved behind it. */
static bool next_block(struct index_writer *writer, uint64_t durable, bool all, struct mq_buf *block)
{
    struct segment *segment;
    uint64_t pos, last;
    int rc;

    if (writer->next < writer->index->first_index) {
        writer->next = writer->index->first_index; /* a trim went past it */
    }
    if (writer->next > durable) {
        return false;
    }
    pos = entry_index_pos(writer->index, writer->next);
    segment = handover_segment_at(writer->h, pos);
    last = block_end(writer, durable, segment_end(segment));
    if (!all && last == durable && last - writer->next + 1 < INDEX_BLOCK_ENTRIES_MAX) {
        return false; /* it will be longer */
    }
    if (segment->first_pos != writer->segment_pos) {
        writer->segment_pos = segment->first_pos;
        writer->file_bytes = 0;
    }
    rc = segment->first_pos == writer->broken_pos
             ? MQ_EAGAIN
             : index_block_encode(writer->index, segment, writer->next, last, block);
    if (rc != 0 && rc != MQ_EAGAIN) {
        say(writer, segment->first_pos, rc);
    }
    writer->next = last + 1;
    return rc == 0;
}

void index_writer_durable(struct index_writer *writer, uint64_t durable)
{
    struct block_job *self;

    if (writer->busy || writer->closing || writer->next > durable ||
        (durable - writer->next < INDEX_BLOCK_ENTRIES_MAX && writer->next >= writer->index->first_index &&
         entry_index_pos(writer->index, durable) - entry_index_pos(writer->index, writer->next) <
             INDEX_WRITER_BYTES &&
         entry_index_pos(writer->index, durable) / writer->h->segment_bytes ==
             entry_index_pos(writer->index, writer->next) / writer->h->segment_bytes)) {
        return;
    }
    self = mq_calloc(1, sizeof(*self));
    if (self == NULL) {
        return; /* perhaps the next time */
    }
    self->job = (struct spare_job){NULL, block_work, block_done};
    self->writer = writer;
    if (!next_block(writer, durable, false, &self->block)) {
        mq_buf_free(&self->block);
        mq_free(self);
        return;
    }
    self->segment_pos = writer->segment_pos;
    self->at = writer->file_bytes;
    writer->file_bytes += self->block.len;
    writer->busy = true;
    handover_put_job(writer->h, &self->job);
}

void index_writer_cut(struct index_writer *writer, uint64_t index)
{
    writer->next = writer->next < index ? writer->next : index;
}

void index_writer_close(struct index_writer *writer, uint64_t durable)
{
    const struct handover *h = writer->h;

    while (writer->next <= durable) {
        struct mq_buf block = {0};

        if (next_block(writer, durable, true, &block)) {
            int rc = index_file_write(h->disk, h->dir, writer->segment_pos, &block, writer->file_bytes);

            writer->file_bytes += block.len;
            if (rc != 0) {
                say(writer, writer->segment_pos, rc);
            }
        }
        mq_buf_free(&block);
    }
}
