/* What a broker that starts again in the same directory still knows, and how one stops. */
#include "tests/unit/broker/rig.h"

#include "remoting/base/file.h"
#include "remoting/protocol/record.h"

#include <stdio.h>
#include <stdlib.h>

static struct answer answer;

static void everything_that_was_answered_is_there_after_a_restart(void **state)
{
    static const char lock[] = "{\"consumerGroup\":\"CG\",\"clientId\":\"c1\",\"mqSet\":"
                               "[{\"topic\":\"Orders\",\"brokerName\":\"golden-a\",\"queueId\":1}]}";
    struct rig rig;
    struct peer peer;
    uint64_t topics, first_store_ms;
    char id[40];

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(rig_send(&peer, "Orders", i % 2 == 0 ? "0" : "1", "body", "", &answer), RESP_SUCCESS);
    }
    snprintf(id, sizeof(id), "%s", answer_field(&answer, "msgId"));
    assert_int_equal(rig_pull(&peer, "Orders", "0", "0", NULL, &answer), RESP_SUCCESS);
    assert_int_equal(
        peer_code(&peer, REQ_UPDATE_CONSUMER_OFFSET,
                  FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"}, {"commitOffset", "13"}),
                  MQ_STR("")),
        RESP_SUCCESS);
    assert_int_equal(peer_code(&peer, REQ_LOCK_BATCH_MQ, NO_FIELDS, mq_str_of(lock)), RESP_SUCCESS);
    topics = rig.ctx->state->topics.count;
    first_store_ms = (uint64_t)rig.ctx->state->first_store_ms;
    peer_hang_up(&peer);

    rig_reopen(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig.ctx->state->topics.count, topics);
    assert_int_equal(rig.ctx->state->first_store_ms, first_store_ms);
    assert_int_equal(peer_ask(&peer, REQ_QUERY_CONSUMER_OFFSET,
                              FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"}), MQ_STR(""),
                              &answer),
                     RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "offset"), 13);
    assert_int_equal(rig.ctx->state->locks.count, 1);
    assert_int_equal(rig_pull(&peer, "Orders", "1", "19", NULL, &answer), RESP_SUCCESS);
    assert_int_equal(mq_be32_load(answer.body.base), answer.body.len); /* one record */
    assert_int_equal(rig_send(&peer, "Orders", "1", "body", "", &answer), RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "queueOffset"), 20);
    /* The next record lies behind the last one of before. */
    assert_true(strcmp(answer_field(&answer, "msgId") + 16, id + 16) > 0);
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

/* Sends that are under way when the broker stops are answered before their connection ends. */
static void a_stop_answers_what_is_under_way(void **state)
{
    enum { SENDS = 64 };
    static struct answer answers[SENDS];
    struct rig rig;
    struct peer peer;

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "1"), RESP_SUCCESS);
    for (int i = 0; i < SENDS; i++) {
        peer_start(&peer, REQ_SEND_MESSAGE_V2,
                   FIELDS({"a", "PG"}, {"b", "Orders"}, {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, {"f", "0"},
                          {"g", "1"}, {"h", "0"}),
                   MQ_STR("x"), &answers[i]);
    }
    while (rig.ctx->state->records_applied == 0 && !answers[SENDS - 1].done) {
        struct rlog_status status;

        uv_run(&rig.loop.uv, UV_RUN_ONCE);
        rlog_status_get(rig.ctx->log, &status);
        if (status.inflight_entries != 0) {
            break; /* in the log, not yet on the disk */
        }
    }
    rig_stop(&rig);
    rig_wait_flag(&rig, &peer.closed);
    for (int i = 0; i < SENDS; i++) {
        assert_true(answers[i].done);
        assert_true(answers[i].code == RESP_SUCCESS || answers[i].code == RESP_SERVICE_NOT_AVAILABLE);
        answer_free(&answers[i]);
    }
    net_channel_release(peer.ch);
    rig_end(&rig);
}

/* Waiting pulls do not hold up a stop. */
static void a_stop_does_not_wait_for_waiting_pulls(void **state)
{
    struct rig rig;
    struct peer peer;
    struct answer waiting = {0};

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "1"), RESP_SUCCESS);
    rig_pull_start(&peer, "Orders", "0", "0", NULL, "60000", &waiting);
    peer_sync(&peer);
    rig_stop(&rig);
    rig_wait_flag(&rig, &peer.closed);
    net_channel_release(peer.ch);
    rig_end(&rig);
    assert_false(waiting.done);
}

static void an_open_that_fails_leaves_nothing(void **state)
{
    static const struct {
        const char *why, *override, *problem;
    } cases[] = {
        {"a key nobody knows", "brokerNmae=a", "did you mean brokerName?"},
        {"an address that is none", "brokerIP1=localhost", "brokerIP1 \"localhost\""},
        {"an address of a name server that is none", "namesrvAddr=nowhere", "namesrvAddr"},
        {"a directory that cannot be", "storePathRootDir=/proc/self/none", "storePathRootDir"},
        {"an address that is not ours", "bindAddress=192.0.2.1", "192.0.2.1"},
    };
    struct net_loop loop;

    (void)state;
    assert_int_equal(net_loop_init(&loop), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char dir[] = "/tmp/raftmq-broker-XXXXXX", store[64];
        const char *overrides[] = {store,
                                   "listenPort=0",
                                   "bindAddress=127.0.0.1",
                                   "brokerIP1=127.0.0.1",
                                   "mappedFileSizeCommitLog=16777216",
                                   cases[i].override,
                                   NULL};
        struct mq_buf problem = {0}, warnings = {0};
        struct broker *broker;

        print_message("%s\n", cases[i].why);
        assert_non_null(mkdtemp(dir));
        snprintf(store, sizeof(store), "storePathRootDir=%s", dir);
        assert_true(broker_open(&loop, NULL, overrides, &broker, &problem, &warnings) < 0);
        assert_int_equal(mq_buf_put_u8(&problem, 0), 0);
        if (strstr((const char *)problem.base, cases[i].problem) == NULL) {
            fail_msg("%s", (const char *)problem.base);
        }
        assert_ptr_equal(strchr((const char *)problem.base, '\n') + 1, problem.base + problem.len - 1); /* one line */
        mq_buf_free(&problem);
        mq_buf_free(&warnings);
        assert_int_equal(mq_dir_remove(dir), 0);
    }
    uv_run(&loop.uv, UV_RUN_DEFAULT);
    net_loop_fini(&loop);
}

/* Opens a broker in @dir and expects a refusal whose text holds @want. */
static void refused_open(struct net_loop *loop, const char *dir, const char *want)
{
    char store[96];
    const char *overrides[] = {store,
                               "listenPort=0",
                               "bindAddress=127.0.0.1",
                               "brokerIP1=127.0.0.1",
                               "brokerName=golden-a",
                               "mappedFileSizeCommitLog=16777216",
                               NULL};
    struct mq_buf problem = {0}, warnings = {0};
    struct broker *broker;

    snprintf(store, sizeof(store), "storePathRootDir=%s", dir);
    assert_true(broker_open(loop, NULL, overrides, &broker, &problem, &warnings) < 0);
    assert_int_equal(mq_buf_put_u8(&problem, 0), 0);
    if (strstr((const char *)problem.base, want) == NULL) {
        fail_msg("%s", (const char *)problem.base);
    }
    mq_buf_free(&problem);
    mq_buf_free(&warnings);
}

/* The second process of a directory, as after a slip of the hand: the first must not lose what it has mapped. */
static void a_refused_open_leaves_the_consume_queues_of_the_running_broker_alone(void **state)
{
    char queues[128];
    struct rig rig;
    struct peer peer;

    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "1"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Orders", "0", "body", "", &answer), RESP_SUCCESS);
    snprintf(queues, sizeof(queues), "%s/consumequeue/Orders/0/00000000000000000000", rig.dir);
    assert_true(mq_file_exists(queues));
    refused_open(&rig.loop, rig.dir, "another process uses this directory\n");
    assert_true(mq_file_exists(queues));
    peer_hang_up(&peer);
    rig_close(&rig);
    answer_free(&answer);
}

static void the_store_of_a_rocketmq_broker_is_refused_and_left_as_it_is(void **state)
{
    static const char *const marks[] = {"checkpoint", "commitlog"};
    struct net_loop loop;

    (void)state;
    assert_int_equal(net_loop_init(&loop), 0);
    for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
        char dir[] = "/tmp/raftmq-broker-XXXXXX", path[96];

        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof(path), "%s/%s", dir, marks[i]);
        assert_int_equal(mq_dir_make(path), 0);
        snprintf(path, sizeof(path), "%s/consumequeue/Orders/0", dir);
        assert_int_equal(mq_dir_make(path), 0);
        refused_open(&loop, dir, marks[i]);
        assert_true(mq_file_exists(path));
        snprintf(path, sizeof(path), "%s/raftlog", dir);
        assert_false(mq_file_exists(path));
        assert_int_equal(mq_dir_remove(dir), 0);
    }
    uv_run(&loop.uv, UV_RUN_DEFAULT);
    net_loop_fini(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_that_was_answered_is_there_after_a_restart),
        cmocka_unit_test(a_stop_answers_what_is_under_way),
        cmocka_unit_test(a_stop_does_not_wait_for_waiting_pulls),
        cmocka_unit_test(an_open_that_fails_leaves_nothing),
        cmocka_unit_test(a_refused_open_leaves_the_consume_queues_of_the_running_broker_alone),
        cmocka_unit_test(the_store_of_a_rocketmq_broker_is_refused_and_left_as_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
