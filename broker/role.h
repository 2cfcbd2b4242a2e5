/* What follows from leading the group, and from leading it no longer. Loop thread. */
#ifndef BROKER_ROLE_H
#define BROKER_ROLE_H

#include "broker/processor/context.h"

/* Takes over what the log says. Returns true when name servers have to hear of it: this node began or ceased to take
 * sends, or does so in another term. */
bool role_take(struct context *ctx, const struct rlog_role *role);

#endif
