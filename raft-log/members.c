#include "raft-log/members.h"

#include "raft-log/rlog.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TICK_MS 100u
#define ASK_MS 1000u      /* a node that is outside, or knows no leader, asks so often who the members are */
#define LINE_MS 10000u    /* and says so in its log */
#define REACH_MS 5000u    /* for a new directory to answer */
#define LEVEL_ENTRIES 64u /* a learner has caught up when it lacks no more entries than these ... */
#define LEVEL_MS 1000     /* ... or no older ones than this */

enum kind { CHANGE_ADD, CHANGE_ADD_LEARNER, CHANGE_PROMOTE, CHANGE_REMOVE, CHANGE_REPLACE };
enum stage { REACHING, REMOVING, ADDING, PROMOTING, HANDING_OVER };

void members_init(struct members *members, struct rlog *log)
{
    memset(members, 0, sizeof(*members));
    members->log = log;
}

static struct driver *driver_of(const struct members *members)
{
    return &members->log->driver;
}

static uint64_t now_of(const struct members *members)
{
    return members->log->env.now_ms(&members->log->env);
}

static bool is_leader(const struct members *members)
{
    const struct driver *driver = driver_of(members);

    return driver->role.kind == RLOG_WRITABLE && core_role(driver->core) == RLOG_LEADING &&
           core_term(driver->core) == driver->role.term;
}

/* ---- whom to reach ---- */

struct reach {
    struct rlog_member list[PEERS_MAX];
    uint32_t n;
};

static void reach_one(struct reach *reach, uint32_t id, const char *address)
{
    for (uint32_t i = 0; i < reach->n; i++) {
        if (reach->list[i].id == id) {
            return;
        }
    }
    if (reach->n < PEERS_MAX) {
        reach->list[reach->n++] = (struct rlog_member){id, address};
    }
}

static const char *configured_address(const struct rlog *log, uint32_t id)
{
    for (uint32_t i = 0; i < log->options.n_members; i++) {
        if (log->members[i].id == id) {
            return log->members[i].address;
        }
    }
    return NULL;
}

/* Of a founding member the configuration knows the address better. */
static void reach_all(struct reach *reach, const struct rlog *log, const struct membership *membership)
{
    for (uint32_t i = 0; i < membership->n; i++) {
        const struct member *member = &membership->members[i];
        const char *address = member->added ? NULL : configured_address(log, member->id);

        reach_one(reach, member->id, address != NULL ? address : member->address);
    }
}

static void update_peers(struct members *members)
{
    struct rlog *log = members->log;
    const struct rlog_change *running = members->running;
    struct reach reach = {.n = 0};

    if (running != NULL && running->address[0] != '\0') {
        reach_one(&reach, running->id, running->address);
    }
    reach_all(&reach, log, &log->driver.current);
    reach_all(&reach, log, &members->heard);
    for (uint32_t i = 0; i < log->options.n_members; i++) {
        reach_one(&reach, log->members[i].id, log->members[i].address);
    }
    reach_all(&reach, log, &log->driver.former); /* who was removed last hears it from us */
    peers_set_membership(log->peers, &log->driver.current, members->heard.n > 0 ? &members->heard : NULL);
    peers_reach(log->peers, reach.list, reach.n);
}

/* ---- what members tell each other ---- */

const struct membership *members_newest(const struct members *members)
{
    const struct driver *driver = driver_of(members);

    return members->heard_index > driver->current_index ? &members->heard : &driver->current;
}

void members_say(const struct members *members, struct peer_founding *out)
{
    const struct driver *driver = driver_of(members);

    memset(out, 0, sizeof(*out));
    out->founded = true;
    out->membership = members->log->founding.membership;
    out->current = *driver_applied_membership(driver, &out->index);
}

void members_reached(struct members *members, struct peer *peer)
{
    struct peer_founding say;

    members_say(members, &say);
    peers_send_founding(peer, &say);
}

static void say_to_all(struct members *members)
{
    struct peers *peers = members->log->peers;

    for (uint32_t i = 0; i < peers->n; i++) {
        if (peers->list[i].id != 0) {
            members_reached(members, &peers->list[i]);
        }
    }
}

void members_heard(struct members *members, struct peer *peer, const struct peer_founding *said)
{
    const struct driver *driver = driver_of(members);
    uint64_t ours;

    (void)driver_applied_membership(driver, &ours);
    if (said->index < ours) {
        members_reached(members, peer);
        return;
    }
    if (said->index <= driver->current_index || said->index <= members->heard_index ||
        strcmp(said->current.group, members->log->options.group) != 0) {
        return;
    }
    members->heard = said->current;
    members->heard_index = said->index;
    members_changed(members);
}

/* ---- lines ---- */

static void print_members(const struct membership *membership, struct mq_buf *out)
{
    for (uint32_t i = 0; i < membership->n; i++) {
        const struct member *member = &membership->members[i];

        mq_buf_printf(out, "%s%" PRIu32 " %s", i > 0 ? ", " : "", member->id, member_role_name(member->role));
    }
}

static void say_members(const struct membership *membership, uint64_t index)
{
    struct mq_buf text = {0};

    print_members(membership, &text);
    mq_log_info("members", "as of entry %" PRIu64 ": %.*s", index, (int)text.len, (const char *)text.base);
    mq_buf_free(&text);
}

static void say_outside(struct members *members, const struct membership *known, uint64_t index)
{
    const struct rlog_options *o = &members->log->options;
    struct mq_buf text = {0};
    uint64_t now = now_of(members);

    if (now < members->next_line_ms) {
        return;
    }
    members->next_line_ms = now + LINE_MS;
    print_members(known, &text);
    mq_log_error("members",
                 "%s is no member of group %s: as of entry %" PRIu64
                 " its members are %.*s. This node neither votes nor stores anything; 'raftmq group %s' makes it one",
                 o->dir, o->group, index, (int)text.len, (const char *)text.base,
                 membership_find(known, o->self) != NULL ? "replace" : "add");
    mq_buf_free(&text);
}

static void warn_of_configuration(const struct members *members)
{
    const struct rlog_options *o = &members->log->options;
    const struct membership *current = &driver_of(members)->current;
    bool same = current->n == o->n_members;
    struct mq_buf text = {0};

    for (uint32_t i = 0; i < o->n_members; i++) {
        same = same && membership_find(current, o->members[i].id) != NULL;
    }
    if (same || current->n == 0) {
        return;
    }
    print_members(current, &text);
    mq_log_warn("members", "the configuration names other members of group %s than its log, which counts: %.*s",
                o->group, (int)text.len, (const char *)text.base);
    mq_buf_free(&text);
}

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
    update_peers(members);
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

static void go_on(struct members *members)
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
static void promote_joined(struct members *members)
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

/* ---- looking after it all ---- */

static void look_outside(struct members *members)
{
    const struct driver *driver = driver_of(members);
    const struct membership *known = members_newest(members);
    uint64_t index = known == &members->heard ? members->heard_index : driver->current_index;

    members->outside =
        known->n > 0 && !membership_has(known, members->log->options.self, members->log->meta.incarnation);
    driver_of(members)->outside = members->outside;
    if (members->outside) {
        say_outside(members, known, index);
    }
}

/* What was applied last is told to those whom it removed: they hear nothing else any more. */
static void look_at_applied(struct members *members)
{
    uint64_t index;
    const struct membership *applied = driver_applied_membership(driver_of(members), &index);
    struct membership before = members->told;

    if (index == members->told_index || applied->n == 0) {
        return;
    }
    members->told = *applied;
    members->told_index = index;
    say_members(applied, index);
    meta_end_joining(&members->log->meta);
    for (uint32_t i = 0; i < before.n; i++) {
        struct peer *peer = peers_find(members->log->peers, before.members[i].id);

        if (peer != NULL && !membership_has(applied, before.members[i].id, before.members[i].incarnation)) {
            members_reached(members, peer);
        }
    }
}

static bool someone_joins(const struct members *members)
{
    const struct membership *current = &driver_of(members)->current;

    for (uint32_t i = 0; i < current->n; i++) {
        if (current->members[i].role == MEMBER_JOINING) {
            return true;
        }
    }
    return false;
}

static void on_tick(uv_timer_t *tick);

static void look(struct members *members)
{
    struct rlog *log = members->log;
    bool lost = members->outside || log->driver.role.leader == 0;
    bool busy;

    if (members->running != NULL) {
        go_on(members);
    }
    busy = members->running != NULL || (is_leader(members) && someone_joins(members));
    if (busy) {
        promote_joined(members);
    }
    if (log->closing || (!busy && !lost)) {
        uv_timer_stop(&members->tick);
    } else if (!uv_is_active((uv_handle_t *)&members->tick) ||
               uv_timer_get_repeat(&members->tick) != (busy ? TICK_MS : ASK_MS)) {
        uv_timer_start(&members->tick, on_tick, busy ? TICK_MS : ASK_MS, busy ? TICK_MS : ASK_MS);
    }
}

static void on_tick(uv_timer_t *tick)
{
    struct members *members = container_of(tick, struct members, tick);

    if (members->outside || driver_of(members)->role.leader == 0) {
        say_to_all(members);
        look_outside(members);
    }
    look(members);
}

void members_changed(struct members *members)
{
    if (members->log->closing || driver_of(members)->core == NULL) {
        return;
    }
    if (driver_of(members)->current_index >= members->heard_index) {
        members->heard.n = 0;
        members->heard_index = 0;
    }
    update_peers(members);
    look_at_applied(members);
    look_outside(members);
    look(members);
}

void members_start(struct members *members)
{
    warn_of_configuration(members);
    members_changed(members);
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
    update_peers(members);
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
        address = configured_address(log, id);
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
