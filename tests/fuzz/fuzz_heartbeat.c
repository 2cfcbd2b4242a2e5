/* Heartbeat bodies of any bytes: what decodes is within its limits and within the body. */
#include "tests/fuzz/exact.h"
#include "tests/fuzz/fuzz.h"

#include "remoting/base/err.h"
#include "remoting/protocol/body_client.h"

static void check_consumer(const struct proto_consumer *c, const struct proto_heartbeat *hb, const char *json,
                           size_t n)
{
    MQ_ASSERT(exact_inside(c->group, json, n));
    MQ_ASSERT((unsigned)c->consume_type <= PROTO_CONSUME_POP);
    MQ_ASSERT((unsigned)c->model <= PROTO_CLUSTERING);
    MQ_ASSERT((unsigned)c->from_where <= PROTO_FROM_TIMESTAMP);
    MQ_ASSERT(c->sub_first + c->sub_count <= hb->subs.count);
}

static void check_sub(const struct proto_subscription *sub, const char *json, size_t n)
{
    MQ_ASSERT(exact_inside(sub->topic, json, n) && exact_inside(sub->expression, json, n));
    MQ_ASSERT(sub->filter.count <= PROTO_FILTER_CODES_MAX);
    MQ_ASSERT(sub->type == PROTO_EXPRESSION_TAG || (!sub->filter.all && sub->filter.count == 0));
}

/* Writes the heartbeat and reads it back. */
static void check_rewritten(struct proto_heartbeat *hb)
{
    struct proto_heartbeat again;
    struct mq_buf buf = {0};

    for (uint32_t i = 0; i < hb->subs.count; i++) {
        if (hb->subs.items[i].type == PROTO_EXPRESSION_UNKNOWN) {
            return; /* not ours to write */
        }
    }
    MQ_ASSERT(proto_heartbeat_encode(&buf, hb) == 0);
    MQ_ASSERT(proto_heartbeat_decode((char *)buf.base, buf.len, &again) == 0);
    MQ_ASSERT(again.producers.count == hb->producers.count && again.consumers.count == hb->consumers.count &&
              again.subs.count == hb->subs.count && again.fingerprint == hb->fingerprint);
    for (uint32_t i = 0; i < hb->subs.count; i++) {
        MQ_ASSERT(mq_str_eq(again.subs.items[i].expression, hb->subs.items[i].expression));
        MQ_ASSERT(again.subs.items[i].type == hb->subs.items[i].type);
    }
    proto_heartbeat_free(&again);
    mq_buf_free(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *json = exact_copy(bytes, n);
    struct proto_heartbeat hb;
    int rc = proto_heartbeat_decode(json, n, &hb);

    MQ_ASSERT(rc == 0 || rc == MQ_EBADMSG || rc == MQ_ETOOBIG);
    MQ_ASSERT(exact_inside(hb.client_id, json, n));
    MQ_ASSERT(hb.producers.count <= PROTO_HEARTBEAT_GROUPS_MAX && hb.consumers.count <= PROTO_HEARTBEAT_GROUPS_MAX &&
              hb.subs.count <= PROTO_HEARTBEAT_SUBS_MAX);
    for (uint32_t i = 0; i < hb.producers.count; i++) {
        MQ_ASSERT(exact_inside(hb.producers.items[i], json, n));
    }
    for (uint32_t i = 0; i < hb.consumers.count; i++) {
        check_consumer(&hb.consumers.items[i], &hb, json, n);
    }
    for (uint32_t i = 0; i < hb.subs.count; i++) {
        check_sub(&hb.subs.items[i], json, n);
    }
    if (rc == 0) {
        check_rewritten(&hb);
    }
    proto_heartbeat_free(&hb);
    mq_free(json);
    return 0;
}
