/* What broker.c needs of the pull processor: what wakes parked requests. */
#ifndef BROKER_PROCESSOR_PULL_H
#define BROKER_PROCESSOR_PULL_H

#include "broker/flow/pull_hold.h"

/* A pull_wake_cb; @data is the struct context. */
void pull_wake(void *data, struct pull_parked *parked);

#endif
