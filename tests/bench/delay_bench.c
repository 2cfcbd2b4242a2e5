/* How late messages come that were to come at a time.
 *
 *   delay_bench DIR [WAITING] [PER_SECOND] [SECONDS]
 *
 * A broker of a group of one, in DIR (made, and left behind), with WAITING messages (1,000,000) that wait for a year.
 * Then PER_SECOND (10,000) are due in each of SECONDS (10), evenly, and half way a snapshot is taken; prints how much
 * later than it was due each could be read by consumers, what that took of the processor, what a waiting message
 * costs in memory, and how long the loop was held up by the snapshot. */
#include "broker/flow/delayed.h"
#include "broker/inside.h"
#include "broker/processor/context.h"
#include "broker/state/bundle.h"
#include "broker/state/ensure.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define YEAR_MS (INT64_C(366) * 86400000)
#define QUEUES 8u
#define BODY_BYTES 100u
#define LEAD_MS 1000 /* between the last one taken and the first one due */

struct bench {
    struct net_loop loop;
    struct broker *broker;
    struct context *ctx;
    struct queue *waiting; /* where they wait */
    void (*arrived)(void *data, struct queue *queue, int64_t tags_code, const uint8_t *record, uint32_t bytes);
    uint32_t *late_us;
    uint32_t n, came, early;
    bool snapshot_asked;
};

static struct bench bench;

static int64_t wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Every message that consumers can read from now on; the due time is in the body of those that waited for it. */
static void on_arrived(void *data, struct queue *queue, int64_t tags_code, const uint8_t *record, uint32_t bytes)
{
    struct proto_record rec;
    int64_t due_ms, late;

    bench.arrived(data, queue, tags_code, record, bytes);
    if (queue == bench.waiting || proto_record_decode(record, bytes, &rec) != 0 || rec.body.len != BODY_BYTES ||
        bench.came == bench.n) {
        return;
    }
    memcpy(&due_ms, rec.body.at, sizeof(due_ms));
    late = wall_us() - due_ms * 1000;
    bench.early += late < 0;
    bench.late_us[bench.came++] = late < 0 ? 0 : (uint32_t)late;
}

static double processor_ms(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static void turn(void)
{
    uv_run(&bench.loop.uv, UV_RUN_ONCE);
}

static void open_broker(const char *dir)
{
    char dir_text[256];
    const char *const overrides[] = {
        dir_text, "listenPort=0", "brokerIP1=127.0.0.1", "brokerName=bench", "mappedFileSizeCommitLog=268435456",
        NULL};
    struct mq_buf problem = {0}, warnings = {0};

    snprintf(dir_text, sizeof(dir_text), "storePathRootDir=%s", dir);
    if (broker_open(&bench.loop, NULL, overrides, &bench.broker, &problem, &warnings) != 0) {
        fprintf(stderr, "delay_bench: %.*s\n", (int)problem.len, (const char *)problem.base);
        exit(1);
    }
    bench.ctx = broker_context(bench.broker);
    while (!broker_is_writable(bench.broker)) {
        turn();
    }
    mq_buf_free(&problem);
    mq_buf_free(&warnings);
}

/* One message due at @due_ms; whatever it takes. */
static void add(uint32_t number, int64_t due_ms)
{
    struct context *ctx = bench.ctx;
    uint8_t body[BODY_BYTES] = {0};
    char key[40];
    struct delayed_plan plan = {.due_ms = due_ms, .timer_out_ms = due_ms / 1000 * 1000};
    struct record_source source = {.body = {(const char *)body, sizeof(body)},
                                   .born_host = {.ip_bytes = 4},
                                   .store_host = ctx->store_host,
                                   .region = MQ_STR("DefaultRegion"),
                                   .cluster = MQ_STR("DefaultCluster")};
    struct bundle_part parts[] = {{.kind = BUNDLE_NEW, .queue = bench.waiting, .source = &source, .own = true},
                                  {.kind = BUNDLE_ITEM, .type = COMMAND_PENDING_PUT}};
    struct delayed_store store;
    int rc;

    memcpy(body, &due_ms, sizeof(due_ms));
    snprintf(key, sizeof(key), "7F000001%024" PRIu32, number);
    delayed_store_make(&store, &ctx->delayed, &plan, MQ_STR("Bench"), (int32_t)(number % QUEUES), mq_str_of(key));
    source.uniq_key = mq_str_of(key);
    source.topic = store.topic;
    source.prepared_pos = store.due_ms;
    source.put = store.put;
    source.n_put = store.n_put;
    parts[1].item = &store.item.base;
    while ((rc = bundle_add(ctx->sequencer, ctx->store, parts, 2, NULL, 0)) == MQ_EBUSY) {
        turn();
    }
    MQ_ASSERT(rc == 0);
}

static void wait_for_rows(uint32_t rows)
{
    while (bench.ctx->state->pending.count < rows) {
        turn();
    }
}

static void fill(uint32_t waiting)
{
    uint64_t start_ms = mq_clock_mono_ms();
    struct queue *queue;

    MQ_ASSERT(ensure_queue(bench.ctx->state, bench.ctx->sequencer, MQ_STR("Bench"), QUEUES, DELAYED_TOPIC_PERM, 0,
                           &queue) == 0 &&
              ensure_queue(bench.ctx->state, bench.ctx->sequencer, MQ_STR("rmq_sys_wheel_timer"), 1,
                           DELAYED_TOPIC_PERM, 0, &bench.waiting) == 0);
    for (uint32_t i = 0; i < waiting; i++) {
        add(i, mq_clock_wall_ms() + YEAR_MS + i);
    }
    wait_for_rows(waiting);
    printf("waiting=%u taken_per_s=%.0f bytes_each=%.1f\n", waiting,
           waiting * 1000.0 / (double)(mq_clock_mono_ms() - start_ms + 1),
           (double)pending_table_memory(&bench.ctx->state->pending) / (waiting + 1));
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x > y ? 1 : x < y ? -1 : 0;
}

static void report(const char *when, uint32_t *late_us, uint32_t n)
{
    qsort(late_us, n, sizeof(late_us[0]), ascending);
    printf("%-20s late ms: p50 %.2f p99 %.2f p99.9 %.2f max %.2f\n", when, late_us[n / 2] / 1e3,
           late_us[(uint64_t)n * 99 / 100] / 1e3, late_us[(uint64_t)n * 999 / 1000] / 1e3, late_us[n - 1] / 1e3);
}

/* So many a second, evenly. All are taken before the first is due. */
static void deliver(uint32_t waiting, uint32_t per_s, uint32_t seconds)
{
    uint32_t n = per_s * seconds;
    int64_t first_ms = mq_clock_wall_ms() + LEAD_MS + n / 50; /* it takes some time to add them */
    struct rlog_status status;
    double start_ms;

    bench.n = n;
    bench.late_us = mq_malloc(n * sizeof(bench.late_us[0]));
    MQ_ASSERT(bench.late_us != NULL);
    for (uint32_t i = 0; i < n; i++) {
        add(waiting + i, first_ms + (int64_t)i * 1000 / per_s);
    }
    wait_for_rows(waiting + n);
    MQ_ASSERT(mq_clock_wall_ms() < first_ms);
    start_ms = processor_ms();
    while (bench.came < n) {
        turn();
        if (!bench.snapshot_asked && bench.came > n / 2) {
            bench.snapshot_asked = rlog_snapshot(bench.ctx->log) == 0;
        }
    }
    start_ms = processor_ms() - start_ms;
    rlog_status_get(bench.ctx->log, &status);
    printf("due=%u per_s=%u early=%u processor us each %.1f\n", n, per_s, bench.early, start_ms * 1e3 / n);
    report("before the snapshot", bench.late_us, n / 2);
    report("with a snapshot", bench.late_us + n / 2, n - n / 2);
    while (status.snapshot_index == 0) {
        turn();
        rlog_status_get(bench.ctx->log, &status);
    }
    printf("snapshot_ms=%" PRIu64 " longest_slice_ms=%.2f\n", status.snapshot_took_ms,
           (double)status.snapshot_slice_ns_max / 1e6);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

int main(int argc, char **argv)
{
    uint32_t waiting = argc > 2 ? (uint32_t)atoi(argv[2]) : 1000000;
    uint32_t per_s = argc > 3 ? (uint32_t)atoi(argv[3]) : 10000;
    uint32_t seconds = argc > 4 ? (uint32_t)atoi(argv[4]) : 10;
    bool closed = false;

    if (argc < 2 || per_s == 0 || seconds == 0) {
        fprintf(stderr, "usage: delay_bench DIR [WAITING] [PER_SECOND] [SECONDS]\n");
        return 1;
    }
    MQ_ASSERT(net_loop_init(&bench.loop) == 0);
    open_broker(argv[1]);
    bench.arrived = bench.ctx->store->arrived;
    bench.ctx->store->arrived = on_arrived;
    fill(waiting);
    deliver(waiting, per_s, seconds);
    broker_close(bench.broker, on_closed, &closed);
    while (!closed) {
        turn();
    }
    net_loop_fini(&bench.loop);
    mq_free(bench.late_us);
    return 0;
}
