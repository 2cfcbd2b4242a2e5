#include "wire.h"

#include "remoting/base/heap.h"
#include "remoting/protocol/body_assignment.h"

#include <stdlib.h>

static void a_query_is_read_as_clients_write_it(void **state)
{
    static const char body[] = "{\"clientId\":\"c@1\",\"consumerGroup\":\"CG\",\"messageModel\":\"CLUSTERING\","
                               "\"strategyName\":\"AVG\",\"topic\":\"Orders\",\"later\":{\"a\":[1]}}";
    char *json = wire_exact(body, strlen(body));
    struct proto_assignment_query query;

    (void)state;
    assert_int_equal(proto_assignment_query_decode(json, strlen(body), &query), 0);
    wire_assert_str(query.client_id, "c@1");
    wire_assert_str(query.group, "CG");
    wire_assert_str(query.topic, "Orders");
    wire_assert_str(query.strategy, "AVG");
    wire_assert_str(query.model, "CLUSTERING");
    free(json);
}

static void queries_that_are_no_object_are_refused(void **state)
{
    static const char *const bodies[] = {"",   "[]", "{", "{\"topic\":", "{\"topic\":\"t\"", "{\"topic\" \"t\"}",
                                         "{}x"};

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        char *json = wire_exact(bodies[i], strlen(bodies[i]));
        struct proto_assignment_query query;

        print_message("%s\n", bodies[i]);
        assert_true(proto_assignment_query_decode(json, strlen(bodies[i]), &query) < 0);
        free(json);
    }
}

static void an_answer_is_written_as_fastjson_writes_it(void **state)
{
    struct proto_queue_ref items[] = {{MQ_STR("t"), MQ_STR("b"), 0}, {MQ_STR("t"), MQ_STR("b"), -1}};
    struct proto_queue_refs queues = {items, 2, 2}, none = {0};
    struct mq_buf buf = {0};

    (void)state;
    assert_int_equal(proto_assignments_encode(&buf, &queues, true), 0);
    wire_assert_str(mq_buf_str(&buf),
                    "{\"messageQueueAssignments\":["
                    "{\"messageQueue\":{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"t\"},\"mode\":\"POP\"},"
                    "{\"messageQueue\":{\"brokerName\":\"b\",\"queueId\":-1,\"topic\":\"t\"},\"mode\":\"POP\"}]}");
    buf.len = 0;
    assert_int_equal(proto_assignments_encode(&buf, &none, false), 0);
    wire_assert_str(mq_buf_str(&buf), "{\"messageQueueAssignments\":[]}");
    buf.len = 0;
    assert_int_equal(proto_assignments_encode(&buf, NULL, false), 0);
    wire_assert_str(mq_buf_str(&buf), "{}");
    mq_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_is_read_as_clients_write_it),
        cmocka_unit_test(queries_that_are_no_object_are_refused),
        cmocka_unit_test(an_answer_is_written_as_fastjson_writes_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
