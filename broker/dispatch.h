/* From a request code to its processor: one table of rows. */
#ifndef BROKER_DISPATCH_H
#define BROKER_DISPATCH_H

#include "broker/processor/context.h"

/* Runs the processor of @cmd if this node may serve it now; answers with the reason if not. */
void dispatch(struct context *ctx, struct net_channel *ch, struct proto_command *cmd);

#endif
