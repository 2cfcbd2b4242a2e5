/* Source: RocketMQ's AbstractSendMessageProcessor.consumerSendMsgBack, HookUtils. */
#include "broker/flow/retry.h"

#include "broker/state/bundle.h"
#include "broker/state/ensure.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/names.h"
#include "remoting/protocol/properties.h"

#define FIRST_LEVEL 3 /* of the first retry */
#define PUTS_MAX 8u
#define TOPIC_PERM (TOPIC_PERM_READ | TOPIC_PERM_WRITE)

/* A copy that is being made. Points into itself. */
struct again {
    struct proto_record rec;
    char topic_room[PROTO_RETRY_TOPIC_MAX];
    struct mq_str topic; /* of the copy, once it waits no longer */
    struct record_property put[PUTS_MAX];
    uint32_t n_put;
    char origin_id[PROTO_MSG_ID_MAX];
    struct delayed_store delayed;
    bool waits;
};

static void put(struct again *again, struct mq_str name, struct mq_str value)
{
    MQ_ASSERT(again->n_put < PUTS_MAX);
    again->put[again->n_put++] = (struct record_property){name, value};
}

static bool is_blank(struct mq_str text)
{
    for (uint32_t i = 0; i < text.len; i++) {
        if ((uint8_t)text.at[i] > ' ') {
            return false;
        }
    }
    return true;
}

/* What the copy says about where it comes from: the first topic and the first message, over all rounds. */
static void put_origin(struct again *again)
{
    const struct proto_record *rec = &again->rec;
    size_t n;

    if (proto_properties_get(rec->properties, PROTO_PROP_RETRY_TOPIC).at == NULL) {
        put(again, PROTO_PROP_RETRY_TOPIC, rec->topic);
    }
    if (is_blank(proto_properties_get(rec->properties, PROTO_PROP_ORIGIN_MESSAGE_ID))) {
        n = proto_offset_msg_id(&rec->store_host, rec->pos, again->origin_id);
        put(again, PROTO_PROP_ORIGIN_MESSAGE_ID, (struct mq_str){again->origin_id, (uint32_t)n});
    }
    put(again, PROTO_PROP_WAIT, MQ_STR("false"));
}

bool retry_is_dead(const struct retry_order *order, const struct proto_record *rec)
{
    return order->delay_level < 0 || rec->reconsume_times >= order->max_times;
}

/* A sender may have given its message any number of failures, also below 0. */
static int32_t failures(const struct proto_record *rec)
{
    return rec->reconsume_times > 0 ? rec->reconsume_times : 0;
}

static int32_t level_of(const struct retry_order *order, const struct proto_record *rec)
{
    int32_t times = failures(rec);

    if (order->delay_level > 0) {
        return order->delay_level;
    }
    return times < INT32_MAX - FIRST_LEVEL ? FIRST_LEVEL + times : INT32_MAX;
}

static uint32_t property_bytes(const struct record_property *property)
{
    return property->name.len + property->value.len + 2;
}

static bool is_replaced(const struct again *again, struct mq_str name)
{
    for (uint32_t i = 0; i < again->n_put; i++) {
        if (mq_str_eq(again->put[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* Also when it is delivered, the copy must have room for all its properties. */
static bool properties_fit(const struct again *again)
{
    struct mq_str rest = again->rec.properties;
    struct record_property kept;
    uint32_t bytes = again->waits ? DELAYED_DELIVERY_BYTES : 0;

    while (proto_properties_next(&rest, &kept.name, &kept.value)) {
        bytes += is_replaced(again, kept.name) ? 0 : property_bytes(&kept);
    }
    for (uint32_t i = 0; i < again->n_put; i++) {
        bytes += property_bytes(&again->put[i]);
    }
    return bytes <= PROTO_PROPERTIES_MAX;
}

static int dead_letter(const struct flow_env *env, struct again *again, const struct retry_order *order,
                       struct queue **queue)
{
    again->topic = proto_group_topic(PROTO_DLQ_PREFIX, order->group, again->topic_room);
    put(again, PROTO_PROP_DELAY, MQ_STR("0"));
    return ensure_queue(env->state, env->sequencer, again->topic, 1, TOPIC_PERM, 0, queue);
}

/* One of the queues that consumers read: where the group was given more of them than its topic has, those it has. */
static int32_t choose_queue(const struct retry_order *order, const struct topic *topic)
{
    uint32_t queues = order->queues;

    if (topic->read_queues != 0 && topic->read_queues < queues) {
        queues = topic->read_queues;
    }
    return (int32_t)(order->turn % queues);
}

/* @queue: where the copy is stored. */
static int another_try(const struct flow_env *env, const struct delayed_rules *rules, struct again *again,
                       const struct retry_order *order, struct queue **queue)
{
    struct delayed_store *delayed = &again->delayed;
    struct delayed_plan plan;
    struct topic *topic;
    int rc;

    again->topic = proto_group_topic(PROTO_RETRY_PREFIX, order->group, again->topic_room);
    rc = ensure_topic(env->state, env->sequencer, again->topic, order->queues, TOPIC_PERM, &topic);
    if (rc != 0) {
        return rc;
    }
    delayed_plan_level(rules, level_of(order, &again->rec), order->now_ms, &plan);
    if (plan.due_ms == 0) { /* there are no levels */
        return topic_queues_get(&env->store->queues, topic->queues, choose_queue(order, topic), queue);
    }
    delayed_store_make(delayed, rules, &plan, again->topic, choose_queue(order, topic),
                       proto_properties_get(again->rec.properties, PROTO_PROP_UNIQ_KEY));
    for (uint32_t i = 0; i < delayed->n_put; i++) {
        put(again, delayed->put[i].name, delayed->put[i].value);
    }
    again->waits = true;
    return ensure_queue(env->state, env->sequencer, delayed->topic, delayed->queues, DELAYED_TOPIC_PERM,
                        delayed->queue_id, queue);
}

static int add_copy(const struct flow_env *env, const struct again *again, const struct retry_order *order,
                    struct record_copy *copy, struct queue *queue, const struct sequencer_pending *p)
{
    const struct delayed_store *delayed = &again->delayed;
    const struct bundle_part parts[] = {
        {.kind = BUNDLE_COPY, .queue = queue, .copy = copy},
        {.kind = BUNDLE_ITEM, .type = COMMAND_PENDING_PUT, .item = &delayed->item.base},
    };

    copy->topic = again->waits ? delayed->topic : again->topic;
    copy->queue_id = queue->id;
    copy->reconsume_times = failures(&again->rec) < INT32_MAX ? failures(&again->rec) + 1 : INT32_MAX;
    copy->prepared_pos = again->waits ? delayed->due_ms : 0;
    copy->store_host = order->store_host;
    copy->drop = delayed->drop;
    copy->n_drop = again->waits ? delayed->n_drop : 0;
    copy->put = again->put;
    copy->n_put = again->n_put;
    return bundle_add(env->sequencer, env->store, parts, again->waits ? 2 : 1, p, 0);
}

int retry_add(const struct flow_env *env, const struct delayed_rules *rules, const struct retry_order *order,
              const uint8_t *record, uint32_t bytes, const struct sequencer_pending *p)
{
    struct record_copy copy = {.record = record, .bytes = bytes};
    struct queue *queue = NULL;
    struct again again;
    int rc;

    again.n_put = 0;
    again.waits = false;
    rc = proto_record_decode(record, bytes, &again.rec) == 0 ? 0 : MQ_EBADMSG;
    if (rc != 0) {
        return rc;
    }
    put_origin(&again);
    rc = retry_is_dead(order, &again.rec) ? dead_letter(env, &again, order, &queue)
                                          : another_try(env, rules, &again, order, &queue);
    if (rc != 0) {
        return rc;
    }
    return properties_fit(&again) ? add_copy(env, &again, order, &copy, queue, p) : MQ_ETOOBIG;
}
