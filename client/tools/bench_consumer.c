/* Drains a topic: every queue has one pull under way, and the queues share the connections, so that pulls are
 * pipelined on each. Records are only walked over: their size, and that their queue offsets have no hole. */
#include "client/tools/bench.h"
#include "remoting/base/buf.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/record.h"

#define QUEUES_MAX 4096
#define BACK_OFF_MS 20 /* after an error */
#define ROUTE_MS 10000

struct drain {
    struct rmq_pull pull;
    struct consumer *consumer;
    uint64_t from_ns;
    bool idle; /* waits for the tick after an error */
};

struct consumer {
    struct bench bench;
    struct drain *queues;
    uint32_t n_queues, under_way, drained;
    uint64_t holes;
    int route_status;
    bool routed, quiet;
    uv_timer_t tick;
};

static void start(struct drain *d);

static void walk_records(struct consumer *c, struct drain *d, const struct rmq_pull_result *result)
{
    const uint8_t *at = result->records;
    uint32_t left = result->records_bytes;
    int64_t qoff = d->pull.qoff;

    while (left >= PROTO_RECORD_MIN_BYTES) {
        uint32_t bytes = mq_be32_load(at);

        if (bytes < PROTO_RECORD_MIN_BYTES || bytes > left) {
            break;
        }
        c->holes += (int64_t)mq_be64_load(at + PROTO_RECORD_QOFF_AT) != qoff;
        qoff = (int64_t)mq_be64_load(at + PROTO_RECORD_QOFF_AT) + 1;
        c->bench.done++;
        at += bytes;
        left -= bytes;
    }
    if (left != 0) {
        bench_error(&c->bench, "pull", result->code, MQ_EBADMSG, result->remark);
    }
    c->bench.bytes += result->records_bytes;
}

static void on_pulled(struct rmq_pull *pull, const struct rmq_pull_result *result)
{
    struct drain *d = (struct drain *)pull->data;
    struct consumer *c = d->consumer;
    bool end = false;

    c->under_way--;
    c->quiet = c->under_way == 0;
    if (c->bench.over) {
        return;
    }
    if (result->status == 0 && result->code == RESP_SUCCESS) {
        mq_histogram_add(&c->bench.latency_us, (mq_clock_mono_ns() - d->from_ns) / 1000);
        walk_records(c, d, result);
        d->pull.qoff = result->next_offset;
        end = d->pull.qoff >= result->max_offset;
    } else if (result->status == 0 &&
               (result->code == RESP_PULL_NOT_FOUND || result->code == RESP_PULL_OFFSET_MOVED ||
                result->code == RESP_PULL_RETRY_IMMEDIATELY)) {
        end = result->next_offset >= result->max_offset;
        d->pull.qoff = result->next_offset;
    } else {
        bench_error(&c->bench, "pull", result->code, result->status, result->remark);
        d->idle = true;
        return;
    }
    if (end && c->bench.options->repeat && result->max_offset > 0) {
        d->pull.qoff = result->min_offset;
    } else if (end) {
        c->drained++;
        c->bench.over = c->bench.over || c->drained == c->n_queues;
        return;
    }
    start(d);
}

static void start(struct drain *d)
{
    struct consumer *c = d->consumer;
    int rc;

    d->idle = false;
    d->from_ns = mq_clock_mono_ns();
    rc = rmq_pull_async(c->bench.tool.client, &d->pull, on_pulled);
    if (rc != 0) {
        bench_error(&c->bench, "pull not started", -1, rc, (struct mq_str){0});
        d->idle = true;
        return;
    }
    c->under_way++;
    c->quiet = false;
}

static void on_tick(uv_timer_t *timer)
{
    struct consumer *c = timer->data;

    for (uint32_t i = 0; i < c->n_queues && !c->bench.over; i++) {
        if (c->queues[i].idle) {
            start(&c->queues[i]);
        }
    }
}

static void on_route(void *data, int status, const struct rmq_queue *queues, uint32_t n)
{
    struct consumer *c = data;
    const struct bench_options *o = c->bench.options;

    c->routed = true;
    c->route_status = status == 0 && (n == 0 || n > QUEUES_MAX) ? (n == 0 ? MQ_ENOTFOUND : MQ_ETOOBIG) : status;
    if (c->route_status != 0) {
        return;
    }
    c->queues = mq_calloc(n, sizeof(*c->queues));
    if (c->queues == NULL) {
        c->route_status = MQ_ENOMEM;
        return;
    }
    c->n_queues = n;
    for (uint32_t i = 0; i < n; i++) {
        c->queues[i].consumer = c;
        c->queues[i].pull = (struct rmq_pull){.data = &c->queues[i],
                                              .topic = mq_str_of(o->topic),
                                              .group = MQ_STR("RAFTMQ_BENCH"),
                                              .broker_name = queues[i].broker_name,
                                              .queue_id = queues[i].queue_id,
                                              .count_max = o->batch,
                                              .lane = 1 + i % o->callers};
    }
}

static void on_tick_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

static void run(struct consumer *c)
{
    struct tool *tool = &c->bench.tool;
    bool closed = false;

    uv_timer_init(&tool->loop.uv, &c->tick);
    c->tick.data = c;
    uv_timer_start(&c->tick, on_tick, BACK_OFF_MS, BACK_OFF_MS);
    bench_start(&c->bench);
    for (uint32_t i = 0; i < c->n_queues; i++) {
        start(&c->queues[i]);
    }
    while (!c->bench.over) {
        uv_run(&tool->loop.uv, UV_RUN_ONCE);
    }
    c->tick.data = &closed;
    uv_close((uv_handle_t *)&c->tick, on_tick_closed);
    tool_wait(tool, &closed, ROUTE_MS);
}

int bench_consumer(const struct bench_options *options)
{
    struct consumer c = {0};
    int result = bench_open(&c.bench, options, false);
    int rc;

    if (result != 0) {
        return result;
    }
    rc = rmq_route(c.bench.tool.client, mq_str_of(options->topic), false, false, on_route, &c);
    if (rc == 0) {
        tool_wait(&c.bench.tool, &c.routed, ROUTE_MS);
        rc = c.routed ? c.route_status : MQ_ETIMEDOUT;
    }
    if (rc != 0) {
        result = tool_fail("bench", "topic %s at %s: %s", options->topic, options->namesrv, mq_strerror(rc));
    } else {
        run(&c);
        result = bench_report(&c.bench, "consumer");
        if (c.holes != 0) {
            result = tool_fail("bench", "%llu holes in the queue offsets", (unsigned long long)c.holes);
        }
        c.quiet = c.under_way == 0;
        tool_wait(&c.bench.tool, &c.quiet, ROUTE_MS);
    }
    bench_close(&c.bench);
    mq_free(c.queues);
    return result;
}
