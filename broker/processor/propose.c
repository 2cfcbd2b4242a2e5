#include "broker/processor/propose.h"

struct sequencer_pending pending_for(const struct reply_to *to, sequencer_done_cb done, void *data)
{
    return (struct sequencer_pending){
        .done = done, .data = data, .ch = to->ch, .opaque = to->opaque, .encoding = (uint8_t)to->encoding};
}

void answer_done(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct reply_to to = reply_to_of_pending(p);

    if (outcome->status != 0) {
        reply_failed(&to, outcome->status);
    } else {
        reply_code(&to, RESP_SUCCESS);
    }
}

int propose_item(struct context *ctx, enum command_type type, const ProtobufCMessage *message,
                 const struct sequencer_pending *p)
{
    static const struct sequencer_pending nobody = {0};
    uint32_t bytes = command_bytes(message);
    uint8_t *at;
    int rc = sequencer_reserve(ctx->sequencer, bytes, &at);

    if (rc == 0) {
        command_encode(type, message, at);
        sequencer_add(ctx->sequencer, bytes, NULL, 0, 1, p != NULL ? p : &nobody);
    }
    return rc;
}

bool name_text(struct mq_str name, char out[NAME_TEXT_MAX])
{
    if (name.len == 0 || name.len >= NAME_TEXT_MAX || memchr(name.at, '\0', name.len) != NULL) {
        return false;
    }
    memcpy(out, name.at, name.len);
    out[name.len] = '\0';
    return true;
}
