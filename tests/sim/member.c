/* Open, load and replay, start, run the loop; the order and the hooks are those of broker/broker.c, without clients.
 */
#include "tests/sim/member.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "tests/sim/invariants.h"
#include "tests/sim/marks.h"

#include <string.h>

#define SECOND_MS 1000u
#define DRAIN_LOOK_MS 5u
#define DRAIN_MS 1000u
#define HAND_OVER_MS 500u

/* ---- the log's news ---- */

static void on_apply(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    struct member_run *run = fsm->data;

    invariants_apply(run, entry);
    state_apply(&run->state, entry);
    invariants_applied(run, entry);
}

/* As broker/role.c, without what knows of clients. */
static void on_role(struct rlog_fsm *fsm, const struct rlog_role *role)
{
    struct member_run *run = fsm->data;
    bool was = run->role.kind == RLOG_WRITABLE;
    bool is = role->kind == RLOG_WRITABLE;
    bool same = was == is && (!is || run->role.term == role->term);

    run->role = *role;
    world_trace("role", role->kind, role->term);
    if (role->kind == RLOG_CANDIDATE) {
        mark(MARK_CANDIDATE);
    }
    if (same || run->sequencer == NULL || run->stopping) {
        return;
    }
    if (was) {
        flows_rest(&run->flows);
        sequencer_set_writable(run->sequencer, false);
        topic_table_drop_pending(&run->state.topics);
    }
    if (is) {
        lock_table_restart_leases(&run->state.locks, mq_clock_mono_ms());
        sequencer_set_writable(run->sequencer, true);
        flows_lead(&run->flows);
    }
    invariants_look(run);
}

static void on_room(struct rlog_fsm *fsm)
{
    struct member_run *run = fsm->data;

    if (run->sequencer != NULL) {
        sequencer_room(run->sequencer);
    }
}

/* ---- snapshots ---- */

static struct member_run *run_of(struct rlog_fsm *fsm)
{
    return fsm->data;
}

static uint32_t on_sections(struct rlog_fsm *fsm, struct rlog_section *out)
{
    return state_sections(&run_of(fsm)->state, out);
}

static void on_snapshot_begin(struct rlog_fsm *fsm, struct rlog_sink *sink)
{
    int rc = store_checkpoint_begin(&run_of(fsm)->store);

    if (rc != 0) {
        rlog_sink_fail(sink, rc);
    }
    state_snapshot_begin(&run_of(fsm)->state, sink);
}

static int on_snapshot_more(struct rlog_fsm *fsm)
{
    return state_snapshot_more(&run_of(fsm)->state);
}

static int checkpoint_work(struct rlog_fsm *fsm, uint64_t index, uint32_t crc)
{
    return store_checkpoint_work(&run_of(fsm)->store, index, crc);
}

static void on_snapshot_end(struct rlog_fsm *fsm, int status)
{
    state_snapshot_end(&run_of(fsm)->state);
    store_checkpoint_end(&run_of(fsm)->store, status);
    mark(status == 0 ? MARK_SNAPSHOT_TAKEN : MARK_SNAPSHOT_FAILED);
}

static int on_restore_begin(struct rlog_fsm *fsm, const struct rlog_entry *entry, uint32_t crc,
                            const struct rlog_section *sections, uint32_t n, struct mq_buf *problem)
{
    invariants_restore(run_of(fsm), entry, crc);
    return state_restore_begin(&run_of(fsm)->state, entry, crc, sections, n, problem);
}

static int on_restore_rows(struct rlog_fsm *fsm, uint16_t section, const uint8_t *rows, size_t n,
                           struct mq_buf *problem)
{
    return state_restore_rows(&run_of(fsm)->state, section, rows, n, problem);
}

static int on_restore_end(struct rlog_fsm *fsm, struct mq_buf *problem)
{
    struct member_run *run = run_of(fsm);
    int rc = state_restore_end(&run->state, problem);

    if (rc == 0) {
        invariants_restored(run);
        mark(run->sequencer == NULL ? MARK_SNAPSHOT_LOADED : MARK_SNAPSHOT_INSTALLED);
    }
    if (rc == 0 && run->sequencer != NULL) {
        flows_log_start_moved(&run->flows, run->state.log_start_pos);
    }
    return rc;
}

static void on_apply_before(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    mark(MARK_DERIVED_BEFORE);
    state_apply_before(&run_of(fsm)->state, entry);
}

static uint64_t on_held_from(struct rlog_fsm *fsm)
{
    return run_of(fsm)->store.held_index;
}

static void on_log_start_moved(void *data, uint64_t pos)
{
    flows_log_start_moved(&((struct member_run *)data)->flows, pos);
}

/* ---- the loop's ---- */

static void on_turn(struct net_turn *turn)
{
    struct member_run *run = turn->data;

    flows_turn(&run->flows);
    invariants_look(run);
}

static void on_second(uv_timer_t *timer)
{
    struct member_run *run = timer->data;

    if (++run->seconds % cluster_plan->retention_s == 0) {
        flows_look_at_retention(&run->flows);
    }
}

static void watch_send(struct rlog_env *env, const struct core_message *message)
{
    struct rlog *log = container_of(env, struct rlog, env);
    struct member_run *run = log->fsm->data;

    invariants_send(run, message);
    run->send(env, message);
}

/* ---- opening ---- */

static void init_fsm(struct member_run *run)
{
    run->fsm = (struct rlog_fsm){.data = run,
                                 .apply = on_apply,
                                 .role = on_role,
                                 .room = on_room,
                                 .sections = on_sections,
                                 .snapshot_begin = on_snapshot_begin,
                                 .snapshot_more = on_snapshot_more,
                                 .checkpoint_work = checkpoint_work,
                                 .snapshot_end = on_snapshot_end,
                                 .restore_begin = on_restore_begin,
                                 .restore_rows = on_restore_rows,
                                 .restore_end = on_restore_end,
                                 .apply_before = on_apply_before,
                                 .held_from = on_held_from};
}

static int open_log(struct member_run *run, struct mq_buf *problem)
{
    struct rlog_member members[NODES_MAX];
    char addresses[NODES_MAX][32];
    struct rlog_options options = {
        .dir = CLUSTER_LOG_DIR,
        .group = "sim",
        .self = run->node->id,
        .members = members,
        .segment_bytes = cluster_plan->segment_bytes,
        .election_ms = cluster_plan->election_ms,
        .heartbeat_ms = cluster_plan->heartbeat_ms,
        .inflight_entries_max = cluster_plan->inflight_entries_max,
        .inflight_bytes_max = cluster_plan->inflight_bytes_max,
        .scrub_bytes_per_s = cluster_plan->scrub_bytes_per_s,
        .disk = disk_table(machine_disk(run->node->machine)),
        .far_bytes = cluster_plan->snapshot_bytes,
        .snapshot_bytes = cluster_plan->snapshot_bytes,
        .snapshot_ms = cluster_plan->snapshot_ms,
        .flush_ms = cluster_plan->flush_ms,
    };

    for (uint32_t i = 0; i < cluster_size(); i++) {
        if (nodes[i].absent) {
            continue;
        }
        snprintf(addresses[i], sizeof(addresses[i]), "%s:%d", machine_address(nodes[i].machine), CLUSTER_PORT);
        members[options.n_members++] = (struct rlog_member){nodes[i].id, addresses[i]};
    }
    init_fsm(run);
    return rlog_open(&run->loop, &options, &run->fsm, &run->log, problem);
}

/* Behind the log, because the directory may be another process's. */
static int open_store(struct member_run *run)
{
    int rc = rlog_has_snapshot(run->log) ? store_init_kept(&run->store, CLUSTER_DIR)
                                         : store_init(&run->store, CLUSTER_DIR);

    if (rc == 0) {
        run->store.log = run->log;
        run->store.queues.file_units = cluster_plan->queue_file_units;
        rc = state_init(&run->state, &run->store);
    }
    return rc;
}

static int init_flows(struct member_run *run)
{
    const struct flow_rules rules = {
        .retention = {.reserved_ms = INT64_MAX,
                      .bytes_max = cluster_plan->log_bytes_max,
                      .max_percent = 101,
                      .forced_percent = 101,
                      .segments_max = cluster_plan->retention_batch},
        .dir = CLUSTER_DIR,
        .half = {.timeout_ms = 1000, .interval_ms = 1500, .times_max = HALF_TIMES_MAX},
    };
    int rc = flows_init(&run->flows, &run->loop, &run->state, run->sequencer, &rules);

    run->flows.half.ask = requests_check_back;
    run->flows.half.ask_data = run;
    return rc;
}

static int open_flows(struct member_run *run)
{
    int rc = sequencer_new(&run->loop, &run->store, &run->sequencer);

    if (rc == 0) {
        rc = init_flows(run);
    }
    if (rc != 0) {
        return rc;
    }
    run->state.news = (struct state_news){.data = run, .log_start_moved = on_log_start_moved};
    run->turn.data = run;
    net_turn_add(&run->loop, &run->turn, NET_PHASE_WORK, on_turn);
    uv_timer_init(&run->loop.uv, &run->second);
    run->second.data = run;
    uv_timer_start(&run->second, on_second, SECOND_MS, SECOND_MS);
    return 0;
}

static int open_member(struct member_run *run, struct mq_buf *problem)
{
    int rc = open_log(run, problem);

    if (rc == 0) {
        rc = open_store(run);
    }
    if (rc != 0) {
        return rc;
    }
    run->node->run = run;
    run->send = run->log->env.send;
    run->log->env.send = watch_send;
    invariants_opened(run);
    rc = rlog_replay(run->log, problem);
    if (rc != 0) {
        return rc;
    }
    if (run->log->replayed > 1) {
        mark(MARK_REPLAYED);
    }
    invariants_replayed(run);
    rc = open_flows(run);
    if (rc == 0) {
        rc = rlog_start(run->log, problem);
    }
    if (rc == 0) {
        flows_log_start_moved(&run->flows, run->state.log_start_pos);
    }
    return rc;
}

int member_main(void *data)
{
    struct node *node = data;
    struct member_run *run = mq_calloc(1, sizeof(*run));
    struct mq_buf problem = {0};
    int rc;

    run->node = node;
    rc = net_loop_init(&run->loop);
    if (rc != 0) {
        return MEMBER_REFUSED;
    }
    rc = open_member(run, &problem);
    if (rc == 0) {
        rc = net_loop_run(&run->loop);
    }
    node->run = NULL;
    if (rc != 0) {
        mq_log_error("member", "refuses: %s: %.*s", mq_strerror(rc), (int)problem.len, (const char *)problem.base);
        return MEMBER_REFUSED;
    }
    return 0;
}

/* ---- closing ---- */

/* As broker_close: what is gathered is refused, leadership goes elsewhere, then the log goes, then what is above it.
 */
static void on_log_closed(void *data)
{
    struct member_run *run = data;

    run->log = NULL;
    if (!store_drain(&run->store, on_log_closed, run)) {
        return;
    }
    sequencer_free(run->sequencer);
    run->sequencer = NULL;
    state_fini(&run->state);
    store_fini(&run->store);
    net_loop_stop(&run->loop);
}

static void close_log(void *data)
{
    struct member_run *run = data;

    run->node->run = NULL; /* nobody looks at a log that is closing */
    rlog_close(run->log, on_log_closed, run);
}

static void on_flows_closed(void *data)
{
    struct member_run *run = data;

    if (store_drain(&run->store, close_log, run)) {
        close_log(run);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct member_run *run = handle->data;

    net_turn_remove(&run->turn);
    flows_close(&run->flows, on_flows_closed, run);
}

static void on_drain(uv_timer_t *timer)
{
    struct member_run *run = timer->data;
    struct rlog_status status;

    rlog_status_get(run->log, &status);
    if ((status.inflight_entries == 0 && !run->handing_over) || mq_clock_mono_ms() >= run->drain_until_ms) {
        uv_close((uv_handle_t *)timer, on_timer_closed);
    }
}

static void on_handed_over(struct rlog_transfer *transfer, int status)
{
    struct member_run *run = transfer->data;

    mark(status == 0 ? MARK_HANDED_OVER : MARK_HAND_OVER_FAILED);
    run->handing_over = false;
}

void member_close(struct node *node)
{
    struct member_run *run = node->run;

    if (run == NULL || run->stopping) {
        return;
    }
    run->stopping = true;
    flows_rest(&run->flows);
    sequencer_set_writable(run->sequencer, false);
    run->stop_transfer.data = run;
    run->handing_over = rlog_transfer(run->log, 0, HAND_OVER_MS, &run->stop_transfer, on_handed_over) == 0;
    run->drain_until_ms = mq_clock_mono_ms() + DRAIN_MS;
    uv_timer_start(&run->second, on_drain, 0, DRAIN_LOOK_MS);
}
