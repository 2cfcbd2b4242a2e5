#include "tests/sim/operator.h"

#include "remoting/base/assert.h"
#include "remoting/base/heap.h"
#include "tests/sim/marks.h"

#include <inttypes.h>
#include <string.h>

#define LOOK_NS (400 * NS_PER_MS)
#define TRANSFER_MS 400u

static struct rng rng;
static struct world_event look;

/* ---- leadership ---- */

/* Inside: in the memory of the leader's process. */
struct transfer_call {
    struct rlog_transfer transfer;
};

static void on_transferred(struct rlog_transfer *transfer, int status)
{
    if (status == 0) {
        mark(MARK_TRANSFERRED);
    }
    mq_free(container_of(transfer, struct transfer_call, transfer));
}

static void call_transfer(void *data)
{
    struct node *node = data;
    struct transfer_call *call;

    if (node->run == NULL || node->run->log == NULL || node->run->stopping) {
        return;
    }
    call = mq_calloc(1, sizeof(*call));
    if (call != NULL &&
        rlog_transfer(node->run->log, node->transfer_to, TRANSFER_MS, &call->transfer, on_transferred) != 0) {
        mq_free(call);
    }
}

void operator_transfer(struct node *leader, uint32_t target)
{
    leader->transfer_to = target;
    (void)process_call(leader->process, call_transfer, leader);
}

/* ---- disks ---- */

struct replace_call {
    struct rlog_change change;
};

static void on_replaced(struct rlog_change *change, int status)
{
    world_tracef("replacing member %u: %d %s", change->id, status, change->text);
    mq_free(container_of(change, struct replace_call, change));
}

static void call_replace(void *data)
{
    struct node *wiped = data;
    struct node *leader = wiped->asked;
    struct replace_call *call;
    int rc;

    if (leader == NULL || leader->run == NULL || leader->run->log == NULL || leader->run->stopping) {
        return;
    }
    call = mq_calloc(1, sizeof(*call));
    if (call == NULL) {
        return;
    }
    rc = rlog_member_replace(leader->run->log, wiped->id, NULL, &call->change, on_replaced);
    if (rc != 0) {
        world_tracef("replacing member %u is refused: %s", wiped->id, call->change.text);
        mq_free(call);
    }
}

bool operator_is_voter(const struct node *node)
{
    const struct node *leader = cluster_leader();
    const struct membership *members;
    const struct member *member;

    if (leader == NULL || !cluster_is_up(node)) {
        return false;
    }
    members = &leader->run->log->driver.current;
    member = membership_find(members, node->id);
    return member != NULL && member->incarnation == node->run->log->meta.incarnation && member->role == MEMBER_VOTER;
}

static void on_look(struct world_event *event)
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        struct node *node = &nodes[i];
        struct node *leader = cluster_leader();

        if (!node->wiped) {
            continue;
        }
        if (operator_is_voter(node)) {
            node->wiped = false;
            mark(MARK_REPLACED);
            world_tracef("member %u is a voter again", node->id);
        } else if (leader != NULL && leader != node && cluster_is_up(node)) {
            node->asked = leader;
            (void)process_call(leader->process, call_replace, node);
        }
    }
    world_at(event, world_now() + LOOK_NS, on_look);
}

void operator_replace_disk(struct node *node)
{
    struct seen *seen = &node->seen;

    world_tracef("member %u gets an empty disk", node->id);
    if (node->process != NULL && process_alive(node->process)) {
        process_kill(node->process);
    }
    disk_wipe(machine_disk(node->machine));
    /* Another directory: it is bound by nothing that the old one has said. */
    node->wiped_pos = seen->on_platter != 0 ? seen->poss[seen->on_platter] : 0;
    seen->base = 0;
    seen->last = seen->last_term = seen->on_platter = 0;
    seen->promised_term = seen->vote_term = 0;
    seen->vote = 0;
    node->wiped = true;
    node->snapshot_flipped = node->meta_flipped = false;
    cluster_good_disk(node);
}

void operator_open(const struct plan *plan)
{
    rng_seed(&rng, plan->seed, 7);
    world_at(&look, world_now() + rng_below(&rng, LOOK_NS), on_look);
}

void operator_close(void)
{
    world_cancel(&look);
}
