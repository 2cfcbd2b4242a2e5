#include "client/tools/account.h"

#include "remoting/base/buf.h"
#include "remoting/base/clock.h"
#include "remoting/base/crc.h"
#include "remoting/base/heap.h"

/* A body: 0 magic (8) | 8 run (8) | 16 queue (4) | 20 sequence number (8) | 28 CRC-32C of everything else (4) |
 * filler */
#define MAGIC 0x7261667474727931u /* "rafttry1" */
#define CRC_AT 28

enum fate { STARTED, ACKNOWLEDGED, REFUSED, UNKNOWN };

struct message {
    uint64_t started_at;      /* by the queue's clock */
    uint64_t acknowledged_at; /* 0: not */
    int64_t qoff;             /* as acknowledged */
    uint32_t copies;          /* times it was read */
    uint8_t fate;
    bool in_place;   /* read at qoff; without an acknowledgement: read at all */
    int64_t read_at; /* qoff of the first copy */
};

struct account_queue {
    struct message *messages; /* owned */
    uint64_t count, cap;
    uint64_t clock;
    int64_t next_qoff;
    uint64_t newest_start; /* of all that was read so far */
    uint64_t reordered, phantom, gaps;
};

struct account {
    uint64_t run;
    uint32_t n;
    struct account_queue queues[];
};

struct account *account_new(uint32_t queues)
{
    struct account *account = mq_calloc(1, sizeof(*account) + queues * sizeof(account->queues[0]));

    if (account != NULL) {
        account->n = queues;
        account->run = mq_clock_mono_ns() ^ (uint64_t)mq_clock_wall_ms() << 20;
    }
    return account;
}

void account_free(struct account *account)
{
    if (account == NULL) {
        return;
    }
    for (uint32_t i = 0; i < account->n; i++) {
        mq_free(account->queues[i].messages);
    }
    mq_free(account);
}

int64_t account_start(struct account *account, uint32_t queue)
{
    struct account_queue *q = &account->queues[queue];

    if (q->count == q->cap) {
        uint64_t cap = q->cap != 0 ? q->cap * 2 : 1024;
        struct message *messages = mq_realloc(q->messages, cap * sizeof(*messages));

        if (messages == NULL) {
            return -1;
        }
        q->messages = messages;
        q->cap = cap;
    }
    q->messages[q->count] = (struct message){.started_at = ++q->clock, .fate = STARTED, .qoff = -1, .read_at = -1};
    return (int64_t)q->count++;
}

void account_acknowledged(struct account *account, uint32_t queue, uint64_t seq, int64_t qoff)
{
    struct account_queue *q = &account->queues[queue];
    struct message *m = &q->messages[seq];

    m->fate = ACKNOWLEDGED;
    m->acknowledged_at = ++q->clock;
    m->qoff = qoff;
    m->in_place = m->read_at == qoff;
}

void account_refused(struct account *account, uint32_t queue, uint64_t seq)
{
    account->queues[queue].messages[seq].fate = REFUSED;
}

void account_unknown(struct account *account, uint32_t queue, uint64_t seq)
{
    account->queues[queue].messages[seq].fate = UNKNOWN;
}

static uint32_t body_crc(const uint8_t *body, uint32_t n)
{
    uint32_t crc = mq_crc32c(0, body, CRC_AT);

    return mq_crc32c(crc, body + CRC_AT + 4, n - CRC_AT - 4);
}

void account_body(const struct account *account, uint32_t queue, uint64_t seq, void *body, uint32_t body_bytes)
{
    uint8_t *at = body;

    mq_be64_store(at, MAGIC);
    mq_be64_store(at + 8, account->run);
    mq_be32_store(at + 16, queue);
    mq_be64_store(at + 20, seq);
    for (uint32_t i = ACCOUNT_BODY_MIN; i < body_bytes; i++) {
        at[i] = (uint8_t)('a' + (seq + i) % 26);
    }
    mq_be32_store(at + CRC_AT, body_crc(at, body_bytes));
}

/* The message that the body names, or NULL when it is none of ours or is damaged. */
static struct message *identify(struct account *account, uint32_t queue, const uint8_t *body, uint32_t n)
{
    struct account_queue *q = &account->queues[queue];
    uint64_t seq;

    if (n < ACCOUNT_BODY_MIN || mq_be64_load(body) != MAGIC || mq_be64_load(body + 8) != account->run ||
        mq_be32_load(body + 16) != queue || mq_be32_load(body + CRC_AT) != body_crc(body, n)) {
        return NULL;
    }
    seq = mq_be64_load(body + 20);
    return seq < q->count ? &q->messages[seq] : NULL;
}

void account_consumed(struct account *account, uint32_t queue, int64_t qoff, const void *body, uint32_t body_bytes)
{
    struct account_queue *q = &account->queues[queue];
    struct message *m = identify(account, queue, body, body_bytes);

    if (qoff != q->next_qoff) {
        q->gaps++;
    }
    q->next_qoff = qoff + 1;
    if (m == NULL) {
        q->phantom++;
        return;
    }
    if (m->copies++ == 0) {
        m->read_at = qoff;
        /* Something that was started after this one had been acknowledged was read before it. */
        if (m->acknowledged_at != 0 && m->acknowledged_at < q->newest_start) {
            q->reordered++;
        }
        if (m->started_at > q->newest_start) {
            q->newest_start = m->started_at;
        }
    }
    if (m->qoff == qoff) {
        m->in_place = true;
    }
}

int64_t account_next_qoff(const struct account *account, uint32_t queue)
{
    return account->queues[queue].next_qoff;
}

static void count_message(const struct message *m, struct account_verdict *out)
{
    out->started++;
    if (m->copies != 0) {
        out->consumed++;
        out->duplicated += m->copies - 1;
    }
    switch ((enum fate)m->fate) {
    case STARTED:
        out->open++;
        break;
    case ACKNOWLEDGED:
        out->acknowledged++;
        out->lost += m->copies == 0;
        out->moved += m->copies != 0 && !m->in_place;
        break;
    case REFUSED:
        out->refused++;
        out->phantom += m->copies != 0;
        break;
    case UNKNOWN:
        out->unknown++;
        out->unknown_stored += m->copies != 0;
        break;
    }
}

void account_verdict(const struct account *account, struct account_verdict *out)
{
    *out = (struct account_verdict){0};
    for (uint32_t i = 0; i < account->n; i++) {
        const struct account_queue *q = &account->queues[i];

        for (uint64_t seq = 0; seq < q->count; seq++) {
            count_message(&q->messages[seq], out);
        }
        out->reordered += q->reordered;
        out->phantom += q->phantom;
        out->gaps += q->gaps;
    }
}

bool account_passes(const struct account_verdict *v)
{
    return v->lost == 0 && v->reordered == 0 && v->moved == 0 && v->phantom == 0 && v->gaps == 0 && v->open == 0 &&
           v->acknowledged != 0;
}
