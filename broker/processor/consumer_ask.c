/* Questions that an operator's tool asks a consumer through us: GET_CONSUMER_RUNNING_INFO (307),
 * CONSUME_MESSAGE_DIRECTLY (309), and INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223), for which several are asked with
 * GET_CONSUMER_STATUS_FROM_CLIENT (221); and what is told to consumers without an answer:
 * RESET_CONSUMER_CLIENT_OFFSET (220).
 *
 * Happy path of 307 and 309: decode -> the message is read (309) -> the client's connection is looked up -> the
 * request goes on with the fields it came with -> the client's answer goes back byte for byte, whatever its code.
 * Failures: no such client, no such message: 1; no answer in time: 207; the client went away, or has too many
 * questions open: 1. Source: RocketMQ's AdminBrokerProcessor, Broker2Client. */
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "broker/session/consumer_table.h"
#include "broker/store/fetch.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_offset.h"
#include "remoting/protocol/headers.h"

#include <stdio.h>

#define INFO_MS 3000     /* tools wait for five seconds */
#define CONSUME_MS 10000 /* the application's own code runs */
#define STATUS_MS 3000   /* all are asked at once */
#define STATUS_ASKED_MAX 1024
#define FIELD_TEXT_MAX 4096 /* of one question */

/* A question under way. */
struct ask {
    struct context *ctx;
    struct net_channel *from; /* counted; whom the answer is for */
    struct reply_to to;
    int32_t code;
    uint32_t timeout_ms;
    char *text;                     /* owned: group, client id, then the fields, each ended by a NUL */
    struct mq_str group, client_id; /* slices of text */
    struct mq_str keys[PROTO_FIELDS_MAX], values[PROTO_FIELDS_MAX];
    uint32_t n_fields;
    struct store_fetch fetch;
    struct net_call call;
};

static void ask_free(struct ask *ask)
{
    net_channel_release(ask->from);
    mq_free(ask->text);
    mq_free(ask);
}

static struct mq_str keep(char **at, struct mq_str s)
{
    struct mq_str kept = {*at, s.len};

    memcpy(*at, s.at != NULL ? s.at : "", s.len);
    (*at)[s.len] = '\0';
    *at += s.len + 1;
    return kept;
}

/* Whether a field goes on to the client; those of our own making replace what came. */
static bool is_passed_on(struct mq_str key, int32_t code)
{
    return code != REQ_CONSUME_MESSAGE_DIRECTLY ||
           !(mq_str_eq(key, MQ_STR("brokerName")) || mq_str_eq(key, MQ_STR("topicSysFlag")) ||
             mq_str_eq(key, MQ_STR("groupSysFlag")));
}

/* Copies what is needed behind the call. Returns NULL after an answer. */
static struct ask *ask_new(struct context *ctx, struct net_channel *ch, const struct proto_command *cmd,
                           struct mq_str group, struct mq_str client_id)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct ask *ask = mq_calloc(1, sizeof(*ask));
    size_t bytes = group.len + client_id.len + 2;
    char *at;

    for (uint32_t i = 0; i < cmd->fields.count; i++) {
        bytes += cmd->fields.list[i].key.len + cmd->fields.list[i].value.len + 2;
    }
    if (bytes > FIELD_TEXT_MAX) {
        reply_error(&to, RESP_SYSTEM_ERROR, "the fields have %zu bytes, at most %d go on to a client", bytes,
                    FIELD_TEXT_MAX);
        mq_free(ask);
        return NULL;
    }
    at = ask != NULL ? mq_malloc(bytes) : NULL;
    if (at == NULL) {
        mq_free(ask);
        reply_failed(&to, MQ_ENOMEM);
        return NULL;
    }
    ask->ctx = ctx;
    ask->text = at;
    ask->to = to;
    ask->from = net_channel_acquire(ch);
    ask->code = cmd->code;
    ask->group = keep(&at, group);
    ask->client_id = keep(&at, client_id);
    for (uint32_t i = 0; i < cmd->fields.count; i++) {
        if (cmd->fields.list[i].value.at != NULL && is_passed_on(cmd->fields.list[i].key, cmd->code)) {
            ask->keys[ask->n_fields] = keep(&at, cmd->fields.list[i].key);
            ask->values[ask->n_fields++] = keep(&at, cmd->fields.list[i].value);
        }
    }
    return ask;
}

static void pass_back(const struct reply_to *to, const struct proto_command *answer)
{
    struct proto_writer w;

    if (!reply_begin(to, &w, answer->code, answer->remark)) {
        return;
    }
    for (uint32_t i = 0; i < answer->fields.count; i++) {
        proto_put_str(&w, answer->fields.list[i].key, answer->fields.list[i].value);
    }
    reply_end(to, &w, answer->body, answer->body_bytes);
}

static void on_answered(struct net_call *call, int status, struct proto_command *answer)
{
    struct ask *ask = container_of(call, struct ask, call);

    if (status == 0) {
        pass_back(&ask->to, answer);
    } else if (status == MQ_ETIMEDOUT) {
        reply_error(&ask->to, RESP_CONSUME_MSG_TIMEOUT,
                    "consumer \"" MQ_STR_FMT "\" of group \"" MQ_STR_FMT "\" gave no answer in %u ms",
                    REMARK_ARG(ask->client_id), REMARK_ARG(ask->group), ask->timeout_ms);
    } else {
        reply_error(&ask->to, RESP_SYSTEM_ERROR,
                    "consumer \"" MQ_STR_FMT "\" of group \"" MQ_STR_FMT "\" disconnected before it answered",
                    REMARK_ARG(ask->client_id), REMARK_ARG(ask->group));
    }
    ask_free(ask);
}

/* What the original adds to 309. */
static void put_own_fields(const struct ask *ask, struct proto_writer *w)
{
    struct state *state = ask->ctx->state;
    const struct topic *topic = NULL;
    const struct group *group = group_table_find(&state->groups, ask->group);

    for (uint32_t i = 0; i < ask->n_fields; i++) {
        if (mq_str_eq(ask->keys[i], MQ_STR("topic"))) {
            topic = topic_table_find(&state->topics, ask->values[i]);
        }
    }
    proto_put_str(w, MQ_STR("brokerName"), mq_str_of(ask->ctx->config->broker_name));
    if (topic != NULL) {
        proto_put_i64(w, MQ_STR("topicSysFlag"), topic->sys_flag);
    }
    if (group != NULL) {
        proto_put_i64(w, MQ_STR("groupSysFlag"), group->sys_flag);
    }
}

/* Sends the question on. @ask: taken. */
static void ask_client(struct ask *ask, uint32_t timeout_ms, const void *body, uint32_t body_bytes)
{
    struct net_calls *calls = ask->ctx->calls;
    struct net_channel *client = consumer_table_channel(ask->ctx->consumers, ask->group, ask->client_id);
    struct proto_writer w;
    int rc = client != NULL ? net_calls_begin(calls, client, &w, ask->code, PROTO_JSON, false) : MQ_ECLOSED;

    ask->timeout_ms = timeout_ms;
    if (rc == 0) {
        for (uint32_t i = 0; i < ask->n_fields; i++) {
            proto_put_str(&w, ask->keys[i], ask->values[i]);
        }
        if (ask->code == REQ_CONSUME_MESSAGE_DIRECTLY) {
            put_own_fields(ask, &w);
        }
        rc = net_calls_send(calls, client, &w, body, body_bytes, &ask->call, timeout_ms, on_answered);
    }
    if (rc == 0) {
        return; /* on_answered frees */
    }
    if (rc == MQ_ECLOSED) {
        reply_error(&ask->to, RESP_SYSTEM_ERROR,
                    "The Consumer <" MQ_STR_FMT "> <" MQ_STR_FMT "> not online: no such client id is connected here",
                    REMARK_ARG(ask->group), REMARK_ARG(ask->client_id));
    } else {
        reply_error(&ask->to, RESP_SYSTEM_ERROR, "consumer \"" MQ_STR_FMT "\" cannot be asked now: %s",
                    REMARK_ARG(ask->client_id), mq_strerror(rc));
    }
    ask_free(ask);
}

void ask_running_info(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_running_info_header header;
    struct proto_problem why;
    struct ask *ask;

    if (proto_running_info_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    ask = ask_new(ctx, ch, cmd, header.consumer_group, header.client_id);
    if (ask != NULL) {
        ask_client(ask, INFO_MS, NULL, 0);
    }
}

/* --- 309 --- */

static void refuse_message(const struct reply_to *to, uint64_t pos, int rc)
{
    if (rc == MQ_ENOTFOUND) {
        reply_error(to, RESP_SYSTEM_ERROR, "msgId: no message lies at position %llu", (unsigned long long)pos);
    } else {
        reply_failed(to, rc);
    }
}

static void on_fetched(struct store_fetch *fetch, int status, const struct reader_view *view)
{
    struct ask *ask = container_of(fetch, struct ask, fetch);

    if (status == 0) {
        ask_client(ask, CONSUME_MS, view->at, view->bytes);
        return;
    }
    refuse_message(&ask->to, fetch->pos, status);
    ask_free(ask);
}

void ask_to_consume(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_consume_directly_header header;
    struct proto_problem why;
    struct proto_host host;
    struct ask *ask;
    int64_t pos;
    int rc;

    if (proto_consume_directly_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (proto_offset_msg_id_parse(header.msg_id, &host, &pos) != 0 || pos < 0) {
        reply_error(&to, RESP_SYSTEM_ERROR, "msgId \"" MQ_STR_FMT "\" is not the offset id of a message",
                    REMARK_ARG(header.msg_id));
        return;
    }
    ask = ask_new(ctx, ch, cmd, header.consumer_group, header.client_id);
    if (ask == NULL) {
        return;
    }
    ask->fetch.pos = (uint64_t)pos;
    ask->fetch.done = on_fetched;
    rc = store_fetch_start(ctx->store, &ask->fetch);
    if (rc != 0) {
        refuse_message(&to, (uint64_t)pos, rc);
        ask_free(ask);
    }
}

/* --- 223 --- */

/* All that is asked for one 223; lives until the last one has answered, or has not. */
struct status_ask {
    struct context *ctx;
    struct net_channel *from; /* counted */
    struct reply_to to;
    struct mq_str topic, group, client_id; /* valid while the members are walked */
    struct mq_buf body;                    /* owned: what those that answered said */
    uint32_t answered;
    uint32_t waiting;
    uint32_t asked;
    int rc;
};

struct status_call {
    struct net_call call;
    struct status_ask *all;
    char client_id[CLIENT_ID_MAX + 1];
};

static void status_unref(struct status_ask *all)
{
    int rc = all->rc;

    if (--all->waiting != 0) {
        return;
    }
    rc = rc == 0 ? proto_positions_end(&all->body) : rc;
    reply_built(&all->to, rc, &all->body);
    net_channel_release(all->from);
    mq_free(all);
}

/* Who answers in a form that cannot be read is left out. */
static void add_answer(struct status_ask *all, const char *client_id, const struct proto_command *answer)
{
    char *json = mq_strndup((const char *)answer->body, answer->body_bytes); /* decoding changes it */
    struct proto_queue_offsets offsets = {0};
    int rc = json != NULL ? 0 : MQ_ENOMEM;

    if (rc == 0 && proto_positions_decode(json, answer->body_bytes, &offsets) == 0) {
        rc = proto_positions_add(&all->body, all->answered == 0, mq_str_of(client_id), &offsets);
        all->answered++;
    }
    all->rc = rc != 0 ? rc : all->rc;
    proto_queue_offsets_free(&offsets);
    mq_free(json);
}

static void on_status(struct net_call *call, int status, struct proto_command *answer)
{
    struct status_call *one = container_of(call, struct status_call, call);
    struct status_ask *all = one->all;

    if (status == 0 && answer->code == RESP_SUCCESS) {
        add_answer(all, one->client_id, answer);
    }
    mq_free(one);
    status_unref(all);
}

static void ask_status_of(void *data, struct net_channel *ch, struct mq_str client_id)
{
    struct status_ask *all = data;
    struct proto_consumer_status_header header = {.topic = all->topic, .group = all->group};
    struct status_call *one;
    struct proto_writer w;
    int rc;

    if (all->asked == STATUS_ASKED_MAX || (all->client_id.len != 0 && !mq_str_eq(all->client_id, client_id))) {
        return;
    }
    one = mq_calloc(1, sizeof(*one));
    if (one == NULL) {
        all->rc = MQ_ENOMEM;
        return;
    }
    one->all = all;
    snprintf(one->client_id, sizeof(one->client_id), MQ_STR_FMT, MQ_STR_ARG(client_id));
    rc = net_calls_begin(all->ctx->calls, ch, &w, REQ_GET_CONSUMER_STATUS_FROM_CLIENT, PROTO_JSON, false);
    if (rc == 0) {
        proto_consumer_status_header_encode(&w, &header);
        rc = net_calls_send(all->ctx->calls, ch, &w, NULL, 0, &one->call, STATUS_MS, on_status);
    }
    if (rc != 0) {
        mq_free(one); /* it is closing, or has too much to answer already */
        return;
    }
    all->asked++;
    all->waiting++;
}

void ask_consumer_status(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_consumer_status_header header;
    struct proto_problem why;
    struct status_ask *all;

    if (proto_consumer_status_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (!consumer_table_has_group(ctx->consumers, header.group)) {
        reply_error(&to, RESP_SYSTEM_ERROR, "group \"" MQ_STR_FMT "\" has no member that is connected",
                    REMARK_ARG(header.group));
        return;
    }
    all = mq_calloc(1, sizeof(*all));
    if (all == NULL) {
        reply_failed(&to, MQ_ENOMEM);
        return;
    }
    *all = (struct status_ask){.ctx = ctx,
                               .from = net_channel_acquire(ch),
                               .to = to,
                               .topic = header.topic,
                               .group = header.group,
                               .client_id = header.client_id,
                               .waiting = 1};
    all->rc = proto_positions_begin(&all->body);
    consumer_table_each(ctx->consumers, header.group, ask_status_of, all);
    status_unref(all);
}

/* --- 220 --- */

struct reset_telling {
    struct context *ctx;
    const struct proto_reset_client_header *header;
    struct mq_str body;
    uint32_t told;
};

static void tell_to_reset(void *data, struct net_channel *ch, struct mq_str client_id)
{
    struct reset_telling *telling = data;
    struct net_calls *calls = telling->ctx->calls;
    struct proto_writer w;

    (void)client_id;
    if (net_calls_begin(calls, ch, &w, REQ_RESET_CONSUMER_CLIENT_OFFSET, PROTO_JSON, true) != 0) {
        return;
    }
    proto_reset_client_header_encode(&w, telling->header);
    telling->told += net_calls_oneway(calls, ch, &w, telling->body.at, telling->body.len) == 0;
}

uint32_t tell_consumers_to_reset(struct context *ctx, const struct proto_reset_client_header *header,
                                 struct mq_str body)
{
    struct reset_telling telling = {.ctx = ctx, .header = header, .body = body};

    consumer_table_each(ctx->consumers, header->group, tell_to_reset, &telling);
    return telling.told;
}
