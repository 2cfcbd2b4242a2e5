#include "tests/unit/client/fake_cluster.h"

#include "remoting/base/err.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/headers.h"

struct pulled {
    struct rmq_pull pull;
    struct rmq_pull_result result;
    uint32_t calls;
    char records[16];
};

static void on_pulled(struct rmq_pull *pull, const struct rmq_pull_result *result)
{
    struct pulled *p = pull->data;

    p->calls++;
    p->result = *result;
    if (result->records_bytes != 0 && result->records_bytes < sizeof(p->records)) {
        memcpy(p->records, result->records, result->records_bytes);
    }
}

static void start(struct rmq_client *client, struct pulled *p, uint32_t suspend_ms)
{
    *p = (struct pulled){.pull = {.data = p,
                                  .topic = MQ_STR("T"),
                                  .group = MQ_STR("G"),
                                  .broker_name = "fake",
                                  .queue_id = 1,
                                  .qoff = 7,
                                  .count_max = 32,
                                  .suspend_ms = suspend_ms}};
    assert_int_equal(rmq_pull_async(client, &p->pull, on_pulled), 0);
    assert_int_equal(p->calls, 0);
}

static void a_pull_asks_the_leader_and_hands_the_records_on(void **state)
{
    struct fake_cluster cluster;
    struct rmq_client *client;
    struct pulled p;
    struct fixture f;

    (void)state;
    fixture_init(&f);
    fake_open(&cluster, &f);
    client = fake_client(&cluster, (struct rmq_options){0});
    start(client, &p, 1000); /* nothing is known of the group yet */
    RUN_UNTIL(&f, p.calls == 1);
    assert_int_equal(p.result.status, 0);
    assert_int_equal(p.result.code, RESP_SUCCESS);
    assert_int_equal(p.result.next_offset, 8);
    assert_int_equal(p.result.max_offset, 9);
    assert_memory_equal(p.records, "records", 7);
    assert_int_equal(cluster.members[0].sys_flag, PROTO_PULL_SUBSCRIPTION | PROTO_PULL_SUSPEND);
    assert_int_equal(cluster.members[0].queue_id, 1);
    start(client, &p, 0);
    RUN_UNTIL(&f, p.calls == 1);
    assert_int_equal(cluster.members[0].sys_flag, PROTO_PULL_SUBSCRIPTION);
    assert_int_equal(cluster.members[0].pulls, 2);
    fake_client_close(&cluster, client);
    fake_close(&cluster);
    fixture_fini(&f);
}

static void without_a_leader_another_member_is_read(void **state)
{
    struct fake_cluster cluster;
    struct rmq_client *client;
    struct pulled p;
    struct fixture f;

    (void)state;
    fixture_init(&f);
    fake_open(&cluster, &f);
    cluster.leader = -1;
    client = fake_client(&cluster, (struct rmq_options){0});
    start(client, &p, 0);
    RUN_UNTIL(&f, p.calls == 1);
    assert_int_equal(p.result.status, 0);
    assert_int_equal(cluster.members[0].pulls + cluster.members[1].pulls + cluster.members[2].pulls, 1);
    fake_client_close(&cluster, client);
    fake_close(&cluster);
    fixture_fini(&f);
}

static void a_pull_that_finds_nobody_ends_with_its_time(void **state)
{
    struct fake_cluster cluster;
    struct rmq_client *client;
    struct pulled p;
    struct fixture f;

    (void)state;
    fixture_init(&f);
    fake_open(&cluster, &f);
    for (int i = 0; i < FAKE_MEMBERS; i++) {
        fake_kill(&cluster.members[i]);
    }
    client = fake_client(&cluster, (struct rmq_options){.send_timeout_ms = 100});
    start(client, &p, 50);
    RUN_UNTIL(&f, p.calls == 1);
    assert_int_equal(p.result.status, MQ_ETIMEDOUT);
    assert_int_equal(p.result.next_offset, 7);
    start(client, &p, 50);
    fake_client_close(&cluster, client);
    assert_int_equal(p.calls, 1);
    assert_int_equal(p.result.status, MQ_ECLOSED);
    fake_close(&cluster);
    fixture_fini(&f);
}

struct told {
    uint32_t calls, n, leaders;
    int status;
};

static void on_members(void *data, int status, const struct rmq_member *members, uint32_t n)
{
    struct told *told = data;

    told->calls++;
    told->status = status;
    told->n = n;
    for (uint32_t i = 0; i < n; i++) {
        told->leaders += members[i].broker_id == 0;
        assert_string_equal(members[i].broker_name, "fake");
        assert_string_equal(members[i].cluster, "fakes");
    }
}

static void on_route(void *data, int status, const struct rmq_queue *queues, uint32_t n)
{
    struct told *told = data;

    told->calls++;
    told->status = status;
    told->n = n;
    for (uint32_t i = 0; i < n; i++) {
        assert_string_equal(queues[i].broker_name, "fake");
        assert_int_equal(queues[i].queue_id, i);
    }
}

static void on_answer(void *data, int status, struct proto_command *answer)
{
    struct told *told = data;

    told->calls++;
    told->status = status;
    told->n = answer != NULL ? (uint32_t)answer->code : 0;
}

static void routes_members_and_single_questions_are_answered(void **state)
{
    struct told members = {0}, route = {0}, missing = {0}, asked = {0}, refused = {0};
    const struct rmq_field field = {"k", "v"};
    struct fake_cluster cluster;
    struct rmq_client *client;
    struct fixture f;

    (void)state;
    fixture_init(&f);
    fake_open(&cluster, &f);
    client = fake_client(&cluster, (struct rmq_options){.encoding = PROTO_BINARY});
    assert_int_equal(rmq_members(client, on_members, &members), 0);
    assert_int_equal(rmq_route(client, MQ_STR("T"), false, false, on_route, &route), 0);
    assert_int_equal(rmq_ask(client, cluster.members[1].addr, 30001, &field, 1, "x", 1, 1000, on_answer, &asked), 0);
    RUN_UNTIL(&f, members.calls + route.calls + asked.calls == 3);
    assert_int_equal(members.n, 3);
    assert_int_equal(members.leaders, 1);
    assert_int_equal(route.n, 4);
    assert_int_equal(asked.n, RESP_REQUEST_CODE_NOT_SUPPORTED);
    cluster.topic_known = false;
    fake_kill(&cluster.members[2]);
    assert_int_equal(rmq_route(client, MQ_STR("X"), true, false, on_route, &missing), 0);
    assert_int_equal(rmq_ask(client, cluster.members[2].addr, 30001, NULL, 0, NULL, 0, 1000, on_answer, &refused), 0);
    RUN_UNTIL(&f, missing.calls + refused.calls == 2);
    assert_int_equal(missing.status, MQ_ENOTFOUND);
    assert_int_equal(refused.status, MQ_ECLOSED);
    assert_int_equal(rmq_ask(client, "no address", 1, NULL, 0, NULL, 0, 1, on_answer, &refused), MQ_EINVAL);
    fake_client_close(&cluster, client);
    fake_close(&cluster);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pull_asks_the_leader_and_hands_the_records_on),
        cmocka_unit_test(without_a_leader_another_member_is_read),
        cmocka_unit_test(a_pull_that_finds_nobody_ends_with_its_time),
        cmocka_unit_test(routes_members_and_single_questions_are_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
