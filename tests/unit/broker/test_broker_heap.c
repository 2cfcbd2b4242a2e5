/* Requests while allocations fail, one after the other: each is answered once, with its answer or an error, or its
 * connection is closed; nothing leaks, and the same request succeeds afterwards. */
#include "tests/unit/broker/rig.h"

#include "broker/dispatch.h"
#include "broker/flow/pull_hold.h"
#include "broker/session/consumer_table.h"
#include "broker/session/producer_table.h"
#include "remoting/base/heap.h"
#include "remoting/net/conn_out.h"
#include "remoting/protocol/frame.h"
#include "remoting/protocol/message.h"

#include <stdio.h>

#define FAILURES 40 /* more than any of the requests allocates */

static struct rig rig;
static struct peer peer;
static char first_pos[24]; /* of the message that setup sends */

static int setup(void **state)
{
    struct answer answer = {0};
    struct proto_host host;
    int64_t pos;

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "0", "body", "TAGS\001red\002", &answer), RESP_SUCCESS);
    assert_int_equal(proto_offset_msg_id_parse(mq_str_of(answer_field(&answer, "msgId")), &host, &pos), 0);
    snprintf(first_pos, sizeof(first_pos), "%lld", (long long)pos);
    answer_free(&answer);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_hang_up(&peer);
    rig_close(&rig);
    return 0;
}

/* A connection to nobody: what is written stays in its output. */
struct loose {
    struct net_channel *ch;
    bool closed;
};

static void on_command(struct net_channel *ch, struct proto_command *cmd)
{
    (void)ch;
    (void)cmd;
}

static void on_closed(struct net_channel *ch, int reason)
{
    struct loose *loose = ch->data;

    (void)reason;
    pull_hold_channel_closed(rig.ctx->pull_hold, ch);
    consumer_table_channel_closed(rig.ctx->consumers, ch);
    producer_table_channel_closed(rig.ctx->producers, ch);
    session_end(ch);
    loose->closed = true;
}

static const struct net_channel_ops loose_ops = {.command = on_command, .closed = on_closed};

static void loose_open(struct loose *loose)
{
    static const struct net_conn_limits limits = {
        .pause_bytes = 64u << 20, .resume_bytes = 32u << 20, .close_bytes = 128u << 20};

    *loose = (struct loose){0};
    assert_int_equal(net_channel_new(&rig.loop, &loose_ops, &limits, &loose->ch), 0);
    loose->ch->data = loose;
}

static void loose_close(struct loose *loose)
{
    net_channel_close(loose->ch, 0, false);
    rig_wait_flag(&rig, &loose->closed);
    net_channel_release(loose->ch);
}

/* Answers in its output; @code gets the last one's. Pushes (40) do not count. */
static unsigned count_answers(const struct loose *loose, int32_t *code)
{
    struct mq_buf all = {0};
    unsigned n = 0;

    for (const struct net_chunk *chunk = loose->ch->conn.out_head; chunk != NULL; chunk = chunk->next) {
        assert_int_equal(mq_buf_put(&all, chunk->view != NULL ? chunk->view : chunk->buf.base, chunk->ready), 0);
    }
    for (size_t at = 0; at < all.len;) {
        struct proto_command cmd;
        uint32_t length;

        assert_int_equal(proto_frame_length(all.base + at, all.len - at, &length), 0);
        assert_true(length <= all.len - at);
        assert_int_equal(proto_command_decode(all.base + at, length, &cmd), 0);
        if ((cmd.flag & PROTO_FLAG_RESPONSE) != 0) {
            *code = cmd.code;
            n++;
        }
        at += length;
    }
    mq_buf_free(&all);
    return n;
}

static bool is_answered(void *data)
{
    const struct loose *loose = data;
    int32_t code;

    return loose->ch->conn.closing || count_answers(loose, &code) != 0;
}

/* Handles one request while the @nth allocation fails (0: none). Returns the answer's code, or a negative number when
 * the connection was closed instead. */
static int32_t ask_failing(int32_t request, const struct pair *fields, struct mq_str body, unsigned nth)
{
    struct proto_head head = {.code = request, .opaque = 5};
    struct mq_buf frame = {0};
    struct proto_writer w;
    struct proto_command cmd;
    struct loose loose;
    int32_t code = -1;
    unsigned answers;

    loose_open(&loose);
    proto_begin(&w, &frame, &head);
    for (; fields->key != NULL; fields++) {
        proto_put_str(&w, mq_str_of(fields->key), mq_str_of(fields->value));
    }
    assert_int_equal(proto_end(&w, body.len), 0);
    assert_int_equal(mq_buf_put(&frame, body.at, body.len), 0);
    assert_int_equal(proto_command_decode(frame.base, frame.len, &cmd), 0);

    mq_heap_fail_at(nth);
    dispatch(rig.ctx, loose.ch, &cmd);
    mq_heap_fail_at(0);

    rig_wait(&rig, is_answered, &loose);
    if (!loose.ch->conn.closing) {
        answers = count_answers(&loose, &code);
        assert_int_equal(answers, 1);
    }
    loose_close(&loose);
    mq_buf_free(&frame);
    return code;
}

static void each_request_survives_each_failing_allocation(void **state)
{
    static const struct pair send[] = {{"a", "PG"}, {"b", "Orders"}, {"c", "TBW102"}, {"d", "4"}, {"e", "3"},
                                       {"f", "0"},  {"g", "1"},      {"h", "0"},      {"i", ""},  {NULL, NULL}};
    static const struct pair create_by_send[] = {{"a", "PG"}, {"b", "Sent"}, {"c", "TBW102"}, {"d", "4"},
                                                 {"e", "3"},  {"f", "0"},    {"g", "1"},      {"h", "0"},
                                                 {"i", ""},   {NULL, NULL}};
    static const struct pair pull[] = {
        {"consumerGroup", "CG"}, {"topic", "Orders"},     {"queueId", "0"},      {"queueOffset", "0"},
        {"maxMsgNums", "32"},    {"sysFlag", "6"},        {"commitOffset", "0"}, {"suspendTimeoutMillis", "1"},
        {"subVersion", "0"},     {"subscription", "red"}, {NULL, NULL}};
    static const struct pair wait[] = {
        {"consumerGroup", "CG"}, {"topic", "Orders"},     {"queueId", "2"},      {"queueOffset", "0"},
        {"maxMsgNums", "32"},    {"sysFlag", "6"},        {"commitOffset", "0"}, {"suspendTimeoutMillis", "1"},
        {"subVersion", "0"},     {"subscription", "red"}, {NULL, NULL}};
    static const struct pair commit[] = {
        {"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"}, {"commitOffset", "1"}, {NULL, NULL}};
    static const struct pair topic[] = {{"topic", "Made"},
                                        {"defaultTopic", "TBW102"},
                                        {"readQueueNums", "1"},
                                        {"writeQueueNums", "1"},
                                        {"perm", "6"},
                                        {"topicFilterType", "SINGLE_TAG"},
                                        {"order", "false"},
                                        {"attributes", "+message.type=FIFO"},
                                        {NULL, NULL}};
    static const struct pair back[] = {
        {"offset", first_pos}, {"group", "TOOLS_CONSUMER"}, {"delayLevel", "0"}, {NULL, NULL}};
    static const struct pair dead[] = {
        {"offset", first_pos}, {"group", "FILTERSRV_CONSUMER"}, {"delayLevel", "-1"}, {NULL, NULL}};
    static const struct pair reply[] = {{"a", "PG"},
                                        {"b", "DefaultCluster_REPLY_TOPIC"},
                                        {"c", "TBW102"},
                                        {"d", "4"},
                                        {"e", "0"},
                                        {"f", "0"},
                                        {"g", "1"},
                                        {"h", "0"},
                                        {"i", "REPLY_TO_CLIENT\001nobody\002"},
                                        {NULL, NULL}};
    static const struct pair name[] = {{"topic", "Orders"}, {NULL, NULL}};
    static const struct pair group[] = {{"consumerGroup", "Steady"}, {NULL, NULL}};
    static const struct pair none[] = {{NULL, NULL}};
    static const char beat[] =
        "{\"clientID\":\"c\",\"producerDataSet\":[{\"groupName\":\"PG\"}],\"consumerDataSet\":["
        "{\"groupName\":\"Heap\",\"subscriptionDataSet\":[{\"topic\":\"Orders\",\"subString\":"
        "\"a || b\",\"subVersion\":1}]}]}";
    static const char steady[] = "{\"clientID\":\"s\",\"consumerDataSet\":[{\"groupName\":\"Steady\"}]}";
    static const char lock[] = "{\"consumerGroup\":\"CG\",\"clientId\":\"c\",\"mqSet\":[{\"topic\":\"Orders\","
                               "\"brokerName\":\"golden-a\",\"queueId\":1}]}";
    static const struct {
        const char *why;
        int32_t code;
        const struct pair *fields;
        const char *body;
        int32_t want; /* when nothing fails */
    } cases[] = {
        {"send", REQ_SEND_MESSAGE_V2, send, "body", RESP_SUCCESS},
        {"send that creates its topic", REQ_SEND_MESSAGE_V2, create_by_send, "body", RESP_SUCCESS},
        {"pull that finds", REQ_PULL_MESSAGE, pull, "", RESP_SUCCESS},
        {"pull that waits", REQ_PULL_MESSAGE, wait, "", RESP_PULL_NOT_FOUND},
        {"send back", REQ_CONSUMER_SEND_MSG_BACK, back, "", RESP_SUCCESS},
        {"dead letter", REQ_CONSUMER_SEND_MSG_BACK, dead, "", RESP_SUCCESS},
        {"reply to nobody", REQ_SEND_REPLY_MESSAGE_V2, reply, "body", RESP_SYSTEM_ERROR},
        {"commit", REQ_UPDATE_CONSUMER_OFFSET, commit, "", RESP_SUCCESS},
        {"topic", REQ_UPDATE_AND_CREATE_TOPIC, topic, "", RESP_SUCCESS},
        {"heartbeat", REQ_HEART_BEAT, none, beat, RESP_SUCCESS},
        {"lock", REQ_LOCK_BATCH_MQ, none, lock, RESP_SUCCESS},
        {"unlock", REQ_UNLOCK_BATCH_MQ, none, lock, RESP_SUCCESS},
        {"members", REQ_GET_CONSUMER_LIST_BY_GROUP, group, "", RESP_SUCCESS},
        {"topics", REQ_GET_ALL_TOPIC_CONFIG, none, "", RESP_SUCCESS},
        {"one topic", REQ_GET_TOPIC_CONFIG, name, "", RESP_SUCCESS},
        {"statistics", REQ_GET_TOPIC_STATS_INFO, name, "", RESP_SUCCESS},
        {"runtime", REQ_GET_BROKER_RUNTIME_INFO, none, "", RESP_SUCCESS},
        {"configuration", REQ_GET_BROKER_CONFIG, none, "", RESP_SUCCESS},
        {"group status", REQ_RAFTMQ_GROUP_STATUS, none, "", RESP_SUCCESS},
    };

    (void)state;
    assert_int_equal(peer_code(&peer, REQ_HEART_BEAT, NO_FIELDS, mq_str_of(steady)), RESP_SUCCESS);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned failed = 0;

        for (unsigned nth = 1; nth <= FAILURES; nth++) {
            failed += ask_failing(cases[i].code, cases[i].fields, mq_str_of(cases[i].body), nth) != cases[i].want;
        }
        print_message("%s: %u of %d failed\n", cases[i].why, failed, FAILURES);
        assert_true(failed < FAILURES); /* none at all where the output had room to spare */
        assert_int_equal(ask_failing(cases[i].code, cases[i].fields, mq_str_of(cases[i].body), 0), cases[i].want);
    }
    assert_int_equal(pull_hold_count(rig.ctx->pull_hold), 0);
    assert_int_equal(consumer_table_members(rig.ctx->consumers), 1);
    assert_int_equal(producer_table_count(rig.ctx->producers), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_request_survives_each_failing_allocation)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
