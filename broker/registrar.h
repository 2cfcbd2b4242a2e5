/* Keeps this broker registered with every name server: one connection each, held open, because a name server forgets
 * a broker whose connection closes. Registers on connecting, every registerNameServerPeriod, when the role changes
 * and when a topic changes. Loop thread. */
#ifndef BROKER_REGISTRAR_H
#define BROKER_REGISTRAR_H

#include "broker/processor/context.h"

struct registrar;

/* Starts connecting to each of namesrvAddr. Returns 0, MQ_EINVAL (an address that does not parse, one line in
 * @problem), or another negative code. @ctx outlives the registrar. */
int registrar_new(struct context *ctx, int listen_port, struct registrar **out, struct mq_buf *problem);

/* Registers now with all (the role changed). */
void registrar_now(struct registrar *registrar);
/* A topic changed: registers at the end of the turn, or 50 ms after the last time that a topic was the reason; what
 * changes meanwhile travels together. ctx->told hears when all that can be reached know. */
void registrar_soon(struct registrar *registrar);

/* Asks a connected name server for the route of @topic, each time another one. Returns 0, after which @cb comes once
 * and never inside; MQ_ENOTFOUND (namesrvAddr is empty), MQ_ECLOSED (none is connected), MQ_EBUSY or MQ_ENOMEM. */
int registrar_ask_route(struct registrar *registrar, struct mq_str topic, struct net_call *call, uint32_t timeout_ms,
                        net_call_cb cb);

/* Unregisters where connected, then closes; @closed comes when everything is gone. */
void registrar_free(struct registrar *registrar, void (*closed)(void *data), void *data);

#endif
