/* Handing leadership over on purpose. Nothing new is proposed from the start on. When all that is in flight is
 * applied here and durable at the target, or half of the time has passed, the core tells the target to stand for
 * election at once; so the usual hand-over answers every proposal and costs a round trip and an election. It is over
 * when another leader is known, or when the time is. A member that still lacks older entries, or has a claim, would
 * not stand: it is never the target. */
#include "raft-log/rlog.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>

static bool is_candidate(const struct rlog *log, const struct member *member, uint64_t now)
{
    const struct peer *peer = peers_find(log->peers, member->id);
    uint64_t heard = core_heard_ms(log->driver.core, member->id);

    return member->role == MEMBER_VOTER && peer != NULL && peer_is_up(peer, PEER_CONTROL) && !peer->passive &&
           heard != 0 && now - heard < 2u * log->options.election_ms;
}

/* The voter who answers and has most; 0: none. */
static uint32_t best_target(const struct rlog *log, uint64_t now)
{
    const struct driver *driver = &log->driver;
    uint64_t most = 0;
    uint32_t best = 0;

    for (uint32_t i = 0; i < driver->current.n; i++) {
        const struct member *member = &driver->current.members[i];
        uint64_t match = core_match(driver->core, member->id);

        if (is_candidate(log, member, now) && (best == 0 || match > most)) {
            best = member->id;
            most = match;
        }
    }
    return best;
}

int rlog_transfer(struct rlog *log, uint32_t target, uint32_t within_ms, struct rlog_transfer *transfer,
                  rlog_transfer_cb cb)
{
    struct driver *driver = &log->driver;
    const struct member *member;
    uint64_t now;

    if (log->closing || driver->core == NULL || core_role(driver->core) != RLOG_LEADING) {
        return MQ_ENOTLEADER;
    }
    if (driver->transfer != NULL || !core_can_submit(driver->core)) {
        return MQ_EBUSY;
    }
    now = driver->options.env->now_ms(driver->options.env);
    target = target != 0 ? target : best_target(log, now);
    member = membership_find(&driver->current, target);
    if (member == NULL || !is_candidate(log, member, now)) {
        return MQ_ENOTFOUND;
    }
    transfer->cb = cb;
    transfer->target = target;
    driver->transfer = transfer;
    driver->transfer_term = core_term(driver->core);
    driver->transfer_half_ms = now + within_ms / 2;
    driver->transfer_end_ms = now + within_ms;
    driver->transfer_told = false;
    mq_log_info("role", "handing leadership to member %" PRIu32, target);
    driver->options.env->soon(driver->options.env); /* the rest comes from a later turn */
    return 0;
}

static void end(struct driver *driver, int status)
{
    struct rlog_transfer *transfer = driver->transfer;

    driver->transfer = NULL;
    driver->again = true;
    driver->room_due = true;
    transfer->cb(transfer, status);
}

void transfer_fail(struct driver *driver)
{
    if (driver->transfer != NULL) {
        end(driver, MQ_ECLOSED);
    }
}

static bool is_ready(const struct driver *driver)
{
    uint64_t last = core_last_index(driver->core);

    return driver->applied == last && core_match(driver->core, driver->transfer->target) == last;
}

void transfer_settle(struct driver *driver)
{
    uint64_t now;

    if (driver->transfer == NULL) {
        return;
    }
    now = driver->options.env->now_ms(driver->options.env);
    if (core_role(driver->core) != RLOG_LEADING || core_term(driver->core) != driver->transfer_term) {
        uint32_t leader = core_leader(driver->core);

        if (leader != 0 || now >= driver->transfer_end_ms) {
            driver->transfer->leader = leader;
            end(driver, leader == driver->transfer->target ? 0 : leader != 0 ? MQ_EUNSURE : MQ_ETIMEDOUT);
        }
        return;
    }
    if (!driver->transfer_told && (is_ready(driver) || now >= driver->transfer_half_ms)) {
        driver->transfer_told = driver_hand_over(driver, driver->transfer->target) == 0;
    }
    if (now >= driver->transfer_end_ms) {
        driver->transfer->leader = driver->options.self;
        end(driver, MQ_ETIMEDOUT);
    }
}
