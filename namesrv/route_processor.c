#include "namesrv/route_processor.h"

#include "namesrv/kv_processor.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/json.h"
#include "remoting/protocol/body_admin.h"
#include "remoting/protocol/body_register.h"
#include "remoting/protocol/body_route.h"

#include <inttypes.h>

/* Decodes a header of @noun into the variable @h, or answers and leaves the handler. */
#define READ_HEADER(rq, noun, h)                                                                                     \
    struct proto_##noun##_header h;                                                                                  \
    do {                                                                                                             \
        struct proto_problem why_;                                                                                   \
        if (proto_##noun##_header_decode(&(rq)->cmd->fields, &(h), &why_) != 0) {                                    \
            dispatch_reply_bad_header(rq, &why_);                                                                    \
            return;                                                                                                  \
        }                                                                                                            \
    } while (0)

/* For "%.*s": as much of a name from outside as a line should carry. */
#define SHOWN_MAX 128
#define SHOWN(s) (s).len > SHOWN_MAX ? SHOWN_MAX : (int)(s).len, (s).at != NULL ? (s).at : ""

/* The body of a request. It lies in the frame, which is ours to change (command.h). */
static char *body_text(const struct namesrv_request *rq)
{
    return (char *)rq->cmd->body;
}

/* -- Brokers -------------------------------------------------------------------------------------------------- */

/* Only those who still read it as a follower need an address; the order topics go to everybody. */
static void reply_registered(struct namesrv_request *rq, const struct proto_register_broker_header *h, bool listed)
{
    struct proto_register_broker_response_header answer = proto_register_broker_response_header_defaults();
    struct proto_kvs kvs = {0};
    struct mq_buf body = {0};
    struct proto_writer w;
    int rc = MQ_ENOTFOUND;

    if (listed && h->broker_id != 0) {
        route_table_master(rq->srv->routes, h->broker_name, &answer.master_addr, &answer.ha_addr);
    }
    if (listed && rq->srv->config->return_order_conf) {
        rc = kv_table_list(rq->srv->kv, KV_ORDER_TOPICS, &kvs);
        rc = rc != 0 ? rc : proto_kv_table_encode(&body, &kvs);
        proto_kvs_free(&kvs);
    }
    if (rc != 0 && rc != MQ_ENOTFOUND) {
        mq_buf_free(&body);
        dispatch_reply_failed(rq, rc, "the answer cannot be made");
        return;
    }
    dispatch_reply_begin(rq, &w, RESP_SUCCESS);
    proto_register_broker_response_header_encode(&w, &answer);
    dispatch_reply_end(rq, &w, body.len != 0 ? &body : NULL);
    mq_buf_free(&body);
}

static void take_registration(struct namesrv_request *rq, const struct proto_register_broker_header *h,
                              const struct proto_topic_table *topics)
{
    struct route_registration reg = {
        .cluster = h->cluster_name,
        .broker_name = h->broker_name,
        .addr = h->broker_addr,
        .ha_addr = h->ha_addr,
        .zone = h->zone,
        .broker_id = h->broker_id,
        .timeout_ms = h->heartbeat_timeout_ms > 0 ? (uint64_t)h->heartbeat_timeout_ms : 0,
        .acting_master = mq_str_to_bool(h->acting_master),
        .speaks_acting_master = h->acting_master.at != NULL,
        .whole_table = h->whole_table,
        .conn = namesrv_conn(rq->ch),
        .topics = topics,
    };
    static struct mq_log_limit limit;
    enum route_outcome outcome;
    struct mq_buf why = {0};
    int rc = route_table_register(rq->srv->routes, &reg, rq->now_ms, &outcome, &why);

    if (rc != 0) {
        mq_log_limited(&limit, MQ_LOG_WARN, "route", "refused broker=%.*s addr=%.*s cause=\"" MQ_STR_FMT "\"",
                       SHOWN(h->broker_name), SHOWN(h->broker_addr), MQ_STR_ARG(mq_buf_str(&why)));
        dispatch_reply_error(rq, RESP_SYSTEM_ERROR, "register broker failed: " MQ_STR_FMT,
                             MQ_STR_ARG(why.len != 0 ? mq_buf_str(&why) : mq_str_of(mq_strerror(rc))));
    } else {
        if (outcome == ROUTE_OUTRANKED) {
            mq_log_limited(&limit, MQ_LOG_WARN, "route",
                           "outranked broker=" MQ_STR_FMT " id=%" PRId64 " addr=" MQ_STR_FMT " term=%" PRId64,
                           MQ_STR_ARG(h->broker_name), h->broker_id, MQ_STR_ARG(h->broker_addr),
                           topics->version.state_version);
        }
        reply_registered(rq, h, outcome != ROUTE_OUTRANKED);
    }
    mq_buf_free(&why);
}

/* Source of the mask: RocketMQ's UtilAll.crc32. */
static bool crc_holds(const struct proto_command *cmd, int32_t expected)
{
    return expected == 0 || (int32_t)(mq_crc32(0, cmd->body, cmd->body_bytes) & 0x7FFFFFFF) == expected;
}

void route_register(struct namesrv_request *rq)
{
    struct proto_register body = {0};
    int rc;

    READ_HEADER(rq, register_broker, h);
    if (!crc_holds(rq->cmd, h.body_crc32)) {
        dispatch_reply_error(rq, RESP_SYSTEM_ERROR,
                             "crc32 not match: bodyCrc32 is %d, the body of %u bytes has another", h.body_crc32,
                             rq->cmd->body_bytes);
        return;
    }
    rc = proto_register_decode(body_text(rq), rq->cmd->body_bytes, h.compressed, &body);
    if (rc == 0) {
        take_registration(rq, &h, &body.table);
    } else if (rc == MQ_ETOOBIG) {
        dispatch_reply_error(rq, RESP_SYSTEM_ERROR,
                             "the body has more than %u topics or inflates to more than %u bytes", PROTO_TOPICS_MAX,
                             PROTO_REGISTER_INFLATED_MAX);
    } else {
        dispatch_reply_failed(rq, rc, "the body of the registration does not parse");
    }
    proto_register_free(&body);
}

void route_unregister(struct namesrv_request *rq)
{
    READ_HEADER(rq, unregister_broker, h);
    route_table_unregister(rq->srv->routes, &(struct route_identity){h.cluster_name, h.broker_name, h.broker_addr},
                           namesrv_conn(rq->ch));
    dispatch_reply_ok(rq);
}

void route_heartbeat(struct namesrv_request *rq)
{
    READ_HEADER(rq, broker_heartbeat, h);
    route_table_touch(rq->srv->routes, &(struct route_identity){h.cluster_name, h.broker_name, h.broker_addr},
                      rq->now_ms);
    dispatch_reply_ok(rq);
}

void route_query_version(struct namesrv_request *rq)
{
    struct proto_data_version theirs = {0}, stored;
    struct proto_data_version_response_header answer;
    struct mq_buf body = {0};
    struct proto_writer w;
    bool has_stored;
    int rc = 0;

    READ_HEADER(rq, data_version, h);
    if (rq->cmd->body_bytes != 0) {
        rc = proto_data_version_decode(body_text(rq), rq->cmd->body_bytes, &theirs);
    }
    if (rc != 0) {
        dispatch_reply_failed(rq, rc, "the body is not a data version");
        return;
    }
    answer.changed =
        route_table_outdated(rq->srv->routes, &(struct route_identity){h.cluster_name, h.broker_name, h.broker_addr},
                             namesrv_conn(rq->ch), &theirs, rq->now_ms, &stored, &has_stored);
    if (has_stored) {
        rc = proto_data_version_encode(&body, &stored);
    }
    if (rc == 0) {
        dispatch_reply_begin(rq, &w, RESP_SUCCESS);
        proto_data_version_response_header_encode(&w, &answer);
        dispatch_reply_end(rq, &w, has_stored ? &body : NULL);
    } else {
        dispatch_reply_failed(rq, rc, "the answer cannot be made");
    }
    mq_buf_free(&body);
}

static int put_named(struct mq_buf *out, const char *before, struct mq_str value)
{
    int rc = mq_buf_put_str(out, mq_str_of(before));

    return rc != 0 ? rc : mq_json_put_string(out, value);
}

static int encode_member_group(struct mq_buf *out, const struct proto_broker_data *broker)
{
    int rc = mq_buf_put_str(out, MQ_STR("{\"brokerMemberGroup\":{\"brokerAddrs\":{"));

    for (uint32_t i = 0; i < broker->addr_count && rc == 0; i++) { /* ascending already, see route_group.h */
        rc = mq_buf_printf(out, "%s\"%" PRId64 "\":", i == 0 ? "" : ",", broker->addrs[i].id);
        if (rc == 0) {
            rc = mq_json_put_string(out, broker->addrs[i].addr);
        }
    }
    if (rc == 0) {
        rc = put_named(out, "},\"brokerName\":", broker->name);
    }
    if (rc == 0) {
        rc = put_named(out, ",\"cluster\":", broker->cluster);
    }
    return rc != 0 ? rc : mq_buf_put_str(out, MQ_STR("}}"));
}

void route_member_group(struct namesrv_request *rq)
{
    struct proto_broker_data broker;
    struct mq_buf body = {0};
    int rc;

    READ_HEADER(rq, member_group, h);
    if (route_table_broker(rq->srv->routes, h.cluster_name, h.broker_name, &broker) != 0) {
        broker = (struct proto_broker_data){.cluster = h.cluster_name, .name = h.broker_name};
    }
    rc = encode_member_group(&body, &broker);
    dispatch_reply_body(rq, rc, &body);
}

/* -- Clients and tools ------------------------------------------------------------------------------------------ */

static bool is_ready(const struct namesrv_request *rq)
{
    const struct namesrv_config *config = rq->srv->config;

    return !config->wait_for_service || rq->now_ms >= rq->srv->started_ms + (uint64_t)config->wait_seconds * 1000;
}

void route_get(struct namesrv_request *rq)
{
    const struct proto_fields *fields = &rq->cmd->fields;
    struct proto_route route = {0};
    struct mq_str zone = {0};
    struct mq_buf body = {0};
    int rc;

    READ_HEADER(rq, topic, h);
    if (!is_ready(rq)) {
        dispatch_reply_error(rq, RESP_SYSTEM_ERROR, "name server not ready");
        return;
    }
    if (mq_str_to_bool(proto_fields_get(fields, MQ_STR("__ZONE_MODE")))) {
        zone = proto_fields_get(fields, MQ_STR("__ZONE_NAME"));
    }
    rc = route_table_route(rq->srv->routes, h.topic, zone, &route);
    if (rc == MQ_ENOTFOUND) {
        dispatch_reply_error(rq, RESP_TOPIC_NOT_EXIST, "no registered broker has the topic %.*s", SHOWN(h.topic));
    } else {
        if (rq->srv->config->order_message) {
            route.order_conf = kv_table_get(rq->srv->kv, KV_ORDER_TOPICS, h.topic);
        }
        rc = rc != 0 ? rc : proto_route_encode(&body, &route);
        dispatch_reply_body(rq, rc, &body);
    }
    proto_route_free(&route);
}

void route_cluster_info(struct namesrv_request *rq)
{
    struct proto_brokers brokers = {0};
    struct mq_buf body = {0};
    int rc = route_table_brokers(rq->srv->routes, &brokers);

    rc = rc != 0 ? rc : proto_cluster_encode(&body, &brokers);
    dispatch_reply_body(rq, rc, &body);
    proto_brokers_free(&brokers);
}

/* @cluster absent: of all. */
static void reply_topics(struct namesrv_request *rq, struct mq_str cluster)
{
    struct proto_str_list topics = {0};
    struct mq_buf body = {0};
    int rc = route_table_topics(rq->srv->routes, cluster, &topics);

    rc = rc != 0 ? rc : proto_topic_list_encode(&body, &topics, (struct mq_str){0});
    dispatch_reply_body(rq, rc, &body);
    proto_str_list_free(&topics);
}

void route_topic_list(struct namesrv_request *rq)
{
    if (rq->srv->config->topic_list) {
        reply_topics(rq, (struct mq_str){0});
    } else {
        dispatch_reply_error(rq, RESP_SYSTEM_ERROR, "disable: enableAllTopicList is false");
    }
}

void route_cluster_topics(struct namesrv_request *rq)
{
    READ_HEADER(rq, cluster, h);
    reply_topics(rq, h.cluster);
}

static int add_name(struct proto_str_list *names, struct mq_str name)
{
    struct mq_str *added;

    for (uint32_t i = 0; i < names->count; i++) {
        if (mq_str_eq(names->items[i], name)) {
            return 0;
        }
    }
    added = proto_str_list_add(names);
    if (added == NULL) {
        return MQ_ENOMEM;
    }
    *added = name;
    return 0;
}

/* Clusters first, then broker names: each is also the name of a topic that brokers make for themselves. The tool asks
 * the broker whose address comes along for the rest, so a leader's is the best. */
void route_system_topics(struct namesrv_request *rq)
{
    struct proto_brokers brokers = {0};
    struct proto_str_list names = {0};
    struct mq_buf body = {0};
    struct mq_str addr = {0};
    int rc = route_table_brokers(rq->srv->routes, &brokers);

    for (uint32_t i = 0; i < brokers.count && rc == 0; i++) {
        const struct proto_broker_data *broker = &brokers.items[i];

        rc = add_name(&names, broker->cluster);
        if (addr.at == NULL) {
            addr = proto_broker_addr_of(broker, 0);
        }
    }
    for (uint32_t i = 0; i < brokers.count && rc == 0; i++) {
        rc = add_name(&names, brokers.items[i].name);
    }
    if (addr.at == NULL && brokers.count != 0) {
        addr = brokers.items[0].addrs[0].addr; /* a registered name has a member */
    }
    rc = rc != 0 ? rc : proto_topic_list_encode(&body, &names, addr);
    dispatch_reply_body(rq, rc, &body);
    proto_str_list_free(&names);
    proto_brokers_free(&brokers);
}

/* -- Administrators ---------------------------------------------------------------------------------------------- */

void route_wipe_writes(struct namesrv_request *rq)
{
    struct proto_wipe_response_header answer;
    struct proto_writer w;

    READ_HEADER(rq, wipe, h);
    answer.topics = (int32_t)route_table_allow_writes(rq->srv->routes, h.broker_name, false);
    dispatch_reply_begin(rq, &w, RESP_SUCCESS);
    proto_wipe_response_header_encode(&w, &answer);
    dispatch_reply_end(rq, &w, NULL);
}

void route_allow_writes(struct namesrv_request *rq)
{
    struct proto_add_write_response_header answer;
    struct proto_writer w;

    READ_HEADER(rq, wipe, h);
    answer.topics = (int32_t)route_table_allow_writes(rq->srv->routes, h.broker_name, true);
    dispatch_reply_begin(rq, &w, RESP_SUCCESS);
    proto_add_write_response_header_encode(&w, &answer);
    dispatch_reply_end(rq, &w, NULL);
}

void route_delete_topic(struct namesrv_request *rq)
{
    READ_HEADER(rq, delete_route, h);
    route_table_delete_topic(rq->srv->routes, h.topic, h.cluster_name);
    dispatch_reply_ok(rq);
}

void route_put_topic(struct namesrv_request *rq)
{
    struct proto_route route = {0};
    int rc;

    READ_HEADER(rq, topic, h);
    rc = proto_route_decode(body_text(rq), rq->cmd->body_bytes, &route);
    if (rc == 0) {
        rc = route_table_put_topic(rq->srv->routes, h.topic, &route.queues);
    }
    if (rc == 0 || rc == MQ_ENOTFOUND) { /* an unknown broker is passed over in silence, as stock name servers do */
        dispatch_reply_ok(rq);
    } else {
        dispatch_reply_failed(rq, rc, "the topic cannot be registered");
    }
    proto_route_free(&route);
}
