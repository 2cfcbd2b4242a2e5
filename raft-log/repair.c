#include "raft-log/repair.h"

#include "raft-log/log/aside.h"
#include "raft-log/rlog.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>

#define TICK_MS 200u
#define FRESH_MS 2000u      /* what a member said counts so long */
#define FIRST_LINE_MS 3000u /* by then a group that can elect a leader has done it */
#define LINE_MS 10000u

/* Where the log of a member ends. */
struct end {
    uint64_t term, index;
};

static struct meta *meta_of(const struct repair *repair)
{
    return &repair->log->meta;
}

static struct end own_end(const struct repair *repair)
{
    const struct commitlog *log = repair->log->commitlog;
    uint64_t index = commitlog_durable_index(log);

    return (struct end){commitlog_term_of(log, index), index};
}

void repair_init(struct repair *repair, struct rlog *log)
{
    repair->log = log;
    uv_timer_init(&log->loop->uv, &repair->tick);
}

/* ---- the claim ---- */

void repair_keep_claim(struct rlog *log, const struct rlog_claim *claim)
{
    struct rlog_claim both = log->meta.claim;

    if (both.index == 0 || rlog_is_behind(both.term, both.index, claim->term, claim->index)) {
        both.term = claim->term;
        both.index = claim->index;
    }
    both.committed = both.committed > claim->committed ? both.committed : claim->committed;
    if (!RAFTMQ_DEFECT(CLAIM_NOT_KEPT)) {
        meta_store_claim(&log->meta, &both);
    }
}

static void drop(struct repair *repair)
{
    struct rlog *log = repair->log;
    int rc;

    mq_log_info("repair", "has again all that it may have acknowledged: last_index=%" PRIu64 " claimed=%" PRIu64,
                own_end(repair).index, log->meta.claim.index);
    meta_store_claim(&log->meta, &(struct rlog_claim){0});
    uv_timer_stop(&repair->tick);
    rc = aside_remove(log->meta.disk, log->options.dir);
    if (rc != 0) {
        mq_log_warn("repair", "%s/aside-*, which nobody needs any more, cannot be removed: %s", log->options.dir,
                    mq_strerror(rc));
    }
}

void repair_durable(struct repair *repair)
{
    const struct core *core = repair->log->driver.core;

    if (meta_of(repair)->claim.index != 0 && core != NULL && !core_claim_open(core)) {
        drop(repair);
    }
}

/* ---- what all hold ---- */

static bool is_fresh(const struct repair_report *report, uint64_t now)
{
    return report->heard_ms != 0 && now - report->heard_ms <= FRESH_MS;
}

static void say(const struct repair *repair, struct peer *peer, bool ask)
{
    const struct core *core = repair->log->driver.core;
    struct end end = own_end(repair);
    uint64_t leading = core_role(core) == RLOG_LEADING ? core_term(core) : 0;

    peers_send_claim(peer, &(struct peer_claim){ask, end.index, end.term, meta_of(repair)->claim, leading});
}

/* A leader of a term before ours counts what we acknowledged and no longer have, also for entries that are still on
 * their way to its own disk or to another's: what it holds says nothing until it has stepped down. */
static bool still_counts_on_us(const struct repair *repair, const struct peer_claim *said)
{
    return said->leading_term != 0 && said->leading_term < core_term(repair->log->driver.core);
}

void repair_heard(struct repair *repair, struct peer *peer, uint64_t incarnation, const struct peer_claim *said)
{
    struct peers *peers = repair->log->peers;

    if (repair->log->driver.core == NULL) {
        return; /* what it holds is not settled yet */
    }
    repair->reports[peer - peers->list] = (struct repair_report){peer->id, incarnation, mq_clock_mono_ms(), *said};
    if (said->ask) {
        say(repair, peer, false);
    }
}

/* The best end of all voters' logs, ours included, and how far one of them knows entries to be committed. Returns
 * false if one has not said it, with its number in @missing. */
static bool survey(const struct repair *repair, struct end *best, uint64_t *committed, uint32_t *missing)
{
    const struct membership *members = members_newest(&repair->log->changes);
    struct peers *peers = repair->log->peers;
    uint64_t now = mq_clock_mono_ms();

    *best = own_end(repair);
    *committed = meta_of(repair)->claim.committed;
    for (uint32_t i = 0; i < members->n; i++) {
        uint32_t id = members->members[i].id;
        struct peer *peer = peers_find(peers, id);
        const struct repair_report *report = peer != NULL ? &repair->reports[peer - peers->list] : NULL;

        if (id == repair->log->options.self || members->members[i].role != MEMBER_VOTER) {
            continue;
        }
        if (report == NULL || report->id != id || report->incarnation != members->members[i].incarnation ||
            !is_fresh(report, now) || still_counts_on_us(repair, &report->said)) {
            *missing = id;
            return false;
        }
        if (rlog_is_behind(best->term, best->index, report->said.last_term, report->said.last_index)) {
            *best = (struct end){report->said.last_term, report->said.last_index};
        }
        *committed = report->said.claim.committed > *committed ? report->said.claim.committed : *committed;
    }
    return true;
}

static void lower(struct repair *repair, const struct end *best)
{
    struct rlog *log = repair->log;
    struct rlog_claim claim = log->meta.claim;

    mq_log_warn("repair",
                "no member holds more than entry %" PRIu64 " of term %" PRIu64 ": the claim on entry %" PRIu64
                " of term %" PRIu64 " is lowered to that",
                best->index, best->term, claim.index, claim.term);
    claim.term = best->term;
    claim.index = best->index;
    meta_store_claim(&log->meta, &claim);
    core_set_claim(log->driver.core, claim.term, claim.index);
    repair_durable(repair);
}

static void say_line(struct repair *repair, bool heard_all, const struct end *best, uint64_t committed,
                     uint32_t missing)
{
    const struct rlog_claim *claim = &meta_of(repair)->claim;
    struct end end = own_end(repair);
    uint64_t now = mq_clock_mono_ms();

    if (now < repair->next_line_ms) {
        return;
    }
    repair->next_line_ms = now + LINE_MS;
    if (heard_all && best->index < committed) {
        mq_log_error("repair",
                     "entries up to %" PRIu64 " were committed, but no member holds more than %" PRIu64
                     ": acknowledged data is lost on all disks, so no leader is elected. Put back a directory that "
                     "has it, or rescue the group from the best member (README \"When nothing goes on\")",
                     committed, best->index);
    } else if (heard_all || core_leader(repair->log->driver.core) != 0) {
        mq_log_info("repair", "has up to entry %" PRIu64 " of what it may have acknowledged up to %" PRIu64,
                    end.index, claim->index);
    } else {
        mq_log_warn("repair",
                    "this member may have acknowledged entry %" PRIu64 " of term %" PRIu64 " and has up to %" PRIu64
                    " of term %" PRIu64 ": it votes for nobody who has less. Member %" PRIu32
                    " is needed: it may hold the entry, and if no member does the group goes on without",
                    claim->index, claim->term, end.index, end.term, missing);
    }
}

static void on_tick(uv_timer_t *tick)
{
    struct repair *repair = container_of(tick, struct repair, tick);
    struct peers *peers = repair->log->peers;
    const struct rlog_claim *claim = &meta_of(repair)->claim;
    uint64_t committed;
    uint32_t missing = 0;
    struct end best;
    bool heard_all;

    repair_durable(repair);
    if (claim->index == 0) {
        uv_timer_stop(tick);
        return;
    }
    heard_all = survey(repair, &best, &committed, &missing);
    if (heard_all && best.index >= committed && rlog_is_behind(best.term, best.index, claim->term, claim->index)) {
        lower(repair, &best);
        return;
    }
    say_line(repair, heard_all, &best, committed, missing);
    for (uint32_t i = 0; i < peers->n; i++) {
        if (peers->list[i].id != 0) {
            say(repair, &peers->list[i], true);
        }
    }
}

void repair_start(struct repair *repair)
{
    repair_durable(repair);
    if (meta_of(repair)->claim.index != 0) {
        repair->next_line_ms = mq_clock_mono_ms() + FIRST_LINE_MS;
        uv_timer_start(&repair->tick, on_tick, TICK_MS, TICK_MS);
    }
}
