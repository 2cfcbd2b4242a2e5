/* A call: begin picks an opaque whose place in the table is free -> send enters it in the table, in the list of
 * deadlines and in its channel's -> the answer, the deadline or the end of the channel takes it out of all three and
 * calls back. */
#include "remoting/net/calls.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define TABLE_FIRST 64u

static struct net_call **slot_of(const struct net_calls *calls, int32_t opaque)
{
    return &calls->by_opaque[(uint32_t)opaque & (calls->table_size - 1)];
}

/* The table is at most half full, and two calls whose opaques differ in the old size differ in the new one. */
static int reserve_slot(struct net_calls *calls)
{
    uint32_t size = calls->table_size != 0 ? calls->table_size * 2 : TABLE_FIRST;
    struct net_call **old = calls->by_opaque;
    uint32_t old_size = calls->table_size;
    struct net_call **table;

    if (calls->open < old_size / 2) {
        return 0;
    }
    table = mq_calloc(size, sizeof(struct net_call *));
    if (table == NULL) {
        return MQ_ENOMEM;
    }
    calls->by_opaque = table;
    calls->table_size = size;
    for (uint32_t i = 0; i < old_size; i++) {
        if (old[i] != NULL) {
            *slot_of(calls, old[i]->opaque) = old[i];
        }
    }
    mq_free(old);
    return 0;
}

static void step_opaque(struct net_calls *calls)
{
    calls->next_opaque = calls->next_opaque == INT32_MAX ? 0 : calls->next_opaque + 1;
}

/* Nearly always the place is behind the last call. */
static void link_by_time(struct net_calls *calls, struct net_call *call)
{
    struct net_call **at = calls->by_time_end;
    struct net_call *before;

    while (at != &calls->by_time) {
        before = container_of(at, struct net_call, next);
        if (before->deadline_ms <= call->deadline_ms) {
            break;
        }
        at = before->prev;
    }
    call->prev = at;
    call->next = *at;
    *at = call;
    if (call->next != NULL) {
        call->next->prev = &call->next;
    } else {
        calls->by_time_end = &call->next;
    }
}

static void link_of_channel(struct net_call *call)
{
    struct net_channel *ch = call->ch;

    call->prev_of_channel = &ch->calls;
    call->next_of_channel = ch->calls;
    if (ch->calls != NULL) {
        ch->calls->prev_of_channel = &call->next_of_channel;
    }
    ch->calls = call;
    ch->calls_open++;
}

static void unlink_call(struct net_calls *calls, struct net_call *call)
{
    *slot_of(calls, call->opaque) = NULL;
    *call->prev = call->next;
    if (call->next != NULL) {
        call->next->prev = call->prev;
    } else {
        calls->by_time_end = call->prev;
    }
    *call->prev_of_channel = call->next_of_channel;
    if (call->next_of_channel != NULL) {
        call->next_of_channel->prev_of_channel = call->prev_of_channel;
    }
    call->ch->calls_open--;
    calls->open--;
}

static void on_timer(uv_timer_t *timer);

/* The timer may ring too early, when its call was answered, but never too late. */
static void arm_timer(struct net_calls *calls)
{
    uint64_t now_ms = uv_now(&calls->loop->uv);
    uint64_t at_ms;

    if (calls->by_time == NULL || calls->closing) {
        return;
    }
    at_ms = calls->by_time->deadline_ms;
    if (calls->timer_at_ms == 0 || calls->timer_at_ms > at_ms) {
        calls->timer_at_ms = at_ms;
        uv_timer_start(&calls->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct net_calls *calls = container_of(timer, struct net_calls, timer);
    uint64_t now_ms = uv_now(&calls->loop->uv);
    struct net_call *call;

    calls->timer_at_ms = 0;
    while ((call = calls->by_time) != NULL && call->deadline_ms <= now_ms) {
        unlink_call(calls, call);
        call->cb(call, MQ_ETIMEDOUT, NULL);
    }
    arm_timer(calls);
}

void net_calls_init(struct net_calls *calls, struct net_loop *loop, uint32_t open_max, uint32_t channel_max)
{
    *calls = (struct net_calls){.loop = loop, .open_max = open_max, .channel_max = channel_max};
    calls->by_time_end = &calls->by_time;
    uv_timer_init(&loop->uv, &calls->timer);
}

int net_calls_begin(struct net_calls *calls, struct net_channel *ch, struct proto_writer *w, int32_t code,
                    enum proto_encoding encoding, bool oneway)
{
    struct proto_head head = {.code = code, .flag = oneway ? PROTO_FLAG_ONEWAY : 0, .encoding = encoding};
    struct mq_buf *out;

    if (ch->conn.closing) {
        return MQ_ECLOSED;
    }
    if (!oneway) {
        int rc =
            calls->open >= calls->open_max || ch->calls_open >= calls->channel_max ? MQ_EBUSY : reserve_slot(calls);

        if (rc != 0) {
            return rc;
        }
        while (*slot_of(calls, calls->next_opaque) != NULL) {
            step_opaque(calls);
        }
    }
    out = net_channel_out(ch);
    if (ch->conn.closing) {
        return MQ_ENOMEM;
    }
    head.opaque = calls->next_opaque;
    proto_begin(w, out, &head);
    return 0;
}

/* Ends the header and appends the body; on error the output is as it was at begin. */
static int end_frame(struct net_channel *ch, struct proto_writer *w, const void *body, size_t body_bytes)
{
    int rc;

    if (ch->conn.closing) {
        return MQ_ECLOSED;
    }
    rc = proto_end(w, body_bytes);
    if (rc != 0) {
        return rc;
    }
    rc = mq_buf_put(w->out, body, body_bytes);
    if (rc != 0) {
        w->out->len = w->frame_at;
    }
    return rc;
}

int net_calls_send(struct net_calls *calls, struct net_channel *ch, struct proto_writer *w, const void *body,
                   size_t body_bytes, struct net_call *call, uint32_t timeout_ms, net_call_cb cb)
{
    int rc = end_frame(ch, w, body, body_bytes);

    if (rc != 0) {
        return rc;
    }
    call->cb = cb;
    call->calls = calls;
    call->ch = ch;
    call->opaque = calls->next_opaque;
    call->deadline_ms = uv_now(&calls->loop->uv) + (timeout_ms != 0 ? timeout_ms : 1);
    MQ_ASSERT(*slot_of(calls, call->opaque) == NULL);
    *slot_of(calls, call->opaque) = call;
    link_by_time(calls, call);
    link_of_channel(call);
    calls->open++;
    step_opaque(calls);
    arm_timer(calls);
    net_channel_out_done(ch);
    return 0;
}

int net_calls_oneway(struct net_calls *calls, struct net_channel *ch, struct proto_writer *w, const void *body,
                     size_t body_bytes)
{
    int rc = end_frame(ch, w, body, body_bytes);

    if (rc != 0) {
        return rc;
    }
    step_opaque(calls);
    net_channel_out_done(ch);
    return 0;
}

void net_calls_take(struct net_calls *calls, struct net_channel *ch, struct proto_command *answer)
{
    struct net_call *call = calls->table_size != 0 ? *slot_of(calls, answer->opaque) : NULL;

    if (call == NULL || call->opaque != answer->opaque || call->ch != ch) {
        net_counters.stray_answers++;
        return;
    }
    unlink_call(calls, call);
    call->cb(call, 0, answer);
}

void net_calls_channel_closed(struct net_calls *calls, struct net_channel *ch)
{
    struct net_call *call;

    while ((call = ch->calls) != NULL) {
        MQ_ASSERT(call->calls == calls);
        unlink_call(calls, call);
        call->cb(call, MQ_ECLOSED, NULL);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct net_calls *calls = container_of(handle, struct net_calls, timer);

    MQ_ASSERT(calls->open == 0);
    mq_free(calls->by_opaque);
    calls->by_opaque = NULL;
    calls->table_size = 0;
    calls->closed_cb(calls);
}

void net_calls_close(struct net_calls *calls, void (*closed_cb)(struct net_calls *calls))
{
    calls->closing = true;
    calls->closed_cb = closed_cb;
    uv_close((uv_handle_t *)&calls->timer, on_timer_closed);
}
