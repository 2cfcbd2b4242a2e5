#include "tests/unit/client/fake_cluster.h"

#include "client/instance.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/protocol/codes.h"

#include <stdio.h>

/* One send and what came of it. */
struct sent {
    struct rmq_send send;
    struct rmq_send_result result;
    uint32_t calls;
    char body[16];
};

struct scene {
    struct fixture f;
    struct fake_cluster cluster;
    struct rmq_client *client;
};

static void open_scene(struct scene *s, struct rmq_options options)
{
    fixture_init(&s->f);
    fake_open(&s->cluster, &s->f);
    s->client = fake_client(&s->cluster, options);
}

static void close_scene(struct scene *s)
{
    if (s->client != NULL) {
        fake_client_close(&s->cluster, s->client);
    }
    fake_close(&s->cluster);
    fixture_fini(&s->f);
}

static void on_sent(struct rmq_send *send, const struct rmq_send_result *result)
{
    struct sent *sent = send->data;

    sent->calls++;
    sent->result = *result;
}

static void start(struct scene *s, struct sent *sent, int32_t queue_id, uint32_t retries_max, uint32_t timeout_ms)
{
    snprintf(sent->body, sizeof(sent->body), "hello");
    sent->calls = 0;
    sent->send = (struct rmq_send){.data = sent,
                                   .topic = MQ_STR("T"),
                                   .body = mq_str_of(sent->body),
                                   .tags = MQ_STR("A"),
                                   .queue_id = queue_id,
                                   .retries_max = retries_max,
                                   .timeout_ms = timeout_ms};
    assert_int_equal(rmq_send_async(s->client, &sent->send, on_sent), 0);
    assert_int_equal(sent->calls, 0); /* never inside the start */
}

static void finish(struct scene *s, struct sent *sent)
{
    RUN_UNTIL(&s->f, sent->calls != 0);
    assert_int_equal(sent->calls, 1);
}

static void an_acknowledged_send_tells_where_the_message_is(void **state)
{
    struct scene s;
    struct sent sent;

    (void)state;
    open_scene(&s, (struct rmq_options){0});
    start(&s, &sent, 2, 0, 0);
    finish(&s, &sent);
    assert_int_equal(sent.result.outcome, RMQ_ACKNOWLEDGED);
    assert_int_equal(sent.result.qoff, 100);
    assert_int_equal(sent.result.queue_id, 2);
    assert_int_equal(sent.result.attempts, 1);
    assert_int_equal(s.cluster.members[0].queue_id, 2);
    assert_string_equal(s.cluster.members[0].body, "hello");
    close_scene(&s);
}

static void answers_are_told_apart_as_refused_or_unknown(void **state)
{
    static const struct {
        const char *why;
        enum fake_answer answer;
        enum rmq_outcome outcome;
        int code;
    } cases[] = {
        {"a follower stored nothing", FAKE_FOLLOW, RMQ_REFUSED, 14},
        {"a busy broker stored nothing", FAKE_BUSY, RMQ_REFUSED, 2},
        {"an illegal message is not stored", FAKE_ILLEGAL, RMQ_REFUSED, 13},
        {"[UNKNOWN] may still be stored", FAKE_UNSURE, RMQ_UNKNOWN, 1},
        {"stored, but not safely", FAKE_DOUBTFUL, RMQ_UNKNOWN, 10},
        {"no answer before the connection broke", FAKE_DROP, RMQ_UNKNOWN, -1},
        {"a success without a place", FAKE_PLACELESS, RMQ_UNKNOWN, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct scene s;
        struct sent sent;

        print_message("%s\n", cases[i].why);
        open_scene(&s, (struct rmq_options){0});
        s.cluster.members[0].answer = cases[i].answer;
        start(&s, &sent, -1, 0, 0);
        finish(&s, &sent);
        assert_int_equal(sent.result.outcome, cases[i].outcome);
        assert_int_equal(sent.result.code, cases[i].code);
        assert_int_equal(s.cluster.members[0].sends, 1);
        close_scene(&s);
    }
}

static void a_send_without_an_answer_in_time_is_unknown_and_not_sent_again(void **state)
{
    struct scene s;
    struct sent sent;

    (void)state;
    open_scene(&s, (struct rmq_options){.send_timeout_ms = 50});
    s.cluster.members[0].answer = FAKE_SILENT;
    start(&s, &sent, -1, UINT32_MAX, 1000);
    finish(&s, &sent);
    assert_int_equal(sent.result.outcome, RMQ_UNKNOWN);
    assert_int_equal(sent.result.status, MQ_ETIMEDOUT);
    assert_int_equal(s.cluster.members[0].sends + s.cluster.members[1].sends + s.cluster.members[2].sends, 1);
    close_scene(&s);
}

static void a_refused_send_finds_the_new_leader_with_the_same_key(void **state)
{
    struct scene s;
    struct sent sent;
    char key[32];

    (void)state;
    open_scene(&s, (struct rmq_options){0});
    s.cluster.members[0].answer = FAKE_FOLLOW; /* the name server is behind */
    s.cluster.members[2].answer = FAKE_TAKE;
    start(&s, &sent, -1, UINT32_MAX, 5000);
    RUN_UNTIL(&s.f, s.cluster.members[0].sends >= 1);
    memcpy(key, s.cluster.members[0].uniq_key, sizeof(key));
    finish(&s, &sent);
    assert_int_equal(sent.result.outcome, RMQ_ACKNOWLEDGED);
    assert_true(sent.result.attempts >= 2);
    assert_memory_equal(s.cluster.members[2].uniq_key, key, sizeof(key));
    start(&s, &sent, -1, 0, 0); /* what was learnt stays */
    finish(&s, &sent);
    assert_int_equal(sent.result.outcome, RMQ_ACKNOWLEDGED);
    assert_int_equal(sent.result.attempts, 1);
    close_scene(&s);
}

static void a_killed_leader_costs_the_sends_under_way_and_no_later_one(void **state)
{
    struct scene s;
    struct sent first, second;

    (void)state;
    open_scene(&s, (struct rmq_options){0});
    s.cluster.members[0].answer = FAKE_SILENT;
    start(&s, &first, -1, UINT32_MAX, 5000);
    RUN_UNTIL(&s.f, s.cluster.members[0].sends == 1);
    fake_kill(&s.cluster.members[0]);
    finish(&s, &first);
    assert_int_equal(first.result.outcome, RMQ_UNKNOWN);
    assert_int_equal(first.result.status, MQ_ECLOSED);
    start(&s, &second, -1, UINT32_MAX, 5000);
    RUN_UNTIL(&s.f, s.cluster.members[1].sends + s.cluster.members[2].sends >= 4); /* an election goes on */
    assert_int_equal(second.calls, 0);
    s.cluster.members[1].answer = FAKE_TAKE;
    finish(&s, &second);
    assert_int_equal(second.result.outcome, RMQ_ACKNOWLEDGED);
    close_scene(&s);
}

static void a_member_is_asked_in_vain_once_a_tick_at_most(void **state)
{
    struct scene s;
    struct sent sent;
    uint64_t start_ms;

    (void)state;
    open_scene(&s, (struct rmq_options){0});
    s.cluster.members[0].answer = FAKE_FOLLOW;
    start_ms = mq_clock_mono_ms();
    start(&s, &sent, -1, UINT32_MAX, 60000);
    RUN_UNTIL(&s.f, s.cluster.members[1].sends >= 8);
    assert_int_equal(sent.calls, 0);
    assert_true(mq_clock_mono_ms() - start_ms >= 7 * CLIENT_SEARCH_TICK_MS - 1); /* both clocks cut off a part */
    close_scene(&s);
}

static void a_send_that_was_only_ever_refused_ends_as_refused(void **state)
{
    struct scene s;
    struct sent sent;
    const struct send_own *own = own_of_send(&sent.send);

    (void)state;
    open_scene(&s, (struct rmq_options){0});
    s.cluster.members[0].answer = FAKE_FOLLOW;
    start(&s, &sent, -1, UINT32_MAX, 400);
    /* Nothing is under way when the members go, or the last attempt would rightly be unknown. */
    RUN_UNTIL(&s.f, sent.calls != 0 || (own->last_code == RESP_SERVICE_NOT_AVAILABLE && !own->probe));
    assert_int_equal(sent.calls, 0);
    for (int i = 0; i < FAKE_MEMBERS; i++) {
        fake_kill(&s.cluster.members[i]);
    }
    finish(&s, &sent);
    assert_int_equal(sent.result.outcome, RMQ_REFUSED);
    assert_int_equal(sent.result.status, MQ_ETIMEDOUT);
    assert_int_equal(sent.result.code, 14);
    close_scene(&s);
}

static void a_client_that_routes_like_a_stock_one_waits_for_the_name_server(void **state)
{
    struct scene s;
    struct sent sent;

    (void)state;
    open_scene(&s, (struct rmq_options){.only_leader_routes = true});
    s.cluster.members[0].answer = FAKE_FOLLOW;
    s.cluster.members[2].answer = FAKE_TAKE;
    start(&s, &sent, -1, UINT32_MAX, 10000);
    RUN_UNTIL(&s.f, s.cluster.members[0].sends >= 2);
    assert_int_equal(s.cluster.members[1].sends + s.cluster.members[2].sends, 0);
    s.cluster.leader = 2;
    finish(&s, &sent);
    assert_int_equal(sent.result.outcome, RMQ_ACKNOWLEDGED);
    assert_int_equal(s.cluster.members[1].sends, 0);
    close_scene(&s);
}

static void sends_go_round_over_all_queues(void **state)
{
    struct scene s;
    uint32_t seen[4] = {0};

    (void)state;
    open_scene(&s, (struct rmq_options){0});
    for (int i = 0; i < 8; i++) {
        struct sent sent;

        start(&s, &sent, -1, 0, 0);
        finish(&s, &sent);
        seen[sent.result.queue_id]++;
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(seen[i], 2);
    }
    close_scene(&s);
}

static void a_queue_that_the_topic_does_not_have_is_refused(void **state)
{
    struct scene s;
    struct sent sent;

    (void)state;
    open_scene(&s, (struct rmq_options){0});
    start(&s, &sent, 9, 0, 0); /* the route is not known yet */
    finish(&s, &sent);
    assert_int_equal(sent.result.outcome, RMQ_REFUSED);
    assert_int_equal(sent.result.status, MQ_ENOTFOUND);
    assert_int_equal(rmq_send_async(s.client, &sent.send, on_sent), MQ_ENOTFOUND);
    assert_int_equal(sent.calls, 1);
    close_scene(&s);
}

static void an_unknown_topic_borrows_the_route_of_the_template(void **state)
{
    struct scene s;
    struct sent sent;

    (void)state;
    open_scene(&s, (struct rmq_options){0});
    s.cluster.topic_known = false;
    s.cluster.write_queues = 16;
    start(&s, &sent, 3, 0, 0);
    finish(&s, &sent);
    assert_int_equal(sent.result.outcome, RMQ_ACKNOWLEDGED);
    start(&s, &sent, -1, 0, 0);
    finish(&s, &sent);
    assert_true(sent.result.queue_id < 4);
    close_scene(&s);
}

static void a_topic_without_any_route_is_refused_when_the_time_is_up(void **state)
{
    struct scene s;
    struct sent sent;

    (void)state;
    open_scene(&s, (struct rmq_options){0});
    s.cluster.topic_known = s.cluster.template_known = false;
    start(&s, &sent, -1, 0, 200);
    finish(&s, &sent);
    assert_int_equal(sent.result.outcome, RMQ_REFUSED);
    assert_int_equal(sent.result.status, MQ_ENOTFOUND);
    assert_true(s.cluster.route_asks >= 2);
    close_scene(&s);
}

static void callers_keep_to_their_lane_and_others_take_turns(void **state)
{
    static const struct {
        uint32_t lane, channels;
    } cases[] = {{3, 1}, {7, 1}, {0, 4}};
    struct sent sent;
    struct scene s;

    (void)state;
    open_scene(&s, (struct rmq_options){.connections = 4});
    start(&s, &sent, -1, 0, 0);
    finish(&s, &sent);
    RUN_UNTIL(&s.f, s.cluster.members[0].server.count == 4);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        s.cluster.members[0].n_channels = 0;
        for (int k = 0; k < 8; k++) {
            sent = (struct sent){.send = {.data = &sent,
                                          .topic = MQ_STR("T"),
                                          .body = MQ_STR("hello"),
                                          .queue_id = -1,
                                          .lane = cases[i].lane}};
            assert_int_equal(rmq_send_async(s.client, &sent.send, on_sent), 0);
            finish(&s, &sent);
        }
        assert_int_equal(s.cluster.members[0].n_channels, cases[i].channels);
    }
    close_scene(&s);
}

static void closing_the_client_answers_everything(void **state)
{
    struct scene s;
    struct sent under_way, waiting;

    (void)state;
    open_scene(&s, (struct rmq_options){0});
    s.cluster.members[0].answer = FAKE_SILENT;
    start(&s, &under_way, -1, 0, 0);
    RUN_UNTIL(&s.f, s.cluster.members[0].sends == 1);
    fake_client_close(&s.cluster, s.client);
    assert_int_equal(under_way.calls, 1);
    assert_int_equal(under_way.result.outcome, RMQ_UNKNOWN);

    s.client = fake_client(&s.cluster, (struct rmq_options){0});
    start(&s, &waiting, -1, 0, 0); /* no route yet: certainly not sent */
    fake_client_close(&s.cluster, s.client);
    assert_int_equal(waiting.calls, 1);
    assert_int_equal(waiting.result.outcome, RMQ_REFUSED);
    assert_int_equal(waiting.result.status, MQ_ECLOSED);
    s.client = NULL;
    close_scene(&s);
}

static void options_that_cannot_be_are_refused(void **state)
{
    static const char *const bad[] = {NULL, "", ";;", "nohost"};
    struct rmq_client *client;
    struct fixture f;

    (void)state;
    fixture_init(&f);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct rmq_options options = {.namesrv = bad[i]};

        assert_int_equal(rmq_client_new(&f.loop, &options, &client), MQ_EINVAL);
    }
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_acknowledged_send_tells_where_the_message_is),
        cmocka_unit_test(answers_are_told_apart_as_refused_or_unknown),
        cmocka_unit_test(a_send_without_an_answer_in_time_is_unknown_and_not_sent_again),
        cmocka_unit_test(a_refused_send_finds_the_new_leader_with_the_same_key),
        cmocka_unit_test(a_killed_leader_costs_the_sends_under_way_and_no_later_one),
        cmocka_unit_test(a_member_is_asked_in_vain_once_a_tick_at_most),
        cmocka_unit_test(a_send_that_was_only_ever_refused_ends_as_refused),
        cmocka_unit_test(a_client_that_routes_like_a_stock_one_waits_for_the_name_server),
        cmocka_unit_test(sends_go_round_over_all_queues),
        cmocka_unit_test(a_queue_that_the_topic_does_not_have_is_refused),
        cmocka_unit_test(an_unknown_topic_borrows_the_route_of_the_template),
        cmocka_unit_test(a_topic_without_any_route_is_refused_when_the_time_is_up),
        cmocka_unit_test(callers_keep_to_their_lane_and_others_take_turns),
        cmocka_unit_test(closing_the_client_answers_everything),
        cmocka_unit_test(options_that_cannot_be_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
