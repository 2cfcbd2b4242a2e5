/* A send: started -> (waits for the route of its topic) -> queue chosen -> (waits for the group's leader) -> written
 * -> answered. An answer 14 or 2 (nothing was stored) takes it back to waiting for the leader as long as attempts and
 * time are left. Every other end is told to the caller as it is: once written, a send whose answer is missing is
 * unknown. */
#include "client/instance.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/names.h"
#include "remoting/protocol/properties.h"

#define BUSY_PAUSE_MIN_MS 5 /* after an answer 2 */
#define BUSY_PAUSE_MAX_MS 20
#define DEFAULT_TOPIC_QUEUES 4 /* asked for when the topic is created by this send */

enum { RESP_FLUSH_DISK_TIMEOUT = 10, RESP_SLAVE_NOT_AVAILABLE = 11, RESP_FLUSH_SLAVE_TIMEOUT = 12 };

static void finish(struct send_own *own, struct rmq_send_result *result)
{
    struct rmq_send *send = send_of_own(own);

    result->attempts = own->attempts;
    if (own->group != NULL) {
        result->broker_name = mq_str_of(own->group->name);
    }
    send->cb(send, result);
}

void send_fail(struct send_own *own, int status)
{
    struct rmq_send_result result = {
        .outcome = RMQ_REFUSED, .code = own->last_code, .status = status, .queue_id = own->queue_id, .qoff = -1};

    finish(own, &result);
}

static void acknowledge(const struct proto_command *answer, struct rmq_send_result *result)
{
    struct proto_send_response_header header;

    if (proto_send_response_header_decode(&answer->fields, &header, NULL) != 0 || header.queue_offset < 0) {
        result->outcome = RMQ_UNKNOWN; /* a success that does not say where the message is */
        result->status = MQ_EBADMSG;
        return;
    }
    result->outcome = RMQ_ACKNOWLEDGED;
    result->queue_id = header.queue_id;
    result->qoff = header.queue_offset;
    result->msg_id = header.msg_id;
}

/* 14 and 2: nothing was stored. Returns true when the send waits for its next attempt. */
static bool try_again(struct send_own *own)
{
    const struct rmq_send *send = send_of_own(own);
    struct group *group = own->group;

    if (own->attempts > send->retries_max || own->deadline_ms <= client_now_ms(send->client) ||
        send->client->closing) {
        return false;
    }
    group_wait(group, own);
    if (group->leader != NULL && group->leader->up != 0) {
        group_flush(group);
    }
    return true;
}

static void on_answered(struct send_own *own, const struct proto_command *answer)
{
    struct rmq_client *client = send_of_own(own)->client;
    struct group *group = own->group;
    struct rmq_send_result result = {
        .code = answer->code, .queue_id = own->queue_id, .qoff = -1, .remark = answer->remark};

    switch (answer->code) {
    case RESP_SUCCESS:
        group_found(group, own->asked);
        acknowledge(answer, &result);
        break;
    case RESP_SERVICE_NOT_AVAILABLE:
    case RESP_SYSTEM_BUSY:
        own->last_code = answer->code;
        if (answer->code == RESP_SERVICE_NOT_AVAILABLE) {
            group_lost(group, own->asked);
        } else {
            group->pause_ms = client_now_ms(client) + client_jitter(client, BUSY_PAUSE_MIN_MS, BUSY_PAUSE_MAX_MS);
        }
        if (try_again(own)) {
            return;
        }
        result.outcome = RMQ_REFUSED;
        break;
    case RESP_SYSTEM_ERROR:
        if (mq_str_starts(answer->remark, MQ_STR("[UNKNOWN]"))) {
            group_lost(group, own->asked);
        }
        result.outcome = RMQ_UNKNOWN;
        break;
    case RESP_FLUSH_DISK_TIMEOUT:
    case RESP_SLAVE_NOT_AVAILABLE:
    case RESP_FLUSH_SLAVE_TIMEOUT:
        result.outcome = RMQ_UNKNOWN;
        break;
    default:
        result.outcome = RMQ_REFUSED;
        break;
    }
    finish(own, &result);
}

static void on_answer(struct net_call *call, int status, struct proto_command *answer)
{
    struct send_own *own = container_of(call, struct send_own, call);
    struct rmq_send_result result = {
        .outcome = RMQ_UNKNOWN, .code = -1, .status = status, .queue_id = own->queue_id, .qoff = -1};

    if (own->probe) {
        own->asked->probing = false;
        own->probe = false;
    }
    if (status == 0) {
        on_answered(own, answer);
        return;
    }
    if (status == MQ_ETIMEDOUT) {
        group_lost(own->group, own->asked); /* it hangs, perhaps while another one leads */
    }
    finish(own, &result);
}

/* The properties of the message as text, in the client's buffer. */
static int build_properties(struct send_own *own, struct mq_str *out)
{
    const struct rmq_send *send = send_of_own(own);
    struct mq_buf *buf = &send->client->properties;
    const struct mq_str uniq_key = {own->uniq_key, sizeof(own->uniq_key)};
    int rc;

    buf->len = 0;
    rc = proto_properties_put(buf, 0, PROTO_PROP_UNIQ_KEY, uniq_key);
    if (rc == 0 && send->tags.len != 0) {
        rc = proto_properties_put(buf, 0, PROTO_PROP_TAGS, send->tags);
    }
    if (rc == 0 && send->keys.len != 0) {
        rc = proto_properties_put(buf, 0, PROTO_PROP_KEYS, send->keys);
    }
    if (rc == 0 && send->properties.len != 0) {
        rc = mq_buf_put_str(buf, send->properties);
    }
    *out = mq_buf_str(buf);
    return rc;
}

int send_write(struct send_own *own, struct broker_link *link)
{
    const struct rmq_send *send = send_of_own(own);
    struct rmq_client *client = send->client;
    struct net_client *net = broker_link_net(link, send->lane);
    uint64_t left_ms = own->deadline_ms - client_now_ms(client);
    struct proto_send_header header = {.producer_group = mq_str_of(client->group_name),
                                       .topic = send->topic,
                                       .default_topic = PROTO_TOPIC_TBW102,
                                       .default_topic_queues = DEFAULT_TOPIC_QUEUES,
                                       .queue_id = own->queue_id,
                                       .born_ms = own->born_ms,
                                       .max_reconsume_times = -1};
    struct proto_writer w;
    int rc = net != NULL ? build_properties(own, &header.properties) : MQ_ECLOSED;

    if (rc == 0) {
        rc = net_client_begin(net, &w, REQ_SEND_MESSAGE_V2, false);
    }
    if (rc != 0) {
        return rc;
    }
    proto_send_header_v2_encode(&w, &header);
    rc =
        net_client_call(net, &w, send->body.at, send->body.len, &own->call,
                        (uint32_t)(left_ms < client->send_timeout_ms ? left_ms : client->send_timeout_ms), on_answer);
    if (rc == 0) {
        own->asked = link;
        own->attempts++;
    }
    return rc;
}

int send_start(struct send_own *own)
{
    struct topic *topic = own->topic;
    struct group *group;
    int rc;

    if (!topic->known) {
        TAILQ_INSERT_TAIL(&topic->sends, own, link);
        topic->create = true;
        topic_refresh(topic);
        client_pace(topic->client, CLIENT_SEARCH_TICK_MS);
        return 0;
    }
    rc = queue_select(own);
    if (rc != 0) {
        return rc;
    }
    group = own->group;
    if (group->leader != NULL && TAILQ_EMPTY(&group->sends) && client_now_ms(topic->client) >= group->pause_ms) {
        rc = send_write(own, group->leader);
        if (rc != MQ_ECLOSED && rc != MQ_EBUSY) {
            return rc;
        }
    }
    group_wait(group, own);
    return 0;
}

/* The wall clock, read once a millisecond of the loop's time. */
static int64_t wall_ms(struct rmq_client *client)
{
    uint64_t now_ms = client_now_ms(client);

    if (now_ms != client->wall_at_ms) {
        client->wall_at_ms = now_ms;
        client->wall_ms = mq_clock_wall_ms();
    }
    return client->wall_ms;
}

int rmq_send_async(struct rmq_client *client, struct rmq_send *send, rmq_send_cb cb)
{
    struct send_own *own = own_of_send(send);
    struct topic *topic;

    if (client->closing) {
        return MQ_ECLOSED;
    }
    if (send->topic.len == 0 || send->body.len == 0) {
        return MQ_EINVAL;
    }
    topic = topic_get(client, send->topic);
    if (topic == NULL) {
        return MQ_ENOMEM;
    }
    send->client = client;
    send->cb = cb;
    own->serial = ++client->serial;
    own->topic = topic;
    own->group = NULL;
    own->asked = NULL;
    own->deadline_ms = client_now_ms(client) + (send->timeout_ms != 0 ? send->timeout_ms : client->send_timeout_ms);
    own->born_ms = wall_ms(client);
    own->attempts = 0;
    own->queue_id = send->queue_id;
    own->last_code = -1;
    own->probe = false;
    proto_uniq_key_next(&client->uniq_key, own->born_ms, own->uniq_key);
    return send_start(own);
}
