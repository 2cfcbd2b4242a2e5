/* What the owner is told of its role, and the entry that a new leader needs before it may serve.
 *
 * follower -> candidate -> leading -> writable. A leader knows what is committed only when an entry of its own term
 * is; so each leadership begins with a barrier (the core's, or ours where it makes none) and is writable once that is
 * applied. When leadership is lost, outstanding proposals are answered before the owner hears of it. */
#include "raft-log/driver.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>

static const char *role_name(enum rlog_role_kind kind)
{
    static const char *const names[] = {"follower", "candidate", "leading", "writable"};

    return names[kind];
}

static void submit_barrier(struct driver *driver)
{
    struct rlog_blob *blob;
    int rc = blob_pool_take(driver->options.blobs, NULL, 8, &blob);

    MQ_ASSERT(rc == 0);
    memset(rlog_blob_payload(blob), 0, 8);
    blob->payload_bytes = 8;
    rc = driver_append(driver, RLOG_BARRIER, blob, driver->options.env->wall_ms(driver->options.env), 0, 0);
    MQ_ASSERT(rc == 0);
    driver->barrier_index = commitlog_last_index(driver->options.log);
}

static void lose(struct driver *driver)
{
    driver->leading_term = 0;
    propose_fail_all(driver);
}

static void win(struct driver *driver, uint64_t term)
{
    uint64_t barrier = driver->barrier_index;

    driver->leading_term = term;
    driver->leading_since_ms = driver->options.env->now_ms(driver->options.env);
    driver->leaderships++;
    if (barrier == 0 || commitlog_term_of(driver->options.log, barrier) != term) {
        submit_barrier(driver);
    }
}

static void tell(struct driver *driver, const struct rlog_role *role)
{
    if (role->kind == driver->role.kind && role->term == driver->role.term && role->leader == driver->role.leader) {
        return;
    }
    if (driver->role.leader != 0 && role->leader == 0) {
        driver->leader_ms = driver->options.env->now_ms(driver->options.env);
    }
    driver->role = *role;
    if (role->kind == RLOG_WRITABLE) {
        mq_log_info("role", "writable term=%" PRIu64 " index=%" PRIu64 " ready_ms=%" PRIu64, role->term,
                    driver->barrier_index,
                    driver->options.env->now_ms(driver->options.env) - driver->leading_since_ms);
    } else {
        mq_log_info("role", "%s term=%" PRIu64 " leader=%" PRIu32 " last_index=%" PRIu64, role_name(role->kind),
                    role->term, role->leader, commitlog_last_index(driver->options.log));
    }
    driver->again = true;
    driver->members_due = true;
    driver->room_due |= role->kind == RLOG_WRITABLE;
    driver->options.fsm->role(driver->options.fsm, role);
}

void role_settle(struct driver *driver)
{
    enum rlog_role_kind kind = core_role(driver->core);
    uint64_t term = core_term(driver->core);
    struct rlog_role role = {kind, term, core_leader(driver->core)};

    if (driver->leading_term != 0 && (kind != RLOG_LEADING || term != driver->leading_term)) {
        lose(driver);
    }
    if (kind == RLOG_CANDIDATE && driver->core_role_seen != RLOG_CANDIDATE) {
        driver->elections++;
    }
    driver->core_role_seen = kind;
    if (kind == RLOG_LEADING) {
        if (driver->leading_term == 0) {
            win(driver, term);
        }
        if (driver->applied >= driver->barrier_index || RAFTMQ_DEFECT(BARRIER_LEFT_OUT)) {
            role.kind = RLOG_WRITABLE;
        }
    }
    if (!driver->closing) {
        tell(driver, &role);
    }
}
