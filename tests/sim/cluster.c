/* Life of a member: machine_on_end -> (a while) -> cluster_start -> member_main: open, replay, start, run the loop. A
 * request comes in by process_call, as a frame's handler would find it, and is answered when the sequencer says so.
 */
#include "tests/sim/cluster.h"

#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "broker/store/record_build.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "tests/sim/invariants.h"
#include "tests/sim/marks.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/workload.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RESTART_MIN_NS (NS_PER_MS)
#define RESTART_MAX_NS (400 * NS_PER_MS)
#define EXIT_REFUSED 3 /* of member_main: the log was not opened */
#define EXIT_CLOSED 0

struct node nodes[NODES_MAX];
const struct plan *cluster_plan;

static struct rng rng; /* of the supervisor */

/* ---- the member's process ---- */

static void on_apply(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    struct member_run *run = fsm->data;

    invariants_apply(run, entry);
    state_apply(&run->state, entry);
    invariants_applied(run, entry);
}

/* ---- snapshots, as broker.c has them ---- */

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
    return state_restore_begin(&run_of(fsm)->state, entry, crc, sections, n, problem);
}

static int on_restore_rows(struct rlog_fsm *fsm, uint16_t section, const uint8_t *rows, size_t n,
                           struct mq_buf *problem)
{
    return state_restore_rows(&run_of(fsm)->state, section, rows, n, problem);
}

static int on_restore_end(struct rlog_fsm *fsm, struct mq_buf *problem)
{
    int rc = state_restore_end(&run_of(fsm)->state, problem);

    if (rc == 0) {
        mark(MARK_SNAPSHOT_LOADED);
        invariants_restored(run_of(fsm));
    }
    return rc;
}

static void on_apply_before(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    state_apply_before(&run_of(fsm)->state, entry);
}

static uint64_t on_held_from(struct rlog_fsm *fsm)
{
    return run_of(fsm)->store.held_index;
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
    if (same || run->sequencer == NULL) {
        return;
    }
    if (was) {
        sequencer_set_writable(run->sequencer, false);
        topic_table_drop_pending(&run->state.topics);
    }
    if (is) {
        lock_table_restart_leases(&run->state.locks, mq_clock_mono_ms());
        sequencer_set_writable(run->sequencer, true);
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

static void on_turn(struct net_turn *turn)
{
    invariants_look(turn->data);
}

static void watch_send(struct rlog_env *env, const struct core_message *message)
{
    struct rlog *log = container_of(env, struct rlog, env);
    struct member_run *run = log->fsm->data;

    invariants_send(run, message);
    run->send(env, message);
}

static int open_member(struct member_run *run, struct mq_buf *problem)
{
    struct rlog_member members[NODES_MAX];
    char addresses[NODES_MAX][32];
    struct rlog_options options = {
        .dir = CLUSTER_LOG_DIR,
        .group = "sim",
        .self = run->node->id,
        .members = members,
        .n_members = cluster_size(),
        .segment_bytes = cluster_plan->segment_bytes,
        .election_ms = cluster_plan->election_ms,
        .heartbeat_ms = cluster_plan->heartbeat_ms,
        .inflight_entries_max = cluster_plan->inflight_entries_max,
        .inflight_bytes_max = cluster_plan->inflight_bytes_max,
        .snapshot_bytes = cluster_plan->snapshot_bytes,
        .snapshot_ms = cluster_plan->snapshot_ms,
        .disk = disk_table(machine_disk(run->node->machine)),
    };
    int rc;

    for (uint32_t i = 0; i < cluster_size(); i++) {
        snprintf(addresses[i], sizeof(addresses[i]), "%s:%d", machine_address(nodes[i].machine), CLUSTER_PORT);
        members[i] = (struct rlog_member){nodes[i].id, addresses[i]};
    }
    run->fsm = (struct rlog_fsm){
        .data = run,
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
        .held_from = on_held_from,
    };
    rc = rlog_open(&run->loop, &options, &run->fsm, &run->log, problem);
    if (rc != 0) {
        return rc;
    }
    rc = rlog_has_snapshot(run->log) ? store_init_kept(&run->store, CLUSTER_DIR)
                                     : store_init(&run->store, CLUSTER_DIR);
    if (rc == 0) {
        rc = state_init(&run->state, &run->store);
    }
    if (rc != 0) {
        mq_buf_printf(problem, "store: %s", mq_strerror(rc));
    }
    return rc;
}

static int run_member(struct member_run *run, struct mq_buf *problem)
{
    int rc;

    run->node->run = run;
    run->store.log = run->log;
    run->send = run->log->env.send;
    run->log->env.send = watch_send;
    invariants_opened(run);
    rc = sequencer_new(&run->loop, &run->store, &run->sequencer);
    if (rc != 0) {
        return rc;
    }
    run->turn.data = run;
    net_turn_add(&run->loop, &run->turn, NET_PHASE_WORK, on_turn);
    rc = rlog_replay(run->log, problem);
    if (rc != 0) {
        return rc;
    }
    if (run->log->replayed > 1) {
        mark(MARK_REPLAYED);
    }
    rc = rlog_start(run->log, problem);
    return rc != 0 ? rc : net_loop_run(&run->loop);
}

static int member_main(void *data)
{
    struct node *node = data;
    struct member_run *run = mq_calloc(1, sizeof(*run));
    struct mq_buf problem = {0};
    int rc;

    run->node = node;
    rc = net_loop_init(&run->loop);
    if (rc != 0) {
        return EXIT_REFUSED;
    }
    rc = open_member(run, &problem);
    if (rc == 0) {
        rc = run_member(run, &problem);
    }
    node->run = NULL;
    if (rc != 0) {
        mq_log_error("member", "refuses: %s: %.*s", mq_strerror(rc), (int)problem.len, (const char *)problem.base);
        return EXIT_REFUSED;
    }
    return EXIT_CLOSED;
}

/* As broker_close: what is gathered is refused, then the log goes, then what is above it. */
static void on_log_closed(void *data)
{
    struct member_run *run = data;

    run->log = NULL;
    sequencer_free(run->sequencer);
    run->sequencer = NULL;
    state_fini(&run->state);
    store_fini(&run->store);
    net_turn_remove(&run->turn);
    net_loop_stop(&run->loop);
}

static void close_member(void *data)
{
    struct member_run *run = ((struct node *)data)->run;

    if (run == NULL || run->stopping) {
        return;
    }
    run->stopping = true;
    sequencer_set_writable(run->sequencer, false);
    rlog_close(run->log, on_log_closed, run);
    run->node->run = NULL; /* nobody looks at a log that is closing */
}

/* ---- the supervisor ---- */

static void on_restart(struct world_event *event)
{
    cluster_start(container_of(event, struct node, restart));
}

static void on_end(void *data, struct process *process, enum process_end how, int code)
{
    struct node *node = data;

    if (process != node->process) {
        return;
    }
    world_tracef("member %u ended: %d code %d", node->id, how, code);
    node->process = NULL;
    node->run = NULL;
    invariants_ended(node, how, code);
    node->refusals = how == PROCESS_RETURNED && code != 0 ? node->refusals + 1 : 0;
    workload_ended(node);
    if (!node->stays_down) {
        uint64_t most = rng_below(&rng, 3) == 0 ? RESTART_MIN_NS : RESTART_MAX_NS;
        uint64_t wait = rng_between(&rng, RESTART_MIN_NS, most) * (1 + (node->refusals < 8 ? node->refusals : 8));

        world_at(&node->restart, world_now() + wait, on_restart);
    }
}

void cluster_start(struct node *node)
{
    char name[8];

    if (node->process != NULL || !machine_has_power(node->machine)) {
        return;
    }
    world_cancel(&node->restart);
    snprintf(name, sizeof(name), "n%u", node->id);
    node->instance++;
    node->process = process_start(node->machine, name, member_main, node);
}

void cluster_stop_in_order(struct node *node)
{
    if (node->process != NULL) {
        (void)process_call(node->process, close_member, node);
    }
}

void cluster_excuse(struct node *node, uint64_t ns)
{
    uint64_t until = ns == UINT64_MAX ? ns : world_now() + ns;

    node->excused_ns = until > node->excused_ns ? until : node->excused_ns;
}

void cluster_power_on(struct node *node)
{
    if (!machine_has_power(node->machine)) {
        machine_power_on(node->machine);
    }
    if (!node->stays_down) {
        world_at(&node->restart, world_now() + rng_between(&rng, RESTART_MIN_NS, RESTART_MAX_NS), on_restart);
    }
}

void cluster_good_disk(struct node *node)
{
    struct disk *disk = machine_disk(node->machine);

    *disk_manner(disk) = (struct disk_manner){
        .write_min_ns = 2 * NS_PER_US,
        .write_max_ns = 20 * NS_PER_US,
        .sync_min_ns = cluster_plan->sync_min_ns,
        .sync_max_ns = cluster_plan->sync_max_ns,
        .stall_ppm = cluster_plan->disk_stall_ppm,
        .stall_max_ns = cluster_plan->disk_stall_max_ns,
        .writeback_ppm = cluster_plan->writeback_ppm,
    };
    disk_set_capacity(disk, 0);
}

void cluster_good_links(void)
{
    for (uint32_t a = 0; a < cluster_size(); a++) {
        for (uint32_t b = 0; b < cluster_size(); b++) {
            struct link *link = net_link(nodes[a].machine, nodes[b].machine);

            if (a == b) {
                continue;
            }
            link_heal(link);
            link->latency_min_ns = cluster_plan->link_min_ns;
            link->latency_max_ns = cluster_plan->link_max_ns;
            link->stall_ppm = cluster_plan->link_stall_ppm;
            link->stall_max_ns = cluster_plan->link_stall_max_ns;
            link->bytes_per_s = 0;
            link->corrupt_ppm = 0;
        }
    }
}

/* How a log line of production code begins, and what it says about the run. */
static const struct {
    const char *start;
    enum mark mark;
} told[] = {
    {"finishing an interrupted truncation", MARK_CUT_FINISHED},
    {"cut a torn tail", MARK_TORN_CUT},
    {"a write has not ended", MARK_SILENT},
    {"has again all that it may", MARK_CLAIM_FULFILLED},
    {"no member holds more than entry", MARK_CLAIM_LOWERED},
    {"%s/%s is bad or missing and is written anew", MARK_META_COPY_BAD},
};

static void on_line(const char *fmt)
{
    for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
        if (strncmp(fmt, told[i].start, strlen(told[i].start)) == 0) {
            mark(told[i].mark);
        }
    }
    if (process_current() != NULL && strncmp(fmt, "truncate from", strlen("truncate from")) == 0) {
        nemesis_moment(cluster_of_machine(process_machine(process_current())), MOMENT_TRUNCATE);
    }
}

/* A member whose disk is full may find no other end. */
static bool on_abort(const struct process *process)
{
    return cluster_of_machine(process_machine(process))->full_ns >= world_now();
}

void cluster_open(const struct plan *plan)
{
    cluster_plan = plan;
    world_on_abort(on_abort);
    world_on_line(on_line);
    rng_seed(&rng, plan->seed, 3);
    memset(nodes, 0, sizeof(nodes));
    for (uint32_t i = 0; i < plan->nodes; i++) {
        struct node *node = &nodes[i];
        char name[16], address[24];

        snprintf(name, sizeof(name), "m%u", i + 1);
        snprintf(address, sizeof(address), "10.0.0.%u", i + 1);
        node->id = i + 1;
        node->machine = machine_new(name, address);
        machine_on_end(node->machine, on_end, node);
        cluster_good_disk(node);
    }
    cluster_good_links();
    for (uint32_t i = 0; i < plan->nodes; i++) {
        world_at(&nodes[i].restart, rng_below(&rng, 50 * NS_PER_MS), on_restart);
    }
}

void cluster_close(void)
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        world_cancel(&nodes[i].restart);
        free(nodes[i].seen.crcs);
        free(nodes[i].seen.poss);
    }
    memset(nodes, 0, sizeof(nodes));
}

/* ---- questions ---- */

uint32_t cluster_size(void)
{
    return cluster_plan->nodes;
}

uint32_t cluster_majority(void)
{
    return cluster_plan->nodes / 2 + 1;
}

struct node *cluster_of_machine(const struct machine *machine)
{
    return &nodes[machine_number(machine)];
}

bool cluster_is_lost(void)
{
    uint32_t out = 0;

    for (uint32_t i = 0; i < cluster_size(); i++) {
        out += nodes[i].stays_down;
    }
    return out > cluster_size() - cluster_majority();
}

bool cluster_is_up(const struct node *node)
{
    return node->run != NULL && node->process != NULL && process_alive(node->process);
}

struct node *cluster_leader(void)
{
    struct node *best = NULL;

    for (uint32_t i = 0; i < cluster_size(); i++) {
        struct node *node = &nodes[i];

        if (cluster_is_up(node) && node->run->role.kind == RLOG_WRITABLE &&
            (best == NULL || node->run->role.term > best->run->role.term)) {
            best = node;
        }
    }
    return best;
}

/* ---- requests ---- */

/* Inside, or outside when nothing listens. */
static void answer(struct op *op, struct member_run *run, int status)
{
    if (op->answered) {
        world_fail("exactly-once: operation %" PRIu64 " was answered twice", op->id);
        return;
    }
    op->answered = true;
    op->status = status;
    op->leader = run != NULL ? run->role.leader : 0;
    workload_answered(op);
}

static void on_done(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct op *op = p->data;

    if (outcome->status == 0) {
        op->pos = outcome->payload_pos + p->at;
        op->qoff = p->qoff;
    }
    answer(op, op->node->run, outcome->status);
}

static int submit_item(struct member_run *run, struct op *op, enum command_type type, const ProtobufCMessage *message)
{
    struct sequencer_pending pending = {.done = on_done, .data = op};
    uint32_t bytes = command_bytes(message);
    uint8_t *at;
    int rc = sequencer_reserve(run->sequencer, bytes, &at);

    if (rc == 0) {
        command_encode(type, message, at);
        sequencer_add(run->sequencer, bytes, NULL, 0, 1, &pending);
    }
    return rc;
}

static int submit_offset(struct member_run *run, struct op *op)
{
    char group[16], topic[16];
    Raftmq__OffsetCommit item = RAFTMQ__OFFSET_COMMIT__INIT;

    snprintf(group, sizeof(group), "g%u", op->group);
    snprintf(topic, sizeof(topic), "t%u", op->topic);
    item.group = group;
    item.topic = topic;
    item.queue_id = (int32_t)op->queue;
    item.offset = history_offset_of_id(op->id);
    return submit_item(run, op, COMMAND_OFFSET_COMMIT, &item.base);
}

static int submit_topic(struct member_run *run, struct op *op)
{
    char topic[16], filter[] = "SINGLE_TAG";
    Raftmq__TopicConfigItem config = RAFTMQ__TOPIC_CONFIG_ITEM__INIT;
    Raftmq__TopicPut item = RAFTMQ__TOPIC_PUT__INIT;

    snprintf(topic, sizeof(topic), "t%u", op->topic);
    config.name = topic;
    config.read_queues = config.write_queues = QUEUES;
    config.perm = TOPIC_PERM_READ | TOPIC_PERM_WRITE;
    config.filter_type = filter;
    config.sys_flag = (uint32_t)op->id;
    item.config = &config;
    return submit_item(run, op, COMMAND_TOPIC_PUT, &item.base);
}

static int submit_lock(struct member_run *run, struct op *op)
{
    char group[16], topic[16], client[32], name[32], broker[] = "b";
    Raftmq__LockedQueue queue = RAFTMQ__LOCKED_QUEUE__INIT, own = RAFTMQ__LOCKED_QUEUE__INIT;
    Raftmq__LockedQueue *queues[2] = {&queue, &own};
    Raftmq__LockGrant grant = RAFTMQ__LOCK_GRANT__INIT;
    Raftmq__LockRelease release = RAFTMQ__LOCK_RELEASE__INIT;
    const struct lock *held;
    struct lock_key key;

    snprintf(group, sizeof(group), "g%u", op->group);
    snprintf(topic, sizeof(topic), "t%u", op->topic);
    queue.topic = topic;
    queue.broker_name = broker;
    queue.queue_id = (int32_t)op->queue;
    if (op->kind == OP_LOCK) {
        snprintf(client, sizeof(client), "c%" PRIu64, op->id);
        grant.group = group;
        grant.client_id = client;
        grant.queues = queues;
        grant.n_queues = 1;
        return submit_item(run, op, COMMAND_LOCK_GRANT, &grant.base);
    }
    key = (struct lock_key){mq_str_of(group), mq_str_of(topic), mq_str_of(broker), queue.queue_id};
    held = lock_table_find(&run->state.locks, &key);
    snprintf(client, sizeof(client), "%s", held != NULL ? held->client_id : "c0");
    snprintf(name, sizeof(name), "u%" PRIu64, op->id);
    own.topic = name;
    own.broker_name = broker;
    release.group = group;
    release.client_id = client;
    release.queues = queues;
    release.n_queues = 2;
    return submit_item(run, op, COMMAND_LOCK_RELEASE, &release.base);
}

static int submit_records(struct member_run *run, struct op *op)
{
    static uint8_t body[OP_BODY_MAX]; /* too large for a fiber's stack */
    struct sequencer_pending pending = {.done = on_done, .data = op, .records = (uint16_t)op->parts};
    char topic[16];
    struct record_source source = {
        .queue_id = (int32_t)op->queue,
        .born_ms = mq_clock_wall_ms(),
        .born_host = {.ip = {10, 0, 1, 1}, .ip_bytes = 4, .port = 1},
        .store_host = {.ip = {10, 0, 0, (uint8_t)run->node->id}, .ip_bytes = 4, .port = 10911},
        .properties = MQ_STR("KEYS\x01k\x02"),
    };
    struct topic_queues *queues;
    struct queue *queue;
    uint32_t used = 0;
    uint8_t *at;
    int rc;

    snprintf(topic, sizeof(topic), "t%u", op->topic);
    source.topic = mq_str_of(topic);
    source.body = (struct mq_str){(const char *)body, op->body_bytes};
    queues = queue_table_topic(&run->store.queues, source.topic);
    rc = queues != NULL ? topic_queues_get(&run->store.queues, queues, source.queue_id, &queue) : MQ_ENOMEM;
    if (rc == 0) {
        rc = sequencer_reserve(run->sequencer, op->parts * record_build_bound(&source), &at);
    }
    if (rc != 0) {
        return rc;
    }
    source.store_ms = sequencer_store_ms(run->sequencer);
    for (uint32_t part = 0; part < op->parts; part++) {
        history_body(op, part, body);
        used += (uint32_t)record_build(&source, op->parts == 1, at + used);
    }
    pending.queue_id = queue->id;
    sequencer_add(run->sequencer, used, queue, op->parts, 0, &pending);
    return 0;
}

/* Inside: the request has arrived. */
static void on_request(void *data)
{
    struct op *op = data;
    struct member_run *run = op->node->run;
    int rc = MQ_ENOTLEADER;

    if (run != NULL && !run->stopping && run->sequencer != NULL) {
        switch (op->kind) {
        case OP_SEND:
        case OP_BATCH:
            rc = submit_records(run, op);
            break;
        case OP_OFFSET:
            rc = submit_offset(run, op);
            break;
        case OP_TOPIC:
            rc = submit_topic(run, op);
            break;
        case OP_LOCK:
        case OP_UNLOCK:
            rc = submit_lock(run, op);
            break;
        }
    }
    if (rc != 0) {
        answer(op, run, rc);
    }
}

bool cluster_submit(struct node *node, struct op *op)
{
    op->node = node;
    op->instance = node->instance;
    return node->process != NULL && process_call(node->process, on_request, op);
}
