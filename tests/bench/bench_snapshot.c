/* What taking a snapshot costs those who append meanwhile.
 *
 *   bench_snapshot DIR [ROWS] [WINDOW]
 *
 * A member of a group of one, in DIR (made, and left behind), whose state has ROWS rows of consumer offsets
 * (1,000,000). It proposes commits of offsets, WINDOW at a time (16), first without and then while a snapshot is
 * taken, and prints how long each took from the proposal to its callback, and how long turns of the loop were. Ends
 * with what loading the snapshot takes. */
#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/fsm.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/heap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLES_MAX 4000000u
#define PLAIN_MS 4000u

struct bench;

struct slot {
    struct rlog_proposal proposal;
    struct bench *bench;
    uint64_t start_ns;
};

struct bench {
    struct net_loop loop;
    struct store store;
    struct state state;
    struct rlog *log;
    struct rlog_fsm fsm;
    struct slot slots[256];
    uint32_t window, rows, next;
    bool writable, ended, closed, stopping;
    uint32_t idle; /* slots without a proposal */
    uint32_t *samples_us;
    uint32_t n_samples;
};

static struct bench bench;

static void on_apply(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    (void)fsm;
    state_apply(&bench.state, entry);
}

static void on_role(struct rlog_fsm *fsm, const struct rlog_role *role)
{
    (void)fsm;
    bench.writable = role->kind == RLOG_WRITABLE;
}

static void on_room(struct rlog_fsm *fsm)
{
    (void)fsm;
}

static uint32_t on_sections(struct rlog_fsm *fsm, struct rlog_section *out)
{
    (void)fsm;
    return state_sections(&bench.state, out);
}

static void on_snapshot_begin(struct rlog_fsm *fsm, struct rlog_sink *sink)
{
    (void)fsm;
    MQ_ASSERT(store_checkpoint_begin(&bench.store) == 0);
    state_snapshot_begin(&bench.state, sink);
}

static int on_snapshot_more(struct rlog_fsm *fsm)
{
    (void)fsm;
    return state_snapshot_more(&bench.state);
}

static int checkpoint_work(struct rlog_fsm *fsm, uint64_t index, uint32_t crc)
{
    (void)fsm;
    return store_checkpoint_work(&bench.store, index, crc);
}

static void on_snapshot_end(struct rlog_fsm *fsm, int status)
{
    (void)fsm;
    MQ_ASSERT(status == 0);
    state_snapshot_end(&bench.state);
    store_checkpoint_end(&bench.store, status);
    bench.ended = true;
}

static int on_restore_begin(struct rlog_fsm *fsm, const struct rlog_entry *entry, uint32_t crc,
                            const struct rlog_section *sections, uint32_t n, struct mq_buf *problem)
{
    (void)fsm;
    return state_restore_begin(&bench.state, entry, crc, sections, n, problem);
}

static int on_restore_rows(struct rlog_fsm *fsm, uint16_t section, const uint8_t *rows, size_t n,
                           struct mq_buf *problem)
{
    (void)fsm;
    return state_restore_rows(&bench.state, section, rows, n, problem);
}

static int on_restore_end(struct rlog_fsm *fsm, struct mq_buf *problem)
{
    (void)fsm;
    return state_restore_end(&bench.state, problem);
}

static void names_of(uint32_t row, char group[32], char topic[32])
{
    snprintf(group, 32, "consumer-group-%u", row / 100);
    snprintf(topic, 32, "topic-of-orders-%u", row % 100);
}

static void on_done(struct rlog_proposal *proposal, int status);

static void propose(struct slot *slot)
{
    Raftmq__OffsetCommit commit = RAFTMQ__OFFSET_COMMIT__INIT;
    char group[32], topic[32];
    struct rlog_blob *blob;

    bench.next = (bench.next * 1103515245u + 12345u) & 0x7FFFFFFF;
    names_of(bench.next % bench.rows, group, topic);
    commit.group = group;
    commit.topic = topic;
    commit.offset = bench.next;
    MQ_ASSERT(rlog_blob_new(bench.log, command_bytes(&commit.base), &blob) == 0);
    command_encode(COMMAND_OFFSET_COMMIT, &commit.base, rlog_blob_payload(blob));
    blob->payload_bytes = command_bytes(&commit.base);
    slot->start_ns = mq_clock_mono_ns();
    MQ_ASSERT(rlog_propose(bench.log, blob, mq_clock_wall_ms(), 0, 1, &slot->proposal, on_done) == 0);
}

static void on_done(struct rlog_proposal *proposal, int status)
{
    struct slot *slot = container_of(proposal, struct slot, proposal);

    MQ_ASSERT(status == 0);
    if (bench.n_samples < SAMPLES_MAX) {
        bench.samples_us[bench.n_samples++] = (uint32_t)((mq_clock_mono_ns() - slot->start_ns) / 1000);
    }
    if (bench.stopping) {
        bench.idle++;
    } else {
        propose(slot);
    }
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x > y ? 1 : x < y ? -1 : 0;
}

static void report(const char *what, uint64_t ms)
{
    uint32_t n = bench.n_samples;

    qsort(bench.samples_us, n, sizeof(bench.samples_us[0]), ascending);
    printf("%-18s %8.0f/s   p50 %6.2f   p99 %6.2f   p99.9 %6.2f   max %6.2f ms\n", what, n * 1000.0 / (double)ms,
           bench.samples_us[n / 2] / 1e3, bench.samples_us[(uint64_t)n * 99 / 100] / 1e3,
           bench.samples_us[(uint64_t)n * 999 / 1000] / 1e3, bench.samples_us[n - 1] / 1e3);
    bench.n_samples = 0;
}

static void open_log(const char *dir)
{
    const struct rlog_member member = {1, "127.0.0.1:0"};
    struct rlog_options options = {
        .dir = dir, .group = "bench", .self = 1, .members = &member, .n_members = 1, .segment_bytes = 256u << 20};
    struct mq_buf problem = {0};

    bench.fsm = (struct rlog_fsm){.apply = on_apply,
                                  .role = on_role,
                                  .room = on_room,
                                  .sections = on_sections,
                                  .snapshot_begin = on_snapshot_begin,
                                  .snapshot_more = on_snapshot_more,
                                  .checkpoint_work = checkpoint_work,
                                  .snapshot_end = on_snapshot_end,
                                  .restore_begin = on_restore_begin,
                                  .restore_rows = on_restore_rows,
                                  .restore_end = on_restore_end};
    bench.writable = false;
    MQ_ASSERT(store_init_kept(&bench.store, dir) == 0 && state_init(&bench.state, &bench.store) == 0);
    if (rlog_open(&bench.loop, &options, &bench.fsm, &bench.log, &problem) != 0 ||
        rlog_replay(bench.log, &problem) != 0 || rlog_start(bench.log, &problem) != 0) {
        fprintf(stderr, "bench_snapshot: %.*s\n", (int)problem.len, (const char *)problem.base);
        exit(1);
    }
    while (!bench.writable) {
        uv_run(&bench.loop.uv, UV_RUN_ONCE);
    }
}

static void on_closed(void *data)
{
    (void)data;
    bench.closed = true;
}

static void close_log(void)
{
    bench.closed = false;
    rlog_close(bench.log, on_closed, NULL);
    while (!bench.closed) {
        uv_run(&bench.loop.uv, UV_RUN_ONCE);
    }
    state_fini(&bench.state);
    store_fini(&bench.store);
}

static void run_until(bool (*done)(uint64_t ms))
{
    uint64_t start_ms = mq_clock_mono_ms();

    while (!done(mq_clock_mono_ms() - start_ms)) {
        uv_run(&bench.loop.uv, UV_RUN_ONCE);
    }
}

static bool is_time_up(uint64_t ms)
{
    return ms >= PLAIN_MS;
}

static bool is_taken(uint64_t ms)
{
    (void)ms;
    return bench.ended;
}

static bool is_idle(uint64_t ms)
{
    (void)ms;
    return bench.idle == bench.window;
}

int main(int argc, char **argv)
{
    struct rlog_status status;
    uint64_t start_ms;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_snapshot DIR [ROWS] [WINDOW]\n");
        return 1;
    }
    bench.rows = argc > 2 ? (uint32_t)atoi(argv[2]) : 1000000;
    bench.window = argc > 3 ? (uint32_t)atoi(argv[3]) : 16;
    bench.samples_us = mq_malloc(SAMPLES_MAX * sizeof(bench.samples_us[0]));
    MQ_ASSERT(bench.samples_us != NULL && bench.window <= ARRAY_SIZE(bench.slots));
    MQ_ASSERT(net_loop_init(&bench.loop) == 0);
    open_log(argv[1]);
    for (uint32_t i = 0; i < bench.rows; i++) {
        char group[32], topic[32];

        names_of(i, group, topic);
        MQ_ASSERT(offset_table_put(&bench.state.offsets, mq_str_of(group), mq_str_of(topic), 0, i) == 0);
    }
    for (uint32_t i = 0; i < bench.window; i++) {
        propose(&bench.slots[i]);
    }
    run_until(is_time_up);
    report("no snapshot", PLAIN_MS);
    start_ms = mq_clock_mono_ms();
    MQ_ASSERT(rlog_snapshot(bench.log) == 0);
    run_until(is_taken);
    report("during a snapshot", mq_clock_mono_ms() - start_ms);
    rlog_status_get(bench.log, &status);
    printf("rows=%u snapshot_ms=%" PRIu64 " longest_slice_ms=%.2f\n", bench.rows, status.snapshot_took_ms,
           (double)status.snapshot_slice_ns_max / 1e6);
    bench.stopping = true;
    run_until(is_idle);
    close_log();
    start_ms = mq_clock_mono_ms();
    open_log(argv[1]);
    rlog_status_get(bench.log, &status);
    printf("started again in %" PRIu64 " ms, %" PRIu64 " entries applied behind the snapshot\n",
           mq_clock_mono_ms() - start_ms, status.replayed_entries);
    close_log();
    net_loop_fini(&bench.loop);
    mq_free(bench.samples_us);
    return 0;
}
