#include "wire.h"

#include "remoting/protocol/body_register.h"

#include <stdlib.h>

#include <zlib.h>

static const char BODY_5X[] =
    "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":{\"dataVersion\":{\"counter\":1,\"stateVersion\":2,"
    "\"timestamp\":1700000000000},\"mappingDataVersion\":{\"counter\":0,\"stateVersion\":0,\"timestamp\":1},"
    "\"topicConfigTable\":{\"orders\":{\"attributes\":{},\"order\":false,\"perm\":6,\"readQueueNums\":8,"
    "\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"orders\",\"topicSysFlag\":0,\"writeQueueNums\":8}},"
    "\"topicQueueMappingDetailMap\":{},\"topicQueueMappingInfoMap\":{}}}";
static const char BODY_4X[] =
    "{\"filterServerList\":[\"a\"],\"topicConfigSerializeWrapper\":{\"topicConfigTable\":{\"orders\":{\"order\":"
    "false,"
    "\"perm\":6,\"readQueueNums\":8,\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"orders\",\"topicSysFlag\":0,"
    "\"writeQueueNums\":8}},\"dataVersion\":{\"counter\":1,\"timestamp\":1700000000000}}}";
static const char BODY_3X[] =
    "{\"dataVersion\":{\"counter\":1,\"timestamp\":1700000000000},\"topicConfigTable\":{\"orders\":{\"perm\":6,"
    "\"readQueueNums\":8,\"topicName\":\"orders\",\"writeQueueNums\":8}}}";

static void check_orders(const struct proto_register *reg, int64_t state_version)
{
    assert_int_equal(reg->table.version.counter, 1);
    assert_int_equal(reg->table.version.state_version, state_version);
    assert_int_equal(reg->table.version.timestamp_ms, 1700000000000);
    assert_int_equal(reg->table.topics.count, 1);
    wire_assert_str(reg->table.topics.items[0].name, "orders");
    assert_int_equal(reg->table.topics.items[0].read_queues, 8);
    assert_int_equal(reg->table.topics.items[0].write_queues, 8);
    assert_int_equal(reg->table.topics.items[0].perm, 6);
}

static void bodies_of_all_versions_decode(void **state)
{
    static const struct {
        const char *body;
        int64_t state_version;
    } cases[] = {{BODY_5X, 2}, {BODY_4X, 0}, {BODY_3X, 0}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *body = wire_exact(cases[i].body, strlen(cases[i].body));
        struct proto_register reg;

        assert_int_equal(proto_register_decode(body, strlen(cases[i].body), false, &reg), 0);
        check_orders(&reg, cases[i].state_version);
        proto_register_free(&reg);
        free(body);
    }
}

static void no_body_is_an_empty_table(void **state)
{
    struct proto_register reg;

    (void)state;
    assert_int_equal(proto_register_decode(NULL, 0, false, &reg), 0);
    assert_int_equal(reg.table.topics.count, 0);
    assert_int_equal(reg.table.version.counter, 0);
    proto_register_free(&reg);
    assert_int_equal(proto_register_decode(NULL, 0, true, &reg), 0);
    proto_register_free(&reg);
}

static void put_counted(struct mq_buf *buf, const char *text)
{
    assert_int_equal(mq_buf_put_be32(buf, (uint32_t)strlen(text)), 0);
    assert_int_equal(mq_buf_put_str(buf, mq_str_of(text)), 0);
}

static struct mq_buf deflated(const struct mq_buf *plain)
{
    struct mq_buf out = {0};
    uLongf n = compressBound(plain->len);

    assert_int_equal(mq_buf_reserve(&out, n), 0);
    assert_int_equal(compress(out.base, &n, plain->base, plain->len), Z_OK);
    out.len = n;
    return out;
}

static int decode_deflated(const struct mq_buf *plain, struct proto_register *reg)
{
    struct mq_buf body = deflated(plain);
    int rc = proto_register_decode((char *)body.base, body.len, true, reg);

    mq_buf_free(&body); /* the table points into what was inflated, not into the body */
    return rc;
}

static void the_deflated_form_decodes(void **state)
{
    struct mq_buf plain = {0};
    struct proto_register reg;

    (void)state;
    put_counted(&plain, "{\"counter\":1,\"stateVersion\":5,\"timestamp\":1700000000000}");
    assert_int_equal(mq_buf_put_be32(&plain, 3), 0);
    put_counted(&plain, "orders 8 4 6 SINGLE_TAG {\"a\":\"b\"}");
    put_counted(&plain, "old 1 1 7 MULTI_TAG");
    put_counted(&plain, "%RETRY%x -1 0 0 ");
    put_counted(&plain, "[]");
    assert_int_equal(mq_buf_put_be32(&plain, 0), 0);
    assert_int_equal(decode_deflated(&plain, &reg), 0);
    assert_int_equal(reg.table.version.state_version, 5);
    assert_int_equal(reg.table.topics.count, 3);
    wire_assert_str(reg.table.topics.items[0].name, "orders");
    assert_int_equal(reg.table.topics.items[0].read_queues, 8);
    assert_int_equal(reg.table.topics.items[0].write_queues, 4);
    assert_int_equal(reg.table.topics.items[0].perm, 6);
    assert_false(reg.table.topics.items[0].multi_tag);
    wire_assert_str(reg.table.topics.items[1].name, "old");
    assert_true(reg.table.topics.items[1].multi_tag);
    assert_int_equal(reg.table.topics.items[2].read_queues, -1);
    proto_register_free(&reg);
    mq_buf_free(&plain);
}

static void deflated_bodies_that_lie_are_refused(void **state)
{
    static const struct {
        const char *why;
        const char *version;
        uint32_t version_bytes, lines;
        const char *line;
    } cases[] = {
        {"version longer than the body", "{}", 100, 0, NULL},
        {"negative version length", "{}", UINT32_MAX, 0, NULL},
        {"version that is no JSON", "x!", 2, 0, NULL},
        {"four billion topics announced", "{}", 2, UINT32_MAX, NULL},
        {"topic without numbers", "{}", 2, 1, "orders"},
        {"topic with text for a number", "{}", 2, 1, "orders 8 x 6 SINGLE_TAG"},
        {"topic without name", "{}", 2, 1, " 8 8 6 SINGLE_TAG"},
        {"one topic less than announced", "{}", 2, 2, "orders 8 8 6 SINGLE_TAG"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf plain = {0};
        struct proto_register reg;

        print_message("%s\n", cases[i].why);
        assert_int_equal(mq_buf_put_be32(&plain, cases[i].version_bytes), 0);
        assert_int_equal(mq_buf_put_str(&plain, mq_str_of(cases[i].version)), 0);
        assert_int_equal(mq_buf_put_be32(&plain, cases[i].lines), 0);
        if (cases[i].line != NULL) {
            put_counted(&plain, cases[i].line);
        }
        assert_int_equal(decode_deflated(&plain, &reg), MQ_EBADMSG);
        proto_register_free(&reg);
        mq_buf_free(&plain);
    }
}

static void a_body_that_does_not_inflate_is_refused(void **state)
{
    char *body = wire_exact(BODY_5X, sizeof(BODY_5X) - 1);
    struct proto_register reg;

    (void)state;
    assert_int_equal(proto_register_decode(body, sizeof(BODY_5X) - 1, true, &reg), MQ_EBADMSG);
    proto_register_free(&reg);
    free(body);
}

static void a_body_that_inflates_beyond_the_limit_is_refused(void **state)
{
    struct mq_buf plain = {0};
    struct proto_register reg;

    (void)state;
    assert_int_equal(mq_buf_reserve(&plain, PROTO_REGISTER_INFLATED_MAX + 1), 0);
    memset(plain.base, 0, PROTO_REGISTER_INFLATED_MAX + 1);
    plain.len = PROTO_REGISTER_INFLATED_MAX + 1;
    assert_int_equal(decode_deflated(&plain, &reg), MQ_ETOOBIG);
    proto_register_free(&reg);
    mq_buf_free(&plain);
}

static void our_own_body_is_read_back(void **state)
{
    struct proto_topic_table table = {.version = {2, 1700000000000, 1}};
    struct proto_topic_config *topic = proto_topic_configs_add(&table.topics);
    struct mq_buf buf = {0};
    struct proto_register reg;

    (void)state;
    *topic = proto_topic_config_defaults();
    topic->name = MQ_STR("orders");
    topic->read_queues = topic->write_queues = 8;
    assert_int_equal(proto_register_encode(&buf, &table), 0);
    assert_int_equal(proto_register_decode((char *)buf.base, buf.len, false, &reg), 0);
    check_orders(&reg, 2);
    proto_register_free(&reg);
    proto_topic_table_free(&table);
    mq_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_of_all_versions_decode),
        cmocka_unit_test(no_body_is_an_empty_table),
        cmocka_unit_test(the_deflated_form_decodes),
        cmocka_unit_test(deflated_bodies_that_lie_are_refused),
        cmocka_unit_test(a_body_that_does_not_inflate_is_refused),
        cmocka_unit_test(a_body_that_inflates_beyond_the_limit_is_refused),
        cmocka_unit_test(our_own_body_is_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
