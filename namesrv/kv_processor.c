#include "namesrv/kv_processor.h"

#include "namesrv/config.h"
#include "remoting/base/err.h"
#include "remoting/protocol/body_admin.h"

static bool read_header(struct namesrv_request *rq, struct proto_kv_header *h)
{
    struct proto_problem why;

    if (proto_kv_header_decode(&rq->cmd->fields, h, &why) != 0) {
        dispatch_reply_bad_header(rq, &why);
        return false;
    }
    return true;
}

static void reply_changed(struct namesrv_request *rq, int rc, const struct proto_kv_header *h)
{
    if (rc == 0) {
        dispatch_reply_ok(rq);
    } else if (rc == MQ_EINVAL) {
        dispatch_reply_error(rq, RESP_SYSTEM_ERROR, "namespace or key is empty");
    } else if (rc == MQ_ETOOBIG) {
        dispatch_reply_error(
            rq, RESP_SYSTEM_ERROR,
            "over a limit: namespace %u and key %u bytes (at most %u), value %u (at most %u), in all %u entries "
            "and %u bytes",
            h->space.len, h->key.len, KV_NAME_MAX, h->value.len, KV_VALUE_MAX, KV_ENTRIES_MAX, KV_BYTES_MAX);
    } else {
        mq_log_error("kv", "not kept cause=\"%s\"", mq_strerror(rc));
        dispatch_reply_failed(rq, rc, "the change could not be kept on disk");
    }
}

void kv_put(struct namesrv_request *rq)
{
    struct proto_kv_header h;

    if (!read_header(rq, &h)) {
        return;
    }
    if (h.value.at == NULL) {
        dispatch_reply_bad_header(rq, &(struct proto_problem){.field = "value", .missing = true});
        return;
    }
    reply_changed(rq, kv_table_put(rq->srv->kv, h.space, h.key, h.value), &h);
}

void kv_delete(struct namesrv_request *rq)
{
    struct proto_kv_header h;

    if (read_header(rq, &h)) {
        reply_changed(rq, kv_table_delete(rq->srv->kv, h.space, h.key), &h);
    }
}

void kv_get(struct namesrv_request *rq)
{
    struct proto_kv_response_header answer;
    struct proto_kv_header h;
    struct proto_writer w;

    if (!read_header(rq, &h)) {
        return;
    }
    answer.value = kv_table_get(rq->srv->kv, h.space, h.key);
    if (answer.value.at == NULL) {
        dispatch_reply_error(rq, RESP_QUERY_NOT_FOUND, "no value for this key in this namespace");
        return;
    }
    dispatch_reply_begin(rq, &w, RESP_SUCCESS);
    proto_kv_response_header_encode(&w, &answer);
    dispatch_reply_end(rq, &w, NULL);
}

void kv_list(struct namesrv_request *rq)
{
    struct proto_kv_namespace_header h;
    struct proto_problem why;
    struct proto_kvs kvs = {0};
    struct mq_buf body = {0};
    int rc;

    if (proto_kv_namespace_header_decode(&rq->cmd->fields, &h, &why) != 0) {
        dispatch_reply_bad_header(rq, &why);
        return;
    }
    rc = kv_table_list(rq->srv->kv, h.space, &kvs);
    if (rc == MQ_ENOTFOUND) {
        dispatch_reply_error(rq, RESP_QUERY_NOT_FOUND, "there are no values in this namespace");
    } else {
        rc = rc != 0 ? rc : proto_kv_table_encode(&body, &kvs);
        dispatch_reply_body(rq, rc, &body);
    }
    proto_kvs_free(&kvs);
}

void kv_own_config(struct namesrv_request *rq)
{
    struct mq_buf body = {0};
    int rc = mq_conf_print(namesrv_config_keys, rq->srv->config, &body);

    dispatch_reply_body(rq, rc, &body);
}
