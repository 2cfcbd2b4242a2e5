#include "tests/unit/broker/channels.h"

#include "broker/session/consumer_table.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <stdio.h>

#define T0 1000000u /* a monotonic time */

struct told {
    uint32_t n;
    struct net_channel *last;
    char group[32];
};

static void on_changed(void *data, struct net_channel *member, struct mq_str group)
{
    struct told *told = data;

    told->n++;
    told->last = member;
    snprintf(told->group, sizeof(told->group), MQ_STR_FMT, MQ_STR_ARG(group));
}

struct world {
    struct consumer_table *table;
    struct told told;
    struct net_channel *a, *b;
};

static void world_open(struct world *w)
{
    *w = (struct world){.a = channel_new(), .b = channel_new()};
    assert_int_equal(consumer_table_new(on_changed, &w->told, &w->table), 0);
}

static void world_close(struct world *w)
{
    consumer_table_free(w->table);
    session_end(w->a);
    session_end(w->b);
    channel_free(w->a);
    channel_free(w->b);
}

/* A beat of group g with the subscriptions "topic:version:tags", at most four. */
static int beat_at(struct world *w, struct net_channel *ch, const char *const *topics, int64_t version,
                   uint64_t now_ms)
{
    struct proto_subscription subs[4] = {{{0}}};
    struct proto_subscriptions list = {.items = subs};
    struct proto_consumer consumer = {.group = MQ_STR("g"), .model = PROTO_CLUSTERING};
    struct consumer_beat beat = {.client_id = MQ_STR("c"), .consumer = &consumer, .subs = &list, .notify = true};

    for (; *topics != NULL; topics++) {
        subs[list.count].topic = mq_str_of(*topics);
        subs[list.count].version = version;
        subs[list.count++].filter.all = version % 2 == 0;
    }
    consumer.sub_count = list.count;
    return consumer_table_beat(w->table, ch, &beat, now_ms);
}

#define TOPICS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* How often somebody was told at @now_ms. */
static uint32_t tell(struct world *w, uint64_t now_ms)
{
    w->told.n = 0;
    consumer_table_tell(w->table, now_ms);
    return w->told.n;
}

static void members_are_told_when_one_comes_or_goes(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(beat_at(&w, w.a, TOPICS("T"), 1, T0), 0);
    assert_int_equal(tell(&w, T0), 1);
    assert_ptr_equal(w.told.last, w.a);
    assert_string_equal(w.told.group, "g");
    assert_int_equal(beat_at(&w, w.a, TOPICS("T"), 1, T0), 0);
    assert_int_equal(tell(&w, T0 + 1000), 0); /* nothing changed */
    assert_int_equal(beat_at(&w, w.b, TOPICS("T"), 1, T0), 0);
    assert_int_equal(tell(&w, T0 + 2000), 2);
    consumer_table_leave(w.table, w.b, MQ_STR("g"));
    assert_int_equal(tell(&w, T0 + 3000), 1);
    assert_int_equal(beat_at(&w, w.b, TOPICS("T"), 1, T0), 0);
    consumer_table_channel_closed(w.table, w.a);
    assert_int_equal(tell(&w, T0 + 4000), 1);
    assert_ptr_equal(w.told.last, w.b);
    consumer_table_leave(w.table, w.b, MQ_STR("g"));
    assert_int_equal(tell(&w, T0 + 5000), 0); /* nobody left to tell */
    assert_false(consumer_table_has_group(w.table, MQ_STR("g")));
    world_close(&w);
}

static void changes_in_quick_succession_are_told_together(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(beat_at(&w, w.a, TOPICS("T"), 1, T0), 0);
    assert_int_equal(tell(&w, T0), 1);
    assert_int_equal(beat_at(&w, w.b, TOPICS("T"), 1, T0), 0);
    assert_int_equal(tell(&w, T0 + CONSUMER_TELL_EVERY_MS - 1), 0);
    assert_int_equal(beat_at(&w, w.b, TOPICS("T", "U"), 1, T0), 0);
    assert_int_equal(tell(&w, T0 + CONSUMER_TELL_EVERY_MS), 2);
    assert_int_equal(tell(&w, T0 + 10 * CONSUMER_TELL_EVERY_MS), 0);
    world_close(&w);
}

static void only_topics_that_come_or_go_are_news(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(beat_at(&w, w.a, TOPICS("T", "U"), 1, T0), 0);
    tell(&w, T0);
    assert_int_equal(beat_at(&w, w.a, TOPICS("U", "T"), 3, T0), 0); /* another order and version */
    assert_int_equal(tell(&w, T0 + 1000), 0);
    assert_int_equal(beat_at(&w, w.a, TOPICS("T", "V"), 3, T0), 0);
    assert_int_equal(tell(&w, T0 + 2000), 1);
    assert_null(consumer_table_subscription(w.table, MQ_STR("g"), MQ_STR("U")));
    assert_int_equal(beat_at(&w, w.a, TOPICS("T"), 3, T0), 0);
    assert_int_equal(tell(&w, T0 + 3000), 1);
    world_close(&w);
}

static void the_newer_version_of_a_subscription_stays(void **state)
{
    struct world w;
    const struct consumer_subscription *sub;

    (void)state;
    world_open(&w);
    assert_int_equal(beat_at(&w, w.a, TOPICS("T"), 5, T0), 0);
    assert_int_equal(beat_at(&w, w.b, TOPICS("T"), 4, T0), 0);
    sub = consumer_table_subscription(w.table, MQ_STR("g"), MQ_STR("T"));
    assert_int_equal(sub->version, 5);
    assert_non_null(sub->filter);
    assert_true(sub->usable);
    assert_int_equal(beat_at(&w, w.b, TOPICS("T"), 6, T0), 0);
    sub = consumer_table_subscription(w.table, MQ_STR("g"), MQ_STR("T"));
    assert_int_equal(sub->version, 6);
    assert_null(sub->filter);
    assert_true(sub->usable);
    world_close(&w);
}

static void a_heartbeat_that_was_overtaken_changes_nothing(void **state)
{
    const struct consumer_subscription *sub;
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(beat_at(&w, w.a, TOPICS("T"), 5, T0), 0); /* nothing passes */
    assert_int_equal(beat_at(&w, w.b, TOPICS("T"), 4, T0), 0); /* everything */
    sub = consumer_table_subscription(w.table, MQ_STR("g"), MQ_STR("T"));
    assert_non_null(sub->filter);
    assert_int_equal(beat_at(&w, w.b, TOPICS("T", "U"), 4, T0), 0); /* the set is another one, T is as it was */
    sub = consumer_table_subscription(w.table, MQ_STR("g"), MQ_STR("T"));
    assert_int_equal(sub->version, 5);
    assert_non_null(sub->filter);
    assert_null(consumer_table_subscription(w.table, MQ_STR("g"), MQ_STR("U"))->filter);
    world_close(&w);
}

static void a_topic_that_is_named_twice_counts_once(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(beat_at(&w, w.a, TOPICS("T", "U"), 1, T0), 0);
    tell(&w, T0);
    assert_int_equal(beat_at(&w, w.a, TOPICS("U", "U"), 1, T0), 0); /* T is not named any more */
    assert_null(consumer_table_subscription(w.table, MQ_STR("g"), MQ_STR("T")));
    assert_non_null(consumer_table_subscription(w.table, MQ_STR("g"), MQ_STR("U")));
    assert_int_equal(tell(&w, T0 + 1000), 1);
    world_close(&w);
}

static void another_client_id_on_a_connection_is_another_member(void **state)
{
    struct proto_consumer consumer = {.group = MQ_STR("g"), .model = PROTO_CLUSTERING};
    struct consumer_beat beat = {.client_id = MQ_STR("first"), .consumer = &consumer, .notify = true};
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(consumer_table_beat(w.table, w.a, &beat, T0), 0);
    assert_int_equal(tell(&w, T0), 1);
    assert_ptr_equal(consumer_table_channel(w.table, MQ_STR("g"), MQ_STR("first")), w.a);
    beat.client_id = MQ_STR("second");
    assert_int_equal(consumer_table_beat(w.table, w.a, &beat, T0), 0);
    assert_int_equal(tell(&w, T0 + 1000), 1);
    assert_int_equal(consumer_table_members(w.table), 1);
    assert_null(consumer_table_channel(w.table, MQ_STR("g"), MQ_STR("first")));
    assert_ptr_equal(consumer_table_channel(w.table, MQ_STR("g"), MQ_STR("second")), w.a);
    assert_null(consumer_table_channel(w.table, MQ_STR("none"), MQ_STR("second")));
    world_close(&w);
}

static void a_picture_shows_members_and_subscriptions(void **state)
{
    struct consumer_picture picture;
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(consumer_table_picture(w.table, MQ_STR("g"), &picture), MQ_ENOTFOUND);
    consumer_picture_free(&picture);
    assert_int_equal(beat_at(&w, w.a, TOPICS("U", "T"), 4, T0), 0);
    assert_int_equal(beat_at(&w, w.b, TOPICS("T", "U"), 4, T0), 0);
    assert_int_equal(session_note(w.b, 9, 42), 0);
    assert_int_equal(consumer_table_picture(w.table, MQ_STR("g"), &picture), 0);
    assert_int_equal(picture.connections.count, 2);
    assert_int_equal(picture.connections.items[0].version + picture.connections.items[1].version, 42);
    assert_int_equal(picture.consumer.model, PROTO_CLUSTERING);
    assert_int_equal(picture.subs.count, 2);
    assert_memory_equal(picture.subs.items[0].topic.at, "T", 1);
    assert_int_equal(picture.subs.items[0].version, 4);
    consumer_picture_free(&picture);
    world_close(&w);
}

/* A beat of group g with one SQL92 subscription to T. */
static const struct consumer_subscription *beat_sql(struct world *w, const char *expression, int64_t version)
{
    struct proto_subscription sub = {.topic = MQ_STR("T"),
                                     .expression = mq_str_of(expression),
                                     .type = PROTO_EXPRESSION_SQL92,
                                     .version = version};
    struct proto_subscriptions list = {.items = &sub, .count = 1};
    struct proto_consumer consumer = {.group = MQ_STR("g"), .model = PROTO_CLUSTERING, .sub_count = 1};
    struct consumer_beat beat = {.client_id = MQ_STR("c"), .consumer = &consumer, .subs = &list};

    assert_int_equal(consumer_table_beat(w->table, w->a, &beat, T0), 0);
    return consumer_table_subscription(w->table, MQ_STR("g"), MQ_STR("T"));
}

static void an_expression_is_compiled_when_it_changes(void **state)
{
    struct world w;
    const struct consumer_subscription *sub;
    struct message_filter *filter;

    (void)state;
    world_open(&w);
    sub = beat_sql(&w, "a > 5", 1);
    assert_true(sub->usable && message_filter_reads_records(sub->filter));
    filter = message_filter_acquire(sub->filter);
    sub = beat_sql(&w, "a > 5", 2);
    assert_ptr_equal(sub->filter, filter);
    assert_int_equal(sub->version, 2);
    sub = beat_sql(&w, "a > 6", 1); /* an older one */
    assert_ptr_equal(sub->filter, filter);
    sub = beat_sql(&w, "a > 6", 3);
    assert_true(sub->usable && sub->filter != filter);
    sub = beat_sql(&w, "a >", 4);
    assert_false(sub->usable);
    assert_null(sub->filter);
    message_filter_release(filter);
    world_close(&w);
}

static void expressions_of_groups_that_are_gone_do_not_count(void **state)
{
    char name[16];
    struct world w;

    (void)state;
    world_open(&w);
    for (uint32_t i = 0; i < CONSUMER_SQL_MAX + 10; i++) {
        struct proto_subscription sub = {
            .topic = MQ_STR("T"), .expression = MQ_STR("a > 5"), .type = PROTO_EXPRESSION_SQL92, .version = 1};
        struct proto_subscriptions list = {.items = &sub, .count = 1};
        struct mq_str group = {name, (uint32_t)snprintf(name, sizeof(name), "g%u", i)};
        struct proto_consumer consumer = {.group = group, .sub_count = 1};
        struct consumer_beat beat = {.client_id = MQ_STR("c"), .consumer = &consumer, .subs = &list};

        assert_int_equal(consumer_table_beat(w.table, w.a, &beat, T0), 0);
        consumer_table_leave(w.table, w.a, group);
    }
    world_close(&w);
}

static void who_does_not_beat_is_removed(void **state)
{
    struct world w;
    struct proto_str_list ids = {0};

    (void)state;
    world_open(&w);
    assert_int_equal(beat_at(&w, w.a, TOPICS("T"), 1, T0), 0);
    assert_int_equal(beat_at(&w, w.b, TOPICS("T"), 1, T0 + 50000), 0);
    tell(&w, T0 + 50000);
    consumer_table_expire(w.table, T0 + 120000, 120000);
    assert_int_equal(consumer_table_members(w.table), 2);
    consumer_table_expire(w.table, T0 + 120001, 120000);
    assert_int_equal(consumer_table_members(w.table), 1);
    assert_int_equal(tell(&w, T0 + 120001), 1);
    assert_int_equal(consumer_table_ids(w.table, MQ_STR("g"), &ids), 0);
    assert_int_equal(ids.count, 1);
    consumer_table_expire(w.table, T0 + 500000, 120000);
    assert_false(consumer_table_has_group(w.table, MQ_STR("g")));
    proto_str_list_free(&ids);
    world_close(&w);
}

static void too_many_subscriptions_leave_the_old_ones(void **state)
{
    static struct proto_subscription subs[CONSUMER_GROUP_SUBS_MAX + 1];
    static char names[CONSUMER_GROUP_SUBS_MAX + 1][8];
    struct proto_subscriptions list = {.items = subs, .count = ARRAY_SIZE(subs)};
    struct proto_consumer consumer = {.group = MQ_STR("g"), .sub_count = ARRAY_SIZE(subs)};
    struct consumer_beat beat = {.client_id = MQ_STR("c"), .consumer = &consumer, .subs = &list};
    struct world w;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(subs); i++) {
        snprintf(names[i], sizeof(names[i]), "T%zu", i);
        subs[i].topic = mq_str_of(names[i]);
    }
    world_open(&w);
    assert_int_equal(beat_at(&w, w.a, TOPICS("Old"), 1, T0), 0);
    assert_int_equal(consumer_table_beat(w.table, w.a, &beat, T0), MQ_ETOOBIG);
    assert_non_null(consumer_table_subscription(w.table, MQ_STR("g"), MQ_STR("Old")));
    consumer.sub_count--;
    assert_int_equal(consumer_table_beat(w.table, w.a, &beat, T0), 0);
    assert_null(consumer_table_subscription(w.table, MQ_STR("g"), MQ_STR("Old")));
    world_close(&w);
}

static void broadcasting_and_unwilling_groups_are_not_told(void **state)
{
    struct proto_consumer consumer = {.group = MQ_STR("g"), .model = PROTO_BROADCASTING};
    struct consumer_beat beat = {.client_id = MQ_STR("c"), .consumer = &consumer, .notify = true};
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(consumer_table_beat(w.table, w.a, &beat, T0), 0);
    assert_int_equal(tell(&w, T0), 0);
    consumer.model = PROTO_CLUSTERING;
    beat.notify = false;
    assert_int_equal(consumer_table_beat(w.table, w.b, &beat, T0), 0);
    assert_int_equal(tell(&w, T0 + 1000), 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_told_when_one_comes_or_goes),
        cmocka_unit_test(changes_in_quick_succession_are_told_together),
        cmocka_unit_test(only_topics_that_come_or_go_are_news),
        cmocka_unit_test(the_newer_version_of_a_subscription_stays),
        cmocka_unit_test(a_heartbeat_that_was_overtaken_changes_nothing),
        cmocka_unit_test(a_topic_that_is_named_twice_counts_once),
        cmocka_unit_test(another_client_id_on_a_connection_is_another_member),
        cmocka_unit_test(a_picture_shows_members_and_subscriptions),
        cmocka_unit_test(an_expression_is_compiled_when_it_changes),
        cmocka_unit_test(expressions_of_groups_that_are_gone_do_not_count),
        cmocka_unit_test(who_does_not_beat_is_removed),
        cmocka_unit_test(too_many_subscriptions_leave_the_old_ones),
        cmocka_unit_test(broadcasting_and_unwilling_groups_are_not_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
