/* The load: callers times window slots, each a message that is sent, answered and sent again. With a rate, slots wait
 * in a list and start when a message is due; the latency then counts from the time it was due, so that a stall is not
 * hidden by the sends that it kept back. */
#include "client/tools/bench.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <sys/queue.h>

#define RATE_TICK_MS 1
#define DRAIN_MS 5000 /* for what is under way at the end */

struct slot {
    struct rmq_send send;
    struct producer *producer;
    uint64_t from_ns; /* started, or due */
    SLIST_ENTRY(slot) idle;
};

struct producer {
    struct bench bench;
    struct slot *slots;
    uint32_t n_slots, under_way;
    SLIST_HEAD(, slot) idle;
    char *body;
    uint64_t first_due_ns, issued; /* of the rate */
    uv_timer_t tick;
    bool drained;
};

static void start(struct slot *slot, uint64_t from_ns);

static void count(struct producer *p, const struct slot *slot, const struct rmq_send_result *result, uint64_t now_ns)
{
    struct bench *bench = &p->bench;

    if (result->outcome == RMQ_ACKNOWLEDGED) {
        bench->done++;
        bench->bytes += slot->send.body.len;
        mq_histogram_add(&bench->latency_us, (now_ns - slot->from_ns) / 1000);
        return;
    }
    bench_error(bench, result->outcome == RMQ_REFUSED ? "refused" : "unknown", result->code, result->status,
                result->remark);
}

static void on_sent(struct rmq_send *send, const struct rmq_send_result *result)
{
    struct slot *slot = (struct slot *)send->data;
    struct producer *p = slot->producer;
    uint64_t now_ns = mq_clock_mono_ns();

    p->under_way--;
    count(p, slot, result, now_ns);
    if (p->bench.over) {
        p->drained = p->under_way == 0;
    } else if (p->bench.options->rate != 0) {
        SLIST_INSERT_HEAD(&p->idle, slot, idle);
    } else {
        start(slot, now_ns);
    }
}

static void start(struct slot *slot, uint64_t from_ns)
{
    struct producer *p = slot->producer;
    int rc;

    slot->from_ns = from_ns;
    rc = rmq_send_async(p->bench.tool.client, &slot->send, on_sent);
    if (rc == 0) {
        p->under_way++;
        return;
    }
    bench_error(&p->bench, "not started", -1, rc, (struct mq_str){0});
    SLIST_INSERT_HEAD(&p->idle, slot, idle); /* the tick tries again */
}

static void on_tick(uv_timer_t *timer)
{
    struct producer *p = timer->data;
    uint32_t rate = p->bench.options->rate;
    uint64_t now_ns = mq_clock_mono_ns();
    struct slot *slot;

    while (!p->bench.over && (slot = SLIST_FIRST(&p->idle)) != NULL) {
        uint64_t due_ns = rate != 0 ? p->first_due_ns + p->issued * 1000000000u / rate : now_ns;

        if (due_ns > now_ns) {
            break;
        }
        p->issued++;
        SLIST_REMOVE_HEAD(&p->idle, idle);
        start(slot, due_ns);
        if (SLIST_FIRST(&p->idle) == slot) {
            break; /* refused at once: not in a circle */
        }
    }
}

static int make_slots(struct producer *p)
{
    const struct bench_options *o = p->bench.options;

    p->n_slots = o->callers * o->window;
    p->slots = mq_calloc(p->n_slots, sizeof(*p->slots));
    p->body = mq_malloc(o->body_bytes);
    if (p->slots == NULL || p->body == NULL) {
        return MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < o->body_bytes; i++) {
        p->body[i] = (char)('a' + i % 26);
    }
    SLIST_INIT(&p->idle);
    for (uint32_t i = 0; i < p->n_slots; i++) {
        struct slot *slot = &p->slots[i];

        slot->producer = p;
        slot->send = (struct rmq_send){.data = slot,
                                       .topic = mq_str_of(o->topic),
                                       .body = {p->body, o->body_bytes},
                                       .queue_id = -1,
                                       .lane = 1 + i % o->callers,
                                       .retries_max = UINT32_MAX};
        SLIST_INSERT_HEAD(&p->idle, slot, idle);
    }
    return 0;
}

static void on_tick_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

static void run(struct producer *p)
{
    struct tool *tool = &p->bench.tool;
    bool closed = false;

    uv_timer_init(&tool->loop.uv, &p->tick);
    p->tick.data = p;
    p->first_due_ns = mq_clock_mono_ns();
    bench_start(&p->bench);
    on_tick(&p->tick);
    uv_timer_start(&p->tick, on_tick, RATE_TICK_MS, p->bench.options->rate != 0 ? RATE_TICK_MS : 100);
    while (!p->bench.over) {
        uv_run(&tool->loop.uv, UV_RUN_ONCE);
    }
    p->tick.data = &closed;
    uv_close((uv_handle_t *)&p->tick, on_tick_closed);
    tool_wait(tool, &closed, DRAIN_MS);
}

int bench_producer(const struct bench_options *options)
{
    struct producer p = {0};
    int result = bench_open(&p.bench, options, true);

    if (result != 0) {
        return result;
    }
    if (make_slots(&p) == 0) {
        run(&p);
        result = bench_report(&p.bench, "producer");
        p.drained = p.under_way == 0;
        tool_wait(&p.bench.tool, &p.drained, DRAIN_MS);
    } else {
        result = tool_fail("bench", "no memory for %u messages under way", options->callers * options->window);
    }
    bench_close(&p.bench);
    mq_free(p.slots);
    mq_free(p.body);
    return result;
}
