#include "tests/fault/account.h"

#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CRC_AT 12

static const char *const fault_names[ACCOUNT_FAULTS] = {
    "lost", "moved", "doubled", "raised", "phantom", "body", "gap", "changed", "shrunk", "order", "progress",
};

int account_init(struct account *account, uint16_t tag, uint32_t n_queues)
{
    *account = (struct account){.tag = tag, .n_queues = n_queues};
    account->queues = mq_calloc(n_queues, sizeof(*account->queues));
    if (account->queues == NULL) {
        return MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < n_queues; i++) {
        struct account_queue *queue = &account->queues[i];

        queue->acked_max = -1;
        for (uint32_t p = 0; p < ACCOUNT_PRODUCERS_MAX; p++) {
            queue->last_acked[p] = queue->last_seq[p] = -1;
        }
    }
    return 0;
}

void account_fini(struct account *account)
{
    for (uint32_t p = 0; p < ACCOUNT_PRODUCERS_MAX; p++) {
        mq_free(account->producers[p].sent);
    }
    for (uint32_t i = 0; i < account->n_queues; i++) {
        mq_free(account->queues[i].seen);
    }
    mq_free(account->queues);
    *account = (struct account){0};
}

const char *account_fault_name(enum account_fault fault)
{
    return fault_names[fault];
}

void account_fault(struct account *account, enum account_fault fault, const char *fmt, ...)
{
    va_list args;

    if (account->faults[fault]++ == 0) {
        va_start(args, fmt);
        vsnprintf(account->first[fault], sizeof(account->first[fault]), fmt, args);
        va_end(args);
    }
}

uint64_t account_faults(const struct account *account)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < ACCOUNT_FAULTS; i++) {
        n += account->faults[i];
    }
    return n;
}

uint64_t account_open_sends(const struct account *account)
{
    return account->sent - account->acked - account->refused - account->unknown;
}

/* Makes room for one more element; an accounting without memory is worth nothing. */
static void *grown(void *base, uint64_t n, uint64_t *cap, size_t element)
{
    if (n < *cap) {
        return base;
    }
    *cap = *cap == 0 ? 1024 : *cap * 2;
    base = mq_realloc(base, *cap * element);
    MQ_ASSERT(base != NULL);
    return base;
}

/* --- bodies --- */

static void le32_put(uint8_t *at, uint32_t v)
{
    memcpy(at, &v, sizeof(v));
}

static uint32_t le32_get(const uint8_t *at)
{
    uint32_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

static uint32_t body_crc(const uint8_t *at, uint32_t bytes)
{
    uint32_t crc = mq_crc32c(0, at, CRC_AT);

    return mq_crc32c(crc, at + ACCOUNT_BODY_MIN, bytes - ACCOUNT_BODY_MIN);
}

void account_body(const struct account *account, uint16_t producer, uint32_t seq, uint8_t *at, uint32_t bytes)
{
    uint64_t filler = ((uint64_t)producer << 32 | seq) * 0x9E3779B97F4A7C15u + 1;

    MQ_ASSERT(bytes >= ACCOUNT_BODY_MIN);
    le32_put(at, (uint32_t)account->tag | (uint32_t)producer << 16);
    le32_put(at + 4, seq);
    le32_put(at + 8, bytes);
    for (uint32_t i = ACCOUNT_BODY_MIN; i < bytes; i += 8) {
        filler ^= filler << 13;
        filler ^= filler >> 7;
        filler ^= filler << 17;
        memcpy(at + i, &filler, bytes - i < 8 ? bytes - i : 8);
    }
    le32_put(at + CRC_AT, body_crc(at, bytes));
}

/* Whose body it is; false with a fault counted when nobody of this run can have sent it to @queue. */
static bool identify(struct account *account, uint16_t queue, int64_t qoff, const uint8_t *body, uint32_t bytes,
                     struct account_seen *out)
{
    const struct account_producer *producer;
    uint32_t word;

    if (bytes < ACCOUNT_BODY_MIN || le32_get(body + 8) != bytes || le32_get(body + CRC_AT) != body_crc(body, bytes)) {
        account_fault(account, ACCOUNT_BODY, "queue %u offset %" PRId64 ": %u bytes that nobody sent", queue, qoff,
                      bytes);
        return false;
    }
    word = le32_get(body);
    *out = (struct account_seen){(uint16_t)(word >> 16), le32_get(body + 4)};
    producer = &account->producers[out->producer % ACCOUNT_PRODUCERS_MAX];
    if ((uint16_t)word != account->tag || out->producer >= ACCOUNT_PRODUCERS_MAX || out->seq >= producer->n ||
        producer->sent[out->seq].queue != queue || producer->sent[out->seq].body_bytes != bytes) {
        account_fault(account, ACCOUNT_PHANTOM,
                      "queue %u offset %" PRId64 ": message %u/%u of run %u was not sent there", queue, qoff,
                      out->producer, out->seq, word & 0xffff);
        return false;
    }
    return true;
}

/* --- sending --- */

uint32_t account_begin(struct account *account, uint16_t producer, uint16_t queue, uint32_t body_bytes)
{
    struct account_producer *from = &account->producers[producer];
    uint64_t cap = from->cap;

    MQ_ASSERT(producer < ACCOUNT_PRODUCERS_MAX && queue < account->n_queues);
    from->sent = grown(from->sent, from->n, &cap, sizeof(*from->sent));
    from->cap = (uint32_t)cap;
    from->sent[from->n] = (struct account_sent){
        .floor = account->queues[queue].acked_max,
        .acked_qoff = -1,
        .seen_qoff = -1,
        .body_bytes = body_bytes,
        .queue = queue,
        .outcome = ACCOUNT_OPEN,
    };
    account->sent++;
    return from->n++;
}

/* The order of answers, and of sends on one connection, must be that of the log. */
static void check_order(struct account *account, uint16_t producer, uint32_t seq, const struct account_sent *sent)
{
    struct account_queue *queue = &account->queues[sent->queue];

    if (sent->acked_qoff <= sent->floor) {
        account_fault(account, ACCOUNT_ORDER,
                      "queue %u: message %u/%u began after offset %" PRId64 " was acknowledged, but got %" PRId64,
                      sent->queue, producer, seq, sent->floor, sent->acked_qoff);
    }
    if (sent->acked_qoff <= queue->last_acked[producer] || (int64_t)seq <= queue->last_seq[producer]) {
        account_fault(account, ACCOUNT_ORDER,
                      "queue %u: message %u/%u acknowledged at %" PRId64 " after message %u/%" PRId64 " at %" PRId64,
                      sent->queue, producer, seq, sent->acked_qoff, producer, queue->last_seq[producer],
                      queue->last_acked[producer]);
    }
    queue->last_acked[producer] = sent->acked_qoff;
    queue->last_seq[producer] = seq;
    if (sent->acked_qoff > queue->acked_max) {
        queue->acked_max = sent->acked_qoff;
    }
}

void account_end(struct account *account, uint16_t producer, uint32_t seq, enum account_outcome outcome, int64_t qoff)
{
    struct account_sent *sent = &account->producers[producer].sent[seq];

    MQ_ASSERT(sent->outcome == ACCOUNT_OPEN && outcome != ACCOUNT_OPEN);
    sent->outcome = (uint8_t)outcome;
    switch (outcome) {
    case ACCOUNT_ACKED:
        account->acked++;
        sent->acked_qoff = qoff;
        check_order(account, producer, seq, sent);
        break;
    case ACCOUNT_REFUSED:
        account->refused++;
        break;
    default:
        account->unknown++;
        break;
    }
}

/* --- reading --- */

void account_read(struct account *account, uint16_t queue_number, int64_t qoff, const uint8_t *body, uint32_t bytes)
{
    struct account_queue *queue = &account->queues[queue_number];
    struct account_seen seen = {UINT16_MAX, 0};

    if (qoff != (int64_t)queue->n) {
        account_fault(account, ACCOUNT_GAP, "queue %u: offset %" PRId64 " came where %" PRIu64 " was due",
                      queue_number, qoff, queue->n);
        return;
    }
    if (identify(account, queue_number, qoff, body, bytes, &seen)) {
        struct account_sent *sent = &account->producers[seen.producer].sent[seen.seq];

        if (sent->seen_qoff >= 0) {
            account_fault(account, ACCOUNT_DOUBLED, "queue %u: message %u/%u at offset %" PRId64 " and at %" PRId64,
                          queue_number, seen.producer, seen.seq, sent->seen_qoff, qoff);
        } else {
            sent->seen_qoff = qoff;
        }
    }
    queue->seen = grown(queue->seen, queue->n, &queue->cap, sizeof(*queue->seen));
    queue->seen[queue->n++] = seen;
    account->seen++;
}

/* What was read at @qoff is not there any more. */
static void unsee(struct account *account, uint16_t queue_number, uint64_t qoff)
{
    const struct account_seen *seen = &account->queues[queue_number].seen[qoff];

    if (seen->producer < ACCOUNT_PRODUCERS_MAX) {
        account->producers[seen->producer].sent[seen->seq].seen_qoff = -1;
    }
}

void account_read_again(struct account *account, uint16_t queue_number, int64_t qoff, const uint8_t *body,
                        uint32_t bytes)
{
    struct account_queue *queue = &account->queues[queue_number];
    struct account_seen seen;

    if (qoff < 0 || qoff >= (int64_t)queue->n) {
        account_fault(account, ACCOUNT_GAP, "queue %u: offset %" PRId64 " is there, but the reader saw only %" PRIu64,
                      queue_number, qoff, queue->n);
        return;
    }
    if (identify(account, queue_number, qoff, body, bytes, &seen) &&
        (queue->seen[qoff].producer != seen.producer || queue->seen[qoff].seq != seen.seq)) {
        account_fault(account, ACCOUNT_CHANGED, "queue %u offset %" PRId64 ": was message %u/%u, is now %u/%u",
                      queue_number, qoff, queue->seen[qoff].producer, queue->seen[qoff].seq, seen.producer, seen.seq);
        unsee(account, queue_number, (uint64_t)qoff);
        queue->seen[qoff] = seen;
        account->producers[seen.producer].sent[seen.seq].seen_qoff = qoff;
    }
}

void account_end_of_queue(struct account *account, uint16_t queue_number, int64_t end)
{
    struct account_queue *queue = &account->queues[queue_number];

    if (end < (int64_t)queue->n) {
        account_fault(account, ACCOUNT_SHRUNK,
                      "queue %u ends at %" PRId64 ", but offsets up to %" PRIu64 " were read", queue_number, end,
                      queue->n);
        while ((int64_t)queue->n > end) {
            unsee(account, queue_number, --queue->n);
        }
    } else if (end > (int64_t)queue->n) {
        account_fault(account, ACCOUNT_GAP, "queue %u ends at %" PRId64 ", but only %" PRIu64 " could be read",
                      queue_number, end, queue->n);
    }
}

/* --- judging --- */

static void judge(struct account *account, uint32_t producer, uint32_t seq)
{
    const struct account_sent *sent = &account->producers[producer].sent[seq];

    if (sent->outcome == ACCOUNT_ACKED && sent->seen_qoff < 0) {
        account_fault(account, ACCOUNT_LOST,
                      "message %" PRIu32 "/%" PRIu32 " was acknowledged at queue %u offset %" PRId64, producer, seq,
                      sent->queue, sent->acked_qoff);
    } else if (sent->outcome == ACCOUNT_ACKED && sent->seen_qoff != sent->acked_qoff) {
        account_fault(account, ACCOUNT_MOVED,
                      "message %" PRIu32 "/%" PRIu32 " of queue %u: acknowledged at %" PRId64 ", read at %" PRId64,
                      producer, seq, sent->queue, sent->acked_qoff, sent->seen_qoff);
    } else if (sent->outcome == ACCOUNT_REFUSED && sent->seen_qoff >= 0) {
        account_fault(account, ACCOUNT_RAISED,
                      "message %" PRIu32 "/%" PRIu32 " was refused, but is queue %u offset %" PRId64, producer, seq,
                      sent->queue, sent->seen_qoff);
    }
}

void account_settle(struct account *account, bool all)
{
    account->unknown_seen = all ? 0 : account->unknown_seen;
    for (uint32_t p = 0; p < ACCOUNT_PRODUCERS_MAX; p++) {
        struct account_producer *producer = &account->producers[p];

        for (uint32_t seq = all ? 0 : producer->settled; seq < producer->n; seq++) {
            const struct account_sent *sent = &producer->sent[seq];

            judge(account, p, seq);
            account->unknown_seen += sent->outcome == ACCOUNT_UNKNOWN && sent->seen_qoff >= 0;
        }
        producer->settled = producer->n;
    }
}
