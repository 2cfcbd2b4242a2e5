#include "tests/unit/broker/channels.h"

#include "broker/session/producer_table.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <stdio.h>

static void a_producer_is_one_group_on_one_connection(void **state)
{
    struct producer_table *table;
    struct net_channel *a = channel_new(), *b = channel_new();

    (void)state;
    assert_int_equal(producer_table_new(&table), 0);
    assert_int_equal(producer_table_beat(table, a, MQ_STR("c"), MQ_STR("g"), 1), 0);
    assert_int_equal(producer_table_beat(table, a, MQ_STR("c"), MQ_STR("g"), 2), 0);
    assert_int_equal(producer_table_beat(table, a, MQ_STR("c"), MQ_STR("h"), 2), 0);
    assert_int_equal(producer_table_beat(table, b, MQ_STR("c"), MQ_STR("g"), 2), 0);
    assert_int_equal(producer_table_count(table), 3);
    producer_table_leave(table, b, MQ_STR("h")); /* never was */
    producer_table_leave(table, a, MQ_STR("h"));
    assert_int_equal(producer_table_count(table), 2);
    producer_table_channel_closed(table, a);
    session_end(a);
    assert_int_equal(producer_table_count(table), 1);
    channel_free(a);
    producer_table_free(table);
    session_end(b);
    channel_free(b);
}

static void names_that_no_group_has_are_refused(void **state)
{
    static char name[600];
    struct producer_table *table;
    struct net_channel *ch = channel_new();

    (void)state;
    assert_int_equal(producer_table_new(&table), 0);
    assert_int_equal(producer_table_beat(table, ch, MQ_STR("c"), (struct mq_str){name, 600}, 1), MQ_ETOOBIG);
    assert_int_equal(producer_table_beat(table, ch, MQ_STR("c"), MQ_STR(""), 1), MQ_ETOOBIG);
    producer_table_leave(table, ch, (struct mq_str){name, 600});
    producer_table_channel_closed(table, ch);
    producer_table_free(table);
    channel_free(ch);
}

static void who_does_not_beat_is_removed(void **state)
{
    struct producer_table *table;
    struct net_channel *ch = channel_new();

    (void)state;
    assert_int_equal(producer_table_new(&table), 0);
    assert_int_equal(producer_table_beat(table, ch, MQ_STR("c"), MQ_STR("quiet"), 1000), 0);
    assert_int_equal(producer_table_beat(table, ch, MQ_STR("c"), MQ_STR("loud"), 1000), 0);
    assert_int_equal(producer_table_beat(table, ch, MQ_STR("c"), MQ_STR("loud"), 50000), 0);
    producer_table_expire(table, 121000, 120000);
    assert_int_equal(producer_table_count(table), 2); /* exactly the time is not over it */
    producer_table_expire(table, 121001, 120000);
    assert_int_equal(producer_table_count(table), 1);
    assert_false(ch->conn.closing); /* others on the connection go on */
    producer_table_free(table);
    session_end(ch);
    channel_free(ch);
}

static void a_full_table_still_takes_the_beats_of_those_in_it(void **state)
{
    struct producer_table *table;
    struct net_channel *ch = channel_new();
    char name[16];

    (void)state;
    assert_int_equal(producer_table_new(&table), 0);
    for (uint32_t i = 0; i < PRODUCERS_MAX; i++) {
        struct mq_str group = {name, (uint32_t)snprintf(name, sizeof(name), "g%u", i)};

        assert_int_equal(producer_table_beat(table, ch, MQ_STR("c"), group, 1), 0);
    }
    assert_int_equal(producer_table_beat(table, ch, MQ_STR("c"), MQ_STR("one more"), 1), MQ_ETOOBIG);
    assert_int_equal(producer_table_beat(table, ch, MQ_STR("c"), MQ_STR("g0"), 2), 0);
    producer_table_channel_closed(table, ch);
    assert_int_equal(producer_table_count(table), 0);
    session_end(ch);
    producer_table_free(table);
    channel_free(ch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_producer_is_one_group_on_one_connection),
        cmocka_unit_test(names_that_no_group_has_are_refused),
        cmocka_unit_test(who_does_not_beat_is_removed),
        cmocka_unit_test(a_full_table_still_takes_the_beats_of_those_in_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
