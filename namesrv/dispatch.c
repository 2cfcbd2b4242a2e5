#include "namesrv/dispatch.h"

#include "namesrv/kv_processor.h"
#include "namesrv/route_processor.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"

#include <stdarg.h>
#include <stdio.h>

#define REMARK_MAX 512
#define UNSENT_KEPT_MAX 65536

static const struct {
    int32_t code;
    void (*handle)(struct namesrv_request *rq);
} requests[] = {
    {REQ_GET_ROUTEINFO_BY_TOPIC, route_get},
    {REQ_REGISTER_BROKER, route_register},
    {REQ_BROKER_HEARTBEAT, route_heartbeat},
    {REQ_QUERY_DATA_VERSION, route_query_version},
    {REQ_UNREGISTER_BROKER, route_unregister},
    {REQ_GET_BROKER_CLUSTER_INFO, route_cluster_info},
    {REQ_GET_BROKER_MEMBER_GROUP, route_member_group},
    {REQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, route_topic_list},
    {REQ_GET_TOPICS_BY_CLUSTER, route_cluster_topics},
    {REQ_GET_SYSTEM_TOPIC_LIST_FROM_NS, route_system_topics},
    {REQ_WIPE_WRITE_PERM_OF_BROKER, route_wipe_writes},
    {REQ_ADD_WRITE_PERM_OF_BROKER, route_allow_writes},
    {REQ_DELETE_TOPIC_IN_NAMESRV, route_delete_topic},
    {REQ_REGISTER_TOPIC_IN_NAMESRV, route_put_topic},
    {REQ_PUT_KV_CONFIG, kv_put},
    {REQ_GET_KV_CONFIG, kv_get},
    {REQ_DELETE_KV_CONFIG, kv_delete},
    {REQ_GET_KVLIST_BY_NAMESPACE, kv_list},
    {REQ_GET_NAMESRV_CONFIG, kv_own_config},
};

void dispatch_command(struct namesrv *srv, struct net_channel *ch, struct proto_command *cmd)
{
    struct namesrv_request rq = {srv, ch, cmd, mq_clock_mono_ms()};

    if (cmd->flag & PROTO_FLAG_RESPONSE) {
        return; /* we ask nobody anything */
    }
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        if (requests[i].code == cmd->code) {
            requests[i].handle(&rq);
            return;
        }
    }
    dispatch_reply_error(&rq, RESP_REQUEST_CODE_NOT_SUPPORTED, "request code %d is not known to this name server",
                         cmd->code);
}

static bool is_oneway(const struct namesrv_request *rq)
{
    return (rq->cmd->flag & PROTO_FLAG_ONEWAY) != 0;
}

static void begin(struct namesrv_request *rq, struct proto_writer *w, int32_t code, struct mq_str remark)
{
    struct proto_head head = {
        .code = code,
        .opaque = rq->cmd->opaque,
        .flag = PROTO_FLAG_RESPONSE,
        .encoding = rq->cmd->encoding,
        .remark = remark,
    };

    proto_begin(w, is_oneway(rq) ? &rq->srv->unsent : net_channel_out(rq->ch), &head);
}

static int end(struct proto_writer *w, const struct mq_buf *body)
{
    int rc = proto_end(w, body != NULL ? body->len : 0);

    if (rc == 0 && body != NULL) {
        rc = mq_buf_put(w->out, body->base, body->len);
        if (rc != 0) {
            w->out->len = w->frame_at;
        }
    }
    return rc;
}

/* Sends what was appended; of a one-way request's answer nothing is kept. */
static void sent(struct namesrv_request *rq)
{
    struct mq_buf *unsent = &rq->srv->unsent;

    if (!is_oneway(rq)) {
        net_channel_out_done(rq->ch);
        return;
    }
    unsent->len = 0;
    if (unsent->cap > UNSENT_KEPT_MAX) {
        mq_buf_free(unsent);
    }
}

void dispatch_reply_begin(struct namesrv_request *rq, struct proto_writer *w, int32_t code)
{
    begin(rq, w, code, (struct mq_str){0});
}

void dispatch_reply_end(struct namesrv_request *rq, struct proto_writer *w, const struct mq_buf *body)
{
    int rc = end(w, body);

    if (rc != 0) {
        dispatch_reply_failed(rq, rc, "the answer cannot be written");
        return;
    }
    sent(rq);
}

void dispatch_reply_ok(struct namesrv_request *rq)
{
    dispatch_reply_body(rq, 0, NULL);
}

void dispatch_reply_error(struct namesrv_request *rq, int32_t code, const char *fmt, ...)
{
    char remark[REMARK_MAX];
    struct proto_writer w;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(remark, sizeof(remark), fmt, args);
    va_end(args);
    if (n >= (int)sizeof(remark)) {
        n = (int)sizeof(remark) - 1;
    }
    begin(rq, &w, code, (struct mq_str){remark, (uint32_t)n});
    if (end(&w, NULL) != 0) {
        net_channel_close(rq->ch, MQ_ENOMEM, false); /* a caller must not wait for what never comes */
        return;
    }
    sent(rq);
}

void dispatch_reply_bad_header(struct namesrv_request *rq, const struct proto_problem *why)
{
    if (why->missing) {
        dispatch_reply_error(rq, RESP_SYSTEM_ERROR, "the required field %s is missing", why->field);
    } else {
        dispatch_reply_error(rq, RESP_SYSTEM_ERROR, "the field %s is not a number in range: %.*s", why->field,
                             why->value.len > 64 ? 64 : (int)why->value.len,
                             why->value.at != NULL ? why->value.at : "");
    }
}

void dispatch_reply_failed(struct namesrv_request *rq, int rc, const char *what)
{
    dispatch_reply_error(rq, RESP_SYSTEM_ERROR, "%s: %s", what, mq_strerror(rc));
}

void dispatch_reply_body(struct namesrv_request *rq, int rc, struct mq_buf *body)
{
    struct proto_writer w;

    if (rc == 0) {
        dispatch_reply_begin(rq, &w, RESP_SUCCESS);
        dispatch_reply_end(rq, &w, body);
    } else {
        dispatch_reply_failed(rq, rc, "the answer cannot be made");
    }
    if (body != NULL) {
        mq_buf_free(body);
    }
}
