/* From a processor to the log and back to the client. */
#ifndef BROKER_PROCESSOR_PROPOSE_H
#define BROKER_PROCESSOR_PROPOSE_H

#include "broker/processor/context.h"
#include "broker/processor/reply.h"
#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"

/* An operation that waits for its entry and then answers @to. @data: the callback's. */
struct sequencer_pending pending_for(const struct reply_to *to, sequencer_done_cb done, void *data);

/* Where the answer of a waiting operation goes. Valid as long as @p. */
static inline struct reply_to reply_to_of_pending(const struct sequencer_pending *p)
{
    return (struct reply_to){p->ch, p->opaque, (enum proto_encoding)p->encoding};
}

/* A done callback: SUCCESS, or why not. */
void answer_done(struct sequencer_pending *p, const struct sequencer_outcome *outcome);

/* Proposes one item. @p: copied; NULL: nobody waits. Returns 0, after which its callback comes once and never inside,
 * or what sequencer_reserve said, and nothing was proposed. */
int propose_item(struct context *ctx, enum command_type type, const ProtobufCMessage *message,
                 const struct sequencer_pending *p);

#define NAME_TEXT_MAX 256 /* with its NUL: names of topics have up to 255 bytes */

/* protobuf-c wants NUL-terminated text. False when @name is empty, does not fit or has a NUL of its own. */
bool name_text(struct mq_str name, char out[NAME_TEXT_MAX]);

#endif
