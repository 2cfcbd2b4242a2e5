/* While the log recovers there is no sequencer yet: the role is only noted.
 *
 * Parked pulls and sessions stay as they are: any member serves what it has applied, and consumers beat on all
 * members. Parked pops are answered: only a leader hands messages out. */
#include "broker/role.h"

#include "broker/flow/flows.h"
#include "broker/flow/pop_hold.h"
#include "broker/processor/processors.h"
#include "remoting/base/clock.h"

/* What this node proposed in a former term and did not see applied is either applied by now, or lost. */
static void forget_proposed(struct context *ctx)
{
    topic_table_drop_pending(&ctx->state->topics);
    group_table_drop_proposed(&ctx->state->groups);
    reset_table_forget_told(&ctx->state->resets);
}

static void become_writable(struct context *ctx)
{
    forget_proposed(ctx);
    lock_table_restart_leases(&ctx->state->locks, mq_clock_mono_ms());
    sequencer_set_writable(ctx->sequencer, true);
    propose_system_topics(ctx);
    flows_lead(ctx->flows);
}

static void stop_writing(struct context *ctx)
{
    flows_rest(ctx->flows);
    if (ctx->pop_hold != NULL) {
        pop_hold_wake_all(ctx->pop_hold);
    }
    sequencer_set_writable(ctx->sequencer, false);
    recalls_rest(ctx);
    forget_proposed(ctx);
}

bool role_take(struct context *ctx, const struct rlog_role *role)
{
    bool was = ctx->role.kind == RLOG_WRITABLE;
    bool is = role->kind == RLOG_WRITABLE;
    bool same = was == is && (!is || ctx->role.term == role->term);

    ctx->role = *role;
    if (same || ctx->flows == NULL) {
        return !same;
    }
    if (was) {
        stop_writing(ctx);
    }
    if (is) {
        become_writable(ctx);
    }
    return true;
}
