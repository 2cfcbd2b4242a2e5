/* A request comes in by process_call, as a frame's handler would find it, and is answered when the sequencer says so.
 */
#include "tests/sim/requests_inside.h"

#include "broker/flow/delayed.h"
#include "broker/state/bundle.h"
#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/ensure.h"
#include "broker/store/record_build.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "tests/sim/workload.h"

#include <inttypes.h>
#include <string.h>

/* Inside, or outside when nothing listens. */
void request_answer(struct op *op, struct member_run *run, int status)
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

void request_done(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct op *op = p->data;

    if (outcome->status == 0) {
        op->pos = outcome->payload_pos + p->at;
        op->qoff = p->qoff;
    }
    request_answer(op, op->node->run, outcome->status);
}

static int submit_item(struct member_run *run, struct op *op, enum command_type type, const ProtobufCMessage *message)
{
    struct sequencer_pending pending = {.done = request_done, .data = op};
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
    uint64_t last, answered;

    snprintf(group, sizeof(group), "g%u", op->group);
    snprintf(topic, sizeof(topic), "t%u", op->topic);
    sequencer_drafts_get(run->sequencer, &last, &answered);
    if (run->role.kind != RLOG_WRITABLE) {
        return MQ_ENOTLEADER;
    }
    if (topic_table_find(&run->state.topics, mq_str_of(topic)) == NULL || run->deleted_in[op->topic] > answered) {
        return MQ_ENOTFOUND;
    }
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

static int submit_delete(struct member_run *run, struct op *op)
{
    static const struct sequencer_pending nobody = {0};
    struct sequencer_pending pending = {.done = request_done, .data = op};
    Raftmq__TopicDelete own = RAFTMQ__TOPIC_DELETE__INIT, item = RAFTMQ__TOPIC_DELETE__INIT;
    char name[32], topic[16];
    struct topic_queues *queues;
    uint64_t answered;
    uint8_t *at;
    int rc;

    snprintf(name, sizeof(name), "d%" PRIu64, op->id);
    snprintf(topic, sizeof(topic), "t%u", op->topic);
    own.name = name;
    item.name = topic;
    queues = queue_table_topic(&run->store.queues, mq_str_of(topic));
    rc = queues != NULL ? sequencer_reserve(run->sequencer, command_bytes(&own.base) + command_bytes(&item.base), &at)
                        : MQ_ENOMEM;
    if (rc != 0) {
        return rc;
    }
    command_encode(COMMAND_TOPIC_DELETE, &own.base, at);
    command_encode(COMMAND_TOPIC_DELETE, &item.base, at + command_bytes(&own.base));
    sequencer_add(run->sequencer, command_bytes(&own.base), NULL, 0, 1, &nobody);
    if (sequencer_restart(run->sequencer, queues) != 0) {
        world_fail("harness: no memory");
    }
    sequencer_add(run->sequencer, command_bytes(&item.base), NULL, 0, 1, &pending);
    sequencer_drafts_get(run->sequencer, &run->deleted_in[op->topic], &answered);
    return 0;
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
    struct sequencer_pending pending = {.done = request_done, .data = op, .records = (uint16_t)op->parts};
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
    source.body = (struct mq_str){(const char *)run->body, op->body_bytes};
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
        history_body(op, part, run->body);
        used += (uint32_t)record_build(&source, op->parts == 1, at + used);
    }
    pending.queue_id = queue->id;
    sequencer_add(run->sequencer, used, queue, op->parts, 0, &pending);
    return 0;
}

static const int64_t level_ms[QUEUES] = {200, 1000, 5000, 60000};
const struct delayed_rules request_delayed_rules = {
    .level_ms = level_ms, .levels = QUEUES, .timers = true, .timer_max_ms = INT64_MAX};

/* As broker/processor/send.c. */
static int submit_waiting(struct member_run *run, struct op *op)
{
    struct sequencer_pending pending = {.done = request_done, .data = op, .records = 1};
    struct record_source source = {
        .born_ms = mq_clock_wall_ms(),
        .born_host = {.ip = {10, 0, 1, 1}, .ip_bytes = 4, .port = 1},
        .store_host = {.ip = {10, 0, 0, (uint8_t)run->node->id}, .ip_bytes = 4, .port = 10911},
        .body = {(const char *)run->body, op->body_bytes},
    };
    struct bundle_part parts[] = {{.kind = BUNDLE_NEW, .source = &source, .own = true},
                                  {.kind = BUNDLE_ITEM, .type = COMMAND_PENDING_PUT}};
    struct delayed_plan plan = {.due_ms = mq_clock_wall_ms() + (int64_t)op->delay_ms};
    struct mq_str topic = mq_str_of(history_topic_name(op->topic));
    struct delayed_store store;
    struct queue *queue;
    char key[24];
    int rc;

    if (op->level != 0) {
        delayed_plan_level(&request_delayed_rules, (int32_t)op->level, mq_clock_wall_ms(), &plan);
    }
    snprintf(key, sizeof(key), "k%" PRIu64, op->id);
    delayed_store_make(&store, &request_delayed_rules, &plan, topic, (int32_t)op->queue, mq_str_of(key));
    source.topic = store.topic;
    source.queue_id = store.queue_id;
    source.prepared_pos = store.due_ms;
    source.put = store.put;
    source.n_put = store.n_put;
    parts[1].item = &store.item.base;
    op->due_ms = plan.due_ms;
    history_body(op, 0, run->body);
    rc = ensure_queue(&run->state, run->sequencer, topic, QUEUES, DELAYED_TOPIC_PERM, (int32_t)op->queue, &queue);
    if (rc == 0) {
        rc = ensure_queue(&run->state, run->sequencer, store.topic, QUEUES, DELAYED_TOPIC_PERM, store.queue_id,
                          &parts[0].queue);
    }
    return rc == 0 ? bundle_add(run->sequencer, &run->store, parts, 2, &pending, 0) : rc;
}

static void on_recalled(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct op *op = p->data;
    struct member_run *run = op->node->run;

    if (outcome->status != 0 && run != NULL) {
        pending_table_give_back(&run->state.pending, op->pos, PENDING_WHEN_DUE);
    }
    request_answer(op, run, outcome->status);
}

/* As broker/processor/recall.c. */
static int submit_recall(struct member_run *run, struct op *op)
{
    const struct sequencer_pending pending = {.done = on_recalled, .data = op};
    const struct op *target = history_op(op->target);
    Raftmq__PendingEnd item = RAFTMQ__PENDING_END__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_PENDING_END, .item = &item.base};
    char key[24];
    int rc;

    snprintf(key, sizeof(key), "k%" PRIu64, target->id);
    if (pending_table_by_key(&run->state.pending,
                             pending_key_hash(mq_str_of(history_topic_name(target->topic)), mq_str_of(key)), &op->pos,
                             1) == 0 ||
        !pending_table_take(&run->state.pending, op->pos)) {
        return MQ_ENOTFOUND;
    }
    item.pos = op->pos;
    rc = bundle_add(run->sequencer, &run->store, &part, 1, &pending, 0);
    if (rc != 0) {
        pending_table_give_back(&run->state.pending, op->pos, PENDING_WHEN_DUE);
    }
    return rc;
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
        case OP_DELETE:
            rc = submit_delete(run, op);
            break;
        case OP_LOCK:
        case OP_UNLOCK:
            rc = submit_lock(run, op);
            break;
        case OP_WAIT:
            rc = submit_waiting(run, op);
            break;
        case OP_RECALL:
            rc = submit_recall(run, op);
            break;
        case OP_PREPARE:
            rc = submit_prepare(run, op);
            break;
        case OP_END:
            rc = submit_end(run, op);
            break;
        case OP_POP:
            rc = submit_pop(run, op);
            break;
        case OP_ACK:
            rc = submit_ack(run, op);
            break;
        case OP_CHANGE:
            rc = submit_change(run, op);
            break;
        case OP_BACK:
            rc = submit_back(run, op);
            break;
        case OP_ORDER:
            rc = submit_order(run, op);
            break;
        case OP_ORDER_ACK:
            rc = submit_order_ack(run, op);
            break;
        case OP_ORDER_CHANGE:
            rc = submit_order_change(run, op);
            break;
        }
    }
    if (rc != 0) {
        request_answer(op, run, rc);
    }
}

bool cluster_submit(struct node *node, struct op *op)
{
    op->node = node;
    op->instance = node->instance;
    return node->process != NULL && process_call(node->process, on_request, op);
}
