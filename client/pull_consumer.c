/* Pulls: one request, one answer; the records are handed on as they came. */
#include "client/instance.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/headers.h"

void pull_fail(struct pull_own *own, int status)
{
    struct rmq_pull *pull = pull_of_own(own);
    struct rmq_pull_result result = {.status = status, .code = -1, .next_offset = pull->qoff};

    pull->cb(pull, &result);
}

static void on_answer(struct net_call *call, int status, struct proto_command *answer)
{
    struct rmq_pull *pull = pull_of_own(container_of(call, struct pull_own, call));
    struct rmq_pull_result result = {.status = status, .code = -1, .next_offset = pull->qoff};
    struct proto_pull_response_header header;

    if (status == 0) {
        result.code = answer->code;
        result.remark = answer->remark;
        result.records = answer->body;
        result.records_bytes = answer->body_bytes;
        if (proto_pull_response_header_decode(&answer->fields, &header, NULL) == 0) {
            result.next_offset = header.next_begin_offset;
            result.min_offset = header.min_offset;
            result.max_offset = header.max_offset;
        } else if (answer->code == RESP_SUCCESS) {
            result.status = MQ_EBADMSG; /* records without a word where the next ones are */
        }
    }
    pull->cb(pull, &result);
}

int pull_write(struct pull_own *own, struct broker_link *link)
{
    const struct rmq_pull *pull = pull_of_own(own);
    struct rmq_client *client = pull->client;
    struct net_client *net = broker_link_net(link, pull->lane);
    struct proto_pull_header header = proto_pull_header_defaults();
    struct proto_writer w;
    int rc = net != NULL ? net_client_begin(net, &w, REQ_PULL_MESSAGE, false) : MQ_ECLOSED;

    if (rc != 0) {
        return rc;
    }
    header.consumer_group = pull->group;
    header.topic = pull->topic;
    header.queue_id = pull->queue_id;
    header.queue_offset = pull->qoff;
    header.max_msgs = (int32_t)pull->count_max;
    header.sys_flag = PROTO_PULL_SUBSCRIPTION | (pull->suspend_ms != 0 ? PROTO_PULL_SUSPEND : 0);
    header.suspend_ms = pull->suspend_ms;
    header.subscription = pull->expression.at != NULL ? pull->expression : MQ_STR("*");
    header.expression_type = MQ_STR("TAG");
    proto_pull_header_encode(&w, &header);
    return net_client_call(net, &w, NULL, 0, &own->call, pull->suspend_ms + client->send_timeout_ms, on_answer);
}

int rmq_pull_async(struct rmq_client *client, struct rmq_pull *pull, rmq_pull_cb cb)
{
    struct pull_own *own = own_of_pull(pull);
    struct topic *topic;

    if (client->closing) {
        return MQ_ECLOSED;
    }
    if (pull->topic.len == 0 || pull->group.len == 0 || pull->broker_name == NULL) {
        return MQ_EINVAL;
    }
    topic = topic_get(client, pull->topic);
    own->group = topic != NULL ? group_get(client, mq_str_of(pull->broker_name), topic) : NULL;
    if (own->group == NULL) {
        return MQ_ENOMEM;
    }
    topic->wanted = true;
    pull->client = client;
    pull->cb = cb;
    own->deadline_ms = client_now_ms(client) + pull->suspend_ms + client->send_timeout_ms;
    return group_pull(own->group, own);
}
