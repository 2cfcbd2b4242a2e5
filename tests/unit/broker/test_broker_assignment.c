/* Queues that the broker assigns (400), with and without a name server. */
#include "tests/unit/broker/rig.h"

#include "namesrv/include/namesrv/namesrv.h"

#include <stdio.h>

struct world {
    struct rig rig;
    struct namesrv_config config;
    struct namesrv *namesrv;
    bool namesrv_gone;
    struct peer a, b;
    struct answer answer;
};

static struct world world;

static void open_namesrv(void)
{
    struct mq_buf problem = {0};

    assert_int_equal(namesrv_config_init(&world.config), 0);
    world.config.listen_port = 0;
    if (namesrv_open(&world.rig.loop, &world.config, &world.namesrv, &problem) != 0) {
        fail_msg("%.*s", (int)problem.len, (const char *)problem.base);
    }
    mq_buf_free(&problem);
}

static void on_namesrv_gone(void *data)
{
    *(bool *)data = true;
}

static void close_namesrv(void)
{
    world.namesrv_gone = false;
    namesrv_close(world.namesrv, on_namesrv_gone, &world.namesrv_gone);
    rig_wait_flag(&world.rig, &world.namesrv_gone);
    namesrv_config_fini(&world.config);
    world.namesrv = NULL;
}

static void begin(bool with_namesrv, const char *setting)
{
    char text[64];
    const char *overrides[] = {setting, NULL, NULL};

    world = (struct world){0};
    rig_loop(&world.rig);
    if (with_namesrv) {
        open_namesrv();
        snprintf(text, sizeof(text), "namesrvAddr=127.0.0.1:%d", namesrv_port(world.namesrv));
        overrides[setting != NULL] = text;
    }
    rig_start(&world.rig, overrides);
    peer_dial(&world.rig, &world.a, PROTO_JSON);
    peer_dial(&world.rig, &world.b, PROTO_JSON);
    assert_int_equal(rig_topic(&world.a, "Orders", "4"), RESP_SUCCESS);
}

static void end(void)
{
    answer_free(&world.answer);
    peer_hang_up(&world.a);
    peer_hang_up(&world.b);
    rig_stop(&world.rig);
    if (world.namesrv != NULL) {
        close_namesrv();
    }
    rig_end(&world.rig);
}

static void beat(struct peer *from, const char *client)
{
    char body[512];
    int n = snprintf(body, sizeof(body),
                     "{\"clientID\":\"%s\",\"consumerDataSet\":[{\"groupName\":\"CG\",\"consumeType\":"
                     "\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\",\"consumeFromWhere\":"
                     "\"CONSUME_FROM_FIRST_OFFSET\",\"subscriptionDataSet\":[]}]}",
                     client);

    assert_int_equal(peer_code(from, REQ_HEART_BEAT, NO_FIELDS, (struct mq_str){body, (uint32_t)n}), RESP_SUCCESS);
}

static int32_t ask(const char *client, const char *topic, const char *strategy, const char *model)
{
    char body[512];
    int n = snprintf(body, sizeof(body),
                     "{\"clientId\":\"%s\",\"consumerGroup\":\"CG\",\"messageModel\":\"%s\",\"strategyName\":\"%s\","
                     "\"topic\":\"%s\"}",
                     client, model, strategy, topic);

    return peer_ask(&world.a, REQ_QUERY_ASSIGNMENT, NO_FIELDS, (struct mq_str){body, (uint32_t)n}, &world.answer);
}

#define QUEUE(id, mode)                                                                                              \
    "{\"messageQueue\":{\"brokerName\":\"golden-a\",\"queueId\":" #id ",\"topic\":\"Orders\"},\"mode\":\"" mode "\"" \
    "}"
#define ANSWER(...) "{\"messageQueueAssignments\":[" __VA_ARGS__ "]}"

static void check(const char *client, const char *want)
{
    assert_int_equal(ask(client, "Orders", "AVG", "CLUSTERING"), RESP_SUCCESS);
    assert_string_equal(answer_body(&world.answer), want);
}

static void members_divide_the_queues(void **state)
{
    (void)state;
    begin(false, NULL);
    check("a", "{}"); /* nobody has beaten: it keeps what it has */
    beat(&world.a, "a");
    check("a", ANSWER(QUEUE(0, "PULL") "," QUEUE(1, "PULL") "," QUEUE(2, "PULL") "," QUEUE(3, "PULL")));
    check("b", "{}"); /* it has not beaten here */
    beat(&world.b, "b");
    check("a", ANSWER(QUEUE(0, "PULL") "," QUEUE(1, "PULL")));
    check("b", ANSWER(QUEUE(2, "PULL") "," QUEUE(3, "PULL")));
    assert_int_equal(ask("b", "Orders", "AVG_BY_CIRCLE", "CLUSTERING"), RESP_SUCCESS);
    assert_string_equal(answer_body(&world.answer), ANSWER(QUEUE(1, "PULL") "," QUEUE(3, "PULL")));
    assert_int_equal(ask("b", "Orders", "MACHINE_ROOM", "CLUSTERING"), RESP_SUCCESS);
    assert_string_equal(answer_body(&world.answer), "{}");
    assert_int_equal(ask("b", "Nowhere", "AVG", "CLUSTERING"), RESP_SUCCESS);
    assert_string_equal(answer_body(&world.answer), "{}");
    assert_int_equal(ask("stranger", "Orders", "any", "BROADCASTING"), RESP_SUCCESS);
    assert_string_equal(answer_body(&world.answer),
                        ANSWER(QUEUE(0, "PULL") "," QUEUE(1, "PULL") "," QUEUE(2, "PULL") "," QUEUE(3, "PULL")));
    end();
}

static void a_group_that_pops_shares_queues(void **state)
{
    static const char mode[] =
        "{\"consumerGroup\":\"CG\",\"mode\":\"POP\",\"popShareQueueNum\":8,\"topic\":\"Orders\"}";

    (void)state;
    begin(false, NULL);
    beat(&world.a, "a");
    assert_int_equal(peer_code(&world.a, REQ_SET_MESSAGE_REQUEST_MODE, NO_FIELDS, MQ_STR(mode)), RESP_SUCCESS);
    check("a", ANSWER(QUEUE(-1, "POP")));
    end();
}

/* The topic of the retries comes to be with the heartbeat, a little later. */
static bool retries_are_pulled(void *data)
{
    (void)data;
    return ask("a", "%RETRY%CG", "AVG", "CLUSTERING") == RESP_SUCCESS &&
           strstr(answer_body(&world.answer), "\"mode\":\"PULL\"") != NULL;
}

static void the_configuration_says_how_to_ask_where_nobody_has(void **state)
{
    (void)state;
    begin(false, "defaultMessageRequestMode=POP");
    beat(&world.a, "a");
    check("a", ANSWER(QUEUE(-1, "POP")));
    rig_wait(&world.rig, retries_are_pulled, NULL);
    end();
    begin(false, "serverLoadBalancerEnable=false");
    check("a", ANSWER(QUEUE(0, "PULL") "," QUEUE(1, "PULL") "," QUEUE(2, "PULL") "," QUEUE(3, "PULL")));
    end();
}

static bool has_queues(void *data)
{
    (void)data;
    return ask("a", "Orders", "AVG", "CLUSTERING") == RESP_SUCCESS &&
           strstr(answer_body(&world.answer), "\"queueId\":3") != NULL;
}

static bool keeps(void *data)
{
    (void)data;
    return ask("a", "Orders", "AVG", "CLUSTERING") == RESP_SUCCESS && strcmp(answer_body(&world.answer), "{}") == 0;
}

static void the_route_comes_from_a_name_server(void **state)
{
    (void)state;
    begin(true, NULL);
    beat(&world.a, "a");
    rig_wait(&world.rig, has_queues, NULL); /* once the topic is registered */
    assert_int_equal(ask("a", "Nowhere", "AVG", "CLUSTERING"), RESP_SUCCESS);
    assert_string_equal(answer_body(&world.answer), "{}");
    close_namesrv();
    rig_wait(&world.rig, keeps, NULL); /* nobody knows the route: what it has stays */
    end();
}

static void a_body_that_lacks_something_is_refused_by_name(void **state)
{
    static const struct {
        const char *body, *named;
    } cases[] = {
        {"{}", "topic"},
        {"{\"topic\":\"Orders\"}", "consumerGroup"},
        {"{\"topic\":\"Orders\",\"consumerGroup\":\"CG\"}", "clientId"},
        {"{\"topic\":\"Orders\",\"consumerGroup\":\"CG\",\"clientId\":\"a\"}", "messageModel"},
        {"{\"topic\":\"Orders\",\"consumerGroup\":\"CG\",\"clientId\":\"a\",\"messageModel\":\"ALL\"}",
         "messageModel"},
        {"[]", "body"},
    };

    (void)state;
    begin(false, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].body);
        assert_int_equal(peer_ask(&world.a, REQ_QUERY_ASSIGNMENT, NO_FIELDS, mq_str_of(cases[i].body), &world.answer),
                         RESP_SYSTEM_ERROR);
        assert_non_null(strstr(answer_remark(&world.answer), cases[i].named));
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_divide_the_queues),
        cmocka_unit_test(a_group_that_pops_shares_queues),
        cmocka_unit_test(the_configuration_says_how_to_ask_where_nobody_has),
        cmocka_unit_test(the_route_comes_from_a_name_server),
        cmocka_unit_test(a_body_that_lacks_something_is_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
