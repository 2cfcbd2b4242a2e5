#include "tests/unit/broker/fake_log.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/net/channel.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct net_turn *turns;
int fake_channel_refs;

void net_turn_add(struct net_loop *loop, struct net_turn *turn, enum net_phase phase, void (*cb)(struct net_turn *))
{
    (void)loop;
    MQ_ASSERT(phase == NET_PHASE_WORK);
    turn->cb = cb;
    turn->next = turns;
    turns = turn;
}

void net_turn_remove(struct net_turn *turn)
{
    struct net_turn **at = &turns;

    while (*at != turn) {
        at = &(*at)->next;
    }
    *at = turn->next;
}

void fake_turn(void)
{
    for (struct net_turn *turn = turns; turn != NULL; turn = turn->next) {
        turn->cb(turn);
    }
}

struct net_channel *net_channel_acquire(struct net_channel *ch)
{
    fake_channel_refs++;
    return ch;
}

void net_channel_release(struct net_channel *ch)
{
    (void)ch;
    fake_channel_refs--;
}

static void on_no_views_left(struct net_ref *ref)
{
    (void)ref;
    MQ_ASSERT(!"a view was released too often");
}

struct rlog *fake_log_new(uint64_t cap)
{
    struct rlog *log = mq_calloc(1, sizeof(*log));

    MQ_ASSERT(log != NULL);
    log->bytes = mq_calloc(1, cap);
    MQ_ASSERT(log->bytes != NULL);
    log->cap = cap;
    log->view_ref = (struct net_ref){1, on_no_views_left};
    log->entry_bytes_max = RLOG_ENTRY_BYTES_MAX;
    return log;
}

void fake_log_free(struct rlog *log)
{
    MQ_ASSERT(log->n_proposed == 0 && log->blobs == 0 && log->view_ref.count == 1);
    mq_free(log->bytes);
    mq_free(log);
}

static uint64_t padded(uint32_t payload_bytes)
{
    return (FAKE_LOG_HEADER_BYTES + (uint64_t)payload_bytes + 7) & ~(uint64_t)7;
}

static void apply(struct rlog *log, struct rlog_entry *entry)
{
    MQ_ASSERT(entry->pos + entry->payload_bytes <= log->cap);
    memcpy(log->bytes + entry->pos, entry->payload, entry->payload_bytes);
    log->end_pos = entry->pos + entry->payload_bytes;
    if (log->apply != NULL) {
        log->apply(log->apply_data, entry);
    }
}

void fake_log_commit(struct rlog *log)
{
    struct fake_proposed oldest = log->proposed[0];

    MQ_ASSERT(log->n_proposed != 0);
    log->n_proposed--;
    memmove(log->proposed, log->proposed + 1, log->n_proposed * sizeof(log->proposed[0]));
    log->writing = false;
    apply(log, &oldest.entry);
    oldest.cb(oldest.proposal, 0);
    net_ref_release(&oldest.blob->ref);
}

void fake_log_commit_all(struct rlog *log)
{
    while (log->n_proposed != 0) {
        fake_log_commit(log);
    }
}

void fake_log_lose(struct rlog *log)
{
    for (uint32_t i = 0; i < log->n_proposed; i++) {
        log->proposed[i].cb(log->proposed[i].proposal, MQ_EUNSURE);
        net_ref_release(&log->proposed[i].blob->ref);
    }
    log->n_proposed = 0;
    log->writing = false;
    log->next_pos = (log->end_pos + 7) & ~(uint64_t)7;
}

uint64_t fake_log_append(struct rlog *log, const uint8_t *payload, uint32_t bytes, uint32_t records, uint32_t items,
                         int64_t store_ms)
{
    struct rlog_entry entry = {.index = ++log->index,
                               .term = 1,
                               .pos = rlog_place(log, bytes),
                               .clock_ms = store_ms,
                               .store_ms = store_ms,
                               .payload = payload,
                               .payload_bytes = bytes,
                               .records = records,
                               .items = items};

    log->next_pos += padded(bytes);
    log->last_store_ms = store_ms;
    apply(log, &entry);
    return entry.pos;
}

/* --- raftlog.h --- */

static void blob_free(struct net_ref *ref)
{
    struct rlog_blob *blob = container_of(ref, struct rlog_blob, ref);

    blob->log->blobs--;
    mq_free(blob->base);
    mq_free(blob);
}

int rlog_blob_new(struct rlog *log, uint32_t payload_cap, struct rlog_blob **out)
{
    struct rlog_blob *blob;

    if (payload_cap > RLOG_ENTRY_BYTES_MAX - FAKE_LOG_HEADER_BYTES) {
        return MQ_ETOOBIG;
    }
    blob = mq_calloc(1, sizeof(*blob));
    if (blob == NULL) {
        return MQ_ENOMEM;
    }
    blob->base = mq_malloc(FAKE_LOG_HEADER_BYTES + payload_cap + 8);
    if (blob->base == NULL) {
        mq_free(blob);
        return MQ_ENOMEM;
    }
    blob->ref = (struct net_ref){1, blob_free};
    blob->cap = payload_cap;
    blob->log = log;
    log->blobs++;
    *out = blob;
    return 0;
}

int rlog_blob_reserve(struct rlog_blob *blob, uint32_t extra)
{
    uint64_t cap = (uint64_t)blob->payload_bytes + extra;
    uint8_t *base;

    if (cap <= blob->cap) {
        return 0;
    }
    if (cap > RLOG_ENTRY_BYTES_MAX - FAKE_LOG_HEADER_BYTES) {
        return MQ_ETOOBIG;
    }
    base = mq_realloc(blob->base, FAKE_LOG_HEADER_BYTES + cap + 8);
    if (base == NULL) {
        return MQ_ENOMEM;
    }
    blob->base = base;
    blob->cap = (uint32_t)cap;
    return 0;
}

uint8_t *rlog_blob_payload(struct rlog_blob *blob)
{
    return blob->base + FAKE_LOG_HEADER_BYTES;
}

int rlog_can_propose(const struct rlog *log)
{
    return log->can_propose;
}

enum rlog_space_level rlog_space_level(struct rlog *log)
{
    return log->space;
}

int rlog_reserve_take(struct rlog *log, uint32_t bytes)
{
    if (log->space == RLOG_SPACE_ENOUGH) {
        return 0;
    }
    if (log->space != RLOG_SPACE_LOW || bytes > log->reserve) {
        return MQ_EFULL;
    }
    log->reserve -= bytes;
    return 0;
}

void rlog_space_get(const struct rlog *log, struct rlog_space *out)
{
    *out = (struct rlog_space){
        .level = log->space, .total = 1000u << 20, .free = 30u << 20, .needed = 80u << 20, .path = "/fake"};
}

bool rlog_writing(const struct rlog *log)
{
    return log->writing;
}

uint64_t rlog_place(const struct rlog *log, uint32_t payload_bytes)
{
    (void)payload_bytes;
    return log->next_pos + FAKE_LOG_HEADER_BYTES;
}

int64_t rlog_store_ms(const struct rlog *log, int64_t wall_ms)
{
    return wall_ms > log->last_store_ms ? wall_ms : log->last_store_ms;
}

uint32_t rlog_payload_max(const struct rlog *log)
{
    return log->entry_bytes_max - FAKE_LOG_HEADER_BYTES;
}

int rlog_propose(struct rlog *log, struct rlog_blob *blob, int64_t wall_ms, uint32_t records, uint32_t items,
                 struct rlog_proposal *proposal, rlog_proposal_cb cb)
{
    int rc = log->refuse;

    log->refuse = 0;
    if (rc != 0 || log->can_propose != 0) {
        return rc != 0 ? rc : log->can_propose;
    }
    if (records != 0 && log->space != RLOG_SPACE_ENOUGH &&
        !(log->space == RLOG_SPACE_LOW && proposal->from_reserve)) {
        return MQ_EFULL;
    }
    if (blob->payload_bytes > log->entry_bytes_max) {
        return MQ_ETOOBIG;
    }
    MQ_ASSERT(log->n_proposed != FAKE_LOG_PROPOSED_MAX);
    log->last_store_ms = rlog_store_ms(log, wall_ms);
    log->proposed[log->n_proposed++] = (struct fake_proposed){.blob = blob,
                                                              .proposal = proposal,
                                                              .cb = cb,
                                                              .entry = {.index = ++log->index,
                                                                        .term = 1,
                                                                        .pos = rlog_place(log, blob->payload_bytes),
                                                                        .clock_ms = wall_ms,
                                                                        .store_ms = log->last_store_ms,
                                                                        .payload = rlog_blob_payload(blob),
                                                                        .payload_bytes = blob->payload_bytes,
                                                                        .records = records,
                                                                        .items = items}};
    log->next_pos += padded(blob->payload_bytes);
    log->writing = true;
    return 0;
}

void rlog_segment_path(const struct rlog *log, uint64_t pos, char *out, size_t cap)
{
    (void)log;
    (void)snprintf(out, cap, "/fake/%020" PRIu64, pos - pos % 4096);
}

int rlog_view(struct rlog *log, uint64_t pos, uint32_t bytes, const uint8_t **at, struct net_ref **ref)
{
    if (pos < log->start_pos || pos > log->end_pos || bytes > log->end_pos - pos) {
        return MQ_ENOTFOUND;
    }
    *at = log->bytes + pos;
    *ref = net_ref_acquire(&log->view_ref);
    return 0;
}

bool rlog_is_cold(struct rlog *log, uint64_t pos, uint32_t bytes)
{
    log->cold_calls++;
    return pos < log->cold_to && pos + bytes > log->cold_from;
}

int rlog_sink_put(struct rlog_sink *sink, uint16_t section, const void *rows, size_t n)
{
    MQ_ASSERT(section < FAKE_SECTIONS && n <= RLOG_ROWS_MAX);
    if (sink->failed == 0 && n != 0) {
        sink->failed = mq_buf_put(&sink->rows[section], rows, n);
    }
    return sink->failed;
}

void rlog_sink_fail(struct rlog_sink *sink, int status)
{
    sink->failed = status;
}
