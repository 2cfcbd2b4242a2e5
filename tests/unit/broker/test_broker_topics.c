/* Topics over a whole broker: 18 and 215, queues that become fewer and more, names that are used again. */
#include "tests/unit/broker/rig.h"

#include "remoting/protocol/body_topic.h"

#include <stdio.h>
#include <stdlib.h>

static struct rig rig;
static struct peer peer, reader;
static struct answer answer, held;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    peer_dial(&rig, &reader, PROTO_BINARY);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    answer_free(&answer);
    answer_free(&held);
    peer_hang_up(&peer);
    peer_hang_up(&reader);
    rig_close(&rig);
    return 0;
}

static int32_t change(const char *topic, const char *read, const char *write)
{
    return peer_ask(&peer, REQ_UPDATE_AND_CREATE_TOPIC,
                    FIELDS({"topic", topic}, {"defaultTopic", "TBW102"}, {"readQueueNums", read},
                           {"writeQueueNums", write}, {"perm", "6"}, {"topicFilterType", "SINGLE_TAG"},
                           {"order", "false"}),
                    MQ_STR(""), &answer);
}

static int32_t delete_topic(const char *topic)
{
    return peer_ask(&peer, REQ_DELETE_TOPIC_IN_BROKER, FIELDS({"topic", topic}), MQ_STR(""), &answer);
}

static int32_t list(const char *json)
{
    return peer_ask(&peer, REQ_UPDATE_AND_CREATE_TOPIC_LIST, NO_FIELDS, mq_str_of(json), &answer);
}

static int64_t max_of(const char *topic, const char *queue)
{
    assert_int_equal(
        peer_ask(&peer, REQ_GET_MAX_OFFSET, FIELDS({"topic", topic}, {"queueId", queue}), MQ_STR(""), &answer),
        RESP_SUCCESS);
    return answer_number(&answer, "offset");
}

static int64_t sent_to(const char *topic, const char *queue)
{
    assert_int_equal(rig_send(&peer, topic, queue, "body", "", &answer), RESP_SUCCESS);
    return answer_number(&answer, "queueOffset");
}

static int32_t commit(const char *group, const char *topic, const char *offset)
{
    return peer_code(&peer, REQ_UPDATE_CONSUMER_OFFSET,
                     FIELDS({"consumerGroup", group}, {"topic", topic}, {"queueId", "0"}, {"commitOffset", offset}),
                     MQ_STR(""));
}

static int32_t committed(const char *group, const char *topic)
{
    return peer_ask(
        &peer, REQ_QUERY_CONSUMER_OFFSET,
        FIELDS({"consumerGroup", group}, {"topic", topic}, {"queueId", "0"}, {"setZeroIfNotFound", "false"}),
        MQ_STR(""), &answer);
}

static void make_group(const char *group)
{
    /* A pull makes it. */
    (void)peer_code(&peer, REQ_PULL_MESSAGE,
                    FIELDS({"consumerGroup", group}, {"topic", "Nowhere"}, {"queueId", "0"}, {"queueOffset", "0"},
                           {"maxMsgNums", "1"}, {"sysFlag", "4"}, {"commitOffset", "0"},
                           {"suspendTimeoutMillis", "0"}, {"subVersion", "0"}, {"subscription", "*"}),
                    MQ_STR(""));
    peer_sync(&peer);
}

static void a_deleted_topic_is_gone_with_what_belongs_to_it(void **state)
{
    (void)state;
    assert_int_equal(change("Gone", "4", "4"), RESP_SUCCESS);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(sent_to("Gone", "0"), i);
    }
    make_group("Readers");
    assert_int_equal(commit("Readers", "Gone", "3"), RESP_SUCCESS);
    assert_int_equal(committed("Readers", "Gone"), RESP_SUCCESS);
    assert_int_equal(delete_topic("Gone"), RESP_SUCCESS);

    assert_int_equal(peer_code(&peer, REQ_GET_TOPIC_CONFIG, FIELDS({"topic", "Gone"}), MQ_STR("")),
                     RESP_TOPIC_NOT_EXIST);
    assert_int_equal(rig_pull(&peer, "Gone", "0", "0", NULL, &answer), RESP_TOPIC_NOT_EXIST);
    assert_int_equal(max_of("Gone", "0"), 0);
    assert_int_equal(committed("Readers", "Gone"), RESP_QUERY_NOT_FOUND);
    assert_int_equal(commit("Readers", "Gone", "3"), RESP_TOPIC_NOT_EXIST);
    assert_int_equal(delete_topic("Gone"), RESP_SUCCESS);

    assert_int_equal(change("Gone", "2", "2"), RESP_SUCCESS);
    assert_int_equal(max_of("Gone", "0"), 0);
    assert_int_equal(sent_to("Gone", "0"), 0);
    assert_int_equal(sent_to("Gone", "0"), 1);
    assert_int_equal(rig_pull(&peer, "Gone", "0", "0", NULL, &answer), RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "nextBeginOffset"), 2);
    assert_int_equal(rig_pull(&peer, "Gone", "0", "5", NULL, &answer), RESP_PULL_OFFSET_MOVED);
    assert_int_equal(committed("Readers", "Gone"), RESP_QUERY_NOT_FOUND);
}

static void the_new_life_of_a_name_outlives_a_restart(void **state)
{
    (void)state;
    assert_int_equal(change("Again", "4", "4"), RESP_SUCCESS);
    for (int i = 0; i < 7; i++) {
        (void)sent_to("Again", "1");
    }
    assert_int_equal(delete_topic("Again"), RESP_SUCCESS);
    assert_int_equal(sent_to("Again", "1"), 0); /* made on first use */
    peer_hang_up(&peer);
    peer_hang_up(&reader);
    rig_reopen(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    peer_dial(&rig, &reader, PROTO_BINARY);
    assert_int_equal(max_of("Again", "1"), 1);
    assert_int_equal(sent_to("Again", "1"), 1);
}

static void sends_go_on_while_a_deletion_is_on_its_way(void **state)
{
    struct answer answers[4] = {{0}};

    (void)state;
    assert_int_equal(change("Busy", "4", "4"), RESP_SUCCESS);
    (void)sent_to("Busy", "0");
    peer_start(&peer, REQ_DELETE_TOPIC_IN_BROKER, FIELDS({"topic", "Busy"}), MQ_STR(""), &answers[0]);
    for (int i = 1; i < 4; i++) {
        peer_start(&peer, REQ_SEND_MESSAGE_V2,
                   FIELDS({"a", "P"}, {"b", "Busy"}, {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, {"f", "0"}, {"g", "1"},
                          {"h", "0"}, {"i", ""}, {"j", "0"}, {"k", "false"}, {"l", "0"}, {"m", "false"}),
                   MQ_STR("body"), &answers[i]);
    }
    for (int i = 0; i < 4; i++) {
        rig_wait_flag(&rig, &answers[i].done);
        assert_int_equal(answers[i].code, RESP_SUCCESS);
        if (i > 0) {
            assert_int_equal(answer_number(&answers[i], "queueOffset"), i - 1);
        }
        answer_free(&answers[i]);
    }
    assert_int_equal(max_of("Busy", "0"), 3);
    assert_int_equal(delete_topic("Busy"), RESP_SUCCESS);
}

static void a_parked_pull_hears_that_its_topic_is_gone(void **state)
{
    (void)state;
    assert_int_equal(change("Parked", "1", "1"), RESP_SUCCESS);
    rig_pull_start(&reader, "Parked", "0", "0", NULL, "20000", &held);
    peer_sync(&reader);
    assert_false(held.done);
    assert_int_equal(delete_topic("Parked"), RESP_SUCCESS);
    rig_wait_flag(&rig, &held.done);
    assert_int_equal(held.code, RESP_TOPIC_NOT_EXIST);
}

static void a_parked_pop_hears_that_its_topic_is_gone(void **state)
{
    (void)state;
    assert_int_equal(change("ParkedPop", "1", "1"), RESP_SUCCESS);
    make_group("Poppers");
    peer_start(&peer, REQ_POP_MESSAGE,
               FIELDS({"consumerGroup", "Poppers"}, {"topic", "ParkedPop"}, {"queueId", "-1"}, {"maxMsgNums", "8"},
                      {"invisibleTime", "10000"}, {"pollTime", "20000"}, {"bornTime", "0"}, {"initMode", "0"}),
               MQ_STR(""), &held);
    peer_sync(&peer);
    assert_false(held.done);
    assert_int_equal(delete_topic("ParkedPop"), RESP_SUCCESS);
    rig_wait_flag(&rig, &held.done);
    assert_int_equal(held.code, RESP_TOPIC_NOT_EXIST);
    assert_non_null(strstr(answer_remark(&held), "ParkedPop"));
}

static void topics_of_pop_retries_go_with_their_topic(void **state)
{
    (void)state;
    assert_int_equal(change("Popped", "1", "1"), RESP_SUCCESS);
    assert_int_equal(change("%RETRY%Poppers_Popped", "1", "1"), RESP_SUCCESS);
    assert_int_equal(change("%RETRY%Other_Popped", "1", "1"), RESP_SUCCESS);
    make_group("Poppers");
    assert_int_equal(commit("Poppers", "Popped", "0"), RESP_SUCCESS);
    assert_int_equal(delete_topic("Popped"), RESP_SUCCESS);
    assert_null(topic_table_find(&rig.ctx->state->topics, MQ_STR("%RETRY%Poppers_Popped")));
    assert_non_null(topic_table_find(&rig.ctx->state->topics, MQ_STR("%RETRY%Other_Popped")));
}

/* %RETRY%Poppers_Popped is as well the retry topic of a group with that name. */
static void what_another_group_sent_back_stays(void **state)
{
    (void)state;
    assert_int_equal(change("Popped", "1", "1"), RESP_SUCCESS);
    assert_int_equal(change("%RETRY%Poppers_Popped", "1", "1"), RESP_SUCCESS);
    make_group("Poppers");
    make_group("Poppers_Popped");
    assert_int_equal(commit("Poppers", "Popped", "0"), RESP_SUCCESS);
    assert_int_equal(delete_topic("Popped"), RESP_SUCCESS);
    assert_non_null(topic_table_find(&rig.ctx->state->topics, MQ_STR("%RETRY%Poppers_Popped")));
}

static void deletions_are_refused_by_name(void **state)
{
    static const struct {
        const char *topic, *remark;
    } cases[] = {
        {"TBW102", "system"},
        {"rmq_sys_x", "system"},
        {"DefaultCluster", "system"},
        {"golden-a", "system"},
        {"DefaultCluster_REPLY_TOPIC", "system"},
        {"SCHEDULE_TOPIC_XXXX", "system"},
        {" ", "blank"},
        {"", "blank"},
        {"a/b", "character"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("\"%s\"\n", cases[i].topic);
        assert_int_equal(delete_topic(cases[i].topic), RESP_INVALID_PARAMETER);
        assert_non_null(strstr(answer_remark(&answer), cases[i].remark));
    }
    assert_int_equal(peer_ask(&peer, REQ_DELETE_TOPIC_IN_BROKER, NO_FIELDS, MQ_STR(""), &answer), RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "topic is missing"));
    assert_int_equal(delete_topic("NeverThere"), RESP_SUCCESS);
    assert_int_equal(row_table_count(&rig.ctx->state->deleted.rows) == 0, false); /* of the tests before */
}

/* The safe way to fewer queues: first no more writes, then no more reads. What lies in the others comes back. */
static void queues_that_are_taken_away_keep_what_they_hold(void **state)
{
    (void)state;
    assert_int_equal(change("Shrinks", "4", "4"), RESP_SUCCESS);
    assert_int_equal(sent_to("Shrinks", "3"), 0);
    make_group("Readers");
    assert_int_equal(
        peer_code(&peer, REQ_UPDATE_CONSUMER_OFFSET,
                  FIELDS({"consumerGroup", "Readers"}, {"topic", "Shrinks"}, {"queueId", "3"}, {"commitOffset", "1"}),
                  MQ_STR("")),
        RESP_SUCCESS);
    assert_int_equal(change("Shrinks", "4", "2"), RESP_SUCCESS);
    assert_int_equal(rig_pull(&peer, "Shrinks", "3", "0", NULL, &answer), RESP_SUCCESS);
    assert_int_equal(change("Shrinks", "2", "2"), RESP_SUCCESS);
    assert_int_equal(rig_pull(&peer, "Shrinks", "3", "0", NULL, &answer), RESP_INVALID_PARAMETER);
    assert_int_equal(rig_send(&peer, "Shrinks", "3", "body", "", NULL), RESP_INVALID_PARAMETER);
    assert_int_equal(change("Shrinks", "4", "4"), RESP_SUCCESS);
    assert_int_equal(rig_pull(&peer, "Shrinks", "3", "0", NULL, &answer), RESP_SUCCESS);
    assert_int_equal(sent_to("Shrinks", "3"), 1);
    assert_int_equal(offset_table_get(&rig.ctx->state->offsets, MQ_STR("Readers"), MQ_STR("Shrinks"), 3), 1);
}

static void a_list_of_topics_is_one_change(void **state)
{
    struct proto_topic_config config;
    uint64_t before = rig.ctx->state->applied_index;

    (void)state;
    assert_int_equal(list("{\"topicConfigList\":[{\"topicName\":\"L1\",\"readQueueNums\":3,\"writeQueueNums\":2,"
                          "\"attributes\":{\"+message.type\":\"FIFO\"},\"order\":true},"
                          "{\"topicName\":\"L2\",\"topicFilterType\":\"MULTI_TAG\",\"perm\":4}]}"),
                     RESP_SUCCESS);
    assert_int_equal(rig.ctx->state->applied_index, before + 1);
    assert_int_equal(peer_ask(&peer, REQ_GET_TOPIC_CONFIG, FIELDS({"topic", "L1"}), MQ_STR(""), &answer),
                     RESP_SUCCESS);
    assert_int_equal(proto_topic_config_decode((char *)answer.body.base, answer.body.len, &config), 0);
    assert_int_equal(config.read_queues, 3);
    assert_int_equal(config.write_queues, 2);
    assert_true(config.order);
    assert_true(mq_str_eq(config.attributes, MQ_STR("message.type=FIFO")));
    assert_int_equal(list("{\"topicConfigList\":[{\"topicName\":\"L1\",\"attributes\":{\"-message.type\":\"\"}}]}"),
                     RESP_SUCCESS);
    assert_int_equal(topic_table_find(&rig.ctx->state->topics, MQ_STR("L1"))->n_attributes, 0);
    assert_true(topic_table_find(&rig.ctx->state->topics, MQ_STR("L2"))->multi_tag);
}

static void a_bad_list_changes_nothing(void **state)
{
    static const struct {
        const char *why, *json;
        int32_t code;
        const char *remark;
    } cases[] = {
        {"no body", "", RESP_SYSTEM_ERROR, "body of 0 bytes"},
        {"no JSON", "{", RESP_SYSTEM_ERROR, "body of 1 bytes"},
        {"no list", "{}", RESP_INVALID_PARAMETER, "topicConfigList"},
        {"an empty one", "{\"topicConfigList\":[]}", RESP_INVALID_PARAMETER, "topicConfigList"},
        {"an element that is none", "{\"topicConfigList\":[3]}", RESP_SYSTEM_ERROR, "body of"},
        {"the second name is illegal", "{\"topicConfigList\":[{\"topicName\":\"Fine\"},{\"topicName\":\"a b\"}]}",
         RESP_INVALID_PARAMETER, "a b"},
        {"the second name is missing", "{\"topicConfigList\":[{\"topicName\":\"Fine\"},{}]}", RESP_INVALID_PARAMETER,
         "blank"},
        {"a system topic", "{\"topicConfigList\":[{\"topicName\":\"TBW102\"}]}", RESP_INVALID_PARAMETER, "system"},
        {"negative queues", "{\"topicConfigList\":[{\"topicName\":\"Fine\",\"readQueueNums\":-1}]}",
         RESP_INVALID_PARAMETER, "readQueueNums -1"},
        {"too many queues", "{\"topicConfigList\":[{\"topicName\":\"Fine\",\"writeQueueNums\":65536}]}",
         RESP_INVALID_PARAMETER, "65535"},
        {"a number that is none", "{\"topicConfigList\":[{\"topicName\":\"Fine\",\"perm\":\"x\"}]}",
         RESP_SYSTEM_ERROR, "body of"},
        {"a permission", "{\"topicConfigList\":[{\"topicName\":\"Fine\",\"perm\":8}]}", RESP_INVALID_PARAMETER,
         "perm 8"},
        {"an attribute", "{\"topicConfigList\":[{\"topicName\":\"Fine\",\"attributes\":{\"+colour\":\"red\"}}]}",
         RESP_SYSTEM_ERROR, "colour"},
        {"mixed", "{\"topicConfigList\":[{\"topicName\":\"Fine\",\"attributes\":{\"+message.type\":\"MIXED\"}}]}",
         RESP_INVALID_PARAMETER, "MIXED"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(list(cases[i].json), cases[i].code);
        if (strstr(answer_remark(&answer), cases[i].remark) == NULL) {
            fail_msg("remark: %s", answer_remark(&answer));
        }
    }
    assert_null(topic_table_find_for_send(&rig.ctx->state->topics, MQ_STR("Fine")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deleted_topic_is_gone_with_what_belongs_to_it),
        cmocka_unit_test(the_new_life_of_a_name_outlives_a_restart),
        cmocka_unit_test(sends_go_on_while_a_deletion_is_on_its_way),
        cmocka_unit_test(a_parked_pull_hears_that_its_topic_is_gone),
        cmocka_unit_test(a_parked_pop_hears_that_its_topic_is_gone),
        cmocka_unit_test(topics_of_pop_retries_go_with_their_topic),
        cmocka_unit_test(what_another_group_sent_back_stays),
        cmocka_unit_test(deletions_are_refused_by_name),
        cmocka_unit_test(queues_that_are_taken_away_keep_what_they_hold),
        cmocka_unit_test(a_list_of_topics_is_one_change),
        cmocka_unit_test(a_bad_list_changes_nothing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
