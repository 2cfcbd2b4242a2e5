/* A broker and a name server in one loop: registration, changes, loss of either side, the end. */
#include "tests/unit/broker/rig.h"

#include "namesrv/include/namesrv/namesrv.h"
#include "remoting/net/server.h"

#include <stdio.h>

struct world {
    struct rig rig;
    struct namesrv_config config;
    struct namesrv *namesrv;
    bool namesrv_gone;
    int port;
};

static struct world world;

static void open_namesrv(int port)
{
    struct mq_buf problem = {0};

    assert_int_equal(namesrv_config_init(&world.config), 0);
    world.config.listen_port = port;
    if (namesrv_open(&world.rig.loop, &world.config, &world.namesrv, &problem) != 0) {
        fail_msg("%.*s", (int)problem.len, (const char *)problem.base);
    }
    world.port = namesrv_port(world.namesrv);
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
}

static int setup(void **state)
{
    char text[64];
    const char *overrides[] = {text, NULL};

    (void)state;
    world = (struct world){0};
    rig_loop(&world.rig);
    open_namesrv(0);
    snprintf(text, sizeof(text), "namesrvAddr=127.0.0.1:%d", world.port);
    rig_start(&world.rig, overrides);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_stop(&world.rig);
    close_namesrv();
    rig_end(&world.rig);
    return 0;
}

/* What the name server says about a topic: the code, with the body in @answer. */
static int32_t route(const char *topic, struct answer *answer)
{
    struct peer peer;
    int32_t code;

    peer_dial_port(&world.rig, &peer, world.port, PROTO_JSON);
    code = peer_ask(&peer, REQ_GET_ROUTEINFO_BY_TOPIC, FIELDS({"topic", topic}, {"acceptStandardJsonOnly", "true"}),
                    MQ_STR(""), answer);
    peer_hang_up(&peer);
    return code;
}

struct expected {
    const char *topic, *text;
};

static bool route_has(void *data)
{
    const struct expected *e = data;
    struct answer answer = {0};
    bool has = route(e->topic, &answer) == RESP_SUCCESS && strstr(answer_body(&answer), e->text) != NULL;

    answer_free(&answer);
    return has;
}

static void wait_route(const char *topic, const char *text)
{
    struct expected e = {topic, text};

    rig_wait(&world.rig, route_has, &e);
}

static void leader_registers_as_id_0_with_its_topics(void **state)
{
    char address[64];

    (void)state;
    snprintf(address, sizeof(address), "\"0\":\"127.0.0.1:%d\"", broker_port(world.rig.broker));
    wait_route("TBW102", address);
    wait_route("BenchmarkTest", "\"readQueueNums\":1024");
}

static void a_new_topic_is_known_soon(void **state)
{
    struct peer peer;

    (void)state;
    peer_dial(&world.rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Fresh", "3"), RESP_SUCCESS);
    wait_route("Fresh", "\"writeQueueNums\":3");
    assert_int_equal(rig_topic(&peer, "Fresh", "5"), RESP_SUCCESS);
    wait_route("Fresh", "\"writeQueueNums\":5");
    peer_hang_up(&peer);
}

/* Asked once, without waiting. */
static void expect_queues(const char *topic, const char *queues)
{
    struct answer answer = {0};
    char text[64];

    snprintf(text, sizeof(text), "\"writeQueueNums\":%s", queues);
    assert_int_equal(route(topic, &answer), RESP_SUCCESS);
    assert_non_null(strstr(answer_body(&answer), text));
    answer_free(&answer);
}

static void who_hears_that_a_topic_was_changed_finds_its_route(void **state)
{
    struct answer answer = {0};
    struct peer peer;

    (void)state;
    wait_route("TBW102", "127.0.0.1");
    peer_dial(&world.rig, &peer, PROTO_JSON);
    for (int i = 1; i <= 20; i++) {
        char topic[16], queues[16];

        snprintf(topic, sizeof(topic), "Told%d", i % 4);
        snprintf(queues, sizeof(queues), "%d", i);
        assert_int_equal(rig_topic(&peer, topic, queues), RESP_SUCCESS);
        expect_queues(topic, queues);
    }
    assert_int_equal(peer_code(&peer, REQ_UPDATE_AND_CREATE_TOPIC_LIST, NO_FIELDS,
                               MQ_STR("{\"topicConfigList\":[{\"topicName\":\"Told1\",\"readQueueNums\":30,"
                                      "\"writeQueueNums\":30,\"perm\":6,\"topicFilterType\":\"SINGLE_TAG\"}]}")),
                     RESP_SUCCESS);
    expect_queues("Told1", "30");
    assert_int_equal(peer_code(&peer, REQ_DELETE_TOPIC_IN_BROKER, FIELDS({"topic", "Told1"}), MQ_STR("")),
                     RESP_SUCCESS);
    assert_int_equal(route("Told1", &answer), RESP_TOPIC_NOT_EXIST);
    answer_free(&answer);
    peer_hang_up(&peer);
}

/* --- a name server that takes connections and says nothing --- */

static void say_nothing(struct net_channel *ch, struct proto_command *cmd)
{
    (void)ch;
    (void)cmd;
}

static void nobody_left(struct net_channel *ch, int reason)
{
    (void)ch;
    (void)reason;
}

static void on_silent_closed(struct net_server *server)
{
    *(bool *)server->data = true;
}

static void a_silent_name_server_does_not_hold_an_answer_for_ever(void **state)
{
    static const struct net_server_ops ops = {.command = say_nothing, .closed = nobody_left};
    struct net_server silent = {0};
    struct answer held = {0};
    bool silent_gone = false;
    struct peer peer;
    char text[96];
    const char *overrides[] = {text, NULL};

    (void)state;
    silent.data = &silent_gone;
    assert_int_equal(net_server_open(&silent, &world.rig.loop, "127.0.0.1", 0, &ops, &net_server_default_limits), 0);
    rig_stop(&world.rig);
    snprintf(text, sizeof(text), "namesrvAddr=127.0.0.1:%d;127.0.0.1:%d", silent.port, world.port);
    rig_start(&world.rig, overrides);
    wait_route("TBW102", "127.0.0.1");
    peer_dial(&world.rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Held", "3"), RESP_SUCCESS);
    expect_queues("Held", "3");
    peer_start(&peer, REQ_DELETE_TOPIC_IN_BROKER, FIELDS({"topic", "Held"}), MQ_STR(""), &held);
    rig_stop(&world.rig); /* it may wait then, and is answered */
    rig_wait_flag(&world.rig, &held.done);
    answer_free(&held);
    peer_hang_up(&peer);
    net_server_close(&silent, false, on_silent_closed);
    rig_wait_flag(&world.rig, &silent_gone);
    snprintf(text, sizeof(text), "namesrvAddr=127.0.0.1:%d", world.port);
    rig_start(&world.rig, overrides);
}

static void a_role_that_changes_while_a_registration_is_under_way_is_told_too(void **state)
{
    struct context *ctx = world.rig.ctx;
    struct rlog_role leads = ctx->role;
    char as_follower[64], as_leader[64];

    (void)state;
    snprintf(as_follower, sizeof(as_follower), "\"1\":\"127.0.0.1:%d\"", broker_port(world.rig.broker));
    snprintf(as_leader, sizeof(as_leader), "\"0\":\"127.0.0.1:%d\"", broker_port(world.rig.broker));
    wait_route("TBW102", as_leader);
    ctx->role.kind = RLOG_FOLLOWER;
    broker_register_now(world.rig.broker); /* as id 1 */
    ctx->role = leads;
    broker_register_now(world.rig.broker); /* the answer to the first has not come */
    wait_route("TBW102", as_leader);
    ctx->role.kind = RLOG_FOLLOWER;
    broker_register_now(world.rig.broker);
    wait_route("TBW102", as_follower);
    ctx->role = leads;
    broker_register_now(world.rig.broker);
    wait_route("TBW102", as_leader);
}

static void a_name_server_that_starts_again_is_told_everything_within_a_second(void **state)
{
    uint64_t before;
    int port = world.port;

    (void)state;
    wait_route("TBW102", "127.0.0.1");
    close_namesrv();
    open_namesrv(port);
    before = uv_hrtime();
    wait_route("TBW102", "127.0.0.1");
    assert_true((uv_hrtime() - before) / 1000000 < 3000); /* 1 s, and room for a busy machine */
}

static void a_broker_that_stops_unregisters(void **state)
{
    char text[64];
    const char *overrides[] = {text, NULL};
    struct answer answer = {0};
    struct peer follower;

    (void)state;
    wait_route("TBW102", "127.0.0.1");
    /* Another member: while there is one, a leader whose connection only broke stays listed for seconds. */
    peer_dial_port(&world.rig, &follower, world.port, PROTO_JSON);
    assert_int_equal(
        peer_code(&follower, REQ_REGISTER_BROKER,
                  FIELDS({"brokerName", "golden-a"}, {"brokerAddr", "127.0.0.1:1"}, {"clusterName", "DefaultCluster"},
                         {"haServerAddr", "127.0.0.1:2"}, {"brokerId", "2"}, {"enableActingMaster", "false"}),
                  MQ_STR("")),
        RESP_SUCCESS);
    rig_stop(&world.rig);
    assert_int_equal(route("TBW102", &answer), RESP_SUCCESS);
    assert_non_null(strstr(answer_body(&answer), "\"2\":\"127.0.0.1:1\""));
    assert_null(strstr(answer_body(&answer), "\"0\":"));
    peer_hang_up(&follower);
    snprintf(text, sizeof(text), "namesrvAddr=127.0.0.1:%d", world.port);
    rig_start(&world.rig, overrides);
    wait_route("TBW102", "\"0\":");
    answer_free(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leader_registers_as_id_0_with_its_topics),
        cmocka_unit_test(a_new_topic_is_known_soon),
        cmocka_unit_test(who_hears_that_a_topic_was_changed_finds_its_route),
        cmocka_unit_test(a_silent_name_server_does_not_hold_an_answer_for_ever),
        cmocka_unit_test(a_role_that_changes_while_a_registration_is_under_way_is_told_too),
        cmocka_unit_test(a_name_server_that_starts_again_is_told_everything_within_a_second),
        cmocka_unit_test(a_broker_that_stops_unregisters),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
