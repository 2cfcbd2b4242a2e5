/* What administrators ask about topics: GET_ALL_TOPIC_CONFIG (21), GET_TOPIC_STATS_INFO (202), GET_TOPIC_CONFIG
 * (351). Source: RocketMQ's AdminBrokerProcessor. */
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "broker/processor/topic_description.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_admin.h"
#include "remoting/protocol/body_topic.h"
#include "remoting/protocol/headers.h"

/* Describes a topic in wire form; @attributes is the text of its attributes, kept by the caller. */
static int describe(const struct topic *topic, struct mq_buf *attributes, struct proto_topic_config *out)
{
    *out = proto_topic_config_defaults();
    out->name = (struct mq_str){topic->name, topic->name_bytes};
    out->read_queues = (int32_t)topic->read_queues;
    out->write_queues = (int32_t)topic->write_queues;
    out->perm = (int32_t)topic->perm;
    out->sys_flag = (int32_t)topic->sys_flag;
    out->multi_tag = topic->multi_tag;
    out->order = topic->order;
    for (uint32_t i = 0; i < topic->n_attributes; i++) {
        int rc = mq_buf_printf(attributes, "%s%s=%s", i > 0 ? "," : "", topic->attributes[i].key,
                               topic->attributes[i].value);

        if (rc != 0) {
            return rc;
        }
    }
    out->attributes = mq_buf_str(attributes);
    return 0;
}

/* The topic that the request names; NULL after an answer. */
static struct topic *asked_topic(struct context *ctx, const struct reply_to *to, const struct proto_command *cmd)
{
    struct proto_topic_header header;
    struct proto_problem why;
    struct topic *topic;

    if (proto_topic_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(to, &why);
        return NULL;
    }
    topic = topic_table_find(&ctx->state->topics, header.topic);
    if (topic == NULL) {
        reply_no_topic(to, header.topic);
    }
    return topic;
}

void get_topic(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_topic_config config;
    struct mq_buf attributes = {0}, body = {0};
    struct topic *topic;
    int rc;

    topic = asked_topic(ctx, &to, cmd);
    if (topic == NULL) {
        return;
    }
    rc = describe(topic, &attributes, &config);
    rc = rc == 0 ? proto_topic_config_encode(&body, &config) : rc;
    reply_built(&to, rc, &body);
    mq_buf_free(&attributes);
}

int topic_table_describe(const struct context *ctx, struct topic_description *out)
{
    const struct topic_table *topics = &ctx->state->topics;
    struct topic *topic, *next;
    uint32_t at = 0;

    *out = (struct topic_description){
        .table.version = {.state_version = (int64_t)ctx->role.term,
                          .timestamp_ms = topics->changed_ms,
                          .counter = (int64_t)topics->counter},
        .attributes = mq_calloc(topics->count + 1, sizeof(*out->attributes)),
    };
    if (out->attributes == NULL) {
        return MQ_ENOMEM;
    }
    HASH_ITER (hh, topics->by_name, topic, next) {
        struct proto_topic_config *config;

        if (topic->pending || at == topics->count) {
            continue;
        }
        config = proto_topic_configs_add(&out->table.topics);
        if (config == NULL || describe(topic, &out->attributes[at], config) != 0) {
            return MQ_ENOMEM;
        }
        out->count = ++at;
    }
    return 0;
}

void topic_description_free(struct topic_description *description)
{
    for (uint32_t i = 0; description->attributes != NULL && i <= description->count; i++) {
        mq_buf_free(&description->attributes[i]);
    }
    mq_free(description->attributes);
    proto_topic_table_free(&description->table);
}

void get_all_topics(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct topic_description description;
    struct mq_buf body = {0};
    int rc = topic_table_describe(ctx, &description);

    /* Paging fields of newer tools are ignored and no total is sent: the tools then take the answer as complete. */
    rc = rc == 0 ? proto_topic_table_encode(&body, &description.table) : rc;
    reply_built(&to, rc, &body);
    topic_description_free(&description);
}

static int add_stats(struct context *ctx, const struct topic *topic, struct proto_topic_stats *out)
{
    uint32_t n = topic->read_queues > topic->write_queues ? topic->read_queues : topic->write_queues;

    for (uint32_t id = 0; id < n; id++) {
        struct queue *queue = topic_queues_find(topic->queues, (int32_t)id);
        struct proto_queue_stats *stats = proto_topic_stats_add(out);

        if (stats == NULL) {
            return MQ_ENOMEM;
        }
        stats->queue.topic = (struct mq_str){topic->name, topic->name_bytes};
        stats->queue.broker_name = mq_str_of(ctx->config->broker_name);
        stats->queue.queue_id = (int32_t)id;
        if (queue != NULL) {
            stats->min_offset = (int64_t)queue->cq.min;
            stats->max_offset = (int64_t)queue->cq.max;
            if (queue->cq.max > queue->cq.min) {
                stats->last_update_ms = store_time_of(ctx->store, queue, queue->cq.max - 1);
            }
        }
    }
    return 0;
}

void get_topic_stats(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_topic_stats stats = {0};
    struct mq_buf body = {0};
    struct topic *topic;
    int rc;

    topic = asked_topic(ctx, &to, cmd);
    if (topic == NULL) {
        return;
    }
    rc = add_stats(ctx, topic, &stats);
    rc = rc == 0 ? proto_topic_stats_encode(&body, &stats, 0.0) : rc;
    reply_built(&to, rc, &body);
    proto_topic_stats_free(&stats);
}
