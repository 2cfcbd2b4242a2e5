#include "remoting/protocol/body_assignment.h"

#include "remoting/protocol/body_json.h"

static int read_query_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_assignment_query *query = out;

    if (mq_str_eq(key, MQ_STR("topic"))) {
        return proto_json_str(json, &query->topic);
    }
    if (mq_str_eq(key, MQ_STR("consumerGroup"))) {
        return proto_json_str(json, &query->group);
    }
    if (mq_str_eq(key, MQ_STR("clientId"))) {
        return proto_json_str(json, &query->client_id);
    }
    if (mq_str_eq(key, MQ_STR("strategyName"))) {
        return proto_json_str(json, &query->strategy);
    }
    if (mq_str_eq(key, MQ_STR("messageModel"))) {
        return proto_json_str(json, &query->model);
    }
    return mq_json_skip(json);
}

int proto_assignment_query_decode(char *json, size_t n, struct proto_assignment_query *out)
{
    *out = (struct proto_assignment_query){0};
    return proto_json_body(json, n, read_query_member, out);
}

int proto_assignments_encode(struct mq_buf *buf, const struct proto_queue_refs *queues, bool pop)
{
    struct proto_out out = proto_out_begin(buf);

    if (queues == NULL) {
        PROTO_OUT(&out, "{}");
        return proto_out_end(&out);
    }
    PROTO_OUT(&out, "{\"messageQueueAssignments\":[");
    for (uint32_t i = 0; i < queues->count; i++) {
        proto_out_comma(&out, i);
        PROTO_OUT(&out, "{\"messageQueue\":");
        proto_out_queue_ref(&out, &queues->items[i]);
        proto_out_raw(&out, pop ? MQ_STR(",\"mode\":\"POP\"}") : MQ_STR(",\"mode\":\"PULL\"}"));
    }
    PROTO_OUT(&out, "]}");
    return proto_out_end(&out);
}
