#include "remoting/protocol/body_route.h"

#include "remoting/base/err.h"
#include "remoting/protocol/body_json.h"

int proto_broker_add_addr(struct proto_broker_data *broker, int64_t id, struct mq_str addr)
{
    if (broker->addr_count == PROTO_BROKER_ADDRS_MAX) {
        return MQ_ETOOBIG;
    }
    broker->addrs[broker->addr_count++] = (struct proto_broker_addr){id, addr};
    return 0;
}

struct mq_str proto_broker_addr_of(const struct proto_broker_data *broker, int64_t id)
{
    for (uint32_t i = 0; i < broker->addr_count; i++) {
        if (broker->addrs[i].id == id) {
            return broker->addrs[i].addr;
        }
    }
    return (struct mq_str){0};
}

/* The members of @broker in ascending order of their ids. */
static void sort_addrs(const struct proto_broker_data *broker, const struct proto_broker_addr **sorted)
{
    for (uint32_t n = 0; n < broker->addr_count; n++) {
        uint32_t i = n;

        for (; i > 0 && sorted[i - 1]->id > broker->addrs[n].id; i--) {
            sorted[i] = sorted[i - 1];
        }
        sorted[i] = &broker->addrs[n];
    }
}

static void put_addrs(struct proto_out *out, const struct proto_broker_data *broker)
{
    const struct proto_broker_addr *sorted[PROTO_BROKER_ADDRS_MAX];

    sort_addrs(broker, sorted);
    PROTO_OUT(out, "{");
    for (uint32_t i = 0; i < broker->addr_count; i++) {
        proto_out_comma(out, i);
        PROTO_OUT(out, "\"");
        proto_out_i64(out, sorted[i]->id);
        PROTO_OUT(out, "\":");
        proto_out_string(out, sorted[i]->addr);
    }
    PROTO_OUT(out, "}");
}

static void put_broker(struct proto_out *out, const struct proto_broker_data *broker)
{
    PROTO_OUT(out, "{\"brokerAddrs\":");
    put_addrs(out, broker);
    PROTO_OUT(out, ",\"brokerName\":");
    proto_out_string(out, broker->name);
    PROTO_OUT(out, ",\"cluster\":");
    proto_out_string(out, broker->cluster);
    PROTO_OUT(out, ",\"enableActingMaster\":");
    proto_out_bool(out, broker->acting_master);
    if (broker->zone.at != NULL) {
        PROTO_OUT(out, ",\"zoneName\":");
        proto_out_string(out, broker->zone);
    }
    PROTO_OUT(out, "}");
}

static void put_queue(struct proto_out *out, const struct proto_queue_data *queue)
{
    PROTO_OUT(out, "{\"brokerName\":");
    proto_out_string(out, queue->broker_name);
    PROTO_OUT(out, ",\"perm\":");
    proto_out_i64(out, queue->perm);
    PROTO_OUT(out, ",\"readQueueNums\":");
    proto_out_i64(out, queue->read_queues);
    PROTO_OUT(out, ",\"topicSysFlag\":");
    proto_out_i64(out, queue->topic_sys_flag);
    PROTO_OUT(out, ",\"writeQueueNums\":");
    proto_out_i64(out, queue->write_queues);
    PROTO_OUT(out, "}");
}

int proto_route_encode(struct mq_buf *buf, const struct proto_route *route)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"brokerDatas\":[");
    for (uint32_t i = 0; i < route->brokers.count; i++) {
        proto_out_comma(&out, i);
        put_broker(&out, &route->brokers.items[i]);
    }
    PROTO_OUT(&out, "],\"filterServerTable\":{}");
    if (route->order_conf.at != NULL) {
        PROTO_OUT(&out, ",\"orderTopicConf\":");
        proto_out_string(&out, route->order_conf);
    }
    PROTO_OUT(&out, ",\"queueDatas\":[");
    for (uint32_t i = 0; i < route->queues.count; i++) {
        proto_out_comma(&out, i);
        put_queue(&out, &route->queues.items[i]);
    }
    PROTO_OUT(&out, "]}");
    return proto_out_end(&out);
}

static bool cluster_was_before(const struct proto_brokers *brokers, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (mq_str_eq(brokers->items[i].cluster, brokers->items[n].cluster)) {
            return true;
        }
    }
    return false;
}

/* "cluster":["name","name"] of the cluster whose first broker is number @first. */
static void put_cluster(struct proto_out *out, const struct proto_brokers *brokers, uint32_t first)
{
    proto_out_string(out, brokers->items[first].cluster);
    PROTO_OUT(out, ":[");
    for (uint32_t i = first; i < brokers->count; i++) {
        if (mq_str_eq(brokers->items[i].cluster, brokers->items[first].cluster)) {
            proto_out_comma(out, i - first);
            proto_out_string(out, brokers->items[i].name);
        }
    }
    PROTO_OUT(out, "]");
}

int proto_cluster_encode(struct mq_buf *buf, const struct proto_brokers *brokers)
{
    struct proto_out out = proto_out_begin(buf);
    uint32_t clusters = 0;

    PROTO_OUT(&out, "{\"brokerAddrTable\":{");
    for (uint32_t i = 0; i < brokers->count; i++) {
        proto_out_comma(&out, i);
        proto_out_string(&out, brokers->items[i].name);
        PROTO_OUT(&out, ":");
        put_broker(&out, &brokers->items[i]);
    }
    PROTO_OUT(&out, "},\"clusterAddrTable\":{");
    for (uint32_t i = 0; i < brokers->count; i++) {
        if (!cluster_was_before(brokers, i)) {
            proto_out_comma(&out, clusters++);
            put_cluster(&out, brokers, i);
        }
    }
    PROTO_OUT(&out, "}}");
    return proto_out_end(&out);
}

static int read_addr(struct mq_json *json, struct mq_str key, void *out)
{
    struct mq_str addr = {0};
    int64_t id;
    int rc = proto_json_str(json, &addr);

    if (rc != 0 || mq_str_to_i64(key, &id) != 0) {
        return MQ_EBADMSG;
    }
    return addr.at != NULL ? proto_broker_add_addr(out, id, addr) : 0;
}

static int read_broker_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_broker_data *broker = out;

    if (mq_str_eq(key, MQ_STR("brokerAddrs"))) {
        return proto_json_object(json, read_addr, broker);
    }
    if (mq_str_eq(key, MQ_STR("brokerName"))) {
        return proto_json_str(json, &broker->name);
    }
    if (mq_str_eq(key, MQ_STR("cluster"))) {
        return proto_json_str(json, &broker->cluster);
    }
    if (mq_str_eq(key, MQ_STR("zoneName"))) {
        return proto_json_str(json, &broker->zone);
    }
    if (mq_str_eq(key, MQ_STR("enableActingMaster"))) {
        return proto_json_bool(json, &broker->acting_master);
    }
    return mq_json_skip(json);
}

static int add_broker(struct proto_brokers *brokers, struct proto_broker_data **broker)
{
    if (brokers->count == PROTO_ROUTE_BROKERS_MAX) {
        return MQ_ETOOBIG;
    }
    *broker = proto_brokers_add(brokers);
    return *broker != NULL ? 0 : MQ_ENOMEM;
}

static int read_broker(struct mq_json *json, void *out)
{
    struct proto_broker_data *broker;
    int rc = add_broker(out, &broker);

    return rc == 0 ? proto_json_members(json, read_broker_member, broker) : rc;
}

static int read_queue_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_queue_data *queue = out;

    if (mq_str_eq(key, MQ_STR("brokerName"))) {
        return proto_json_str(json, &queue->broker_name);
    }
    if (mq_str_eq(key, MQ_STR("perm"))) {
        return proto_json_i32(json, &queue->perm);
    }
    if (mq_str_eq(key, MQ_STR("readQueueNums"))) {
        return proto_json_i32(json, &queue->read_queues);
    }
    if (mq_str_eq(key, MQ_STR("writeQueueNums"))) {
        return proto_json_i32(json, &queue->write_queues);
    }
    /* Spelled topicSynFlag before 4.9.0. */
    if (mq_str_eq(key, MQ_STR("topicSysFlag")) || mq_str_eq(key, MQ_STR("topicSynFlag"))) {
        return proto_json_i32(json, &queue->topic_sys_flag);
    }
    return mq_json_skip(json);
}

static int read_queue(struct mq_json *json, void *out)
{
    struct proto_queues *queues = out;
    struct proto_queue_data *queue;

    if (queues->count == PROTO_ROUTE_QUEUES_MAX) {
        return MQ_ETOOBIG;
    }
    queue = proto_queues_add(queues);
    return queue != NULL ? proto_json_members(json, read_queue_member, queue) : MQ_ENOMEM;
}

static int read_route_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_route *route = out;

    if (mq_str_eq(key, MQ_STR("brokerDatas"))) {
        return proto_json_objects(json, read_broker, &route->brokers);
    }
    if (mq_str_eq(key, MQ_STR("queueDatas"))) {
        return proto_json_objects(json, read_queue, &route->queues);
    }
    if (mq_str_eq(key, MQ_STR("orderTopicConf"))) {
        return proto_json_str(json, &route->order_conf);
    }
    return mq_json_skip(json);
}

int proto_route_decode(char *json, size_t n, struct proto_route *out)
{
    *out = (struct proto_route){0};
    return proto_json_body(json, n, read_route_member, out);
}

void proto_route_free(struct proto_route *route)
{
    proto_brokers_free(&route->brokers);
    proto_queues_free(&route->queues);
}

/* One broker of {name:data}; data without a name of its own takes the key. */
static int read_named_broker(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_broker_data *broker;
    int rc = add_broker(out, &broker);

    if (rc != 0) {
        return rc;
    }
    rc = proto_json_object(json, read_broker_member, broker);
    if (broker->name.at == NULL) {
        broker->name = key;
    }
    return rc;
}

static int read_cluster_member(struct mq_json *json, struct mq_str key, void *out)
{
    if (mq_str_eq(key, MQ_STR("brokerAddrTable"))) {
        return proto_json_object(json, read_named_broker, out);
    }
    return mq_json_skip(json);
}

int proto_cluster_decode(char *json, size_t n, struct proto_brokers *out)
{
    *out = (struct proto_brokers){0};
    return proto_json_body(json, n, read_cluster_member, out);
}
