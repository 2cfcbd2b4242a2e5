/* One change of the membership on its way: whether it is safe, its steps, and who asks for it. members.h tells the
 * whole way. */
#include "raft-log/members_inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REACH_MS 5000u    /* for a new directory to answer */
#define LEVEL_ENTRIES 64u /* a learner has caught up when it lacks no more entries than these ... */
#define LEVEL_MS 1000     /* ... or no older ones than this */

enum kind { CHANGE_ADD, CHANGE_ADD_LEARNER, CHANGE_PROMOTE, CHANGE_REMOVE, CHANGE_REPLACE };

enum stage { REACHING, REMOVING, ADDING, PROMOTING, HANDING_OVER };

/* ---- is it safe ---- */

static bool answers(const struct members *members, uint32_t id)
{
    const struct driver *driver = driver_of(members);
    uint64_t heard = core_heard_ms(driver->core, id);

    return id == driver->options.self || (heard != 0 && now_of(members) - heard < 2u * driver->options.election_ms);
}

/* Whether a majority of @next's voters answers now. */
static bool majority_answers(const struct members *members, const struct membership *next, char *text)
{
    uint32_t voters = membership_voters(next);
    uint32_t n = 0;

    for (uint32_t i = 0; i < next->n; i++) {
        n += next->members[i].role == MEMBER_VOTER && answers(members, next->members[i].id);
    }
    if (n > voters / 2) {
        return true;
    }
    (void)snprintf(text, RLOG_CHANGE_TEXT_MAX,
                   "refused: of the %" PRIu32 " voters there would be only %" PRIu32
                   " answer, and the group would stand still",
                   voters, n);
    return false;
}

struct lag {
    uint64_t entries;
    int64_t ms;
    bool answers, level;
};

static struct lag lag_of(const struct members *members, uint32_t id)
{
    const struct driver *driver = driver_of(members);
    struct commitlog *log = driver->options.log;
    uint64_t match = core_match(driver->core, id);
    struct commitlog_entry entry;
    struct lag lag = {.entries = commitlog_last_index(log) - match, .answers = answers(members, id)};

    lag.ms = match > 0 && commitlog_get(log, match, &entry) == 0
                 ? commitlog_last_store_ms(log) - entry.header.store_ms
                 : INT64_MAX;
    lag.level = RAFTMQ_DEFECT(PROMOTED_EARLY) || (lag.answers && match >= driver->current_index &&
                                                  (lag.entries <= LEVEL_ENTRIES || lag.ms <= LEVEL_MS));
    return lag;
}

/* ---- steps of a change ---- */

static void end(struct members *members, int status)
{
    struct rlog_change *change = members->running;

    members->running = NULL;
    mq_log_info("members", "%s", change->text);
    members_update_peers(members);
    change->cb(change, status);
}

static bool may_append(const struct members *members)
{
    const struct driver *driver = driver_of(members);

    return is_leader(members) && driver->transfer == NULL && core_can_change(driver->core) &&
           driver->current_index <= driver->applied;
}

static int append(struct members *members, const struct membership *next, enum stage stage)
{
    struct rlog_change *change = members->running;
    int rc = driver_change(driver_of(members), next);

    if (rc == 0) {
        change->stage = stage;
        change->index = commitlog_last_index(driver_of(members)->options.log);
    }
    return rc;
}

static int append_added(struct members *members)
{
    struct rlog_change *change = members->running;
    struct membership next = driver_of(members)->current;
    struct member member = {
        .id = change->id,
        .incarnation = change->incarnation,
        .role = change->kind == CHANGE_ADD_LEARNER ? MEMBER_LEARNER : MEMBER_JOINING,
        .added = true,
    };
    int rc;

    memcpy(member.address, change->address, sizeof(member.address));
    rc = membership_put(&next, &member);
    return rc == 0 ? append(members, &next, ADDING) : rc;
}

static int append_removed(struct members *members)
{
    struct rlog_change *change = members->running;
    struct membership next = driver_of(members)->current;
    int rc = membership_remove(&next, change->id);

    MQ_ASSERT(rc == 0);
    if (membership_voters(&next) == 0) {
        (void)snprintf(change->text, sizeof(change->text), "refused: member %" PRIu32 " is the last voter",
                       change->id);
        return MQ_EINVAL;
    }
    return majority_answers(members, &next, change->text) ? append(members, &next, REMOVING) : MQ_EINVAL;
}

static int append_promoted(struct members *members, uint32_t id, char *text)
{
    struct membership next = driver_of(members)->current;
    struct member *member = (struct member *)membership_find(&next, id);

    member->role = MEMBER_VOTER;
    return majority_answers(members, &next, text) ? driver_change(driver_of(members), &next) : MQ_EINVAL;
}

static void fail(struct members *members, int rc)
{
    struct rlog_change *change = members->running;

    if (rc != MQ_EINVAL) {
        (void)snprintf(change->text, sizeof(change->text), "member %" PRIu32 ": %s", change->id, mq_strerror(rc));
    }
    end(members, rc);
}

/* The directory that answers as member @change->id; 0: none has since the change was asked for. A connection alone
 * proves nothing: it may be to a process that is gone, whose directory nobody will ever use again. */
static uint64_t answering(const struct members *members, const struct rlog_change *change)
{
    const struct peer *peer = peers_find(members->log->peers, change->id);

    return peer != NULL && peer->last_heard_ms + REACH_MS > change->end_ms ? peer_incarnation(peer) : 0;
}

/* The new directory answers, or time is up. */
static void go_on_reaching(struct members *members)
{
    struct rlog_change *change = members->running;
    const struct member *former = membership_find(&driver_of(members)->current, change->id);
    uint64_t incarnation = answering(members, change);
    int rc;

    if (incarnation != 0 && former != NULL && former->incarnation == incarnation && former->role != MEMBER_VOTER) {
        (void)snprintf(change->text, sizeof(change->text), "member %" PRIu32 " is joining already", change->id);
        end(members, 0);
        return;
    }
    if (incarnation == 0 || (former != NULL && former->incarnation == incarnation)) {
        if (now_of(members) >= change->end_ms) {
            (void)snprintf(change->text, sizeof(change->text),
                           incarnation == 0 ? "no node answers at %.100s as member %" PRIu32
                                              " of this group: is it started, with all members in its dLegerPeers?"
                                            : "at %.100s member %" PRIu32
                                              " has the directory that is a member already",
                           change->address, change->id);
            end(members, incarnation == 0 ? MQ_ETIMEDOUT : MQ_EEXIST);
        }
        return;
    }
    if (!may_append(members)) {
        return;
    }
    change->incarnation = incarnation;
    rc = former != NULL ? append_removed(members) : append_added(members);
    if (rc != 0) {
        fail(members, rc);
    }
}

static void finish(struct members *members)
{
    struct rlog_change *change = members->running;

    switch ((enum stage)change->stage) {
    case ADDING:
        (void)snprintf(change->text, sizeof(change->text), "member %" PRIu32 " at %.100s gets the log%s", change->id,
                       change->address,
                       change->kind == CHANGE_ADD_LEARNER ? " as a learner"
                                                          : "; it becomes a voter once it has caught up");
        break;
    case PROMOTING:
        (void)snprintf(change->text, sizeof(change->text), "member %" PRIu32 " is a voter now", change->id);
        break;
    default:
        (void)snprintf(change->text, sizeof(change->text), "member %" PRIu32 " was removed", change->id);
        break;
    }
    end(members, 0);
}

void member_change_go_on(struct members *members)
{
    struct rlog_change *change = members->running;
    int rc;

    if (change->stage == HANDING_OVER) {
        return; /* the transfer ends it */
    }
    if (!is_leader(members)) {
        (void)snprintf(change->text, sizeof(change->text),
                       "this node leads no more; ask the next leader to go on with member %" PRIu32, change->id);
        end(members, MQ_EUNSURE);
    } else if (change->stage == REACHING) {
        go_on_reaching(members);
    } else if (driver_of(members)->applied >= change->index) {
        if (change->stage != REMOVING || change->kind != CHANGE_REPLACE) {
            finish(members);
            return;
        }
        if (!may_append(members)) {
            return; /* leadership may be on its way elsewhere; the tick looks again */
        }
        rc = append_added(members);
        if (rc != 0) {
            fail(members, rc);
        }
    }
}

/* Makes one voter of those who joined and have caught up. */
void member_change_promote(struct members *members)
{
    const struct membership *current = &driver_of(members)->current;
    char text[RLOG_CHANGE_TEXT_MAX];

    for (uint32_t i = 0; i < current->n && may_append(members); i++) {
        const struct member *member = &current->members[i];
        uint32_t id = member->id;

        if (member->role == MEMBER_JOINING && lag_of(members, id).level && append_promoted(members, id, text) == 0) {
            mq_log_info("members", "member %" PRIu32 " has caught up and is made a voter", id);
            return;
        }
    }
}

void members_stop(struct members *members)
{
    struct rlog_change *change = members->running;

    uv_timer_stop(&members->tick);
    if (change != NULL && change->stage != HANDING_OVER) {
        members->running = NULL;
        (void)snprintf(change->text, sizeof(change->text), "the node is stopping");
        change->cb(change, MQ_ECLOSED);
    }
}

const char *members_running(const struct members *members)
{
    static const char *const texts[] = {
        [REACHING] = "waiting for the new directory to answer",
        [REMOVING] = "removing a member",
        [ADDING] = "adding a member",
        [PROMOTING] = "making a voter",
        [HANDING_OVER] = "handing leadership over",
    };

    return members->running != NULL ? texts[members->running->stage] : NULL;
}

/* ---- asking for a change ---- */

static int refuse(struct rlog_change *change, int rc, const char *why)
{
    (void)snprintf(change->text, sizeof(change->text), "%s", why);
    return rc;
}

static int begin(struct rlog *log, enum kind kind, uint32_t id, struct rlog_change *change, rlog_change_cb cb)
{
    struct members *members = &log->changes;

    change->cb = cb;
    change->kind = (int)kind;
    change->stage = REACHING;
    change->id = id;
    change->address[0] = '\0';
    change->text[0] = '\0';
    if (log->closing || driver_of(members)->core == NULL || !is_leader(members)) {
        return refuse(change, MQ_ENOTLEADER, "this node does not lead the group, or not yet: ask the leader");
    }
    if (members->running != NULL || !may_append(members)) {
        return refuse(change, MQ_EBUSY, "another change of the membership, or a transfer, is under way");
    }
    if (id == 0 || id > (1u << 31)) {
        return refuse(change, MQ_EINVAL, "a member's number is 1 to 2147483648");
    }
    return 0;
}

static int set_address(const struct members *members, struct rlog_change *change, const char *address)
{
    const struct membership *current = &driver_of(members)->current;

    if (address == NULL || strlen(address) > MEMBER_TEXT_MAX || strchr(address, ':') == NULL) {
        return refuse(change, MQ_EINVAL, "an address is host:port");
    }
    for (uint32_t i = 0; i < current->n; i++) {
        if (current->members[i].id != change->id && strcmp(current->members[i].address, address) == 0) {
            return refuse(change, MQ_EINVAL, "another member has that address");
        }
    }
    memcpy(change->address, address, strlen(address) + 1);
    return 0;
}

static int run_from_reaching(struct members *members, struct rlog_change *change)
{
    change->end_ms = now_of(members) + REACH_MS;
    members->running = change;
    members_update_peers(members);
    driver_of(members)->members_due = true; /* the first look comes from a later turn */
    driver_of(members)->options.env->soon(driver_of(members)->options.env);
    return 0;
}

int rlog_member_add(struct rlog *log, const struct rlog_member *member, bool learner, struct rlog_change *change,
                    rlog_change_cb cb)
{
    struct members *members = &log->changes;
    int rc = begin(log, learner ? CHANGE_ADD_LEARNER : CHANGE_ADD, member->id, change, cb);

    if (rc != 0) {
        return rc;
    }
    if (membership_find(&log->driver.current, member->id) != NULL) {
        return refuse(change, MQ_EEXIST, "it is a member already; a new directory of it is admitted by replace");
    }
    if (log->driver.current.n == RLOG_MEMBERS_MAX) {
        return refuse(change, MQ_ETOOBIG, "the group has as many members as it can");
    }
    rc = set_address(members, change, member->address);
    return rc == 0 ? run_from_reaching(members, change) : rc;
}

int rlog_member_replace(struct rlog *log, uint32_t id, const char *address, struct rlog_change *change,
                        rlog_change_cb cb)
{
    struct members *members = &log->changes;
    const struct member *former;
    int rc = begin(log, CHANGE_REPLACE, id, change, cb);

    if (rc != 0) {
        return rc;
    }
    former = membership_find(&log->driver.current, id);
    if (id == log->options.self) {
        return refuse(change, MQ_EINVAL, "this is the leader itself, whose directory is a member");
    }
    if (address == NULL) {
        address = members_configured_address(log, id);
        address = former != NULL && (former->added || address == NULL) ? former->address : address;
    }
    if (address == NULL) {
        return refuse(change, MQ_ENOTFOUND, "no such member, and no address was given");
    }
    rc = set_address(members, change, address);
    return rc == 0 ? run_from_reaching(members, change) : rc;
}

int rlog_member_promote(struct rlog *log, uint32_t id, struct rlog_change *change, rlog_change_cb cb)
{
    struct members *members = &log->changes;
    const struct member *member;
    struct lag lag;
    int rc = begin(log, CHANGE_PROMOTE, id, change, cb);

    if (rc != 0) {
        return rc;
    }
    member = membership_find(&log->driver.current, id);
    if (member == NULL || member->role == MEMBER_VOTER) {
        return refuse(change, member == NULL ? MQ_ENOTFOUND : MQ_EEXIST,
                      member == NULL ? "no such member" : "it is a voter already");
    }
    lag = lag_of(members, id);
    if (!lag.level) {
        (void)snprintf(change->text, sizeof(change->text),
                       "refused: member %" PRIu32 " %s, lacks %" PRIu64
                       " entries; it must lack at most %u, or the last second",
                       id, lag.answers ? "answers" : "does not answer", lag.entries, LEVEL_ENTRIES);
        return MQ_EINVAL;
    }
    rc = append_promoted(members, id, change->text);
    if (rc != 0) {
        return rc;
    }
    change->stage = PROMOTING;
    change->index = commitlog_last_index(log->commitlog);
    members->running = change;
    return 0;
}

static void on_handed_over(struct rlog_transfer *transfer, int status)
{
    struct members *members = transfer->data;
    struct rlog_change *change = members->running;

    members->running = NULL;
    if (transfer->leader != 0 && transfer->leader != members->log->options.self) {
        (void)snprintf(change->text, sizeof(change->text),
                       "member %" PRIu32 " led; member %" PRIu32 " leads now and is to be asked again", change->id,
                       transfer->leader);
        status = MQ_ENOTLEADER;
    } else {
        (void)snprintf(change->text, sizeof(change->text), "leadership could not be handed over: %s",
                       mq_strerror(status));
    }
    change->cb(change, status);
}

static int remove_self(struct members *members, struct rlog_change *change)
{
    int rc;

    if (membership_voters(&driver_of(members)->current) == 1) {
        return refuse(change, MQ_EINVAL, "refused: it is the last voter");
    }
    change->transfer.data = members;
    rc = rlog_transfer(members->log, 0, 2 * RLOG_TRANSFER_MS, &change->transfer, on_handed_over);
    if (rc != 0) {
        return refuse(change, rc, "it leads, and no other voter answers to take over");
    }
    change->stage = HANDING_OVER;
    members->running = change;
    return 0;
}

int rlog_member_remove(struct rlog *log, uint32_t id, struct rlog_change *change, rlog_change_cb cb)
{
    struct members *members = &log->changes;
    int rc = begin(log, CHANGE_REMOVE, id, change, cb);

    if (rc != 0) {
        return rc;
    }
    if (membership_find(&log->driver.current, id) == NULL) {
        return refuse(change, MQ_ENOTFOUND, "no such member");
    }
    if (id == log->options.self) {
        return remove_self(members, change);
    }
    members->running = change;
    rc = append_removed(members);
    if (rc != 0) {
        members->running = NULL;
        if (change->text[0] == '\0') {
            (void)refuse(change, rc, mq_strerror(rc));
        }
    }
    return rc;
}
