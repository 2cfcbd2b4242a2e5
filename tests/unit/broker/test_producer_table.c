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

static void producers_of_a_group_are_asked_in_turns(void **state)
{
    struct producer_table *table;
    struct net_channel *ch[3] = {channel_new(), channel_new(), channel_new()};
    int asked[3] = {0};

    (void)state;
    assert_int_equal(producer_table_new(&table), 0);
    assert_null(producer_table_pick(table, MQ_STR("g")));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(producer_table_beat(table, ch[i], MQ_STR("c"), MQ_STR("g"), 1), 0);
    }
    for (int i = 0; i < 9; i++) {
        struct net_channel *picked = producer_table_pick(table, MQ_STR("g"));

        for (int k = 0; k < 3; k++) {
            asked[k] += ch[k] == picked;
        }
    }
    assert_true(asked[0] == 3 && asked[1] == 3 && asked[2] == 3);
    ch[1]->conn.closing = true;
    for (int i = 0; i < 4; i++) {
        assert_ptr_not_equal(producer_table_pick(table, MQ_STR("g")), ch[1]);
    }
    ch[0]->conn.closing = ch[2]->conn.closing = true;
    assert_null(producer_table_pick(table, MQ_STR("g")));
    for (int i = 0; i < 3; i++) {
        ch[i]->conn.closing = false;
        producer_table_channel_closed(table, ch[i]);
        session_end(ch[i]);
        channel_free(ch[i]);
    }
    assert_false(producer_table_has_group(table, MQ_STR("g")));
    producer_table_free(table);
}

static void a_requester_is_found_where_it_beat_last(void **state)
{
    struct producer_table *table;
    struct net_channel *a = channel_new(), *b = channel_new();
    struct proto_connections list = {0};

    (void)state;
    assert_int_equal(producer_table_new(&table), 0);
    assert_null(producer_table_of_client(table, MQ_STR("me")));
    assert_int_equal(producer_table_beat(table, a, MQ_STR("me"), MQ_STR("g"), 1), 0);
    assert_int_equal(producer_table_beat(table, b, MQ_STR("me"), MQ_STR("g"), 2), 0);
    assert_ptr_equal(producer_table_of_client(table, MQ_STR("me")), b);
    assert_int_equal(producer_table_beat(table, a, MQ_STR("me"), MQ_STR("g"), 3), 0);
    assert_ptr_equal(producer_table_of_client(table, MQ_STR("me")), a);
    assert_int_equal(producer_table_connections(table, MQ_STR("g"), &list), 0);
    assert_int_equal(list.count, 2);
    proto_connections_free(&list);
    producer_table_channel_closed(table, a);
    assert_ptr_equal(producer_table_of_client(table, MQ_STR("me")), b);
    assert_int_equal(producer_table_beat(table, b, MQ_STR("other"), MQ_STR("g"), 4), 0); /* took another id */
    assert_null(producer_table_of_client(table, MQ_STR("me")));
    assert_ptr_equal(producer_table_of_client(table, MQ_STR("other")), b);
    producer_table_free(table);
    session_end(a);
    session_end(b);
    channel_free(a);
    channel_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_producer_is_one_group_on_one_connection),
        cmocka_unit_test(names_that_no_group_has_are_refused),
        cmocka_unit_test(who_does_not_beat_is_removed),
        cmocka_unit_test(producers_of_a_group_are_asked_in_turns),
        cmocka_unit_test(a_requester_is_found_where_it_beat_last),
        cmocka_unit_test(a_full_table_still_takes_the_beats_of_those_in_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
