/* The name server over a real socket: brokers and clients are net_clients in the same loop, and a channel that sends
 * what stock peers were recorded to send (tests/golden). */
#include "namesrv/include/namesrv/namesrv.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "remoting/net/client.h"
#include "remoting/protocol/body_register.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/frame.h"
#include "remoting/protocol/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define DEADLINE_MS 10000 /* for what takes milliseconds */
#define PEERS_MAX 4

/* One connection to the server, with its last answer. */
struct peer {
    struct net_client client;
    struct net_call call;
    struct net_channel *raw; /* instead of the client: for frames that are there already */
    bool connected, closed, gone, answered;
    int status, answers;
    int32_t code, opaque;
    enum proto_encoding encoding;
    char fields[512]; /* "key=value " of the answer */
    char remark[512];
    char body[8192];
};

struct world {
    struct net_loop loop;
    struct namesrv_config config;
    struct namesrv *server;
    bool server_gone;
    struct peer peers[PEERS_MAX];
};

static struct world world;

static void on_late(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("waited for %d ms", DEADLINE_MS);
}

/* Runs the loop until @flag, or fails after DEADLINE_MS. */
static void wait_for(const bool *flag)
{
    uv_timer_t late;

    uv_timer_init(&world.loop.uv, &late);
    uv_timer_start(&late, on_late, DEADLINE_MS, 0);
    while (!*flag) {
        uv_run(&world.loop.uv, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&late, NULL);
    uv_run(&world.loop.uv, UV_RUN_NOWAIT);
}

static void on_connected(struct net_client *client, int status)
{
    struct peer *peer = container_of(client, struct peer, client);

    assert_int_equal(status, 0);
    peer->connected = true;
}

static void on_closed(struct net_client *client, int reason)
{
    (void)reason;
    container_of(client, struct peer, client)->closed = true;
}

static const struct net_client_ops peer_ops = {.connected = on_connected, .closed = on_closed};

static struct peer *dial(int nth, enum proto_encoding encoding)
{
    struct peer *peer = &world.peers[nth];
    struct sockaddr_in addr;

    *peer = (struct peer){0};
    assert_int_equal(uv_ip4_addr("127.0.0.1", namesrv_port(world.server), &addr), 0);
    assert_int_equal(net_client_init(&peer->client, &world.loop, &peer_ops, NULL), 0);
    peer->client.encoding = encoding;
    assert_int_equal(net_client_connect(&peer->client, (struct sockaddr *)&addr), 0);
    wait_for(&peer->connected);
    return peer;
}

static void on_gone(struct net_client *client)
{
    container_of(client, struct peer, client)->gone = true;
}

static void hang_up(struct peer *peer)
{
    if (peer->raw != NULL) {
        net_channel_close(peer->raw, 0, true);
    } else {
        net_client_close(&peer->client, on_gone);
    }
    wait_for(&peer->gone);
}

static void keep_answer(struct peer *peer, const struct proto_command *answer)
{
    size_t n = 0;

    peer->code = answer->code;
    peer->opaque = answer->opaque;
    peer->encoding = answer->encoding;
    peer->fields[0] = '\0';
    for (uint32_t i = 0; i < answer->fields.count; i++) {
        n += (size_t)snprintf(peer->fields + n, sizeof(peer->fields) - n, MQ_STR_FMT "=" MQ_STR_FMT " ",
                              MQ_STR_ARG(answer->fields.list[i].key), MQ_STR_ARG(answer->fields.list[i].value));
    }
    snprintf(peer->remark, sizeof(peer->remark), MQ_STR_FMT, MQ_STR_ARG(answer->remark));
    assert_true(answer->body_bytes < sizeof(peer->body));
    if (answer->body_bytes != 0) {
        memcpy(peer->body, answer->body, answer->body_bytes);
    }
    peer->body[answer->body_bytes] = '\0';
}

static void on_answer(struct net_call *call, int status, struct proto_command *answer)
{
    struct peer *peer = container_of(call, struct peer, call);

    peer->answered = true;
    peer->status = status;
    if (status == 0) {
        keep_answer(peer, answer);
    }
}

/* Sends @code with fields "key=value key=value" and @body, and waits for the answer. Returns its code. */
static int ask_with(struct peer *peer, int code, const char *fields, struct mq_str body)
{
    struct proto_writer w;

    peer->answered = false;
    assert_int_equal(net_client_begin(&peer->client, &w, code, false), 0);
    while (*fields != '\0') {
        size_t whole = strcspn(fields, " ");
        size_t key = strcspn(fields, "=");

        proto_put_str(&w, (struct mq_str){fields, (uint32_t)key},
                      (struct mq_str){fields + key + 1, (uint32_t)(whole - key - 1)});
        fields += whole;
        fields += *fields == ' ';
    }
    assert_int_equal(net_client_call(&peer->client, &w, body.at, body.len, &peer->call, DEADLINE_MS, on_answer), 0);
    wait_for(&peer->answered);
    assert_int_equal(peer->status, 0);
    return peer->code;
}

static int ask(struct peer *peer, int code, const char *fields)
{
    return ask_with(peer, code, fields, (struct mq_str){0});
}

/* Registers a broker with one topic of @queues queues next to its own name's. */
static int announce(struct peer *peer, const char *broker, const char *addr, int id, int term, const char *topic,
                    int queues)
{
    struct proto_topic_table table = {.version = {term, 1700000000000, 1}};
    struct proto_topic_config *config;
    struct mq_buf body = {0};
    char fields[256];

    config = proto_topic_configs_add(&table.topics);
    *config = proto_topic_config_defaults();
    config->name = mq_str_of(broker);
    config = proto_topic_configs_add(&table.topics);
    *config = proto_topic_config_defaults();
    config->name = mq_str_of(topic);
    config->read_queues = config->write_queues = queues;
    assert_int_equal(proto_register_encode(&body, &table), 0);
    proto_topic_configs_free(&table.topics);
    snprintf(fields, sizeof(fields),
             "brokerName=%s brokerAddr=%s clusterName=C haServerAddr=ha:1 brokerId=%d enableActingMaster=false",
             broker, addr, id);
    assert_int_equal(ask_with(peer, REQ_REGISTER_BROKER, fields, mq_buf_str(&body)), RESP_SUCCESS);
    mq_buf_free(&body);
    return peer->code;
}

static int open_world_with(int64_t broker_timeout_ms)
{
    struct mq_buf problem = {0};
    int rc;

    world = (struct world){0};
    rc = net_loop_init(&world.loop);
    if (rc == 0) {
        rc = namesrv_config_init(&world.config);
    }
    if (rc == 0) {
        world.config.listen_port = 0;
        world.config.scan_ms = 10;
        world.config.broker_timeout_ms = broker_timeout_ms;
        mq_free(world.config.bind_address);
        world.config.bind_address = mq_strdup("127.0.0.1");
        rc = namesrv_open(&world.loop, &world.config, &world.server, &problem);
    }
    mq_buf_free(&problem);
    return rc;
}

static int open_world(void **state)
{
    (void)state;
    return open_world_with(120000);
}

static int open_impatient_world(void **state)
{
    (void)state;
    return open_world_with(50);
}

static void on_server_gone(void *data)
{
    *(bool *)data = true;
}

static int close_world(void **state)
{
    (void)state;
    for (int i = 0; i < PEERS_MAX; i++) {
        if (world.peers[i].connected && !world.peers[i].gone) {
            hang_up(&world.peers[i]);
        }
    }
    namesrv_close(world.server, on_server_gone, &world.server_gone);
    wait_for(&world.server_gone);
    net_loop_fini(&world.loop);
    namesrv_config_fini(&world.config);
    return 0;
}

static void a_route_is_read_in_both_encodings_and_byte_for_byte(void **state)
{
    static const char want[] =
        "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"10.0.0.1:10911\",\"2\":\"10.0.0.2:10911\"},"
        "\"brokerName\":\"broker-a\",\"cluster\":\"C\",\"enableActingMaster\":false}],\"filterServerTable\":{},"
        "\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":6,\"readQueueNums\":8,\"topicSysFlag\":0,"
        "\"writeQueueNums\":8}]}";

    (void)state;
    for (enum proto_encoding encoding = PROTO_JSON; encoding <= PROTO_BINARY; encoding++) {
        struct peer *broker = dial(0, encoding);
        struct peer *client = dial(1, encoding);

        assert_int_equal(ask(client, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_TOPIC_NOT_EXIST);
        assert_string_equal(client->body, "");
        assert_non_null(strstr(client->remark, "orders"));
        announce(broker, "broker-a", "10.0.0.1:10911", 0, 1, "orders", 8);
        announce(broker, "broker-a", "10.0.0.2:10911", 2, 1, "orders", 8);
        assert_non_null(strstr(broker->fields, "masterAddr=10.0.0.1:10911 "));
        assert_non_null(strstr(broker->fields, "haServerAddr=ha:1 "));
        assert_int_equal(ask(client, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_SUCCESS);
        assert_string_equal(client->body, want);
        hang_up(broker);
        hang_up(client);
    }
}

static void two_broker_groups_share_a_topic(void **state)
{
    struct peer *a = dial(0, PROTO_JSON), *b = dial(1, PROTO_JSON), *client = dial(2, PROTO_JSON);

    (void)state;
    announce(a, "broker-a", "10.0.0.1:10911", 0, 1, "orders", 8);
    announce(b, "broker-b", "10.0.1.1:10911", 0, 1, "orders", 4);
    assert_int_equal(ask(client, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_SUCCESS);
    assert_non_null(strstr(client->body, "{\"0\":\"10.0.0.1:10911\"}"));
    assert_non_null(strstr(client->body, "{\"0\":\"10.0.1.1:10911\"}"));
    assert_non_null(strstr(client->body, "\"brokerName\":\"broker-a\",\"perm\":6,\"readQueueNums\":8"));
    assert_non_null(strstr(client->body, "\"brokerName\":\"broker-b\",\"perm\":6,\"readQueueNums\":4"));

    assert_int_equal(ask(client, REQ_GET_BROKER_CLUSTER_INFO, ""), RESP_SUCCESS);
    assert_non_null(strstr(client->body, "\"clusterAddrTable\":{\"C\":[\"broker-a\",\"broker-b\"]}"));
    assert_int_equal(ask(client, REQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, ""), RESP_SUCCESS);
    assert_string_equal(client->body, "{\"topicList\":[\"broker-a\",\"orders\",\"broker-b\"]}");
    assert_int_equal(ask(client, REQ_GET_TOPICS_BY_CLUSTER, "cluster=nobody"), RESP_SUCCESS);
    assert_string_equal(client->body, "{\"topicList\":[]}");
    assert_int_equal(ask(client, REQ_GET_SYSTEM_TOPIC_LIST_FROM_NS, ""), RESP_SUCCESS);
    assert_string_equal(client->body,
                        "{\"brokerAddr\":\"10.0.0.1:10911\",\"topicList\":[\"C\",\"broker-a\",\"broker-b\"]}");
    assert_int_equal(ask(client, REQ_GET_BROKER_MEMBER_GROUP, "clusterName=C brokerName=broker-b"), RESP_SUCCESS);
    assert_string_equal(client->body, "{\"brokerMemberGroup\":{\"brokerAddrs\":{\"0\":\"10.0.1.1:10911\"},"
                                      "\"brokerName\":\"broker-b\",\"cluster\":\"C\"}}");

    assert_int_equal(ask(client, REQ_DELETE_TOPIC_IN_NAMESRV, "topic=orders clusterName=other"), RESP_SUCCESS);
    assert_int_equal(ask(client, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_SUCCESS);
    assert_int_equal(ask(client, REQ_DELETE_TOPIC_IN_NAMESRV, "topic=orders"), RESP_SUCCESS);
    assert_int_equal(ask(client, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_TOPIC_NOT_EXIST);
}

static void a_closed_connection_takes_the_broker_away(void **state)
{
    struct peer *broker = dial(0, PROTO_JSON), *client = dial(1, PROTO_JSON);
    uint64_t end_ms = mq_clock_mono_ms() + DEADLINE_MS;

    (void)state;
    announce(broker, "broker-a", "10.0.0.1:10911", 0, 1, "orders", 8);
    assert_int_equal(ask(client, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_SUCCESS);
    hang_up(broker);
    while (ask(client, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders") == RESP_SUCCESS) {
        assert_true(mq_clock_mono_ms() < end_ms);
    }
    assert_int_equal(client->code, RESP_TOPIC_NOT_EXIST);
}

static void a_dead_leader_stays_in_the_route_until_the_next_one_comes(void **state)
{
    struct peer *leader = dial(0, PROTO_JSON), *follower = dial(1, PROTO_JSON), *client = dial(2, PROTO_JSON);

    (void)state;
    announce(leader, "broker-a", "10.0.0.1:10911", 0, 5, "orders", 8);
    announce(follower, "broker-a", "10.0.0.2:10911", 2, 5, "orders", 8);
    hang_up(leader);
    assert_int_equal(ask(client, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_SUCCESS);
    assert_non_null(strstr(client->body, "{\"0\":\"10.0.0.1:10911\",\"2\":\"10.0.0.2:10911\"}"));
    announce(follower, "broker-a", "10.0.0.2:10911", 0, 6, "orders", 8);
    assert_int_equal(ask(client, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_SUCCESS);
    assert_non_null(strstr(client->body, "{\"0\":\"10.0.0.2:10911\"}"));

    leader = dial(0, PROTO_JSON);
    announce(leader, "broker-a", "10.0.0.1:10911", 0, 5, "orders", 8); /* answered with 0, and ignored */
    assert_string_equal(leader->fields, "");
    assert_int_equal(ask(client, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_SUCCESS);
    assert_non_null(strstr(client->body, "{\"0\":\"10.0.0.2:10911\"}"));
}

static void a_broker_asks_whether_it_must_register(void **state)
{
    static const char who[] = "brokerName=broker-a brokerAddr=10.0.0.1:10911 clusterName=C brokerId=0";
    const struct mq_str same = MQ_STR("{\"counter\":1,\"stateVersion\":3,\"timestamp\":1700000000000}");
    struct peer *broker = dial(0, PROTO_BINARY);

    (void)state;
    assert_int_equal(ask_with(broker, REQ_QUERY_DATA_VERSION, who, same), RESP_SUCCESS);
    assert_string_equal(broker->fields, "changed=true ");
    assert_string_equal(broker->body, "");
    announce(broker, "broker-a", "10.0.0.1:10911", 0, 3, "orders", 8);
    assert_int_equal(ask_with(broker, REQ_QUERY_DATA_VERSION, who, same), RESP_SUCCESS);
    assert_string_equal(broker->fields, "changed=false ");
    assert_true(mq_str_eq(mq_str_of(broker->body), same));
    assert_int_equal(ask(broker, REQ_BROKER_HEARTBEAT, who), RESP_SUCCESS);
    assert_int_equal(ask(broker, REQ_UNREGISTER_BROKER, who), RESP_SUCCESS);
    assert_int_equal(ask(broker, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_TOPIC_NOT_EXIST);
    assert_int_equal(ask(broker, REQ_BROKER_HEARTBEAT, who), RESP_SUCCESS);
}

static void on_raw_connected(struct net_channel *ch, int status)
{
    struct peer *peer = ch->data;

    assert_int_equal(status, 0);
    assert_int_equal(net_conn_start(&ch->conn), 0);
    peer->connected = true;
}

static void on_raw_answer(struct net_channel *ch, struct proto_command *answer)
{
    struct peer *peer = ch->data;

    peer->answered = true;
    peer->answers++;
    keep_answer(peer, answer);
}

static void on_raw_closed(struct net_channel *ch, int reason)
{
    struct peer *peer = ch->data;

    (void)reason;
    peer->gone = true;
    net_channel_release(ch);
}

static struct peer *dial_raw(int nth)
{
    static const struct net_conn_limits limits = {.pause_bytes = 1 << 20, .resume_bytes = 1, .close_bytes = 1 << 22};
    static const struct net_channel_ops ops = {on_raw_answer, on_raw_connected, on_raw_closed};
    struct peer *peer = &world.peers[nth];
    struct sockaddr_in addr;

    *peer = (struct peer){0};
    assert_int_equal(uv_ip4_addr("127.0.0.1", namesrv_port(world.server), &addr), 0);
    assert_int_equal(net_channel_new(&world.loop, &ops, &limits, &peer->raw), 0);
    peer->raw->data = peer;
    assert_int_equal(net_conn_connect(&peer->raw->conn, (struct sockaddr *)&addr, false), 0);
    wait_for(&peer->connected);
    return peer;
}

/* A recorded frame: its bytes as they are, and decoded from a copy, since decoding changes what it reads. */
struct golden {
    struct mq_buf bytes, copy;
    struct proto_command command;
};

static void golden_read(struct golden *g, const char *folder, const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "tests/golden/%s/%s.bin", folder, name);
    assert_int_equal(mq_file_read(path, PROTO_FRAME_MAX, &g->bytes), 0);
    assert_int_equal(mq_buf_put(&g->copy, g->bytes.base, g->bytes.len), 0);
    assert_int_equal(proto_command_decode(g->copy.base, g->copy.len, &g->command), 0);
}

static void golden_free(struct golden *g)
{
    mq_buf_free(&g->copy);
    mq_buf_free(&g->bytes);
}

/* Sends a recorded request; with @answer, waits for the server's, which must have the code and the fields of the
 * recorded one. Remarks are words of our own, and the opaque number is the request's: the recorded answer may be
 * another one's. */
static void play(struct peer *peer, const char *folder, const char *request, const char *answer)
{
    struct golden asked = {0}, stock = {0};

    print_message("  %s %s -> %s\n", folder, request, answer != NULL ? answer : "nothing");
    golden_read(&asked, folder, request);
    peer->answered = false;
    peer->answers = 0;
    assert_int_equal(mq_buf_put(net_channel_out(peer->raw), asked.bytes.base, asked.bytes.len), 0);
    net_channel_out_done(peer->raw);
    assert_int_equal((asked.command.flag & PROTO_FLAG_ONEWAY) != 0, answer == NULL);
    if (answer != NULL) {
        golden_read(&stock, folder, answer);
        wait_for(&peer->answered);
        assert_int_equal(peer->answers, 1);
        assert_int_equal(peer->opaque, asked.command.opaque);
        assert_int_equal(peer->encoding, stock.command.encoding);
        assert_int_equal(peer->code, stock.command.code);
        for (uint32_t i = 0; i < stock.command.fields.count; i++) {
            const struct proto_field *field = &stock.command.fields.list[i];
            char want[128];

            snprintf(want, sizeof(want), MQ_STR_FMT "=" MQ_STR_FMT " ", MQ_STR_ARG(field->key),
                     MQ_STR_ARG(field->value));
            assert_non_null(strstr(peer->fields, want));
        }
    }
    golden_free(&stock);
    golden_free(&asked);
}

/* The recorded broker is told to register only when its topics changed, which it asks first. */
static void recorded_requests_get_the_recorded_codes(void **state)
{
    static const char order[] = "namespace=ORDER_TOPIC_CONFIG key=OrderTopic value=golden-a:2";
    static const char *const folders[] = {"stock-5.4.0", "stock-5.4.0-binary"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        struct peer *stock = dial_raw(0), *tool = dial(1, PROTO_JSON);
        const char *folder = folders[i];

        play(stock, folder, "101-request", "101-response");
        assert_int_equal(ask(tool, REQ_PUT_KV_CONFIG, order), RESP_SUCCESS);
        play(stock, folder, "101-request", "101-response-2");
        assert_int_equal(ask(tool, REQ_DELETE_KV_CONFIG, order), RESP_SUCCESS);

        play(stock, folder, "904-request", NULL);
        play(stock, folder, "901-request", "901-response");
        play(stock, folder, "322-request", "322-response");
        assert_string_equal(stock->body, "");
        play(stock, folder, "103-request-2", "103-response-2");
        play(stock, folder, "322-request", "322-response-2");
        assert_non_null(strstr(stock->body, "\"timestamp\":"));
        play(stock, folder, "904-request", NULL);
        play(stock, folder, "322-request", "322-response-2"); /* and no answer to the heartbeat before */
        play(stock, folder, "104-request", "104-response");
        play(stock, folder, "322-request", "322-response");
        hang_up(stock);
        hang_up(tool);
    }
}

static void write_permission_comes_back_as_it_was(void **state)
{
    const struct mq_str read_only = MQ_STR("{\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":4,"
                                           "\"readQueueNums\":1,\"writeQueueNums\":1,\"topicSysFlag\":0}]}");
    struct peer *broker = dial(0, PROTO_JSON), *tool = dial(1, PROTO_JSON);

    (void)state;
    announce(broker, "broker-a", "10.0.0.1:10911", 0, 1, "orders", 8);
    assert_int_equal(ask_with(tool, REQ_REGISTER_TOPIC_IN_NAMESRV, "topic=archive", read_only), RESP_SUCCESS);
    assert_int_equal(ask(tool, REQ_WIPE_WRITE_PERM_OF_BROKER, "brokerName=broker-a"), RESP_SUCCESS);
    assert_string_equal(tool->fields, "wipeTopicCount=3 ");
    assert_int_equal(ask(tool, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_SUCCESS);
    assert_non_null(strstr(tool->body, "\"perm\":4"));
    assert_int_equal(ask(tool, REQ_ADD_WRITE_PERM_OF_BROKER, "brokerName=broker-a"), RESP_SUCCESS);
    assert_string_equal(tool->fields, "addTopicCount=3 ");
    assert_int_equal(ask(tool, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_SUCCESS);
    assert_non_null(strstr(tool->body, "\"perm\":6"));
    assert_int_equal(ask(tool, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=archive"), RESP_SUCCESS);
    assert_non_null(strstr(tool->body, "\"perm\":4"));
    assert_int_equal(ask(tool, REQ_WIPE_WRITE_PERM_OF_BROKER, "brokerName=nobody"), RESP_SUCCESS);
    assert_string_equal(tool->fields, "wipeTopicCount=0 ");
}

static void configuration_is_put_read_and_deleted(void **state)
{
    struct peer *broker = dial(0, PROTO_JSON), *tool = dial(1, PROTO_BINARY);

    (void)state;
    assert_int_equal(ask(tool, REQ_GET_KV_CONFIG, "namespace=N key=k"), RESP_QUERY_NOT_FOUND);
    assert_int_equal(ask(tool, REQ_GET_KVLIST_BY_NAMESPACE, "namespace=N"), RESP_QUERY_NOT_FOUND);
    assert_int_equal(ask(tool, REQ_PUT_KV_CONFIG, "namespace=N key=k value=v"), RESP_SUCCESS);
    assert_int_equal(ask(tool, REQ_GET_KV_CONFIG, "namespace=N key=k"), RESP_SUCCESS);
    assert_string_equal(tool->fields, "value=v ");
    assert_int_equal(ask(tool, REQ_GET_KVLIST_BY_NAMESPACE, "namespace=N"), RESP_SUCCESS);
    assert_string_equal(tool->body, "{\"table\":{\"k\":\"v\"}}");
    assert_int_equal(ask(tool, REQ_DELETE_KV_CONFIG, "namespace=N key=k"), RESP_SUCCESS);
    assert_int_equal(ask(tool, REQ_DELETE_KV_CONFIG, "namespace=N key=k"), RESP_SUCCESS);
    assert_int_equal(ask(tool, REQ_GET_KV_CONFIG, "namespace=N key=k"), RESP_QUERY_NOT_FOUND);

    assert_int_equal(ask(tool, REQ_PUT_KV_CONFIG, "namespace=ORDER_TOPIC_CONFIG key=orders value=broker-a:8"), 0);
    announce(broker, "broker-a", "10.0.0.1:10911", 0, 1, "orders", 8);
    assert_string_equal(broker->body, "{\"table\":{\"orders\":\"broker-a:8\"}}");
    assert_int_equal(ask(tool, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_SUCCESS);
    assert_null(strstr(tool->body, "orderTopicConf"));
    world.config.order_message = true;
    assert_int_equal(ask(tool, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_SUCCESS);
    assert_non_null(strstr(tool->body, "\"orderTopicConf\":\"broker-a:8\""));
    assert_int_equal(ask(tool, REQ_GET_NAMESRV_CONFIG, ""), RESP_SUCCESS);
    assert_non_null(strstr(tool->body, "orderMessageEnable=true\n"));
}

static void bad_requests_are_answered_and_change_nothing(void **state)
{
    static const char reg[] = "brokerName=b brokerAddr=n1:1 clusterName=C haServerAddr=h brokerId=0";
    static const struct {
        const char *why;
        int code;
        const char *fields;
        struct mq_str body;
        int want;
        const char *remark;
    } cases[] = {
        {"a code of brokers", REQ_GET_BROKER_CONFIG, "", {0}, RESP_REQUEST_CODE_NOT_SUPPORTED, "26"},
        {"a code nobody knows", 7777, "", {0}, RESP_REQUEST_CODE_NOT_SUPPORTED, "7777"},
        {"no topic", REQ_GET_ROUTEINFO_BY_TOPIC, "", {0}, RESP_SYSTEM_ERROR, "topic"},
        {"no broker name", REQ_REGISTER_BROKER, "brokerAddr=n1:1", {0}, RESP_SYSTEM_ERROR, "brokerName"},
        {"an id that is no number",
         REQ_REGISTER_BROKER,
         "brokerName=b brokerAddr=n1:1 clusterName=C haServerAddr=h brokerId=x",
         {0},
         RESP_SYSTEM_ERROR,
         "brokerId"},
        {"an id below zero",
         REQ_REGISTER_BROKER,
         "brokerName=b brokerAddr=n1:1 clusterName=C haServerAddr=h brokerId=-1",
         {0},
         RESP_SYSTEM_ERROR,
         "brokerId -1"},
        {"an empty address",
         REQ_REGISTER_BROKER,
         "brokerName=b brokerAddr= clusterName=C haServerAddr=h brokerId=0",
         {0},
         RESP_SYSTEM_ERROR,
         "brokerAddr"},
        {"a wrong checksum", REQ_REGISTER_BROKER,
         "brokerName=b brokerAddr=n1:1 clusterName=C haServerAddr=h brokerId=0 bodyCrc32=7", MQ_STR("{}"),
         RESP_SYSTEM_ERROR, "crc32"},
        {"a body that is cut", REQ_REGISTER_BROKER, reg, MQ_STR("{\"topicConfigSerializeWrapper\":{"),
         RESP_SYSTEM_ERROR, "parse"},
        {"a body that is no object", REQ_REGISTER_BROKER, reg, MQ_STR("[]"), RESP_SYSTEM_ERROR, "parse"},
        {"a deflated body that is not", REQ_REGISTER_BROKER,
         "brokerName=b brokerAddr=n1:1 clusterName=C haServerAddr=h brokerId=0 compressed=true", MQ_STR("xxxx"),
         RESP_SYSTEM_ERROR, ""},
        {"a version that is none", REQ_QUERY_DATA_VERSION, "brokerName=b brokerAddr=n1:1 clusterName=C brokerId=0",
         MQ_STR("nonsense"), RESP_SYSTEM_ERROR, "version"},
        {"a value is missing", REQ_PUT_KV_CONFIG, "namespace=N key=k", {0}, RESP_SYSTEM_ERROR, "value"},
        {"a namespace is empty", REQ_PUT_KV_CONFIG, "namespace= key=k value=v", {0}, RESP_SYSTEM_ERROR, "empty"},
        {"a topic of an unknown broker", REQ_REGISTER_TOPIC_IN_NAMESRV, "topic=t",
         MQ_STR("{\"queueDatas\":[{\"brokerName\":\"nobody\",\"perm\":6}]}"), RESP_SUCCESS, ""},
    };
    struct peer *peer = dial(0, PROTO_JSON);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("  %s\n", cases[i].why);
        assert_int_equal(ask_with(peer, cases[i].code, cases[i].fields, cases[i].body), cases[i].want);
        assert_non_null(strstr(peer->remark, cases[i].remark));
    }
    assert_int_equal(ask(peer, REQ_GET_BROKER_CLUSTER_INFO, ""), RESP_SUCCESS);
    assert_string_equal(peer->body, "{\"brokerAddrTable\":{},\"clusterAddrTable\":{}}");
}

static void a_oneway_registration_is_taken_and_not_answered(void **state)
{
    struct peer *broker = dial(0, PROTO_JSON);
    struct proto_register_broker_header h = proto_register_broker_header_defaults();
    struct proto_writer w;

    (void)state;
    h.broker_name = MQ_STR("broker-a");
    h.broker_addr = MQ_STR("10.0.0.1:10911");
    h.cluster_name = MQ_STR("C");
    h.ha_addr = MQ_STR("");
    assert_int_equal(net_client_begin(&broker->client, &w, REQ_REGISTER_BROKER, true), 0);
    proto_register_broker_header_encode(&w, &h);
    assert_int_equal(net_client_oneway(&broker->client, &w, NULL, 0), 0);
    assert_int_equal(ask(broker, REQ_GET_BROKER_CLUSTER_INFO, ""), RESP_SUCCESS);
    assert_non_null(strstr(broker->body, "{\"0\":\"10.0.0.1:10911\"}"));
}

static void a_silent_broker_is_dropped_with_its_connection(void **state)
{
    struct peer *broker = dial(0, PROTO_JSON), *client = dial(1, PROTO_JSON);

    (void)state;
    announce(broker, "broker-a", "10.0.0.1:10911", 0, 1, "orders", 8);
    wait_for(&broker->closed);
    assert_int_equal(ask(client, REQ_GET_ROUTEINFO_BY_TOPIC, "topic=orders"), RESP_TOPIC_NOT_EXIST);
}

static void a_port_in_use_is_named(void **state)
{
    struct namesrv_config config = world.config;
    struct mq_buf problem = {0};
    struct namesrv *second;
    char port[16];

    (void)state;
    config.listen_port = namesrv_port(world.server);
    assert_true(namesrv_open(&world.loop, &config, &second, &problem) < 0);
    assert_int_equal(mq_buf_put_u8(&problem, 0), 0);
    snprintf(port, sizeof(port), ":%d:", namesrv_port(world.server));
    assert_non_null(strstr((char *)problem.base, port));
    mq_buf_free(&problem);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_route_is_read_in_both_encodings_and_byte_for_byte),
        IN_WORLD(two_broker_groups_share_a_topic),
        IN_WORLD(a_closed_connection_takes_the_broker_away),
        IN_WORLD(a_dead_leader_stays_in_the_route_until_the_next_one_comes),
        IN_WORLD(a_broker_asks_whether_it_must_register),
        IN_WORLD(recorded_requests_get_the_recorded_codes),
        IN_WORLD(write_permission_comes_back_as_it_was),
        IN_WORLD(configuration_is_put_read_and_deleted),
        IN_WORLD(bad_requests_are_answered_and_change_nothing),
        IN_WORLD(a_oneway_registration_is_taken_and_not_answered),
        IN_WORLD(a_port_in_use_is_named),
        cmocka_unit_test_setup_teardown(a_silent_broker_is_dropped_with_its_connection, open_impatient_world,
                                        close_world),
    };

    mq_log_set_level(MQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
