#include "raft-log/members_inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>

#define TICK_MS 100u
#define ASK_MS 1000u   /* a node that is outside, or knows no leader, asks so often who the members are */
#define LINE_MS 10000u /* and says so in its log */

void members_init(struct members *members, struct rlog *log)
{
    memset(members, 0, sizeof(*members));
    members->log = log;
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

const char *members_configured_address(const struct rlog *log, uint32_t id)
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
        const char *address = member->added ? NULL : members_configured_address(log, member->id);

        reach_one(reach, member->id, address != NULL ? address : member->address);
    }
}

void members_update_peers(struct members *members)
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
        member_change_go_on(members);
    }
    busy = members->running != NULL || (is_leader(members) && someone_joins(members));
    if (busy) {
        member_change_promote(members);
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
    members_update_peers(members);
    look_at_applied(members);
    look_outside(members);
    look(members);
}

void members_start(struct members *members)
{
    warn_of_configuration(members);
    members_changed(members);
}
