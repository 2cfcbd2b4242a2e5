/* For tests inside this tree: what stands behind a struct broker. */
#ifndef BROKER_INSIDE_H
#define BROKER_INSIDE_H

#include "broker/include/broker/broker.h"
#include "broker/processor/context.h"

/* Borrowed, as long as the broker. */
struct context *broker_context(struct broker *broker);

struct retention;

/* Borrowed, as long as the broker. */
struct retention *broker_retention(struct broker *broker);

/* As after a change of role. */
void broker_register_now(struct broker *broker);

#endif
