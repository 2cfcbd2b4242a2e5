#include "raft-log/founding.h"

#include "raft-log/rlog.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>

#define TICK_MS 50u         /* what one says is said again so often, until the group is founded */
#define FIRST_LINE_MS 1000u /* a group that is being started takes less */
#define LINE_MS 10000u

static const struct rlog_options *options_of(const struct founding *founding)
{
    return &founding->log->options;
}

static uint32_t slot_of(const struct founding *founding, uint32_t id)
{
    const struct rlog_options *o = options_of(founding);
    uint32_t i;

    for (i = 0; i < o->n_members && o->members[i].id != id; i++) {
    }
    return i;
}

/* ---- what is on disk ---- */

/* The first membership that is here: that of entry 1, or the one that the log begins behind. */
static int read_first_membership(const struct rlog *log, struct membership *out)
{
    struct commitlog_entry entry;
    struct rlog_base base;

    commitlog_base_get(log->commitlog, &base);
    if (base.index > 0 && base.change_bytes > 0) {
        return membership_decode(base.change, base.change_bytes, out);
    }
    if (commitlog_get(log->commitlog, base.index + 1, &entry) != 0 || entry.header.type != RLOG_CHANGE) {
        uint64_t index = commitlog_change_before(log->commitlog, commitlog_last_index(log->commitlog));

        if (base.index == 0 || index == 0 || commitlog_get(log->commitlog, index, &entry) != 0) {
            return MQ_ECORRUPT;
        }
    }
    return membership_decode(entry.bytes + RLOG_HEADER_BYTES, entry.header.payload_bytes, out);
}

int founding_open(struct founding *founding, struct rlog *log, struct mq_buf *problem)
{
    uint64_t last = commitlog_last_index(log->commitlog);
    uint64_t last_term = commitlog_term_of(log->commitlog, last);
    struct membership known;

    memset(founding, 0, sizeof(*founding));
    founding->log = log;
    if (last == 0) {
        founding->state = FOUNDING_WAITING;
        if (log->meta.term > 1 && log->meta.claim.index == 0 && !log->meta.joining) {
            mq_buf_printf(problem,
                          "%s: the log is missing, but this member has taken part up to term %" PRIu64
                          "; restore the directory as a whole",
                          log->options.dir, log->meta.term);
            return MQ_ECORRUPT;
        }
        return 0;
    }
    if (log->meta.term < last_term) {
        mq_buf_printf(problem,
                      "%s: meta says term %" PRIu64 ", the log has entries of term %" PRIu64
                      "; restore the directory as a whole",
                      log->options.dir, log->meta.term, last_term);
        return MQ_ECORRUPT;
    }
    if (read_first_membership(log, &known) != 0) {
        mq_buf_printf(problem, "%s: the log does not say who the members are", log->options.dir);
        return MQ_ECORRUPT;
    }
    if (commitlog_first_index(log->commitlog) == 1) {
        founding->membership = known;
    }
    if (strcmp(known.group, log->options.group) != 0) {
        mq_buf_printf(problem, "%s: belongs to group %s, not to %s", log->options.dir, known.group,
                      log->options.group);
        return MQ_EVERSION;
    }
    return 0;
}

/* ---- agreeing ---- */

/* A log whose first entry was bad is not that of an empty member: it only waits to hear of that entry. */
static bool is_empty(const struct founding *founding)
{
    return founding->log->meta.claim.index == 0;
}

/* The empty members we know of, ourselves included. */
static void own_view(const struct founding *founding, struct membership *out)
{
    const struct rlog_options *o = options_of(founding);
    int rc = membership_init(out, o->group);

    for (uint32_t i = 0; i < o->n_members && rc == 0; i++) {
        uint32_t id = o->members[i].id;

        if (id == o->self) {
            /* Incarnation 0 is nobody's: who is told of it founds nothing with us. */
            rc = membership_add(out, id, o->members[i].address,
                                is_empty(founding) ? founding->log->meta.incarnation : 0);
        } else if (founding->heard[i].n > 0) {
            const struct member *said = membership_find(&founding->heard[i], id);

            rc = membership_add(out, id, said->address, said->incarnation);
        }
    }
    MQ_ASSERT(rc == 0);
}

static void broadcast(struct founding *founding)
{
    struct peer_founding say = {.founded = false};
    struct peers *peers = founding->log->peers;

    own_view(founding, &say.membership);
    for (uint32_t i = 0; i < peers->n; i++) {
        if (peers->list[i].id != 0) {
            peers_send_founding(&peers->list[i], &say);
        }
    }
}

/* Writes entry 1, whose bytes are the same on all members: no time, no position but the first. */
static void write_founding(struct founding *founding, const struct membership *membership)
{
    struct rlog *log = founding->log;
    struct rlog_header header = {.type = RLOG_CHANGE, .index = 1, .term = 1};
    struct mq_buf payload = {0};
    struct rlog_blob *blob;
    int rc;

    founding->membership = *membership;
    founding->state = FOUNDING_WRITING;
    if (log->meta.term < 1) {
        meta_store(&log->meta, 1, 0);
    }
    rc = membership_encode(membership, &payload);
    if (rc == 0) {
        rc = blob_pool_take(&log->blobs, log, (uint32_t)payload.len, &blob);
    }
    MQ_ASSERT(rc == 0);
    memcpy(rlog_blob_payload(blob), payload.base, payload.len);
    blob->payload_bytes = (uint32_t)payload.len;
    header.payload_bytes = blob->payload_bytes;
    rc = commitlog_append(log->commitlog, &header, blob);
    MQ_ASSERT(rc == 0);
    commitlog_kick(log->commitlog);
    mq_buf_free(&payload);
}

static void found_if_agreed(struct founding *founding)
{
    const struct rlog_options *o = options_of(founding);
    struct membership view;

    if (founding->state != FOUNDING_WAITING) {
        return;
    }
    own_view(founding, &view);
    if (view.n != o->n_members) {
        return;
    }
    for (uint32_t i = 0; i < o->n_members; i++) {
        if (o->members[i].id != o->self && !membership_equal(&founding->heard[i], &view)) {
            return;
        }
    }
    mq_log_info("founding", "founding group %s with %" PRIu32 " members", o->group, view.n);
    write_founding(founding, &view);
}

/* ---- lines ---- */

static void say_missing(struct founding *founding)
{
    const struct rlog_options *o = options_of(founding);
    struct mq_buf names = {0};

    if (!is_empty(founding)) {
        mq_log_warn("founding", "entry 1 of group %s is bad here: waiting for a member that has it", o->group);
        return;
    }
    for (uint32_t i = 0; i < o->n_members; i++) {
        if (o->members[i].id != o->self && founding->heard[i].n == 0) {
            mq_buf_printf(&names, " %" PRIu32 " (%s)", o->members[i].id, o->members[i].address);
        }
    }
    mq_log_info("founding", "new group %s: waiting for%s%.*s", o->group,
                names.len > 0 ? " members" : " all members to see each other", (int)names.len,
                names.len > 0 ? (const char *)names.base : "");
    mq_buf_free(&names);
}

static void say_outside(const struct founding *founding)
{
    const struct rlog_options *o = options_of(founding);

    mq_log_error(
        "founding",
        "group %s exists, and %s, which is empty, is not the directory of its member %" PRIu32
        ": this node neither votes nor stores anything, because what that one had acknowledged is not here. "
        "Restore the directory of this member, or have this one taken in: raftmq group replace, or add if %" PRIu32
        " is a new member",
        o->group, o->dir, o->self, o->self);
}

static void on_tick(uv_timer_t *tick)
{
    struct founding *founding = container_of(tick, struct founding, tick);
    uint64_t now = mq_clock_mono_ms();

    if (founding->state == FOUNDING_DONE || founding->state == FOUNDING_WRITING) {
        uv_timer_stop(tick);
        return;
    }
    if (now >= founding->next_line_ms) {
        founding->next_line_ms = now + LINE_MS;
        if (founding->state == FOUNDING_OUTSIDE) {
            say_outside(founding);
        } else {
            say_missing(founding);
        }
    }
    broadcast(founding);
}

/* ---- events ---- */

void founding_start(struct founding *founding)
{
    if (founding->state != FOUNDING_WAITING) {
        return;
    }
    founding->next_line_ms = mq_clock_mono_ms() + FIRST_LINE_MS;
    uv_timer_start(&founding->tick, on_tick, TICK_MS, TICK_MS);
    found_if_agreed(founding); /* a group of one */
}

/* A member of a group that goes on: a leader brings everything. */
static void join_empty(struct founding *founding, struct peer *peer, const struct peer_founding *said)
{
    mq_log_info("founding", "group %s has taken this directory in: its log comes from the leader",
                options_of(founding)->group);
    meta_begin_joining(&founding->log->meta);
    founding->state = FOUNDING_DONE;
    uv_timer_stop(&founding->tick);
    rlog_take_part(founding->log);
    members_heard(&founding->log->changes, peer, said);
}

/* Someone says that the group exists. */
static void join(struct founding *founding, struct peer *peer, const struct peer_founding *said)
{
    const struct rlog_options *o = options_of(founding);
    uint64_t incarnation = founding->log->meta.incarnation;

    if (said->membership.n > 0 && strcmp(said->membership.group, o->group) == 0 &&
        (membership_has(&said->membership, o->self, incarnation) || RAFTMQ_DEFECT(WIPED_TAKES_PART)) &&
        !founding->log->meta.joining) {
        mq_log_info("founding", "group %s was founded with this directory, says member %" PRIu32, o->group, peer->id);
        write_founding(founding, &said->membership);
        return;
    }
    if (said->current.n > 0 && strcmp(said->current.group, o->group) == 0 &&
        membership_has(&said->current, o->self, incarnation)) {
        join_empty(founding, peer, said);
        return;
    }
    if (founding->state != FOUNDING_OUTSIDE) {
        founding->state = FOUNDING_OUTSIDE;
        founding->next_line_ms = 0;
    }
}

void founding_heard(struct founding *founding, struct peer *peer, uint64_t incarnation,
                    const struct peer_founding *said)
{
    uint32_t slot = slot_of(founding, peer->id);
    const struct member *itself = membership_find(&said->membership, peer->id);

    if (founding->state == FOUNDING_DONE) {
        if (said->founded) {
            members_heard(&founding->log->changes, peer, said);
        } else {
            members_reached(&founding->log->changes, peer);
        }
        return;
    }
    if (founding->state == FOUNDING_WRITING) {
        return;
    }
    if (said->founded) {
        join(founding, peer, said);
        return;
    }
    if (itself == NULL || itself->incarnation != incarnation) {
        return; /* what it says does not fit its own hello */
    }
    if (!membership_equal(&founding->heard[slot], &said->membership)) {
        founding->heard[slot] = said->membership;
        broadcast(founding);
    }
    found_if_agreed(founding);
}

void founding_reached(struct founding *founding, struct peer *peer)
{
    struct peer_founding say = {.founded = false};

    if (founding->state == FOUNDING_DONE) {
        members_reached(&founding->log->changes, peer);
        return;
    }
    if (founding->state == FOUNDING_WRITING) {
        return;
    }
    own_view(founding, &say.membership);
    peers_send_founding(peer, &say);
}

void founding_written(struct founding *founding)
{
    MQ_ASSERT(founding->state == FOUNDING_WRITING);
    founding->state = FOUNDING_DONE;
    uv_timer_stop(&founding->tick);
    rlog_take_part(founding->log);
}
