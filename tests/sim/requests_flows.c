/* Requests that flows go on with: transactions and pops, as broker/processor/send.c, transaction.c, pop.c and
 * pop_ack.c propose them. A number of an operation takes the place of the pop time. */
#include "tests/sim/requests_inside.h"

#include "broker/flow/retry.h"
#include "broker/state/bundle.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/ensure.h"
#include "broker/store/fetch.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"
#include "tests/sim/workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define GROUP "p"
#define PERM (TOPIC_PERM_READ | TOPIC_PERM_WRITE)

/* ---- transactions ---- */

int submit_prepare(struct member_run *run, struct op *op)
{
    struct sequencer_pending pending = {.done = request_done, .data = op, .records = 1};
    struct mq_str topic = mq_str_of(history_topic_name(op->topic));
    char queue_id[16], group[] = "producers";
    struct record_property put[] = {{PROTO_PROP_REAL_TOPIC, topic}, {PROTO_PROP_REAL_QUEUE_ID, {queue_id, 1}}};
    struct record_source source = {
        .topic = HALF_TOPIC,
        .born_ms = mq_clock_wall_ms(),
        .born_host = {.ip = {10, 0, 1, 1}, .ip_bytes = 4, .port = 1},
        .store_host = {.ip = {10, 0, 0, (uint8_t)run->node->id}, .ip_bytes = 4, .port = 10911},
        .body = {(const char *)run->body, op->body_bytes},
        .put = put,
        .n_put = 2,
    };
    Raftmq__HalfPut item = RAFTMQ__HALF_PUT__INIT;
    struct bundle_part parts[] = {{.kind = BUNDLE_NEW, .source = &source, .own = true},
                                  {.kind = BUNDLE_ITEM, .type = COMMAND_HALF_PUT, .item = &item.base}};
    struct queue *queue;
    int rc;

    snprintf(queue_id, sizeof(queue_id), "%u", op->queue);
    item.producer_group = group;
    item.born_ms = source.born_ms;
    item.check_ms = half_first_check(&run->flows.half.rules, 0, source.born_ms);
    history_body(op, 0, run->body);
    rc = ensure_queue(&run->state, run->sequencer, topic, QUEUES, PERM, (int32_t)op->queue, &queue);
    if (rc == 0) {
        rc = ensure_queue(&run->state, run->sequencer, HALF_TOPIC, 1, PERM, 0, &parts[0].queue);
    }
    return rc == 0 ? bundle_add(run->sequencer, &run->store, parts, 2, &pending, 0) : rc;
}

static void unmark(struct member_run *run, const struct op *op)
{
    struct half *half = half_table_find(&run->state.halves, op->pos);

    if (half != NULL && op->leads == run->state.halves.leads) {
        half_table_unmark(&run->state.halves, half, HALF_MARK_ENDING);
    }
}

static void on_ended(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct op *op = p->data;

    if (op->node->run != NULL) {
        unmark(op->node->run, op);
    }
    request_answer(op, op->node->run, outcome->status);
}

static int commit(struct member_run *run, struct op *op, const struct half *half, struct bundle_part *parts,
                  const struct sequencer_pending *pending)
{
    struct record_copy copy = {.sys_flag_clear = PROTO_SYS_TRANSACTION_MASK,
                               .sys_flag_set = 8,
                               .reconsume_times = -1,
                               .prepared_pos = (int64_t)half->pos};
    const struct op *target = history_op(op->target);
    struct reader_view view;
    int rc = store_record_at(&run->store, half->record_pos, &view);

    if (rc != 0) {
        return MQ_EBUSY;
    }
    if (!half_is_record(half, view.at, view.bytes)) {
        rlog_suspect(run->log, half->record_pos);
        net_ref_release(view.ref);
        return MQ_EBUSY;
    }
    copy.record = view.at;
    copy.bytes = view.bytes;
    copy.topic = mq_str_of(history_topic_name(target->topic));
    copy.queue_id = (int32_t)target->queue;
    parts[0] = (struct bundle_part){.kind = BUNDLE_COPY, .copy = &copy};
    rc = ensure_queue(&run->state, run->sequencer, copy.topic, QUEUES, PERM, copy.queue_id, &parts[0].queue);
    if (rc == 0) {
        rc = bundle_add(run->sequencer, &run->store, parts, 2, pending, 0);
    }
    net_ref_release(view.ref);
    return rc;
}

int submit_end(struct member_run *run, struct op *op)
{
    const struct sequencer_pending pending = {.done = on_ended, .data = op};
    const struct op *target = history_op(op->target);
    struct half *half = half_table_find(&run->state.halves, target->row_pos);
    Raftmq__HalfEnd item = RAFTMQ__HALF_END__INIT;
    struct bundle_part parts[2] = {[1] = {.kind = BUNDLE_ITEM, .type = COMMAND_HALF_END, .item = &item.base}};
    int rc;

    if (half == NULL || (half->marks & HALF_MARK_ENDING) != 0) {
        return MQ_ENOTFOUND;
    }
    op->pos = item.pos = half->pos;
    op->leads = run->state.halves.leads;
    half_table_mark(&run->state.halves, half, HALF_MARK_ENDING);
    if (op->commit) {
        item.cause = RAFTMQ__HALF_CAUSE__HALF_COMMITTED;
        rc = commit(run, op, half, parts, &pending);
    } else {
        item.cause = RAFTMQ__HALF_CAUSE__HALF_ROLLED_BACK;
        rc = bundle_add(run->sequencer, &run->store, &parts[1], 1, &pending, 0);
    }
    if (rc != 0) {
        unmark(run, op);
    }
    return rc;
}

void requests_check_back(void *data, const struct half *half, const struct reader_view *record)
{
    struct member_run *run = data;
    struct proto_record rec;
    uint64_t id;

    (void)half;
    if (proto_record_decode(record->at, record->bytes, &rec) == 0 && rec.body.len >= sizeof(id)) {
        memcpy(&id, rec.body.at, sizeof(id));
        workload_check_back(history_op(id), run->node);
    }
}

/* ---- pops ---- */

static struct pop_queue *hold(struct member_run *run, const struct op *op)
{
    return pop_table_hold(&run->state.pops, MQ_STR(GROUP), mq_str_of(history_topic_name(op->topic)),
                          (int32_t)op->queue);
}

static void end_taking(struct member_run *run, struct op *op)
{
    struct pop_queue *queue = pop_table_queue(&run->state.pops, MQ_STR(GROUP),
                                              mq_str_of(history_topic_name(op->topic)), (int32_t)op->queue);

    if (op->leads == run->state.pops.leads && --queue->taking == 0) {
        queue->taken = 0;
    }
    pop_table_release(&run->state.pops, queue);
}

static void on_taken(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct op *op = p->data;

    if (op->node->run != NULL) {
        end_taking(op->node->run, op);
    }
    request_answer(op, op->node->run, outcome->status);
}

/* The group is there, or on its way. */
static int ensure_group(struct member_run *run)
{
    char name[] = GROUP;
    Raftmq__GroupPut item = RAFTMQ__GROUP_PUT__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_GROUP_PUT, .item = &item.base};

    if (group_table_find(&run->state.groups, MQ_STR(GROUP)) != NULL) {
        return 0;
    }
    item.name = name;
    item.consume_enable = true;
    item.retry_queues = 1;
    item.retry_max_times = 16;
    return bundle_add(run->sequencer, &run->store, &part, 1, NULL, 0);
}

/* Where the next pop begins, and how many there are. */
static uint64_t look(struct member_run *run, const struct pop_queue *pops, struct queue *queue, uint32_t *n)
{
    int64_t offset = offset_table_get(&run->state.offsets, pops->group, pops->topic, pops->queue_id);
    uint64_t start = pops->taking != 0 ? pops->taken : offset < 0 ? 0 : (uint64_t)offset;

    *n = 0;
    if (start < queue->cq.min && !rlog_is_whole(run->log)) {
        return start; /* others have them */
    }
    start = start < queue->cq.min ? queue->cq.min : start;
    if (start < queue->cq.max) {
        *n = queue->cq.max - start < 8 ? (uint32_t)(queue->cq.max - start) : 8;
    }
    return start;
}

int submit_pop(struct member_run *run, struct op *op)
{
    static const uint32_t offsets[] = {0, 1, 2, 3, 4, 5, 6, 7};
    const struct sequencer_pending pending = {.done = on_taken, .data = op};
    struct mq_str name = mq_str_of(history_topic_name(op->topic));
    struct topic *topic = topic_table_find(&run->state.topics, name);
    struct queue *queue = topic != NULL ? topic_queues_find(topic->queues, (int32_t)op->queue) : NULL;
    Raftmq__PopTake item = RAFTMQ__POP_TAKE__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_POP_TAKE, .item = &item.base};
    struct pop_queue *pops;
    uint64_t last, answered, start;
    uint32_t n;
    int rc = run->role.kind == RLOG_WRITABLE ? ensure_group(run) : MQ_ENOTLEADER;

    sequencer_drafts_get(run->sequencer, &last, &answered);
    if (rc != 0 || queue == NULL || (op->topic < TOPICS && run->deleted_in[op->topic] > answered)) {
        return rc != 0 ? rc : MQ_ENOTFOUND;
    }
    pops = hold(run, op);
    start = look(run, pops, queue, &n);
    item.group = (char *)pops->group.at;
    item.topic = (char *)pops->topic.at;
    item.queue_id = pops->queue_id;
    item.start = (int64_t)start;
    item.offsets = (uint32_t *)offsets;
    item.n_offsets = n;
    item.pop_ms = (int64_t)op->id;
    item.until_ms = mq_clock_wall_ms() + (int64_t)op->delay_ms;
    item.next = (int64_t)(start + n);
    rc = n != 0 ? bundle_add(run->sequencer, &run->store, &part, 1, &pending, 0) : MQ_ENOTFOUND;
    if (rc != 0) {
        pop_table_release(&run->state.pops, pops);
        return rc;
    }
    op->leads = run->state.pops.leads;
    pops->taking++;
    pops->taken = start + n;
    return 0;
}

/* The check point that @op speaks of. NULL: over, or on its way back. */
static struct pop_check *check_of(struct member_run *run, const struct op *target)
{
    struct pop_queue *queue = pop_table_queue(&run->state.pops, MQ_STR(GROUP),
                                              mq_str_of(history_topic_name(target->topic)), (int32_t)target->queue);
    struct pop_check *check =
        queue != NULL ? pop_table_find(&run->state.pops, queue, target->first, (int64_t)target->id) : NULL;

    return check != NULL && !check->reviving ? check : NULL;
}

int submit_ack(struct member_run *run, struct op *op)
{
    const struct sequencer_pending pending = {.done = request_done, .data = op};
    const struct op *target = history_op(op->target);
    struct pop_check *check = run->role.kind == RLOG_WRITABLE ? check_of(run, target) : NULL;
    Raftmq__PopAck item = RAFTMQ__POP_ACK__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_POP_ACK, .item = &item.base};

    if (check == NULL) {
        return run->role.kind == RLOG_WRITABLE ? MQ_ENOTFOUND : MQ_ENOTLEADER;
    }
    item.group = (char *)check->key.queue->group.at;
    item.topic = (char *)check->key.queue->topic.at;
    item.queue_id = check->key.queue->queue_id;
    item.start = (int64_t)check->key.start;
    item.pop_ms = check->key.pop_ms;
    item.offsets = &op->bit;
    item.n_offsets = 1;
    return bundle_add(run->sequencer, &run->store, &part, 1, &pending, 0);
}

int submit_change(struct member_run *run, struct op *op)
{
    const struct sequencer_pending pending = {.done = request_done, .data = op};
    const struct op *target = history_op(op->target);
    struct pop_check *check = run->role.kind == RLOG_WRITABLE ? check_of(run, target) : NULL;
    Raftmq__PopChange item = RAFTMQ__POP_CHANGE__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_POP_CHANGE, .item = &item.base};

    if (check == NULL || pop_check_bit(check, target->first + op->bit) == 0) {
        return run->role.kind == RLOG_WRITABLE ? MQ_ENOTFOUND : MQ_ENOTLEADER;
    }
    item.group = (char *)check->key.queue->group.at;
    item.topic = (char *)check->key.queue->topic.at;
    item.queue_id = check->key.queue->queue_id;
    item.start = (int64_t)check->key.start;
    item.pop_ms = check->key.pop_ms;
    item.offset = op->bit;
    item.new_pop_ms = (int64_t)op->id;
    item.until_ms = mq_clock_wall_ms() + (int64_t)op->delay_ms;
    return bundle_add(run->sequencer, &run->store, &part, 1, &pending, 0);
}

/* ---- messages that are sent back: as broker/processor/send_back.c ---- */

int submit_back(struct member_run *run, struct op *op)
{
    const struct sequencer_pending pending = {.done = request_done, .data = op, .records = 1};
    const struct proto_host host = waits_host_of(op->id);
    struct retry_order order = {.delay_level = op->dead ? -1 : (int32_t)op->level,
                                .max_times = 16,
                                .queues = BACK_QUEUES,
                                .turn = op->queue,
                                .store_host = &host,
                                .now_ms = mq_clock_wall_ms()};
    struct delayed_plan plan;
    struct reader_view view;
    char group[16];
    int rc = MQ_ENOTLEADER;

    if (run->role.kind == RLOG_WRITABLE) {
        rc = store_fetch(&run->store, history_op(op->target)->pos, &view);
    }
    if (rc != 0) {
        return rc; /* its topic is gone, or retention has dropped it, or it is not applied here yet */
    }
    delayed_plan_level(&request_delayed_rules, order.delay_level, order.now_ms, &plan);
    op->due_ms = plan.due_ms;
    snprintf(group, sizeof(group), "g%u", op->group);
    order.group = mq_str_of(group);
    rc = retry_add(&run->flows.env, &request_delayed_rules, &order, view.at, view.bytes, &pending);
    net_ref_release(view.ref);
    return rc;
}
