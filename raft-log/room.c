#include "raft-log/room.h"

#include "raft-log/rlog.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <stdio.h>

#define TICK_MS 100u
#define TICKS_OF_A_REPORT 5u /* half a second: so often without a change */
#define FRESH_MS 2500u       /* what a member said counts so long: several ticks, some of which may be lost */

static enum rlog_space_level own_level(const struct room *room)
{
    return commitlog_space_level(room->log->commitlog);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Bytes of the reserve that are given out in half a second. */
static uint64_t given_max(const struct room *room)
{
    return commitlog_last_bytes(room->log->commitlog) / 12;
}

static bool leads(const struct room *room)
{
    const struct driver *driver = &room->log->driver;

    return driver->core != NULL && core_role(driver->core) == RLOG_LEADING;
}

enum rlog_space_level room_of_majority(const enum rlog_space_level *levels, uint32_t n)
{
    for (enum rlog_space_level level = RLOG_SPACE_ENOUGH; level < RLOG_SPACE_FULL; level++) {
        uint32_t have = 0;

        for (uint32_t i = 0; i < n; i++) {
            have += levels[i] <= level;
        }
        if (have > n / 2) {
            return level;
        }
    }
    return n != 0 ? RLOG_SPACE_FULL : RLOG_SPACE_ENOUGH;
}

/* ---- what the leader knows ---- */

static const struct room_report *report_of(const struct room *room, const struct member *member, uint64_t now)
{
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        const struct room_report *report = &room->reports[i];

        if (report->id == member->id && report->incarnation == member->incarnation &&
            now - report->heard_ms <= FRESH_MS) {
            return report;
        }
    }
    return NULL;
}

static void judge(struct room *room)
{
    const struct membership *members = &room->log->driver.current;
    enum rlog_space_level levels[RLOG_MEMBERS_MAX];
    uint64_t now = mq_clock_mono_ms();
    uint32_t n = 0;

    room->others = RLOG_SPACE_ENOUGH;
    room->short_one = NULL;
    for (uint32_t i = 0; leads(room) && !RAFTMQ_DEFECT(ROOM_OF_OTHERS_IGNORED) && i < members->n; i++) {
        const struct member *member = &members->members[i];
        const struct room_report *report = report_of(room, member, now);

        if (member->role != MEMBER_VOTER) {
            continue;
        }
        if (member->id == room->log->options.self) {
            levels[n++] = own_level(room);
            continue;
        }
        levels[n++] = report != NULL ? report->said.space.level : RLOG_SPACE_ENOUGH;
        if (report != NULL &&
            (room->short_one == NULL || report->said.space.level > room->short_one->said.space.level)) {
            room->short_one = report;
        }
    }
    room->others = room_of_majority(levels, n);
}

static void say_change(const struct room *room, enum rlog_space_level before)
{
    static const char *const WHAT[] = {"records are taken", "new records are refused", "records are refused",
                                       "everything is refused"};

    if (room->others == before || !leads(room)) {
        return;
    }
    mq_log_warn("raft", "room on the disks of a majority: %s%s%s", WHAT[room->others],
                room->short_one != NULL ? "; short of it: " : "",
                room->short_one != NULL ? room->short_one->text : "");
}

void room_heard(struct room *room, struct peer *peer, uint64_t incarnation, const struct peer_space *said)
{
    struct room_report *report = &room->reports[peer - peer->peers->list];
    enum rlog_space_level before = room->others;

    *report = (struct room_report){peer->id, incarnation, mq_clock_mono_ms(), *said, ""};
    (void)snprintf(report->text, sizeof(report->text), "%s of member %" PRIu32, said->path, peer->id);
    judge(room);
    say_change(room, before);
}

/* ---- what a follower says ---- */

static void tell_leader(struct room *room)
{
    const struct rlog *log = room->log;
    struct peer *leader = peers_find(log->peers, log->driver.role.leader);
    struct peer_space own;
    bool is_short;

    commitlog_space(log->commitlog, &own.space);
    own.space.level = own_level(room);
    room->said = own.space.level;
    is_short = own.space.level != RLOG_SPACE_ENOUGH;
    if ((!is_short && !room->told) || leader == NULL || leads(room)) {
        return;
    }
    (void)snprintf(own.path, sizeof(own.path), "%s", own.space.path);
    peers_send_space(leader, &own);
    room->told = is_short;
}

static void on_tick(uv_timer_t *tick)
{
    struct room *room = container_of(tick, struct room, tick);
    enum rlog_space_level before = room->others;

    bool report = ++room->ticks % TICKS_OF_A_REPORT == 0;

    if (report) {
        room->given -= min_u64(room->given, given_max(room));
    }
    if (report || own_level(room) != room->said) {
        tell_leader(room);
    }
    judge(room);
    say_change(room, before);
}

/* ---- */

void room_init(struct room *room, struct rlog *log)
{
    *room = (struct room){.log = log, .others = RLOG_SPACE_ENOUGH};
    uv_timer_init(&log->loop->uv, &room->tick);
}

void room_start(struct room *room)
{
    uv_timer_start(&room->tick, on_tick, TICK_MS, TICK_MS);
}

enum rlog_space_level room_level(const struct room *room)
{
    enum rlog_space_level own = own_level(room);

    return own > room->others ? own : room->others;
}

int room_reserve_take(struct room *room, uint32_t bytes)
{
    enum rlog_space_level level = room_level(room);
    uint64_t max = given_max(room);

    if (level == RLOG_SPACE_ENOUGH) {
        return 0;
    }
    if (level != RLOG_SPACE_LOW || RAFTMQ_DEFECT(RESERVE_CLOSED) ||
        (room->given == 0 ? bytes > 2 * max : room->given + bytes > max)) {
        return MQ_EFULL;
    }
    room->given += bytes;
    return 0;
}

void room_get(const struct room *room, struct rlog_space *out)
{
    commitlog_space(room->log->commitlog, out);
    out->member = room->log->options.self;
    if (room->short_one != NULL && room->others > out->level) {
        *out = room->short_one->said.space;
        out->level = room->others;
        out->path = room->short_one->text;
        out->member = room->short_one->id;
    }
}
