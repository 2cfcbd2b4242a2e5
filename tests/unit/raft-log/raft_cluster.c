#include "raft_cluster.h"

#include "remoting/base/assert.h"
#include "remoting/base/buf.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 20000u

static void push(uint64_t **list, size_t *n, size_t *cap, uint64_t number)
{
    if (*n == *cap) {
        *cap = *cap > 0 ? *cap * 2 : 1024;
        *list = realloc(*list, *cap * sizeof(**list));
        assert_non_null(*list);
    }
    (*list)[(*n)++] = number;
}

static void on_apply(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    struct cluster_node *node = fsm->data;
    uint64_t number;

    assert_true(entry->payload_bytes >= sizeof(number));
    memcpy(&number, entry->payload, sizeof(number));
    push(&node->applied, &node->n_applied, &node->applied_cap, number);
}

static void on_role(struct rlog_fsm *fsm, const struct rlog_role *role)
{
    struct cluster_node *node = fsm->data;

    node->role = *role;
}

static void on_room(struct rlog_fsm *fsm)
{
    struct cluster_node *node = fsm->data;

    node->rooms++;
}

/* ---- the numbers as state ---- */

#define ROWS_AT_ONCE 512u

static uint64_t sum_of(const uint64_t *numbers, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += numbers[i] * (2 * i + 1);
    }
    return sum;
}

static uint32_t state_sections(struct rlog_fsm *fsm, struct rlog_section *out)
{
    const struct cluster_node *node = fsm->data;

    out[0] = (struct rlog_section){
        .id = 1, .version = 1, .hash = sum_of(node->applied, node->n_applied) + node->skew, .name = "numbers"};
    return 1;
}

static void snapshot_begin(struct rlog_fsm *fsm, struct rlog_sink *sink)
{
    struct cluster_node *node = fsm->data;

    node->sink = sink;
    node->to_put = node->n_applied;
    node->put = 0;
}

static int snapshot_more(struct rlog_fsm *fsm)
{
    struct cluster_node *node = fsm->data;
    size_t n = node->to_put - node->put < ROWS_AT_ONCE ? node->to_put - node->put : ROWS_AT_ONCE;

    if (n > 0) {
        assert_int_equal(rlog_sink_put(node->sink, 1, node->applied + node->put, n * sizeof(node->applied[0])), 0);
    }
    node->put += n;
    return node->put < node->to_put;
}

static void snapshot_end(struct rlog_fsm *fsm, int status)
{
    struct cluster_node *node = fsm->data;

    node->sink = NULL;
    node->snapshots += status == 0;
}

static int restore_begin(struct rlog_fsm *fsm, const struct rlog_entry *entry, uint32_t crc,
                         const struct rlog_section *sections, uint32_t n, struct mq_buf *problem)
{
    struct cluster_node *node = fsm->data;

    (void)crc;
    (void)problem;
    assert_int_equal(n, 1);
    assert_int_equal(sections[0].id, 1);
    node->n_applied = 0;
    node->held_from = entry->index + 1;
    return 0;
}

static int restore_rows(struct rlog_fsm *fsm, uint16_t section, const uint8_t *rows, size_t n, struct mq_buf *problem)
{
    struct cluster_node *node = fsm->data;

    (void)section;
    (void)problem;
    for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
        uint64_t number;

        memcpy(&number, rows + i, sizeof(number));
        push(&node->applied, &node->n_applied, &node->applied_cap, number);
    }
    return 0;
}

static int restore_end(struct rlog_fsm *fsm, struct mq_buf *problem)
{
    (void)fsm;
    (void)problem;
    return 0;
}

static void apply_before(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    struct cluster_node *node = fsm->data;

    assert_int_equal(entry->index, node->held_from - 1);
    node->held_from--;
}

static uint64_t held_from(struct rlog_fsm *fsm)
{
    return ((const struct cluster_node *)fsm->data)->held_from;
}

static struct rlog_fsm fsm_of(struct cluster_node *node)
{
    struct rlog_fsm fsm = {
        .data = node, .apply = on_apply, .role = on_role, .room = on_room, .sections = state_sections};

    if (node->cluster->with_state) {
        fsm.snapshot_begin = snapshot_begin;
        fsm.snapshot_more = snapshot_more;
        fsm.snapshot_end = snapshot_end;
        fsm.restore_begin = restore_begin;
        fsm.restore_rows = restore_rows;
        fsm.restore_end = restore_end;
        fsm.apply_before = apply_before;
        fsm.held_from = held_from;
    }
    return fsm;
}

static bool has_snapshots(struct cluster *c, uint64_t arg)
{
    return c->nodes[arg >> 32].snapshots >= (uint32_t)arg;
}

void cluster_snapshot(struct cluster *c, uint32_t i)
{
    uint64_t want = c->nodes[i].snapshots + 1;

    assert_int_equal(rlog_snapshot(c->nodes[i].log), 0);
    cluster_run_until(c, has_snapshots, (uint64_t)i << 32 | want);
}

void cluster_init(struct cluster *c, uint32_t n)
{
    memset(c, 0, sizeof(*c));
    assert_int_equal(net_loop_init(&c->loop), 0);
    c->n = c->founders = n;
    c->election_ms = 200;
    c->heartbeat_ms = 40;
    c->segment_bytes = CLUSTER_SEGMENT_BYTES;
    (void)snprintf(c->dir, sizeof(c->dir), "/tmp/raft-cluster-XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    for (uint32_t i = 0; i < n; i++) {
        struct cluster_node *node = &c->nodes[i];

        node->cluster = c;
        node->id = i + 1;
        (void)snprintf(node->dir, sizeof(node->dir), "%s/%" PRIu32, c->dir, node->id);
        held_port_open(&c->ports[i]);
        (void)snprintf(c->addresses[i], sizeof(c->addresses[i]), "127.0.0.1:%d", c->ports[i].port);
        c->members[i] = (struct rlog_member){node->id, c->addresses[i]};
    }
}

void cluster_fini(struct cluster *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->nodes[i].log != NULL) {
            cluster_stop(c, i);
        }
        free(c->nodes[i].applied);
        held_port_close(&c->ports[i]);
    }
    free(c->acknowledged);
    assert_int_equal(c->pending, 0);
    (void)uv_run(&c->loop.uv, UV_RUN_NOWAIT);
    net_loop_fini(&c->loop);
    assert_int_equal(mq_dir_remove(c->dir), 0);
}

int cluster_try_start(struct cluster *c, uint32_t i, struct mq_buf *problem)
{
    struct cluster_node *node = &c->nodes[i];
    struct rlog_options options = {
        .dir = node->dir,
        .group = "group",
        .self = node->id,
        .members = c->members,
        .n_members = i < c->founders ? c->founders : i + 1,
        .segment_bytes = c->segment_bytes,
        .election_ms = c->election_ms,
        .heartbeat_ms = c->heartbeat_ms,
        .inflight_entries_max = c->inflight_entries_max,
        .flush_ms = c->flush_ms,
        .disk = c->disk,
        .backfill_bytes_per_s = c->backfill_bytes_per_s,
        .far_bytes = c->far_bytes,
        .scrub_bytes_per_s = c->scrub_bytes_per_s,
    };
    int rc;

    assert_null(node->log);
    node->fsm = fsm_of(node);
    node->held_from = 1;
    node->n_applied = 0;
    node->role = (struct rlog_role){0};
    rc = rlog_open(&c->loop, &options, &node->fsm, &node->log, problem);
    if (rc != 0) {
        node->log = NULL;
        return rc;
    }
    assert_int_equal(rlog_replay(node->log, problem), 0);
    return rlog_start(node->log, problem);
}

void cluster_start(struct cluster *c, uint32_t i)
{
    struct mq_buf problem = {0};
    int rc = cluster_try_start(c, i, &problem);

    if (rc != 0) {
        print_message("node %" PRIu32 ": %.*s (%s)\n", i + 1, (int)problem.len, (const char *)problem.base,
                      mq_strerror(rc));
    }
    assert_int_equal(rc, 0);
    mq_buf_free(&problem);
}

void cluster_start_all(struct cluster *c)
{
    for (uint32_t i = 0; i < c->founders; i++) {
        cluster_start(c, i);
    }
}

static void on_closed(void *data)
{
    struct cluster_node *node = data;

    node->log = NULL;
}

static bool is_down(struct cluster *c, uint64_t i)
{
    return c->nodes[i].log == NULL;
}

void cluster_stop(struct cluster *c, uint32_t i)
{
    rlog_close(c->nodes[i].log, on_closed, &c->nodes[i]);
    cluster_run_until(c, is_down, i);
    c->nodes[i].role = (struct rlog_role){0};
}

void cluster_wipe(struct cluster *c, uint32_t i)
{
    assert_null(c->nodes[i].log);
    assert_int_equal(mq_dir_remove(c->nodes[i].dir), 0);
}

void cluster_run_until(struct cluster *c, bool (*done)(struct cluster *c, uint64_t arg), uint64_t arg)
{
    uint64_t start = mq_clock_mono_ms();

    while (!done(c, arg)) {
        (void)uv_run(&c->loop.uv, UV_RUN_ONCE);
        if (mq_clock_mono_ms() - start > DEADLINE_MS) {
            for (uint32_t i = 0; i < c->n; i++) {
                struct rlog_status s = {0};

                if (c->nodes[i].log != NULL) {
                    rlog_status_get(c->nodes[i].log, &s);
                }
                print_message("node %" PRIu32 " role=%d term=%" PRIu64 " last=%" PRIu64 " durable=%" PRIu64
                              " commit=%" PRIu64 " applied=%" PRIu64 "\n",
                              i + 1, (int)s.role.kind, s.role.term, s.last_index, s.durable_index, s.commit_index,
                              s.applied_index);
            }
            fail_msg("what was waited for did not happen in %u ms", DEADLINE_MS);
        }
    }
}

static bool is_past(struct cluster *c, uint64_t ms)
{
    (void)c;
    return mq_clock_mono_ms() >= ms;
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

void cluster_run_ms(struct cluster *c, uint64_t ms)
{
    uv_timer_t timer;

    uv_timer_init(&c->loop.uv, &timer);
    uv_timer_start(&timer, on_wake, ms, 1);
    cluster_run_until(c, is_past, mq_clock_mono_ms() + ms);
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&c->loop.uv, UV_RUN_NOWAIT);
}

struct cluster_node *cluster_writable(struct cluster *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->nodes[i].log != NULL && rlog_can_propose(c->nodes[i].log) != MQ_ENOTLEADER) {
            return &c->nodes[i];
        }
    }
    return NULL;
}

static bool has_writable(struct cluster *c, uint64_t arg)
{
    (void)arg;
    return cluster_writable(c) != NULL;
}

struct cluster_node *cluster_await_writable(struct cluster *c)
{
    cluster_run_until(c, has_writable, 0);
    return cluster_writable(c);
}

static void on_proposed(struct rlog_proposal *proposal, int status)
{
    struct cluster_proposal *p = container_of(proposal, struct cluster_proposal, proposal);
    struct cluster *c = p->cluster;

    c->pending--;
    if (status == 0) {
        push(&c->acknowledged, &c->n_acknowledged, &c->acknowledged_cap, p->number);
    } else {
        assert_int_equal(status, MQ_EUNSURE);
        c->unsure++;
    }
    free(p);
}

int cluster_propose(struct cluster_node *node, uint64_t number, uint32_t bytes)
{
    struct cluster *c = node->cluster;
    struct cluster_proposal *p = calloc(1, sizeof(*p));
    struct rlog_blob *blob;
    int rc;

    assert_non_null(p);
    assert_int_equal(rlog_blob_new(node->log, bytes, &blob), 0);
    memset(rlog_blob_payload(blob), (int)number, bytes);
    memcpy(rlog_blob_payload(blob), &number, sizeof(number));
    blob->payload_bytes = bytes;
    p->cluster = c;
    p->number = number;
    rc = rlog_propose(node->log, blob, mq_clock_wall_ms(), 1, 0, &p->proposal, on_proposed);
    if (rc == 0) {
        c->pending++;
        return 0;
    }
    net_ref_release(&blob->ref);
    free(p);
    return rc;
}

static bool none_pending(struct cluster *c, uint64_t arg)
{
    (void)arg;
    return c->pending == 0;
}

static bool can_propose(struct cluster *c, uint64_t arg)
{
    struct cluster_node *node = cluster_writable(c);

    (void)arg;
    return node != NULL && rlog_can_propose(node->log) == 0;
}

void cluster_propose_all(struct cluster *c, uint64_t from, uint64_t to, uint32_t bytes)
{
    while (from < to) {
        int rc;

        cluster_run_until(c, can_propose, 0);
        do {
            rc = cluster_propose(cluster_writable(c), from, bytes);
            from += rc == 0;
        } while (rc == 0 && from < to);
        (void)uv_run(&c->loop.uv, UV_RUN_NOWAIT);
    }
    cluster_run_until(c, none_pending, 0);
}

static bool is_level(struct cluster *c, uint64_t arg)
{
    struct rlog_status first = {0}, status;

    (void)arg;
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->nodes[i].log == NULL) {
            continue;
        }
        rlog_status_get(c->nodes[i].log, &status);
        first = first.last_index == 0 ? status : first;
        if (status.last_index == 0 || status.applied_index != status.last_index ||
            status.durable_index != status.last_index || status.last_index != first.last_index ||
            status.role.term != first.role.term) {
            return false;
        }
    }
    return cluster_writable(c) != NULL;
}

void cluster_await_level(struct cluster *c)
{
    cluster_run_until(c, is_level, 0);
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Where the last of the logs begins. */
static uint64_t last_start(struct cluster *c)
{
    uint64_t last = 0;

    for (uint32_t i = 0; i < c->n; i++) {
        struct rlog_status status = {0};

        if (c->nodes[i].log != NULL) {
            rlog_status_get(c->nodes[i].log, &status);
        }
        last = status.start_pos > last ? status.start_pos : last;
    }
    return last;
}

/* All bytes of the log from position @from on, segment behind segment. */
static void read_log(struct cluster *c, const struct cluster_node *node, uint64_t from, struct mq_buf *out)
{
    uint64_t first = from - from % c->segment_bytes;
    struct rlog_status status;

    rlog_status_get(node->log, &status);
    for (uint64_t pos = first; pos < status.end_pos; pos += c->segment_bytes) {
        char path[256];
        size_t at = out->len;

        (void)snprintf(path, sizeof(path), "%s/log/%020" PRIu64, node->dir, pos);
        assert_int_equal(mq_file_read(path, c->segment_bytes, out), 0);
        assert_int_equal(out->len - at, c->segment_bytes);
    }
    assert_true(out->len >= status.end_pos - first);
    out->len = status.end_pos - first;
    mq_buf_consume(out, from - first);
}

static void check_acknowledged(struct cluster *c, const struct cluster_node *node)
{
    uint64_t *sorted = malloc((node->n_applied + 1) * sizeof(sorted[0]));

    assert_non_null(sorted);
    memcpy(sorted, node->applied, node->n_applied * sizeof(sorted[0]));
    qsort(sorted, node->n_applied, sizeof(sorted[0]), compare_numbers);
    for (size_t i = 1; i < node->n_applied; i++) {
        assert_int_not_equal(sorted[i], sorted[i - 1]); /* each was proposed once */
    }
    for (size_t i = 0; i < c->n_acknowledged; i++) {
        assert_non_null(bsearch(&c->acknowledged[i], sorted, node->n_applied, sizeof(sorted[0]), compare_numbers));
    }
    free(sorted);
}

void cluster_check(struct cluster *c)
{
    const struct cluster_node *first = NULL;
    struct mq_buf first_log = {0};
    uint64_t from;

    cluster_await_level(c);
    from = last_start(c);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct cluster_node *node = &c->nodes[i];
        struct mq_buf log = {0};

        if (node->log == NULL) {
            continue;
        }
        check_acknowledged(c, node);
        read_log(c, node, from, &log);
        if (first == NULL) {
            first = node;
            first_log = log;
            continue;
        }
        assert_int_equal(node->n_applied, first->n_applied);
        assert_memory_equal(node->applied, first->applied, node->n_applied * sizeof(node->applied[0]));
        assert_int_equal(log.len, first_log.len);
        assert_memory_equal(log.base, first_log.base, log.len);
        mq_buf_free(&log);
    }
    mq_buf_free(&first_log);
}
