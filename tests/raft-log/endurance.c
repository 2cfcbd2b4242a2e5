/* Memory after much work: a group of three in this process takes a million entries, then hands its leadership round
 * ten thousand times, and takes snapshots now and then. What the process holds must be the same as after the first
 * hundred thousand entries, +- 10 %.
 *
 * Uses the group of the unit tests (raft_cluster.h), whose own lists are emptied after every batch. */
#include "tests/unit/raft-log/raft_cluster.h"

#include "raft-log/rlog.h"
#include "remoting/base/clock.h"
#include "remoting/base/log.h"
#include "remoting/base/stats.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define WARM 100000u
#define BATCH 10000u
#define PAYLOAD 100u
#define TRANSFER_MS 2000u
#define LOOKS 5u

#define SNAPSHOT_TRANSFERS 500u

static uint64_t n_entries = 1000000, n_transfers = 10000;
static uint64_t number = 1;

static uint64_t anon_bytes(void)
{
    uint64_t anon = 0, resident;

    assert_int_equal(mq_process_memory(getpid(), &anon, &resident), 0);
    return anon;
}

static void forget(struct cluster *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        c->nodes[i].n_applied = 0;
    }
    c->n_acknowledged = 0;
}

/* Returns the most that the process held behind one of the last LOOKS batches: the newest entries are known one by
 * one until they are some thousand, so it goes up and down. */
static uint64_t propose_until(struct cluster *c, uint64_t to)
{
    uint64_t most = 0;

    while (number < to) {
        cluster_propose_all(c, number, number + BATCH, PAYLOAD);
        cluster_await_level(c);
        number += BATCH;
        forget(c);
        if (number + LOOKS * BATCH > to && anon_bytes() > most) {
            most = anon_bytes();
        }
    }
    return most;
}

static void take_snapshots(struct cluster *c)
{
    cluster_await_level(c);
    for (uint32_t i = 0; i < c->n; i++) {
        cluster_snapshot(c, i);
    }
}

struct hand_over {
    struct rlog_transfer transfer;
    bool over;
};

static void on_over(struct rlog_transfer *transfer, int status)
{
    struct hand_over *h = transfer->data;

    (void)status; /* who leads now is seen below */
    h->over = true;
}

static void hand_over(struct cluster *c)
{
    struct cluster_node *leader = cluster_await_writable(c);
    struct hand_over h = {.transfer.data = &h};
    uint64_t until_ms = mq_clock_mono_ms() + 2 * TRANSFER_MS;

    if (rlog_transfer(leader->log, 0, TRANSFER_MS, &h.transfer, on_over) != 0) {
        cluster_run_ms(c, 5); /* nobody has answered this leader yet */
        return;
    }
    while (!h.over && mq_clock_mono_ms() < until_ms) {
        (void)uv_run(&c->loop.uv, UV_RUN_ONCE);
    }
    assert_true(h.over);
}

/* Everybody has led and has held what a leader of so many entries holds. */
static void warm_up(struct cluster *c)
{
    uint32_t led = 0; /* a bit for each */

    while (led != 7 || number < WARM / 2) {
        led |= 1u << (cluster_await_writable(c)->id - 1);
        (void)propose_until(c, number + BATCH);
        hand_over(c);
    }
    take_snapshots(c);
}

static bool same(const char *what, uint64_t before, uint64_t after)
{
    bool ok = after < before + before / 10 && after > before - before / 10;

    printf("%s memory after %s: %.2f MiB, %.2f MiB at first\n", ok ? "PASS" : "FAIL", what, (double)after / 1048576,
           (double)before / 1048576);
    return ok;
}

static void memory_stays_the_same(void **state)
{
    struct cluster c;
    uint64_t before, elections = 0;
    bool ok;

    (void)state;
    cluster_init(&c, 3);
    c.with_state = true;
    cluster_start_all(&c);
    (void)cluster_await_writable(&c);
    warm_up(&c);
    before = propose_until(&c, number + WARM / 2);
    ok = same("so many entries", before, propose_until(&c, n_entries));
    take_snapshots(&c);
    for (uint64_t i = 0; i < n_transfers; i++) {
        hand_over(&c);
        if (i % SNAPSHOT_TRANSFERS == SNAPSHOT_TRANSFERS - 1) {
            take_snapshots(&c);
        }
    }
    (void)cluster_await_writable(&c);
    for (uint32_t i = 0; i < 3; i++) {
        elections += c.nodes[i].log->driver.leaderships;
    }
    printf("     %" PRIu64 " leaderships\n", elections);
    ok =
        same("that, and handing over leadership again and again", before, propose_until(&c, number + WARM / 2)) && ok;
    cluster_fini(&c);
    assert_true(ok);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_stays_the_same)};

    mq_log_set_level(MQ_LOG_ERROR);
    n_entries = argc > 1 ? strtoull(argv[1], NULL, 10) : n_entries;
    n_transfers = argc > 2 ? strtoull(argv[2], NULL, 10) : n_transfers;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
