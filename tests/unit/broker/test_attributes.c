#include "broker/processor/attributes.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ATTRIBUTE(key, value)                                                                                        \
    {                                                                                                                \
        (char *)key, (char *)value                                                                                   \
    }

static struct topic_attribute fifo[] = {ATTRIBUTE("message.type", "FIFO")};
static struct topic_attribute fixed[] = {ATTRIBUTE("cleanup.policy", "DELETE"), ATTRIBUTE("message.type", "NORMAL")};
static const struct topic plain_topic;
static const struct topic fifo_topic = {.attributes = fifo, .n_attributes = 1};
static const struct topic fixed_topic = {.attributes = fixed, .n_attributes = 2};

static const struct {
    const char *why;
    const struct topic *topic; /* NULL: it is new */
    const char *change;        /* NULL: absent */
    int rc;
    const char *result; /* the attributes, or a part of the problem */
} cases[] = {
    {"nothing for a new topic", NULL, NULL, 0, ""},
    {"nothing keeps what there is", &fifo_topic, NULL, 0, "message.type=FIFO,"},
    {"empty keeps what there is", &fifo_topic, "", 0, "message.type=FIFO,"},
    {"only commas", &fifo_topic, ",,,", 0, "message.type=FIFO,"},
    {"one is added", NULL, "+message.type=DELAY", 0, "message.type=DELAY,"},
    {"two are sorted", NULL, "+message.type=FIFO,+cleanup.policy=DELETE", 0,
     "cleanup.policy=DELETE,message.type=FIFO,"},
    {"one is changed", &fifo_topic, "+message.type=NORMAL", 0, "message.type=NORMAL,"},
    {"one is deleted", &fifo_topic, "-message.type", 0, ""},
    {"a fixed one is given as it is", &fixed_topic, "+cleanup.policy=DELETE", 0,
     "cleanup.policy=DELETE,message.type=NORMAL,"},
    {"a fixed one is deleted", &fixed_topic, "-cleanup.policy", MQ_EINVAL, "cannot be changed"},
    {"what a new topic cannot have is deleted", NULL, "-message.type", MQ_EINVAL, "not set"},
    {"what is not there is deleted", &plain_topic, "-message.type", MQ_EINVAL, "not set"},
    {"an unknown key", NULL, "+colour=red", MQ_EINVAL, "\"colour\""},
    {"an unknown value", NULL, "+message.type=RED", MQ_EINVAL, "\"RED\""},
    {"an empty value", NULL, "+message.type=", MQ_EINVAL, "message.type"},
    {"mixed messages", NULL, "+message.type=MIXED", MQ_EUNSUPPORTED, "MIXED"},
    {"compaction", NULL, "+cleanup.policy=COMPACTION", MQ_EINVAL, "COMPACTION"},
    {"tiered storage", NULL, "+reserve.time=5", MQ_EINVAL, "reserve.time"},
    {"no sign", NULL, "message.type=FIFO", MQ_EINVAL, "neither"},
    {"a plus without a value", NULL, "+message.type", MQ_EINVAL, "neither"},
    {"a minus with a value", &fifo_topic, "-message.type=FIFO", MQ_EINVAL, "neither"},
    {"no key", NULL, "+=FIFO", MQ_EINVAL, "neither"},
    {"only a sign", NULL, "+", MQ_EINVAL, "neither"},
    {"only an equals sign", NULL, "=", MQ_EINVAL, "neither"},
    {"a key twice", NULL, "+message.type=FIFO,+message.type=DELAY", MQ_EINVAL, "twice"},
    {"a key added and deleted", &fifo_topic, "+message.type=DELAY,-message.type", MQ_EINVAL, "twice"},
};

static void changes_apply_or_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct attributes attributes;
        char problem[256] = "", result[256] = "";
        int rc;

        print_message("%s\n", cases[i].why);
        rc = attributes_change(cases[i].topic, mq_str_of(cases[i].change), &attributes, problem, sizeof(problem));
        assert_int_equal(rc, cases[i].rc);
        if (rc != 0) {
            assert_non_null(strstr(problem, cases[i].result));
            continue;
        }
        for (size_t k = 0; k < attributes.count; k++) {
            size_t n = strlen(result);

            snprintf(result + n, sizeof(result) - n, "%s=%s,", attributes.list[k]->key, attributes.list[k]->value);
        }
        assert_string_equal(result, cases[i].result);
        attributes_free(&attributes);
    }
}

static void a_problem_is_cut_and_still_ends(void **state)
{
    static char change[20000];
    struct attributes attributes;
    char problem[64];

    (void)state;
    memset(change, 'k', sizeof(change));
    change[0] = '+';
    change[100] = '=';
    assert_int_equal(
        attributes_change(NULL, (struct mq_str){change, sizeof(change)}, &attributes, problem, sizeof(problem)),
        MQ_EINVAL);
    assert_true(strlen(problem) < sizeof(problem));
}

static void failing_allocations_leak_nothing(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth < 8; nth++) {
        struct attributes attributes;
        char problem[64];
        int rc;

        mq_heap_fail_at(nth);
        rc = attributes_change(&fifo_topic, MQ_STR("+message.type=DELAY,+cleanup.policy=DELETE"), &attributes,
                               problem, sizeof(problem));
        mq_heap_fail_at(0);
        assert_true(rc == 0 || rc == MQ_ENOMEM);
        assert_true(nth > 5 || rc == MQ_ENOMEM); /* it takes five */
        if (rc == 0) {
            attributes_free(&attributes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_apply_or_are_refused_by_name),
        cmocka_unit_test(a_problem_is_cut_and_still_ends),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
