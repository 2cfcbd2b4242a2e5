/* What operators ask about clients: connections (203, 204), and questions that go on to a consumer (307, 309, 223).
 */
#include "tests/unit/broker/rig.h"

#include "broker/processor/processors.h"
#include "broker/session/consumer_table.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"

#include <stdio.h>

static struct rig rig;
static struct peer tool;
static struct answer answer;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &tool, PROTO_JSON);
    assert_int_equal(rig_topic(&tool, "Orders", "1"), RESP_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    answer_free(&answer);
    peer_hang_up(&tool);
    rig_close(&rig);
    return 0;
}

static void beat(struct peer *from, const char *client, const char *group)
{
    char body[1024];
    int n =
        snprintf(body, sizeof(body),
                 "{\"clientID\":\"%s\",\"producerDataSet\":[{\"groupName\":\"P%s\"}],\"consumerDataSet\":["
                 "{\"groupName\":\"%s\",\"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\","
                 "\"consumeFromWhere\":\"CONSUME_FROM_FIRST_OFFSET\",\"subscriptionDataSet\":[{\"topic\":\"Orders\","
                 "\"subString\":\"a || b\",\"tagsSet\":[\"a\",\"b\"],\"subVersion\":7}]}]}",
                 client, group, group);

    assert_int_equal(peer_code(from, REQ_HEART_BEAT, NO_FIELDS, (struct mq_str){body, (uint32_t)n}), RESP_SUCCESS);
}

static int32_t ask(int32_t code, const struct pair *fields)
{
    return peer_ask(&tool, code, fields, MQ_STR(""), &answer);
}

static void connections_of_a_group_are_listed(void **state)
{
    struct peer client;
    char want[512];

    (void)state;
    peer_dial(&rig, &client, PROTO_JSON);
    assert_int_equal(ask(REQ_GET_CONSUMER_CONNECTION_LIST, FIELDS({"consumerGroup", "List"})),
                     RESP_CONSUMER_NOT_ONLINE);
    assert_int_equal(ask(REQ_GET_PRODUCER_CONNECTION_LIST, FIELDS({"producerGroup", "PList"})), RESP_SYSTEM_ERROR);
    beat(&client, "c1", "List");
    assert_int_equal(ask(REQ_GET_CONSUMER_CONNECTION_LIST, FIELDS({"consumerGroup", "List"})), RESP_SUCCESS);
    snprintf(want, sizeof(want),
             "{\"connectionSet\":[{\"clientAddr\":\"%s\",\"clientId\":\"c1\",\"language\":\"OTHER\",\"version\":%d}],"
             "\"consumeFromWhere\":\"CONSUME_FROM_FIRST_OFFSET\",\"consumeType\":\"CONSUME_PASSIVELY\","
             "\"messageModel\":\"CLUSTERING\",\"subscriptionTable\":{\"Orders\":{\"classFilterMode\":false,"
             "\"codeSet\":[97,98],\"expressionType\":\"TAG\",\"subString\":\"a || b\",\"subVersion\":7,"
             "\"tagsSet\":[\"a\",\"b\"],\"topic\":\"Orders\"}}}",
             net_addr_text((const struct sockaddr *)&client.ch->conn.local), PROTO_VERSION);
    assert_string_equal(answer_body(&answer), want);
    assert_int_equal(ask(REQ_GET_PRODUCER_CONNECTION_LIST, FIELDS({"producerGroup", "PList"})), RESP_SUCCESS);
    assert_non_null(strstr(answer_body(&answer), "\"clientId\":\"c1\""));
    peer_hang_up(&client);
    assert_int_equal(ask(REQ_GET_CONSUMER_CONNECTION_LIST, FIELDS({"consumerGroup", "List"})),
                     RESP_CONSUMER_NOT_ONLINE);
}

/* What a consumer was asked, and how it behaves. */
struct asked {
    int32_t code;
    char fields[1024]; /* "key=value;" in order */
    struct mq_buf body;
    bool silent, hang_up;
    const char *answer;
};

static void on_asked(struct peer *peer, const struct proto_command *cmd)
{
    struct asked *asked = peer->data;
    size_t at = 0;

    if (cmd->code == REQ_NOTIFY_CONSUMER_IDS_CHANGED) {
        return;
    }
    assert_int_equal(cmd->flag & PROTO_FLAG_ONEWAY, 0);
    asked->code = cmd->code;
    for (uint32_t i = 0; i < cmd->fields.count; i++) {
        at += (size_t)snprintf(asked->fields + at, sizeof(asked->fields) - at, MQ_STR_FMT "=" MQ_STR_FMT ";",
                               MQ_STR_ARG(cmd->fields.list[i].key), MQ_STR_ARG(cmd->fields.list[i].value));
    }
    asked->body.len = 0;
    assert_int_equal(mq_buf_put(&asked->body, cmd->body, cmd->body_bytes), 0);
    if (asked->hang_up) {
        net_channel_close(peer->ch, 0, true);
    } else if (!asked->silent) {
        peer_reply(peer, cmd->opaque, 0, "done", mq_str_of(asked->answer));
    }
}

static void dial_asked(struct peer *peer, struct asked *asked, const char *client, const char *group)
{
    peer_dial(&rig, peer, PROTO_BINARY);
    peer->on_request = on_asked;
    peer->data = asked;
    beat(peer, client, group);
}

static void a_question_goes_on_and_its_answer_comes_back(void **state)
{
    /* No JSON that a strict reader takes: bytes are passed on as they are. */
    static const char said[] =
        "{\"mqTable\":{{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"t\"}:{}}, \"jstack\":\"x\\ny\"}";
    struct asked one = {.answer = said}, two = {.answer = "two"};
    struct peer a, b;

    (void)state;
    dial_asked(&a, &one, "one", "Info");
    dial_asked(&b, &two, "two", "Info");
    assert_int_equal(ask(REQ_GET_CONSUMER_RUNNING_INFO,
                         FIELDS({"consumerGroup", "Info"}, {"clientId", "one"}, {"jstackEnable", "true"})),
                     RESP_SUCCESS);
    assert_string_equal(answer_body(&answer), said);
    assert_string_equal(answer_remark(&answer), "done");
    assert_int_equal(one.code, REQ_GET_CONSUMER_RUNNING_INFO);
    assert_string_equal(one.fields, "consumerGroup=Info;clientId=one;jstackEnable=true;");
    assert_int_equal(two.code, 0);
    assert_int_equal(ask(REQ_GET_CONSUMER_RUNNING_INFO, FIELDS({"consumerGroup", "Info"}, {"clientId", "two"})),
                     RESP_SUCCESS);
    assert_string_equal(answer_body(&answer), "two");
    assert_int_equal(ask(REQ_GET_CONSUMER_RUNNING_INFO, FIELDS({"consumerGroup", "Info"}, {"clientId", "three"})),
                     RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "not online"));
    assert_int_equal(ask(REQ_GET_CONSUMER_RUNNING_INFO, FIELDS({"consumerGroup", "Other"}, {"clientId", "one"})),
                     RESP_SYSTEM_ERROR);
    one.hang_up = true;
    assert_int_equal(ask(REQ_GET_CONSUMER_RUNNING_INFO, FIELDS({"consumerGroup", "Info"}, {"clientId", "one"})),
                     RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "disconnected"));
    two.silent = true;
    assert_int_equal(ask(REQ_GET_CONSUMER_RUNNING_INFO, FIELDS({"consumerGroup", "Info"}, {"clientId", "two"})),
                     RESP_CONSUME_MSG_TIMEOUT);
    rig_wait_flag(&rig, &a.closed);
    net_channel_release(a.ch);
    peer_hang_up(&b);
    mq_buf_free(&one.body);
    mq_buf_free(&two.body);
}

static void a_message_is_consumed_by_whom_the_operator_names(void **state)
{
    struct asked asked = {.answer = "{\"consumeResult\":\"CR_SUCCESS\"}"};
    struct answer sent = {0};
    struct peer client;

    (void)state;
    dial_asked(&client, &asked, "c", "Direct");
    assert_int_equal(rig_send(&tool, "Orders", "0", "the body", "", &sent), RESP_SUCCESS);
    assert_int_equal(ask(REQ_CONSUME_MESSAGE_DIRECTLY, FIELDS({"consumerGroup", "Direct"}, {"clientId", "c"},
                                                              {"msgId", answer_field(&sent, "msgId")},
                                                              {"topic", "Orders"}, {"brokerName", "forged"})),
                     RESP_SUCCESS);
    assert_string_equal(answer_body(&answer), asked.answer);
    assert_int_equal(asked.code, REQ_CONSUME_MESSAGE_DIRECTLY);
    assert_non_null(strstr(asked.fields, "brokerName=golden-a;topicSysFlag=0;"));
    assert_null(strstr(asked.fields, "forged"));
    assert_int_equal(mq_be32_load(asked.body.base), asked.body.len); /* one whole record */
    assert_non_null(memmem(asked.body.base, asked.body.len, "the body", 8));
    asked.code = 0;
    assert_int_equal(ask(REQ_CONSUME_MESSAGE_DIRECTLY, FIELDS({"consumerGroup", "Direct"}, {"clientId", "c"},
                                                              {"msgId", "7F00000100002A9F0000000000000001"})),
                     RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "position 1"));
    assert_int_equal(ask(REQ_CONSUME_MESSAGE_DIRECTLY, FIELDS({"consumerGroup", "Direct"}, {"clientId", "nobody"},
                                                              {"msgId", answer_field(&sent, "msgId")})),
                     RESP_SYSTEM_ERROR);
    assert_int_equal(asked.code, 0);
    answer_free(&sent);
    peer_hang_up(&client);
    mq_buf_free(&asked.body);
}

static void the_positions_of_all_members_are_gathered(void **state)
{
    struct asked one = {.answer = "{\"consumerTable\":{},\"messageQueueTable\":"
                                  "{{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"Orders\"}:5}}"};
    struct asked two = {.answer =
                            "{\"messageQueueTable\":{{\"brokerName\":\"b\",\"queueId\":1,\"topic\":\"Orders\"}:6,"
                            "{\"brokerName\":\"b\",\"queueId\":2,\"topic\":\"Orders\"}:-1}}"};
    struct asked odd = {.answer = "{\"messageQueueTable\":{\"evil\":\"}\"}}"};
    struct peer a, b, c;

    (void)state;
    dial_asked(&a, &one, "one", "Where");
    dial_asked(&b, &two, "two", "Where");
    dial_asked(&c, &odd, "odd", "Where");
    assert_int_equal(ask(REQ_INVOKE_BROKER_TO_GET_CONSUMER_STATUS, FIELDS({"topic", "Orders"}, {"group", "Where"})),
                     RESP_SUCCESS);
    assert_int_equal(one.code, REQ_GET_CONSUMER_STATUS_FROM_CLIENT);
    assert_string_equal(one.fields, "topic=Orders;group=Where;");
    assert_non_null(
        strstr(answer_body(&answer), "\"one\":{{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"Orders\"}:5}"));
    assert_non_null(strstr(answer_body(&answer), "\"topic\":\"Orders\"}:6,{"));
    assert_null(strstr(answer_body(&answer), "evil"));
    one.code = two.code = 0;
    assert_int_equal(ask(REQ_INVOKE_BROKER_TO_GET_CONSUMER_STATUS,
                         FIELDS({"topic", "Orders"}, {"group", "Where"}, {"clientAddr", "one"})),
                     RESP_SUCCESS);
    assert_string_equal(answer_body(&answer),
                        "{\"consumerTable\":{\"one\":{{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"Orders\"}:5}},"
                        "\"messageQueueTable\":{}}");
    assert_int_equal(two.code, 0);
    assert_int_equal(ask(REQ_INVOKE_BROKER_TO_GET_CONSUMER_STATUS, FIELDS({"topic", "Orders"}, {"group", "Nobody"})),
                     RESP_SYSTEM_ERROR);
    peer_hang_up(&a);
    peer_hang_up(&b);
    peer_hang_up(&c);
    mq_buf_free(&one.body);
    mq_buf_free(&two.body);
    mq_buf_free(&odd.body);
}

static void on_reset(struct peer *peer, const struct proto_command *cmd)
{
    struct asked *asked = peer->data;

    if (cmd->code == REQ_RESET_CONSUMER_CLIENT_OFFSET) {
        assert_int_equal(cmd->flag & PROTO_FLAG_ONEWAY, PROTO_FLAG_ONEWAY);
        assert_true(mq_str_eq(proto_fields_get(&cmd->fields, MQ_STR("group")), MQ_STR("Reset")));
        assert_true(mq_str_eq(proto_fields_get(&cmd->fields, MQ_STR("timestamp")), MQ_STR("-1")));
        assert_true(mq_str_eq(proto_fields_get(&cmd->fields, MQ_STR("isForce")), MQ_STR("true")));
        asked->body.len = 0;
        assert_int_equal(mq_buf_put(&asked->body, cmd->body, cmd->body_bytes), 0);
        asked->code = cmd->code;
    }
}

static bool were_told(void *data)
{
    const struct asked *asked = data;

    return asked[0].code != 0 && asked[1].code != 0;
}

static void members_are_told_where_to_go_on(void **state)
{
    const struct proto_reset_client_header header = {MQ_STR("Orders"), MQ_STR("Reset"), -1, true};
    const struct mq_str body =
        MQ_STR("{\"offsetTable\":{{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"Orders\"}:7}}");
    struct asked asked[2] = {{0}};
    struct peer a, b;

    (void)state;
    dial_asked(&a, &asked[0], "one", "Reset");
    dial_asked(&b, &asked[1], "two", "Reset");
    a.on_request = b.on_request = on_reset;
    assert_int_equal(tell_consumers_to_reset(rig.ctx, &header, body), 2);
    rig_wait(&rig, were_told, asked);
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        assert_true(mq_str_eq(mq_buf_str(&asked[i].body), body)); /* not a blank more: Go clients count bytes */
        mq_buf_free(&asked[i].body);
    }
    peer_hang_up(&a);
    peer_hang_up(&b);
    peer_sync(&tool);
    assert_int_equal(tell_consumers_to_reset(rig.ctx, &header, body), 0);
}

static void a_tool_that_leaves_takes_its_question_along(void **state)
{
    struct asked asked = {.answer = "late", .silent = true};
    struct answer never = {0};
    struct peer client, other;

    (void)state;
    dial_asked(&client, &asked, "c", "Leave");
    peer_dial(&rig, &other, PROTO_JSON);
    peer_start(&other, REQ_GET_CONSUMER_RUNNING_INFO, FIELDS({"consumerGroup", "Leave"}, {"clientId", "c"}),
               MQ_STR(""), &never);
    peer_sync(&other);
    net_channel_close(other.ch, 0, true);
    rig_wait_flag(&rig, &other.closed);
    net_channel_release(other.ch);
    peer_hang_up(&client); /* ends the question, whose asker is gone */
    answer_free(&never);
    mq_buf_free(&asked.body);
}

static void questions_that_lack_something_are_answered(void **state)
{
    static const struct {
        int32_t code;
        struct pair fields[4];
        const char *names; /* what the remark has to name */
    } cases[] = {
        {REQ_GET_CONSUMER_CONNECTION_LIST, {{NULL, NULL}}, "consumerGroup"},
        {REQ_GET_PRODUCER_CONNECTION_LIST, {{NULL, NULL}}, "producerGroup"},
        {REQ_GET_CONSUMER_RUNNING_INFO, {{"consumerGroup", "g"}, {NULL, NULL}}, "clientId"},
        {REQ_GET_CONSUMER_RUNNING_INFO, {{"clientId", "c"}, {NULL, NULL}}, "consumerGroup"},
        {REQ_CONSUME_MESSAGE_DIRECTLY, {{"consumerGroup", "g"}, {"clientId", "c"}, {NULL, NULL}}, "msgId"},
        {REQ_CONSUME_MESSAGE_DIRECTLY,
         {{"consumerGroup", "g"}, {"clientId", "c"}, {"msgId", ""}, {NULL, NULL}},
         "msgId"},
        {REQ_CONSUME_MESSAGE_DIRECTLY,
         {{"consumerGroup", "g"}, {"clientId", "c"}, {"msgId", "7F00000100002A9FFFFFFFFFFFFFFFFF"}, {NULL, NULL}},
         "msgId"},
        {REQ_INVOKE_BROKER_TO_GET_CONSUMER_STATUS, {{"topic", "t"}, {NULL, NULL}}, "group"},
        {REQ_INVOKE_BROKER_TO_GET_CONSUMER_STATUS, {{"group", "g"}, {NULL, NULL}}, "topic"},
    };
    char wide[5000];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%d without %s\n", cases[i].code, cases[i].names);
        assert_int_equal(ask(cases[i].code, cases[i].fields), RESP_SYSTEM_ERROR);
        assert_non_null(strstr(answer_remark(&answer), cases[i].names));
    }
    memset(wide, 'x', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';
    assert_int_equal(ask(REQ_GET_CONSUMER_RUNNING_INFO, FIELDS({"consumerGroup", "g"}, {"clientId", wide})),
                     RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "4096"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_of_a_group_are_listed),
        cmocka_unit_test(a_question_goes_on_and_its_answer_comes_back),
        cmocka_unit_test(a_message_is_consumed_by_whom_the_operator_names),
        cmocka_unit_test(the_positions_of_all_members_are_gathered),
        cmocka_unit_test(members_are_told_where_to_go_on),
        cmocka_unit_test(a_tool_that_leaves_takes_its_question_along),
        cmocka_unit_test(questions_that_lack_something_are_answered),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
