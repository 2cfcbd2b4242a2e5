#include "wire.h"

#include "remoting/protocol/body_route.h"

#include <stdlib.h>

/* A worked example that RocketMQ's own Java code decodes. */
static const char WORKED_ROUTE[] =
    "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"192.0.2.1:10911\",\"2\":\"192.0.2.2:10911\",\"3\":\"192.0.2.3:"
    "10911\"},"
    "\"brokerName\":\"broker-a\",\"cluster\":\"DefaultCluster\",\"enableActingMaster\":false}],\"filterServerTable\":"
    "{},"
    "\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":6,\"readQueueNums\":8,\"topicSysFlag\":0,"
    "\"writeQueueNums\":8}]}";

/* The members in another order than that of their ids. */
static void add_worked_broker(struct proto_brokers *brokers, struct mq_str name, struct mq_str cluster)
{
    struct proto_broker_data *broker = proto_brokers_add(brokers);

    assert_non_null(broker);
    broker->name = name;
    broker->cluster = cluster;
    assert_int_equal(proto_broker_add_addr(broker, 3, MQ_STR("192.0.2.3:10911")), 0);
    assert_int_equal(proto_broker_add_addr(broker, 0, MQ_STR("192.0.2.1:10911")), 0);
    assert_int_equal(proto_broker_add_addr(broker, 2, MQ_STR("192.0.2.2:10911")), 0);
}

static void the_worked_route_is_written_byte_for_byte(void **state)
{
    struct proto_route route = {0};
    struct proto_queue_data *queue = proto_queues_add(&route.queues);
    struct mq_buf buf = {0};

    (void)state;
    add_worked_broker(&route.brokers, MQ_STR("broker-a"), MQ_STR("DefaultCluster"));
    *queue = (struct proto_queue_data){MQ_STR("broker-a"), 8, 8, 6, 0};
    assert_int_equal(proto_route_encode(&buf, &route), 0);
    assert_int_equal(buf.len, 306);
    wire_assert_str(mq_buf_str(&buf), WORKED_ROUTE);
    mq_buf_free(&buf);
    proto_route_free(&route);
}

static void a_route_without_anything_has_all_tables(void **state)
{
    struct proto_route route = {0};
    struct mq_buf buf = {0};

    (void)state;
    assert_int_equal(proto_route_encode(&buf, &route), 0);
    wire_assert_str(mq_buf_str(&buf), "{\"brokerDatas\":[],\"filterServerTable\":{},\"queueDatas\":[]}");
    mq_buf_free(&buf);
}

static void optional_parts_of_a_route_are_written_when_there(void **state)
{
    struct proto_route route = {.order_conf = MQ_STR("broker-a:8")};
    struct proto_broker_data *broker = proto_brokers_add(&route.brokers);
    struct mq_buf buf = {0};

    (void)state;
    broker->name = MQ_STR("b");
    broker->cluster = MQ_STR("c");
    broker->zone = MQ_STR("z");
    broker->acting_master = true;
    assert_int_equal(proto_route_encode(&buf, &route), 0);
    wire_assert_str(mq_buf_str(&buf), "{\"brokerDatas\":[{\"brokerAddrs\":{},\"brokerName\":\"b\",\"cluster\":\"c\","
                                      "\"enableActingMaster\":true,\"zoneName\":\"z\"}],\"filterServerTable\":{},"
                                      "\"orderTopicConf\":\"broker-a:8\",\"queueDatas\":[]}");
    mq_buf_free(&buf);
    proto_route_free(&route);
}

static void routes_decode_in_every_dialect(void **state)
{
    static const char *const cases[] = {
        WORKED_ROUTE,
        "{\"brokerDatas\":[{\"brokerAddrs\":{0:\"192.0.2.1:10911\",2:\"192.0.2.2:10911\",3:\"192.0.2.3:10911\"},"
        "\"brokerName\":\"broker-a\",\"cluster\":\"DefaultCluster\",\"enableActingMaster\":false}],"
        "\"filterServerTable\":{},\"queueDatas\":[{\"brokerName\":\"broker-a\",\"perm\":6,\"readQueueNums\":8,"
        "\"topicSysFlag\":0,\"writeQueueNums\":8}]}",
        "{ \"queueDatas\" : [ {\"topicSynFlag\":0,\"writeQueueNums\":\"8\",\"readQueueNums\":8,\"perm\":6,"
        "\"brokerName\":\"broker-a\"} , null ],\"unknown\":{\"x\":[]},\"brokerDatas\":[{\"zoneName\":null,"
        "\"cluster\":\"DefaultCluster\",\"brokerAddrs\":{ 2 : \"192.0.2.2:10911\", \"0\":\"192.0.2.1:10911\","
        "3:\"192.0.2.3:10911\",9:null},\"brokerName\":\"broker-a\"}]}\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t n = strlen(cases[i]);
        char *json = wire_exact(cases[i], n);
        struct proto_route route;
        struct mq_buf buf = {0};

        print_message("%s\n", cases[i]);
        assert_int_equal(proto_route_decode(json, n, &route), 0);
        assert_int_equal(route.brokers.count, 1);
        assert_int_equal(route.brokers.items[0].addr_count, 3);
        wire_assert_str(proto_broker_addr_of(&route.brokers.items[0], 0), "192.0.2.1:10911");
        wire_assert_str(proto_broker_addr_of(&route.brokers.items[0], 2), "192.0.2.2:10911");
        wire_assert_str(proto_broker_addr_of(&route.brokers.items[0], 1), NULL);
        assert_int_equal(proto_route_encode(&buf, &route), 0);
        wire_assert_str(mq_buf_str(&buf), WORKED_ROUTE);
        mq_buf_free(&buf);
        proto_route_free(&route);
        free(json);
    }
}

static void the_old_spelling_of_the_sys_flag_is_read(void **state)
{
    static const char TEXT[] = "{\"queueDatas\":[{\"topicSynFlag\":1},{\"topicSysFlag\":2}]}";
    char *json = wire_exact(TEXT, sizeof(TEXT) - 1);
    struct proto_route route;

    (void)state;
    assert_int_equal(proto_route_decode(json, sizeof(TEXT) - 1, &route), 0);
    assert_int_equal(route.queues.items[0].topic_sys_flag, 1);
    assert_int_equal(route.queues.items[1].topic_sys_flag, 2);
    proto_route_free(&route);
    free(json);
}

static void missing_tables_are_empty_ones(void **state)
{
    static const char *const cases[] = {"{}", "{\"brokerDatas\":null,\"queueDatas\":null}",
                                        "{\"brokerDatas\":[{\"brokerAddrs\":null}]}", "null"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *json = wire_exact(cases[i], strlen(cases[i]));
        struct proto_route route;

        assert_int_equal(proto_route_decode(json, strlen(cases[i]), &route), 0);
        assert_int_equal(route.queues.count, 0);
        if (route.brokers.count != 0) {
            assert_int_equal(route.brokers.items[0].addr_count, 0);
            wire_assert_str(route.brokers.items[0].name, NULL);
        }
        proto_route_free(&route);
        free(json);
    }
}

static void what_is_no_route_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "[]",
        "{\"brokerDatas\":{}}",
        "{\"brokerDatas\":[7]}",
        "{\"brokerDatas\":[[]]}",
        "{\"brokerDatas\":[{\"brokerAddrs\":[]}]}",
        "{\"brokerDatas\":[{\"brokerAddrs\":{\"x\":\"192.0.2.1:10911\"}}]}",
        "{\"brokerDatas\":[{\"brokerAddrs\":{99999999999999999999:\"192.0.2.1:10911\"}}]}",
        "{\"queueDatas\":[{\"perm\":\"rw\"}]}",
        "{\"queueDatas\":[{\"perm\":6}",
        "{\"queueDatas\":[]}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *json = wire_exact(cases[i], strlen(cases[i]));
        struct proto_route route;

        print_message("%s\n", cases[i]);
        assert_int_equal(proto_route_decode(json, strlen(cases[i]), &route), MQ_EBADMSG);
        proto_route_free(&route);
        free(json);
    }
}

/* "{<head>" then @count times @item with its number, then @tail. */
static void repeated(struct mq_buf *json, const char *head, const char *item, int count, const char *tail)
{
    assert_int_equal(mq_buf_put_str(json, mq_str_of(head)), 0);
    for (int i = 0; i < count; i++) {
        assert_int_equal(mq_buf_put_str(json, i == 0 ? MQ_STR("") : MQ_STR(",")), 0);
        if (item[0] == ':') {
            assert_int_equal(mq_buf_put_i64_text(json, i), 0);
        }
        assert_int_equal(mq_buf_put_str(json, mq_str_of(item)), 0);
    }
    assert_int_equal(mq_buf_put_str(json, mq_str_of(tail)), 0);
}

static void routes_over_a_limit_are_refused(void **state)
{
    static const struct {
        const char *head, *item, *tail;
        int max;
    } cases[] = {
        {"{\"brokerDatas\":[", "{}", "]}", PROTO_ROUTE_BROKERS_MAX},
        {"{\"queueDatas\":[", "{}", "]}", PROTO_ROUTE_QUEUES_MAX},
        {"{\"brokerDatas\":[{\"brokerAddrs\":{", ":\"a:1\"", "}}]}", PROTO_BROKER_ADDRS_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (int over = 0; over < 2; over++) {
            struct mq_buf json = {0};
            struct proto_route route;

            repeated(&json, cases[i].head, cases[i].item, cases[i].max + over, cases[i].tail);
            assert_int_equal(proto_route_decode((char *)json.base, json.len, &route), over ? MQ_ETOOBIG : 0);
            proto_route_free(&route);
            mq_buf_free(&json);
        }
    }
}

static void the_cluster_table_groups_names_by_cluster(void **state)
{
    struct proto_brokers brokers = {0}, got;
    struct mq_buf buf = {0};

    (void)state;
    add_worked_broker(&brokers, MQ_STR("broker-a"), MQ_STR("C1"));
    brokers.items[0].addr_count = 1;
    add_worked_broker(&brokers, MQ_STR("broker-b"), MQ_STR("C2"));
    brokers.items[1].addr_count = 1;
    add_worked_broker(&brokers, MQ_STR("broker-c"), MQ_STR("C1"));
    brokers.items[2].addr_count = 1;
    assert_int_equal(proto_cluster_encode(&buf, &brokers), 0);
    wire_assert_str(
        mq_buf_str(&buf),
        "{\"brokerAddrTable\":{"
        "\"broker-a\":{\"brokerAddrs\":{\"3\":\"192.0.2.3:10911\"},\"brokerName\":\"broker-a\",\"cluster\":\"C1\","
        "\"enableActingMaster\":false},"
        "\"broker-b\":{\"brokerAddrs\":{\"3\":\"192.0.2.3:10911\"},\"brokerName\":\"broker-b\",\"cluster\":\"C2\","
        "\"enableActingMaster\":false},"
        "\"broker-c\":{\"brokerAddrs\":{\"3\":\"192.0.2.3:10911\"},\"brokerName\":\"broker-c\",\"cluster\":\"C1\","
        "\"enableActingMaster\":false}},"
        "\"clusterAddrTable\":{\"C1\":[\"broker-a\",\"broker-c\"],\"C2\":[\"broker-b\"]}}");
    assert_int_equal(proto_cluster_decode((char *)buf.base, buf.len, &got), 0);
    assert_int_equal(got.count, 3);
    wire_assert_str(got.items[2].name, "broker-c");
    wire_assert_str(got.items[2].cluster, "C1");
    wire_assert_str(proto_broker_addr_of(&got.items[2], 3), "192.0.2.3:10911");
    proto_brokers_free(&got);
    proto_brokers_free(&brokers);
    mq_buf_free(&buf);
}

static void a_broker_has_room_for_sixteen_members(void **state)
{
    struct proto_broker_data broker = {0};

    (void)state;
    for (int i = 0; i < PROTO_BROKER_ADDRS_MAX; i++) {
        assert_int_equal(proto_broker_add_addr(&broker, i, MQ_STR("a:1")), 0);
    }
    assert_int_equal(proto_broker_add_addr(&broker, 99, MQ_STR("a:1")), MQ_ETOOBIG);
    assert_int_equal(broker.addr_count, PROTO_BROKER_ADDRS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_route_is_written_byte_for_byte),
        cmocka_unit_test(a_route_without_anything_has_all_tables),
        cmocka_unit_test(optional_parts_of_a_route_are_written_when_there),
        cmocka_unit_test(routes_decode_in_every_dialect),
        cmocka_unit_test(the_old_spelling_of_the_sys_flag_is_read),
        cmocka_unit_test(missing_tables_are_empty_ones),
        cmocka_unit_test(what_is_no_route_is_refused),
        cmocka_unit_test(routes_over_a_limit_are_refused),
        cmocka_unit_test(the_cluster_table_groups_names_by_cluster),
        cmocka_unit_test(a_broker_has_room_for_sixteen_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
