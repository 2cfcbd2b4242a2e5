/* All parts are written before the first is counted, so that a part that cannot be written leaves nothing behind. */
#include "broker/state/bundle.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"

static bool is_record(const struct bundle_part *part)
{
    return part->kind != BUNDLE_ITEM;
}

/* 0: a record that does not decode. */
static uint32_t bound_of(const struct bundle_part *part)
{
    switch (part->kind) {
    case BUNDLE_NEW:
        return record_build_bound(part->source);
    case BUNDLE_COPY:
        return record_copy_bound(part->copy);
    default:
        return command_bytes(part->item);
    }
}

/* Returns the size, or a negative code. */
static int32_t write_part(const struct bundle_part *part, int64_t store_ms, uint8_t *at)
{
    switch (part->kind) {
    case BUNDLE_NEW:
        part->source->store_ms = store_ms;
        return record_build(part->source, part->own, at);
    case BUNDLE_COPY:
        part->copy->store_ms = store_ms;
        return record_copy_write(part->copy, at);
    default:
        command_encode(part->type, part->item, at);
        return (int32_t)command_bytes(part->item);
    }
}

/* Room for all, on the disk, in the entry and in the queues. */
static int reserve(struct sequencer *seq, struct store *store, const struct bundle_part *parts, uint32_t n,
                   bool again, uint8_t **at)
{
    uint64_t total = 0;
    uint32_t records = 0;
    int rc;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t bytes = bound_of(&parts[i]);

        if (bytes == 0) {
            return MQ_EBADMSG;
        }
        total += bytes;
        records += is_record(&parts[i]);
    }
    if (total > RLOG_ENTRY_BYTES_MAX) {
        return MQ_ETOOBIG;
    }
    if (records != 0 && !again && store->log != NULL && rlog_space_level(store->log) != RLOG_SPACE_ENOUGH) {
        return MQ_EFULL;
    }
    rc = sequencer_reserve(seq, (uint32_t)total, at);
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        if (is_record(&parts[i])) {
            rc = consume_queue_reserve(&parts[i].queue->cq, parts[i].queue->next + n);
        }
    }
    if (rc == 0 && records != 0 && again) {
        rc = rlog_reserve_take(store->log, (uint32_t)total); /* last: nothing is given to what is refused */
    }
    return rc;
}

static int add(struct sequencer *seq, struct store *store, const struct bundle_part *parts, uint32_t n, bool again,
               const struct sequencer_pending *p, uint32_t answers)
{
    static const struct sequencer_pending nobody = {0};
    uint32_t sizes[BUNDLE_PARTS_MAX];
    int64_t store_ms;
    uint8_t *at;
    int rc;

    MQ_ASSERT(n != 0 && n <= BUNDLE_PARTS_MAX && answers < n);
    rc = reserve(seq, store, parts, n, again, &at);
    if (rc != 0) {
        return rc;
    }
    store_ms = sequencer_store_ms(seq);
    for (uint32_t i = 0; i < n; i++) {
        int32_t bytes = write_part(&parts[i], store_ms, at);

        if (bytes < 0) {
            return bytes;
        }
        sizes[i] = (uint32_t)bytes;
        at += bytes;
    }
    for (uint32_t i = 0; i < n; i++) {
        bool record = is_record(&parts[i]);

        sequencer_add(seq, sizes[i], record ? parts[i].queue : NULL, record, !record,
                      p != NULL && i == answers ? p : &nobody);
        if (record && again) {
            sequencer_from_reserve(seq, 1);
        }
    }
    return 0;
}

int bundle_add(struct sequencer *seq, struct store *store, const struct bundle_part *parts, uint32_t n,
               const struct sequencer_pending *p, uint32_t answers)
{
    return add(seq, store, parts, n, false, p, answers);
}

int bundle_add_again(struct sequencer *seq, struct store *store, const struct bundle_part *parts, uint32_t n,
                     const struct sequencer_pending *p, uint32_t answers)
{
    return add(seq, store, parts, n, true, p, answers);
}
