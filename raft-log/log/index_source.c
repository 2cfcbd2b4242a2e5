#include "raft-log/log/index_source.h"

#include "raft-log/log/entry_codec.h"
#include "raft-log/log/index_file.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

void index_source_failed(const struct handover *h, const struct segment *segment)
{
    index_file_remove(h->disk, h->dir, segment->first_pos);
    rlog_disk_failed("reading an entry", segment->name, MQ_ECORRUPT);
}

static int32_t load(void *data, const struct index_block *block, uint32_t *offsets, struct index_run *runs)
{
    struct handover *h = data;
    const struct segment *segment = handover_segment_at(h, block->first_pos);
    int32_t n_runs = index_file_read(h->dir, segment, block, offsets, runs);

    if (n_runs < 0) {
        mq_log_limited(&h->index_limit, MQ_LOG_WARN, "log",
                       "the index of %s in %s cannot be read: the entries themselves are", segment->name, h->dir);
    }
    return n_runs;
}

static void entry(void *data, uint64_t pos, uint64_t *term, uint32_t *bytes)
{
    const struct handover *h = data;
    const struct segment *segment = handover_segment_at(h, pos);
    struct rlog_header header;

    if (rlog_header_decode(segment_at(segment, pos), segment_end(segment) - pos, &header) != 0 || header.pos != pos) {
        index_source_failed(h, segment);
    }
    *term = header.term;
    *bytes = rlog_entry_bytes(header.payload_bytes);
}

void index_source_init(struct index_source *source, struct handover *h)
{
    *source = (struct index_source){.segment_bytes = h->segment_bytes, .data = h, .load = load, .entry = entry};
}
