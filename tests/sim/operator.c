/* What it wants of a member is written at the node; every LOOK_NS it sees whether that has come about, and asks
 * whoever leads once more if not. */
#include "tests/sim/operator.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "tests/sim/marks.h"

#include <inttypes.h>
#include <string.h>

#define LOOK_NS (400 * NS_PER_MS)
#define TRANSFER_MS 400u
#define GIVE_UP_NS (20 * NS_PER_S)
#define LEAVE_MAX_NS (5 * NS_PER_S) /* how long a process goes on that is no member any more */
#define SET_RIGHT_NS (12 * NS_PER_S)
#define VOTERS_MIN 3u

static struct rng rng;
static struct world_event look;

/* ---- leadership ---- */

/* Inside: in the memory of the leader's process. */
struct transfer_call {
    struct rlog_transfer transfer;
};

static void on_transferred(struct rlog_transfer *transfer, int status)
{
    mark(status == 0 ? MARK_TRANSFERRED : MARK_TRANSFER_FAILED);
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

/* ---- who is a member ---- */

bool operator_is_member(const struct node *node)
{
    return node->incarnation != 0 && membership_has(history_membership(), node->id, node->incarnation);
}

bool operator_is_voter(const struct node *node)
{
    return operator_is_member(node) && membership_find(history_membership(), node->id)->role == MEMBER_VOTER;
}

/* ---- changes of the membership ---- */

struct change_call {
    struct rlog_change change;
    struct node *node;
};

static const char *const wish_names[] = {"nothing with",        "replacing",        "adding",
                                         "adding as a learner", "giving a vote to", "removing"};

static void on_changed(struct rlog_change *change, int status)
{
    struct change_call *call = container_of(change, struct change_call, change);

    world_tracef("operator: %s member %u: %d %s", wish_names[call->node->wish], call->node->id, status, change->text);
    if (call->node->wish == WISH_REMOVE && status == MQ_ENOTLEADER) {
        mark(MARK_LEADER_REMOVED);
    }
    mq_free(call);
}

static int ask_for(struct rlog *log, struct node *node, struct rlog_change *change)
{
    char address[32];
    struct rlog_member member = {node->id, address};

    snprintf(address, sizeof(address), "%s:%d", machine_address(node->machine), CLUSTER_PORT);
    switch (node->wish) {
    case WISH_REPLACE:
        return rlog_member_replace(log, node->id, NULL, change, on_changed);
    case WISH_ADD:
    case WISH_ADD_LEARNER:
        return rlog_member_add(log, &member, node->wish == WISH_ADD_LEARNER, change, on_changed);
    case WISH_PROMOTE:
        return rlog_member_promote(log, node->id, change, on_changed);
    case WISH_REMOVE:
        return rlog_member_remove(log, node->id, change, on_changed);
    default:
        return MQ_EINVAL;
    }
}

/* Inside the leader's process. */
static void call_change(void *data)
{
    struct node *node = data;
    struct node *leader = node->asked;
    struct change_call *call;

    if (leader == NULL || leader->process != process_current() || leader->run == NULL || leader->run->log == NULL ||
        leader->run->stopping) {
        return; /* it comes late, and another one was asked meanwhile */
    }
    call = mq_calloc(1, sizeof(*call));
    if (call == NULL) {
        return;
    }
    call->node = node;
    if (ask_for(leader->run->log, node, &call->change) != 0) {
        world_tracef("operator: %s member %u is refused: %s", wish_names[node->wish], node->id, call->change.text);
        mq_free(call);
    }
}

static bool has_come_about(const struct node *node)
{
    switch (node->wish) {
    case WISH_REPLACE:
    case WISH_ADD:
    case WISH_PROMOTE:
        return operator_is_voter(node);
    case WISH_ADD_LEARNER:
        return operator_is_member(node);
    case WISH_REMOVE:
        return membership_find(history_membership(), node->id) == NULL;
    default:
        return false;
    }
}

/* Its process may go on for a while: it must disturb nobody. */
static void note_removed(struct node *node)
{
    mark(MARK_REMOVED);
    node->leaves_ns = world_now() + rng_below(&rng, LEAVE_MAX_NS);
}

static void end_wish(struct node *node)
{
    enum wish wish = node->wish;

    world_tracef("operator: %s member %u has come about", wish_names[wish], node->id);
    node->wish = WISH_NONE;
    switch (wish) {
    case WISH_REPLACE:
        node->wiped = false;
        mark(MARK_REPLACED);
        break;
    case WISH_ADD:
        mark(MARK_ADDED);
        break;
    case WISH_ADD_LEARNER:
        mark(MARK_LEARNER);
        node->wish = WISH_PROMOTE;
        node->ask_ns = world_now() + rng_below(&rng, 10 * NS_PER_S);
        node->give_up_ns = node->ask_ns + GIVE_UP_NS;
        break;
    case WISH_PROMOTE:
        mark(MARK_PROMOTED);
        break;
    case WISH_REMOVE:
        note_removed(node);
        break;
    default:
        break;
    }
}

/* It has a directory that nobody needs any more. */
static void leave(struct node *node)
{
    node->leaves_ns = 0;
    node->absent = true;
    if (node->process != NULL && process_alive(node->process)) {
        process_kill(node->process);
    }
    world_cancel(&node->restart);
    operator_empty_disk(node);
}

/* Whoever leads may be unknown to a node that was started long ago and is no member: it gets a new configuration. */
static void set_right(struct node *node)
{
    if (node->wish != WISH_REMOVE && !operator_is_member(node) && world_now() - node->began_ns > SET_RIGHT_NS) {
        node->began_ns = world_now();
        cluster_stop_in_order(node);
    }
}

static void look_at(struct node *node)
{
    struct node *leader = cluster_leader();

    if (node->leaves_ns != 0 && world_now() >= node->leaves_ns &&
        membership_find(history_membership(), node->id) == NULL) {
        leave(node);
    }
    if (node->wish == WISH_NONE || world_now() < node->ask_ns) {
        return;
    }
    if ((node->wish == WISH_ADD || node->wish == WISH_ADD_LEARNER) && node->incarnation != 0 &&
        membership_find(history_membership(), node->id) != NULL && !operator_is_member(node)) {
        node->wish = WISH_REPLACE; /* as it was told to do: it is a member with another directory */
    }
    if (has_come_about(node)) {
        end_wish(node);
    } else if (node->wish != WISH_REPLACE && world_now() >= node->give_up_ns) {
        world_tracef("operator: %s member %u is given up", wish_names[node->wish], node->id);
        node->wish = WISH_NONE;
    } else if (leader != NULL && (leader != node || node->wish == WISH_REMOVE) && !process_paused(leader->process) &&
               (node->wish == WISH_REMOVE || cluster_is_up(node))) {
        node->asked = leader;
        (void)process_call(leader->process, call_change, node);
        set_right(node);
    }
}

static void on_look(struct world_event *event)
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        look_at(&nodes[i]);
    }
    world_at(event, world_now() + LOOK_NS, on_look);
}

static void wish_for(struct node *node, enum wish wish)
{
    node->wish = wish;
    node->ask_ns = node->began_ns = world_now();
    node->give_up_ns = world_now() + GIVE_UP_NS;
}

bool operator_add(struct node *node, bool learner)
{
    if (!node->absent || node->wish != WISH_NONE || membership_find(history_membership(), node->id) != NULL) {
        return false;
    }
    node->absent = false;
    cluster_start(node);
    wish_for(node, learner ? WISH_ADD_LEARNER : WISH_ADD);
    return true;
}

bool operator_remove(struct node *node)
{
    const struct membership *members = history_membership();

    /* As many must be left as can do without one that is spoilt. */
    for (uint32_t i = 0; i < cluster_size(); i++) {
        if (nodes[i].wish == WISH_REMOVE || nodes[i].wiped) {
            return false;
        }
    }
    if (node->wish != WISH_NONE || membership_find(members, node->id) == NULL ||
        (operator_is_voter(node) && membership_voters(members) <= VOTERS_MIN)) {
        return false;
    }
    wish_for(node, WISH_REMOVE);
    return true;
}

/* ---- disks ---- */

/* Another directory: it is bound by nothing that the old one has said. */
void operator_empty_disk(struct node *node)
{
    struct seen *seen = &node->seen;

    disk_wipe(machine_disk(node->machine));
    node->wiped_pos = seen->on_platter != 0 ? seen->poss[seen->on_platter] : 0;
    seen->base = 0;
    seen->last = seen->last_term = seen->on_platter = 0;
    seen->promised_term = seen->vote_term = 0;
    seen->vote = 0;
    node->former_incarnation = node->incarnation;
    node->incarnation = 0;
    node->snapshot_flipped = node->meta_flipped = false;
    cluster_good_disk(node);
}

void operator_replace_disk(struct node *node)
{
    world_tracef("member %u gets an empty disk", node->id);
    if (node->process != NULL && process_alive(node->process)) {
        process_kill(node->process);
    }
    operator_empty_disk(node);
    node->wiped = true;
    wish_for(node, WISH_REPLACE);
}

/* ---- life ---- */

void operator_open(const struct plan *plan)
{
    rng_seed(&rng, plan->seed, 7);
    world_at(&look, world_now() + rng_below(&rng, LOOK_NS), on_look);
}

void operator_rest(void)
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        nodes[i].wish = nodes[i].wiped ? WISH_REPLACE : WISH_NONE;
    }
}

void operator_close(void)
{
    world_cancel(&look);
}
