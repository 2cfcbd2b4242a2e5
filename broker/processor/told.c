/* A list in the order of coming, which is also that of the changes and of the deadlines. */
#include "broker/processor/told.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

struct waiting {
    struct reply_to to; /* its channel is counted */
    uint64_t change;
    uint64_t deadline_ms;
    struct waiting *next;
};

struct told {
    uint64_t last, known;
    struct waiting *first, **end; /* owned */
    uint32_t count;
    bool ended;
};

int told_new(struct told **out)
{
    struct told *told = mq_calloc(1, sizeof(*told));

    if (told == NULL) {
        return MQ_ENOMEM;
    }
    told->end = &told->first;
    *out = told;
    return 0;
}

void told_free(struct told *told)
{
    MQ_ASSERT(told->first == NULL);
    mq_free(told);
}

static void answer_first(struct told *told)
{
    struct waiting *waiting = told->first;

    told->first = waiting->next;
    if (told->first == NULL) {
        told->end = &told->first;
    }
    told->count--;
    reply_code(&waiting->to, RESP_SUCCESS);
    reply_to_release(&waiting->to);
    mq_free(waiting);
}

void told_changed(struct told *told)
{
    told->last++;
}

uint64_t told_last(const struct told *told)
{
    return told->last;
}

void told_known(struct told *told, uint64_t change)
{
    told->known = change > told->known ? change : told->known;
    while (told->first != NULL && told->first->change <= told->known) {
        answer_first(told);
    }
}

void told_answer(struct told *told, const struct reply_to *to, uint64_t now_ms)
{
    struct waiting *waiting = NULL;

    if (to->ch != NULL && !told->ended && told->known < told->last && told->count < TOLD_WAITING_MAX) {
        waiting = mq_calloc(1, sizeof(*waiting));
    }
    if (waiting == NULL) {
        reply_code(to, RESP_SUCCESS);
        return;
    }
    waiting->to = *to;
    reply_to_keep(to);
    waiting->change = told->last;
    waiting->deadline_ms = now_ms + TOLD_WAIT_MS;
    *told->end = waiting;
    told->end = &waiting->next;
    told->count++;
}

void told_turn(struct told *told, uint64_t now_ms)
{
    while (told->first != NULL && now_ms >= told->first->deadline_ms) {
        answer_first(told);
    }
}

void told_end(struct told *told)
{
    told->ended = true;
    told_known(told, told->last);
}
