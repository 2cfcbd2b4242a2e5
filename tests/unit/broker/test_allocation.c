/* Which queues are whose: what RocketMQ's strategies give for the same queues and members. */
#include "broker/session/allocation.h"

#include "remoting/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void fill(struct proto_queue_refs *queues, const char *broker, int n)
{
    for (int i = n - 1; i >= 0; i--) { /* out of order */
        struct proto_queue_ref *queue = proto_queue_refs_add(queues);

        assert_non_null(queue);
        *queue = (struct proto_queue_ref){MQ_STR("t"), mq_str_of(broker), i};
    }
}

static void fill_members(struct proto_str_list *members, const char *ids)
{
    for (; *ids != '\0'; ids++) {
        struct mq_str *id = proto_str_list_add(members);

        assert_non_null(id);
        *id = (struct mq_str){ids, 1};
    }
}

/* As text: "a0 a1 b0". */
static void print(const struct proto_queue_refs *queues, char out[256])
{
    size_t at = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < queues->count; i++) {
        at += (size_t)snprintf(out + at, 256 - at, "%s" MQ_STR_FMT "%d", i != 0 ? " " : "",
                               MQ_STR_ARG(queues->items[i].broker_name), queues->items[i].queue_id);
    }
}

static void queues_are_divided_as_the_original_does(void **state)
{
    static const struct {
        const char *strategy;
        int a, b; /* queues of two brokers */
        const char *members, *who;
        bool pop;
        int32_t share;
        int rc;
        const char *want;
    } cases[] = {
        {"AVG", 4, 4, "xyz", "x", false, 0, 0, "a0 a1 a2"},
        {"AVG", 4, 4, "zyx", "y", false, 0, 0, "a3 b0 b1"},
        {"AVG", 4, 4, "xyz", "z", false, 0, 0, "b2 b3"},
        {"AVG", 2, 0, "xyz", "z", false, 0, 0, ""},
        {"AVG", 2, 0, "xyz", "y", false, 0, 0, "a1"},
        {"AVG", 3, 0, "xxyx", "y", false, 0, 0, "a2"}, /* x is one consumer, however many connections it has */
        {"AVG", 0, 0, "xy", "x", false, 0, 0, ""},
        {"AVG", 4, 0, "xy", "n", false, 0, MQ_ENOTFOUND, ""},
        {"AVG_BY_CIRCLE", 4, 4, "xyz", "x", false, 0, 0, "a0 a3 b2"},
        {"AVG_BY_CIRCLE", 4, 4, "xyz", "z", false, 0, 0, "a2 b1"},
        {"AVG_BY_CIRCLE", 2, 0, "xyz", "z", false, 0, 0, ""},
        {"AVG", 4, 4, "xyz", "y", true, 0, 0, "a-1 b-1"},
        {"AVG", 4, 4, "xyz", "y", true, -1, 0, "a-1 b-1"},
        {"AVG", 4, 4, "xyz", "n", true, 2, 0, "a-1 b-1"}, /* as many as there are others */
        {"AVG", 4, 4, "xyz", "y", true, 1, 0, "a3 b0 b1 b2 b3"},
        {"AVG", 4, 4, "xyz", "z", true, 1, 0, "b2 b3 a0 a1 a2"},
        {"AVG", 4, 4, "xyz", "n", true, 1, MQ_ENOTFOUND, ""},
        {"AVG", 2, 0, "vwxyz", "z", true, 1, 0, "a0"}, /* more members than queues: one each, in turn */
        {"AVG", 2, 0, "vwxyz", "w", true, 1, 0, "a1"},
        {"AVG_BY_CIRCLE", 4, 0, "xyz", "y", true, 1, 0, "a1 a2"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct proto_queue_refs queues = {0}, out = {0};
        struct proto_str_list members = {0};
        enum allocation_strategy strategy;
        char text[256];
        int rc;

        print_message("%s of %d and %d to %s for %s\n", cases[i].strategy, cases[i].a, cases[i].b, cases[i].members,
                      cases[i].who);
        fill(&queues, "b", cases[i].b);
        fill(&queues, "a", cases[i].a);
        fill_members(&members, cases[i].members);
        assert_true(allocation_strategy_of(mq_str_of(cases[i].strategy), &strategy));
        allocation_prepare(&queues, &members);
        rc = cases[i].pop ? allocation_pop(strategy, &queues, &members, mq_str_of(cases[i].who), cases[i].share, &out)
                          : allocation_pull(strategy, &queues, &members, mq_str_of(cases[i].who), &out);
        assert_int_equal(rc, cases[i].rc);
        print(&out, text);
        assert_string_equal(text, cases[i].want);
        proto_queue_refs_free(&queues);
        proto_queue_refs_free(&out);
        proto_str_list_free(&members);
    }
}

static void every_queue_is_somebodys_and_nobody_elses(void **state)
{
    (void)state;
    for (int n = 1; n <= 20; n++) {
        for (int m = 1; m <= 9; m++) {
            for (int s = 0; s < 2; s++) {
                struct proto_queue_refs queues = {0}, out = {0};
                struct proto_str_list members = {0};
                uint32_t seen = 0;

                fill(&queues, "a", n);
                fill_members(&members, "123456789" + 9 - m);
                allocation_prepare(&queues, &members);
                for (int i = 0; i < m; i++) {
                    assert_int_equal(allocation_pull(s == 0 ? ALLOCATE_AVG : ALLOCATE_BY_CIRCLE, &queues, &members,
                                                     members.items[i], &out),
                                     0);
                }
                assert_int_equal(out.count, (uint32_t)n);
                for (uint32_t i = 0; i < out.count; i++) {
                    seen |= 1u << out.items[i].queue_id;
                }
                assert_int_equal(seen, (1u << n) - 1);
                proto_queue_refs_free(&queues);
                proto_queue_refs_free(&out);
                proto_str_list_free(&members);
            }
        }
    }
}

static void other_strategies_are_not_known(void **state)
{
    enum allocation_strategy strategy;

    (void)state;
    assert_false(allocation_strategy_of(MQ_STR("MACHINE_ROOM"), &strategy));
    assert_false(allocation_strategy_of((struct mq_str){0}, &strategy));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queues_are_divided_as_the_original_does),
        cmocka_unit_test(every_queue_is_somebodys_and_nobody_elses),
        cmocka_unit_test(other_strategies_are_not_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
