/* An operation: next -> (a link) -> on_arrive -> cluster_submit -> workload_answered -> (a link) -> on_reply -> next.
 * Without an answer it ends with the member's process or with the client's patience; a late answer still counts. */
#include "tests/sim/workload.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "tests/sim/invariants.h"
#include "tests/sim/marks.h"

#include <inttypes.h>
#include <string.h>

#define CLIENTS_MAX 32
#define DEPTH_MAX 64
#define PATIENCE_NS (4 * NS_PER_S)
#define LOOK_NS (500 * NS_PER_MS)

struct client {
    struct op *ops[DEPTH_MAX]; /* under way; NULL: a free place */
    uint32_t n;
    struct node *target;
    struct world_event next; /* the next operation */
    struct world_event look; /* for those without an answer */
    uint64_t not_before_ns;
};

static struct client clients[CLIENTS_MAX];
static const struct plan *plan;
static struct rng rng;
static struct rng waiting_rng; /* of its own, so that older seeds stay what they were */
static struct rng flows_rng;   /* the same, of transactions and pops */
static struct rng back_rng;    /* the same, of messages that are sent back */
static struct rng order_rng;   /* the same, of pops in order */
static bool stopped;
static uint64_t acked;
static uint32_t n_clients; /* 0: not open */

static void on_next(struct world_event *event);

static uint64_t link_ns(void)
{
    return rng_between(&rng, 50 * NS_PER_US, 800 * NS_PER_US);
}

static void go_on(struct client *client, uint64_t wait_ns)
{
    uint64_t at = world_now() + wait_ns;

    if (stopped || (client->next.slot != 0 && client->next.at_ns <= at)) {
        return;
    }
    world_at(&client->next, at, on_next);
}

static uint64_t think_ns(void)
{
    return plan->think_ms == 0 ? 0 : rng_below(&rng, 2 * plan->think_ms * NS_PER_MS);
}

/* The client has no further interest in it. */
static void let_go(struct op *op)
{
    struct client *client = op->client;

    op->client = NULL;
    for (uint32_t i = 0; client != NULL && i < DEPTH_MAX; i++) {
        if (client->ops[i] == op) {
            client->ops[i] = NULL;
            client->n--;
            return;
        }
    }
}

static void end_unknown(struct op *op)
{
    if (op->outcome == OP_WAITING) {
        op->outcome = OP_UNKNOWN;
        mark(MARK_UNSURE);
        if (op->parts_committed != 0) {
            mark(MARK_UNSURE_COMMITTED);
        }
    }
}

/* ---- answers ---- */

static void on_reply(struct world_event *event)
{
    struct op *op = container_of(event, struct op, event);
    struct client *client = op->client;

    let_go(op);
    if (client == NULL) {
        return;
    }
    if (op->outcome == OP_REFUSED && op->status != MQ_EBUSY) {
        client->target = op->leader >= 1 && op->leader <= cluster_size() ? &nodes[op->leader - 1]
                                                                         : &nodes[rng_below(&rng, cluster_size())];
        go_on(client, rng_between(&rng, NS_PER_MS, 40 * NS_PER_MS));
        return;
    }
    go_on(client, think_ns());
}

void workload_answered(struct op *op)
{
    switch (op->status) {
    case 0:
        op->outcome = OP_ACKED;
        acked++;
        if (!invariants_forgiven()) {
            history_acked(op);
        }
        break;
    case MQ_EUNSURE:
        end_unknown(op);
        break;
    default:
        mark(op->status == MQ_EFULL ? MARK_REFUSED_SPACE : MARK_REFUSED_ROLE);
        op->outcome = OP_REFUSED;
        if (op->parts_committed != 0) {
            world_fail("refused-but-committed: operation %" PRIu64 " in entry %" PRIu64 " was refused with %s",
                       op->id, op->index, mq_strerror(op->status));
        }
        break;
    }
    world_at(&op->event, world_now() + link_ns(), on_reply);
}

void workload_ended(struct node *node)
{
    for (uint32_t c = 0; c < n_clients; c++) {
        struct client *client = &clients[c];

        for (uint32_t i = 0; i < DEPTH_MAX; i++) {
            struct op *op = client->ops[i];

            if (op != NULL && op->node == node && !op->answered) {
                end_unknown(op);
                let_go(op);
                client->target = &nodes[rng_below(&rng, cluster_size())];
                go_on(client, rng_between(&rng, NS_PER_MS, 100 * NS_PER_MS));
            }
        }
    }
}

/* ---- asking ---- */

static void on_arrive(struct world_event *event)
{
    struct op *op = container_of(event, struct op, event);

    if (!cluster_submit(op->node, op)) {
        op->answered = true;
        op->status = MQ_ENOTLEADER; /* connection refused */
        op->leader = 0;
        workload_answered(op);
    }
}

static void ask(struct op *op, struct node *node)
{
    op->node = node;
    op->sent_ns = world_now();
    world_at(&op->event, world_now() + link_ns(), on_arrive);
}

/* A message is to wait, or one that waits is to be recalled. */
static void draw_waiting(struct op *op)
{
    static const uint64_t longest_ms[] = {50, 1000, 10000, 40000, 200000};
    struct op *target;

    if (rng_below(&waiting_rng, 8) == 0) {
        target = history_recallable(rng_below(&waiting_rng, history_ops()));
        if (target != NULL) {
            history_op_is(op, OP_RECALL);
            op->target = target->id;
            target->recalled_by = op->id;
            return;
        }
    }
    history_op_is(op, OP_WAIT);
    op->level = (uint32_t)rng_below(&waiting_rng, 3) == 0 ? (uint32_t)rng_between(&waiting_rng, 1, QUEUES) : 0;
    op->delay_ms = rng_between(&waiting_rng, 1, longest_ms[rng_below(&waiting_rng, 5)]);
}

/* A message that was acknowledged comes back. Returns false where there is none. */
static bool draw_back(struct op *op)
{
    const struct op *target = history_sent(rng_below(&back_rng, history_ops()));

    if (target == NULL) {
        return false;
    }
    history_op_is(op, OP_BACK);
    op->target = target->id;
    op->dead = rng_below(&back_rng, 8) == 0;
    op->level = op->dead ? 0 : (uint32_t)rng_between(&back_rng, 1, QUEUES);
    return true;
}

static void draw_end(struct op *op, struct op *target, bool commit)
{
    history_op_is(op, OP_END);
    op->parts = 1;
    op->target = target->id;
    op->commit = commit;
    target->end_wish |= commit ? HALF_WISH_COMMIT : HALF_WISH_ROLLBACK;
}

/* Half of the producers vanish before they say how it ends; some say it twice, and not always the same. */
static void draw_half(struct op *op)
{
    struct op *target = NULL;

    if (rng_below(&flows_rng, 2) == 0) {
        target = history_prepared(rng_below(&flows_rng, history_ops()), rng_below(&flows_rng, 4) != 0);
    }
    if (target == NULL) {
        history_op_is(op, OP_PREPARE);
        return;
    }
    draw_end(op, target, rng_below(&flows_rng, 8) == 0 ? target->id % 3 == 0 : target->id % 3 != 0);
}

void workload_check_back(struct op *target, struct node *node)
{
    struct op *op;

    if (target == NULL || rng_below(&flows_rng, 3) == 0 || target->id % 64 == 0) {
        return;
    }
    op = history_op_new();
    if (op != NULL) {
        draw_end(op, target, target->id % 3 != 0);
        ask(op, node);
    }
}

static void draw_pop(struct op *op)
{
    static const uint64_t longest_ms[] = {300, 2000, 10000, 60000};
    struct op *target = NULL;

    if (rng_below(&flows_rng, 2) == 0) {
        target = history_popped(rng_below(&flows_rng, history_ops()));
    }
    op->delay_ms = rng_between(&flows_rng, 1, longest_ms[rng_below(&flows_rng, 4)]);
    if (target == NULL) {
        history_op_is(op, OP_POP);
        if (rng_below(&flows_rng, 4) == 0) {
            op->topic += TOPIC_RETRY;
            op->queue = 0;
        }
        return;
    }
    history_op_is(op, rng_below(&flows_rng, 4) == 0 ? OP_CHANGE : OP_ACK);
    op->target = target->id;
    op->bit = (uint32_t)rng_below(&flows_rng, target->n);
    target->ack_wish |= 1u << op->bit;
}

/* Queues are few, so that batches are met again while they are open. */
static void draw_order(struct op *op)
{
    static const uint64_t longest_ms[] = {10, 50, 300, 5000};
    struct op *target = NULL;

    if (rng_below(&order_rng, 3) != 0) {
        target = history_ordered(history_ops() - rng_below(&order_rng, history_ops() < 400 ? history_ops() : 400));
    }
    op->delay_ms = rng_between(&order_rng, 1, longest_ms[rng_below(&order_rng, 4)]);
    op->topic = 0;
    op->queue = (uint32_t)rng_below(&order_rng, 2);
    if (target == NULL) {
        history_op_is(op, OP_ORDER);
        return;
    }
    history_op_is(op, rng_below(&order_rng, 6) == 0 ? OP_ORDER_CHANGE : OP_ORDER_ACK);
    op->target = target->id;
    op->bit = (uint32_t)rng_below(&order_rng, target->n);
    target->ack_wish |= 1u << op->bit;
}

static void draw(struct op *op)
{
    static const struct {
        uint32_t share;
        enum op_kind kind;
    } kinds[] = {{60, OP_SEND}, {12, OP_BATCH}, {12, OP_OFFSET}, {2, OP_DELETE},
                 {4, OP_TOPIC}, {5, OP_LOCK},   {5, OP_UNLOCK}};
    uint32_t dice = (uint32_t)rng_below(&rng, 100);
    enum op_kind kind;
    uint32_t k = 0;

    while (dice >= kinds[k].share) {
        dice -= kinds[k++].share;
    }
    kind = kinds[k].kind;
    if (kind == OP_DELETE && plan->think_ms == 0) {
        kind = OP_OFFSET; /* a script with thousands a second: files of deleted queues stay until a snapshot */
    }
    op->topic = (uint32_t)rng_below(&rng, TOPICS);
    op->queue = (uint32_t)rng_below(&rng, QUEUES);
    op->group = (uint32_t)rng_below(&rng, GROUPS);
    op->parts = kind == OP_BATCH ? (uint32_t)rng_between(&rng, 2, plan->batch_max) : 1;
    /* Mostly small; a large one now and then. */
    op->body_bytes = (uint32_t)rng_between(&rng, 16, rng_below(&rng, 10) == 0 ? plan->body_max : 256);
    if (kind == OP_SEND && rng_below(&waiting_rng, 100) < plan->waiting_percent) {
        draw_waiting(op);
    } else if (kind == OP_SEND && rng_below(&back_rng, 100) < plan->back_percent && draw_back(op)) {
        return;
    } else if (kind == OP_SEND && rng_below(&flows_rng, 100) < plan->half_percent) {
        draw_half(op);
    } else if (kind == OP_SEND && rng_below(&flows_rng, 100) < plan->pop_percent) {
        draw_pop(op);
    } else if (kind == OP_SEND && rng_below(&order_rng, 100) < plan->order_percent) {
        draw_order(op);
    } else {
        history_op_is(op, kind);
    }
}

static void on_look(struct world_event *event)
{
    struct client *client = container_of(event, struct client, look);

    for (uint32_t i = 0; i < DEPTH_MAX; i++) {
        struct op *op = client->ops[i];

        if (op != NULL && !op->answered && world_now() - op->sent_ns > PATIENCE_NS) {
            end_unknown(op);
            let_go(op);
            client->target = &nodes[rng_below(&rng, cluster_size())];
            go_on(client, think_ns());
        }
    }
    if (!stopped || client->n != 0) {
        world_at(&client->look, world_now() + LOOK_NS, on_look);
    }
}

/* Another consumer pops while the acknowledgement is on its way. */
static void pop_beside(const struct op *ack)
{
    struct op *op = ack->kind == OP_ORDER_ACK && rng_below(&order_rng, 3) == 0 ? history_op_new() : NULL;

    if (op != NULL) {
        history_op_is(op, OP_ORDER);
        op->parts = 1;
        op->topic = ack->topic;
        op->queue = history_op(ack->target)->queue;
        op->delay_ms = rng_between(&order_rng, 1, 100);
        ask(op, ack->node);
    }
}

static void on_next(struct world_event *event)
{
    struct client *client = container_of(event, struct client, next);
    struct op *op;
    uint32_t i = 0;

    if (stopped || client->n >= plan->depth) {
        return;
    }
    while (client->ops[i] != NULL) {
        i++;
    }
    op = history_op_new();
    if (op == NULL) {
        return;
    }
    draw(op);
    op->client = client;
    client->ops[i] = op;
    client->n++;
    ask(op, client->target);
    pop_beside(op);
    if (client->n < plan->depth) {
        go_on(client, think_ns());
    }
}

struct op *workload_send(struct node *node, uint32_t body_bytes)
{
    struct op *op = history_op_new();

    if (op != NULL) {
        history_op_is(op, OP_SEND);
        op->parts = 1;
        op->body_bytes = body_bytes;
        ask(op, node);
    }
    return op;
}

struct op *workload_wait(struct node *node, uint32_t body_bytes, uint64_t delay_ms)
{
    struct op *op = history_op_new();

    if (op != NULL) {
        history_op_is(op, OP_WAIT);
        op->parts = 1;
        op->body_bytes = body_bytes;
        op->delay_ms = delay_ms;
        ask(op, node);
    }
    return op;
}

struct op *workload_probe(struct node *node)
{
    return workload_send(node, 32);
}

/* ---- life ---- */

void workload_open(const struct plan *of)
{
    plan = of;
    stopped = false;
    acked = 0;
    n_clients = plan->clients;
    memset(clients, 0, sizeof(clients));
    rng_seed(&rng, plan->seed, 4);
    rng_seed(&waiting_rng, plan->seed, 10);
    rng_seed(&flows_rng, plan->seed, 12);
    rng_seed(&back_rng, plan->seed, 15);
    rng_seed(&order_rng, plan->seed, 17);
    for (uint32_t c = 0; c < n_clients; c++) {
        clients[c].target = &nodes[rng_below(&rng, cluster_size())];
        world_at(&clients[c].next, world_now() + rng_below(&rng, 200 * NS_PER_MS), on_next);
        world_at(&clients[c].look, world_now() + LOOK_NS, on_look);
    }
}

void workload_stop(void)
{
    stopped = true;
}

uint32_t workload_under_way(void)
{
    uint32_t n = 0;

    for (uint32_t c = 0; c < n_clients; c++) {
        n += clients[c].n;
    }
    return n;
}

uint64_t workload_acked(void)
{
    return acked;
}

void workload_close(void)
{
    for (uint32_t c = 0; c < CLIENTS_MAX; c++) {
        world_cancel(&clients[c].next);
        world_cancel(&clients[c].look);
    }
    n_clients = 0;
    acked = 0;
}
