/* Looking without taking: peek (200052), notification (200054), polling info (200055). */
#include "tests/unit/broker/rig.h"

#include "broker/flow/pop_hold.h"
#include "broker/role.h"
#include "remoting/base/clock.h"
#include "remoting/protocol/record.h"

#include <inttypes.h>
#include <stdio.h>

#define LONG "60000"

static struct rig rig;
static struct peer peer;
static struct answer answer;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "2"), RESP_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    answer_free(&answer);
    peer_hang_up(&peer);
    rig_close(&rig);
    return 0;
}

static void put(const char *queue, const char *body)
{
    assert_int_equal(rig_send(&peer, "Orders", queue, body, "", NULL), RESP_SUCCESS);
}

static int32_t pop(const char *queue, const char *invisible)
{
    return peer_code(&peer, REQ_POP_MESSAGE,
                     FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", queue}, {"maxMsgNums", "1"},
                            {"invisibleTime", invisible}, {"pollTime", "0"}, {"bornTime", "0"}, {"initMode", "0"}),
                     MQ_STR(""));
}

static int32_t peek(const char *queue, const char *most)
{
    return peer_ask(&peer, REQ_PEEK_MESSAGE,
                    FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", queue}, {"maxMsgNums", most}),
                    MQ_STR(""), &answer);
}

static unsigned records_in(void)
{
    const uint8_t *at = answer.body.base, *stop = at + answer.body.len;
    unsigned n = 0;

    for (; at < stop; n++) {
        at += mq_be32_load(at);
    }
    return n;
}

static void notify_start(struct peer *from, const char *queue, const char *poll, struct answer *to)
{
    peer_start(from, REQ_NOTIFICATION,
               FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", queue}, {"pollTime", poll},
                      {"bornTime", "0"}),
               MQ_STR(""), to);
}

static bool has_message(const char *queue)
{
    notify_start(&peer, queue, "0", &answer);
    rig_wait_flag(&rig, &answer.done);
    assert_int_equal(answer.code, RESP_SUCCESS);
    assert_string_equal(answer_field(&answer, "pollingFull"), "false");
    return strcmp(answer_field(&answer, "hasMsg"), "true") == 0;
}

static void a_peek_shows_what_a_pop_would_give_and_takes_nothing(void **state)
{
    struct proto_record rec;

    (void)state;
    assert_int_equal(peek("-1", "8"), RESP_PULL_NOT_FOUND);
    assert_int_equal(answer_number(&answer, "restNum"), 0);
    put("0", "one");
    put("0", "two");
    put("1", "three");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(peek("-1", "8"), RESP_SUCCESS);
        assert_int_equal(records_in(), 3);
    }
    assert_int_equal(peek("0", "1"), RESP_SUCCESS);
    assert_int_equal(records_in(), 1);
    assert_int_equal(answer_number(&answer, "restNum"), 1);
    assert_int_equal(rig.ctx->state->pops.count, 0);
    assert_int_equal(pop("0", LONG), RESP_SUCCESS);
    assert_int_equal(peek("0", "8"), RESP_SUCCESS);
    assert_int_equal(records_in(), 1);
    assert_int_equal(proto_record_decode(answer.body.base, (uint32_t)answer.body.len, &rec), 0);
    assert_true(mq_str_eq(rec.body, MQ_STR("two")));
}

static bool came_back(void *data)
{
    (void)data;
    return rig.ctx->state->pops.count == 0;
}

static void a_peek_shows_what_came_back_where_it_lies(void **state)
{
    struct proto_record rec;

    (void)state;
    put("0", "again");
    assert_int_equal(pop("0", "1"), RESP_SUCCESS);
    rig_wait(&rig, came_back, NULL);
    assert_int_equal(peek("0", "8"), RESP_SUCCESS);
    assert_int_equal(records_in(), 1);
    assert_int_equal(proto_record_decode(answer.body.base, (uint32_t)answer.body.len, &rec), 0);
    assert_true(mq_str_eq(rec.topic, MQ_STR("%RETRY%CG_Orders")));
    assert_int_equal(rec.reconsume_times, 1);
}

static void a_notification_says_whether_there_is_something(void **state)
{
    (void)state;
    assert_false(has_message("-1"));
    put("0", "one");
    assert_true(has_message("-1"));
    assert_true(has_message("0"));
    assert_false(has_message("1"));
    assert_int_equal(pop("0", "1"), RESP_SUCCESS);
    rig_wait(&rig, came_back, NULL);
    assert_true(has_message("1")); /* it lies in the retry topic, for whatever queue */
    assert_int_equal(pop("-1", LONG), RESP_SUCCESS);
    assert_false(has_message("-1"));
}

static void a_notification_waits_for_a_message_and_takes_it_from_nobody(void **state)
{
    struct answer notice = {0}, popped = {0}, other = {0};
    struct peer second;

    (void)state;
    peer_dial(&rig, &second, PROTO_JSON);
    notify_start(&peer, "-1", LONG, &notice);
    notify_start(&peer, "1", LONG, &other);
    peer_start(&second, REQ_POP_MESSAGE,
               FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "-1"}, {"maxMsgNums", "1"},
                      {"invisibleTime", "20"}, {"pollTime", LONG}, {"bornTime", "0"}, {"initMode", "0"}),
               MQ_STR(""), &popped);
    peer_sync(&peer);
    peer_sync(&second);
    assert_false(notice.done);
    put("0", "one");
    rig_wait_flag(&rig, &popped.done); /* both wake; whoever looks first finds it */
    assert_int_equal(popped.code, RESP_SUCCESS);
    put("0", "two");
    rig_wait_flag(&rig, &notice.done);
    assert_string_equal(answer_field(&notice, "hasMsg"), "true");
    rig_wait_flag(&rig, &other.done); /* by what the pop did not acknowledge */
    assert_string_equal(answer_field(&other, "hasMsg"), "true");
    answer_free(&notice);
    answer_free(&popped);
    answer_free(&other);
    peer_hang_up(&second);
}

static void a_notification_ends_with_its_time(void **state)
{
    uint64_t begun = mq_clock_mono_ms();

    (void)state;
    notify_start(&peer, "-1", "150", &answer);
    rig_wait_flag(&rig, &answer.done);
    assert_int_equal(answer.code, RESP_SUCCESS);
    assert_string_equal(answer_field(&answer, "hasMsg"), "false");
    assert_true(mq_clock_mono_ms() - begun >= 100);
}

static void polls_are_counted_by_queue(void **state)
{
    struct answer waiting[3] = {{0}};
    static const char *const queues[] = {"-1", "0", "0"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        peer_start(&peer, REQ_POP_MESSAGE,
                   FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", queues[i]}, {"maxMsgNums", "1"},
                          {"invisibleTime", LONG}, {"pollTime", LONG}, {"bornTime", "0"}, {"initMode", "0"}),
                   MQ_STR(""), &waiting[i]);
    }
    notify_start(&peer, "0", LONG, &answer);
    for (int i = 0; i < 3; i++) {
        static const struct {
            const char *queue;
            int64_t n;
        } want[] = {{"-1", 1}, {"0", 2}, {"1", 0}};
        struct answer info = {0};

        assert_int_equal(peer_ask(&peer, REQ_POLLING_INFO,
                                  FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", want[i].queue}),
                                  MQ_STR(""), &info),
                         RESP_SUCCESS);
        assert_int_equal(answer_number(&info, "pollingNum"), want[i].n);
        answer_free(&info);
    }
    for (int i = 0; i < 3; i++) {
        put("0", "x");
    }
    for (int i = 0; i < 3; i++) {
        rig_wait_flag(&rig, &waiting[i].done);
        answer_free(&waiting[i]);
    }
    rig_wait_flag(&rig, &answer.done);
}

/* Another node hands messages out now: who waits here is to ask there. */
static void who_waits_is_answered_when_this_node_leads_no_longer(void **state)
{
    struct rlog_role follows = rig.ctx->role, leads = rig.ctx->role;
    struct answer waiting = {0};

    (void)state;
    notify_start(&peer, "-1", LONG, &answer);
    peer_start(&peer, REQ_POP_MESSAGE,
               FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "-1"}, {"maxMsgNums", "1"},
                      {"invisibleTime", LONG}, {"pollTime", LONG}, {"bornTime", "0"}, {"initMode", "0"}),
               MQ_STR(""), &waiting);
    peer_sync(&peer);
    follows.kind = RLOG_FOLLOWER;
    role_take(rig.ctx, &follows);
    rig_wait_flag(&rig, &answer.done);
    rig_wait_flag(&rig, &waiting.done);
    assert_int_equal(answer.code, RESP_SERVICE_NOT_AVAILABLE);
    assert_int_equal(waiting.code, RESP_SERVICE_NOT_AVAILABLE);
    role_take(rig.ctx, &leads);
    answer_free(&waiting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_peek_shows_what_a_pop_would_give_and_takes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_peek_shows_what_came_back_where_it_lies, setup, teardown),
        cmocka_unit_test_setup_teardown(a_notification_says_whether_there_is_something, setup, teardown),
        cmocka_unit_test_setup_teardown(a_notification_waits_for_a_message_and_takes_it_from_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(a_notification_ends_with_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(polls_are_counted_by_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(who_waits_is_answered_when_this_node_leads_no_longer, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
