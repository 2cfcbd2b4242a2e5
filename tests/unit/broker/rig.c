#include "tests/unit/broker/rig.h"

#include "broker/processor/propose.h"
#include "remoting/base/clock.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "remoting/protocol/frame.h"

#include <stdio.h>
#include <stdlib.h>

#define OVERRIDES_MAX 16

static void open_broker(struct rig *rig, const char *const *overrides)
{
    const char *all[OVERRIDES_MAX + 1] = {"listenPort=0", "bindAddress=127.0.0.1", "brokerIP1=127.0.0.1",
                                          "brokerName=golden-a", "mappedFileSizeCommitLog=16777216"};
    struct mq_buf problem = {0}, warnings = {0};
    char store[96];
    size_t n = 5;

    snprintf(store, sizeof(store), "storePathRootDir=%s", rig->dir);
    all[n++] = store;
    for (; overrides != NULL && *overrides != NULL; overrides++) {
        assert_true(n < OVERRIDES_MAX);
        all[n++] = *overrides;
    }
    if (broker_open(&rig->loop, NULL, all, &rig->broker, &problem, &warnings) != 0) {
        fail_msg("%.*s", (int)problem.len, (const char *)problem.base);
    }
    mq_buf_free(&problem);
    mq_buf_free(&warnings);
    rig->ctx = broker_context(rig->broker);
}

static bool is_ready(void *data)
{
    struct rig *rig = data;

    /* The last of what a new leader proposes is there. */
    return broker_is_writable(rig->broker) &&
           group_table_find(&rig->ctx->state->groups, MQ_STR("CID_RMQ_SYS_TRANS")) != NULL;
}

void rig_loop(struct rig *rig)
{
    *rig = (struct rig){0};
    snprintf(rig->dir, sizeof(rig->dir), "/tmp/raftmq-broker-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    assert_int_equal(net_loop_init(&rig->loop), 0);
    mq_log_set_level(MQ_LOG_ERROR);
}

void rig_start(struct rig *rig, const char *const *overrides)
{
    open_broker(rig, overrides);
    rig_wait(rig, is_ready, rig);
}

void rig_open(struct rig *rig, const char *const *overrides)
{
    rig_loop(rig);
    rig_start(rig, overrides);
}

static void on_broker_closed(void *data)
{
    ((struct rig *)data)->gone = true;
}

void rig_stop(struct rig *rig)
{
    rig->gone = false;
    broker_close(rig->broker, on_broker_closed, rig);
    rig_wait_flag(rig, &rig->gone);
}

void rig_reopen(struct rig *rig, const char *const *overrides)
{
    rig_stop(rig);
    rig_start(rig, overrides);
}

void rig_close(struct rig *rig)
{
    rig_stop(rig);
    rig_end(rig);
}

void rig_end(struct rig *rig)
{
    uv_run(&rig->loop.uv, UV_RUN_DEFAULT);
    net_loop_fini(&rig->loop);
    assert_int_equal(mq_dir_remove(rig->dir), 0);
}

static void on_late(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

void rig_wait(struct rig *rig, bool (*is_so)(void *data), void *data)
{
    uv_timer_t timer;
    bool late = false;

    uv_timer_init(&rig->loop.uv, &timer);
    timer.data = &late;
    uv_timer_start(&timer, on_late, RIG_DEADLINE_MS, 0);
    while (!is_so(data) && !late) {
        uv_run(&rig->loop.uv, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&rig->loop.uv, UV_RUN_NOWAIT);
    if (late) {
        fail_msg("waited for %d ms", RIG_DEADLINE_MS);
    }
}

static bool is_set(void *data)
{
    return **(const bool *const *)data;
}

void rig_wait_flag(struct rig *rig, const bool *flag)
{
    rig_wait(rig, is_set, &flag);
}

/* --- connections --- */

static void keep_text(struct mq_buf *text, struct mq_str s)
{
    assert_int_equal(mq_buf_put(text, s.at != NULL ? s.at : "", s.len), 0);
    assert_int_equal(mq_buf_put_u8(text, 0), 0);
}

static void take_answer(struct peer *peer, const struct proto_command *cmd)
{
    struct answer **at = &peer->waiting;
    struct answer *answer;

    while (*at != NULL && (*at)->opaque != cmd->opaque) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        fail_msg("an answer to opaque %d, which nobody waits for: code %d", cmd->opaque, cmd->code);
    }
    answer = *at;
    *at = answer->next;
    assert_int_equal(cmd->encoding, peer->encoding);
    answer->code = cmd->code;
    keep_text(&answer->text, cmd->remark);
    for (uint32_t i = 0; i < cmd->fields.count; i++) {
        keep_text(&answer->text, cmd->fields.list[i].key);
        keep_text(&answer->text, cmd->fields.list[i].value);
    }
    if (cmd->body_bytes != 0) {
        assert_int_equal(mq_buf_put(&answer->body, cmd->body, cmd->body_bytes), 0);
    }
    assert_int_equal(mq_buf_put_u8(&answer->body, 0), 0);
    answer->body.len--;
    answer->done = true;
}

static void copy_field(const struct proto_command *cmd, const char *key, char *out, size_t n)
{
    struct mq_str value = proto_fields_get(&cmd->fields, mq_str_of(key));

    snprintf(out, n, MQ_STR_FMT, MQ_STR_ARG(value));
}

static void on_command(struct net_channel *ch, struct proto_command *cmd)
{
    struct peer *peer = ch->data;
    struct mq_str group;

    if ((cmd->flag & PROTO_FLAG_RESPONSE) != 0) {
        take_answer(peer, cmd);
        return;
    }
    peer->requests++;
    peer->last_request = cmd->code;
    group = proto_fields_get(&cmd->fields, MQ_STR("consumerGroup"));
    snprintf(peer->last_group, sizeof(peer->last_group), MQ_STR_FMT, MQ_STR_ARG(group));
    if (peer->on_request != NULL) {
        peer->on_request(peer, cmd);
    }
    copy_field(cmd, "commitLogOffset", peer->last_pos, sizeof(peer->last_pos));
    copy_field(cmd, "tranStateTableOffset", peer->last_half_qoff, sizeof(peer->last_half_qoff));
}

static void on_connected(struct net_channel *ch, int status)
{
    struct peer *peer = ch->data;

    assert_int_equal(status, 0);
    assert_int_equal(net_conn_start(&ch->conn), 0);
    peer->connected = true;
}

static void on_closed(struct net_channel *ch, int reason)
{
    struct peer *peer = ch->data;

    (void)reason;
    peer->closed = true;
}

static const struct net_channel_ops peer_ops = {
    .command = on_command, .connected = on_connected, .closed = on_closed};

void peer_dial_port(struct rig *rig, struct peer *peer, int port, enum proto_encoding encoding)
{
    static const struct net_conn_limits limits = {
        .pause_bytes = 64u << 20, .resume_bytes = 32u << 20, .close_bytes = 128u << 20};
    struct sockaddr_in addr;

    *peer = (struct peer){.rig = rig, .encoding = encoding, .opaque = 1000000};
    assert_int_equal(uv_ip4_addr("127.0.0.1", port, &addr), 0);
    assert_int_equal(net_channel_new(&rig->loop, &peer_ops, &limits, &peer->ch), 0);
    peer->ch->data = peer;
    assert_int_equal(net_conn_connect(&peer->ch->conn, (struct sockaddr *)&addr, false), 0);
    rig_wait_flag(rig, &peer->connected);
}

void peer_dial(struct rig *rig, struct peer *peer, enum proto_encoding encoding)
{
    peer_dial_port(rig, peer, broker_port(rig->broker), encoding);
}

void peer_hang_up(struct peer *peer)
{
    net_channel_close(peer->ch, 0, true);
    rig_wait_flag(peer->rig, &peer->closed);
    net_channel_release(peer->ch);
    peer->ch = NULL;
}

/* --- requests --- */

static void expect_answer(struct peer *peer, int32_t opaque, struct answer *answer)
{
    answer_free(answer);
    *answer = (struct answer){.opaque = opaque, .next = peer->waiting};
    peer->waiting = answer;
}

void peer_start(struct peer *peer, int32_t code, const struct pair *fields, struct mq_str body, struct answer *answer)
{
    struct proto_head head = {.code = code,
                              .opaque = peer->opaque++,
                              .flag = answer == NULL ? PROTO_FLAG_ONEWAY : 0,
                              .encoding = peer->encoding};
    struct proto_writer w;

    proto_begin(&w, net_channel_out(peer->ch), &head);
    for (; fields->key != NULL; fields++) {
        proto_put_str(&w, mq_str_of(fields->key), mq_str_of(fields->value));
    }
    assert_int_equal(proto_end(&w, body.len), 0);
    assert_int_equal(mq_buf_put(w.out, body.at, body.len), 0);
    net_channel_out_done(peer->ch);
    if (answer != NULL) {
        expect_answer(peer, head.opaque, answer);
    }
}

void peer_start_frame(struct peer *peer, const struct mq_buf *frame, struct answer *answer)
{
    struct mq_buf copy = {0};
    struct proto_command cmd;

    /* Decoding changes it. */
    assert_int_equal(mq_buf_put(&copy, frame->base, frame->len), 0);
    assert_int_equal(proto_command_decode(copy.base, copy.len, &cmd), 0);
    if ((cmd.flag & PROTO_FLAG_ONEWAY) == 0) {
        expect_answer(peer, cmd.opaque, answer);
    }
    mq_buf_free(&copy);
    assert_int_equal(mq_buf_put(net_channel_out(peer->ch), frame->base, frame->len), 0);
    net_channel_out_done(peer->ch);
}

int32_t peer_ask(struct peer *peer, int32_t code, const struct pair *fields, struct mq_str body,
                 struct answer *answer)
{
    peer_start(peer, code, fields, body, answer);
    rig_wait_flag(peer->rig, &answer->done);
    return answer->code;
}

int32_t peer_code(struct peer *peer, int32_t code, const struct pair *fields, struct mq_str body)
{
    struct answer answer = {0};
    int32_t got = peer_ask(peer, code, fields, body, &answer);

    answer_free(&answer);
    return got;
}

void peer_sync(struct peer *peer)
{
    assert_int_equal(peer_code(peer, REQ_GET_MAX_OFFSET, FIELDS({"topic", "none"}, {"queueId", "0"}), MQ_STR("")),
                     RESP_SUCCESS);
}

void peer_reply(struct peer *peer, int32_t opaque, int32_t code, const char *remark, struct mq_str body)
{
    struct proto_head head = {.code = code,
                              .opaque = opaque,
                              .flag = PROTO_FLAG_RESPONSE,
                              .encoding = peer->encoding,
                              .remark = mq_str_of(remark)};
    struct proto_writer w;

    proto_begin(&w, net_channel_out(peer->ch), &head);
    assert_int_equal(proto_end(&w, body.len), 0);
    assert_int_equal(mq_buf_put(w.out, body.at, body.len), 0);
    net_channel_out_done(peer->ch);
}

const char *answer_remark(const struct answer *answer)
{
    return (const char *)answer->text.base;
}

const char *answer_field(const struct answer *answer, const char *key)
{
    const char *at = (const char *)answer->text.base;
    const char *end = at + answer->text.len;

    for (at += strlen(at) + 1; at < end;) {
        const char *value = at + strlen(at) + 1;

        if (strcmp(at, key) == 0) {
            return value;
        }
        at = value + strlen(value) + 1;
    }
    return NULL;
}

int64_t answer_number(const struct answer *answer, const char *key)
{
    const char *value = answer_field(answer, key);
    int64_t number;

    if (value == NULL) {
        fail_msg("no field %s; remark %s", key, answer_remark(answer));
    }
    assert_int_equal(mq_str_to_i64(mq_str_of(value), &number), 0);
    return number;
}

const char *answer_body(const struct answer *answer)
{
    return (const char *)answer->body.base;
}

void answer_free(struct answer *answer)
{
    mq_buf_free(&answer->text);
    mq_buf_free(&answer->body);
}

int32_t rig_send(struct peer *peer, const char *topic, const char *queue, const char *body, const char *properties,
                 struct answer *answer)
{
    struct answer own = {0};
    struct answer *to = answer != NULL ? answer : &own;
    int32_t code = peer_ask(peer, REQ_SEND_MESSAGE_V2,
                            FIELDS({"a", "PG"}, {"b", topic}, {"c", "TBW102"}, {"d", "4"}, {"e", queue}, {"f", "0"},
                                   {"g", "1700000000000"}, {"h", "0"}, {"i", properties}, {"j", "0"}, {"k", "false"},
                                   {"m", "false"}),
                            mq_str_of(body), to);

    answer_free(&own);
    return code;
}

void rig_pull_start(struct peer *peer, const char *topic, const char *queue, const char *qoff, const char *tags,
                    const char *suspend_ms, struct answer *answer)
{
    peer_start(peer, REQ_PULL_MESSAGE,
               FIELDS({"consumerGroup", "CG"}, {"topic", topic}, {"queueId", queue}, {"queueOffset", qoff},
                      {"maxMsgNums", "32"}, {"sysFlag", strcmp(suspend_ms, "0") != 0 ? "6" : "4"},
                      {"commitOffset", "0"}, {"suspendTimeoutMillis", suspend_ms}, {"subVersion", "0"},
                      {"subscription", tags != NULL ? tags : "*"}),
               MQ_STR(""), answer);
}

int32_t rig_pull(struct peer *peer, const char *topic, const char *queue, const char *qoff, const char *tags,
                 struct answer *answer)
{
    rig_pull_start(peer, topic, queue, qoff, tags, "0", answer);
    rig_wait_flag(peer->rig, &answer->done);
    return answer->code;
}

int32_t rig_topic(struct peer *peer, const char *topic, const char *queues)
{
    return peer_code(peer, REQ_UPDATE_AND_CREATE_TOPIC,
                     FIELDS({"topic", topic}, {"defaultTopic", "TBW102"}, {"readQueueNums", queues},
                            {"writeQueueNums", queues}, {"perm", "6"}, {"topicFilterType", "SINGLE_TAG"},
                            {"order", "false"}),
                     MQ_STR(""));
}
