/* The rules of namesrv/README.md as tables of steps: what happens, and what the table lists after it. */
#include "namesrv/route_table.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CLUSTER MQ_STR("DefaultCluster")
#define TIMEOUT_MS 120000
#define GRACE_MS 5000

static const struct route_rules RULES = {.timeout_ms = TIMEOUT_MS, .grace_ms = GRACE_MS};

enum what { END, REGISTER, WHOLE, REFUSED, UNREGISTER, LOST, TOUCH, TICK, DELETE, WIPE, ALLOW };

struct step {
    const char *why;
    enum what what;
    uint64_t at_ms;
    const char *addr; /* also the topic of DELETE */
    int64_t id;
    int64_t term, counter;
    uint64_t conn;
    const char *topics; /* "a4 b8": topic a with 4 queues, topic b with 8 */
    enum route_outcome outcome;
    const char *members_after; /* "0=n1 2=n3"; NULL: not looked at */
    const char *topics_after;  /* "a4 b8", with '-' for a topic without write permission */
};

/* Topics of one letter and a number, as steps name them. */
static void fill_topics(struct proto_topic_table *table, const char *text)
{
    for (; text != NULL && *text != '\0'; text += strcspn(text, " "), text += *text == ' ') {
        struct proto_topic_config *config = proto_topic_configs_add(&table->topics);

        *config = (struct proto_topic_config){.name = {text, 1}, .perm = 6};
        config->read_queues = config->write_queues = (int32_t)strtol(text + 1, NULL, 10);
    }
}

static int take(struct route_table *table, const char *broker, const struct step *s, enum route_outcome *outcome,
                struct mq_buf *why)
{
    struct proto_topic_table topics = {.version = {s->term, 1700000000000, s->counter}};
    struct route_registration reg = {
        .cluster = CLUSTER,
        .broker_name = mq_str_of(broker),
        .addr = mq_str_of(s->addr),
        .ha_addr = MQ_STR("ha"),
        .broker_id = s->id,
        .speaks_acting_master = true,
        .whole_table = s->what == WHOLE,
        .conn = s->conn,
        .topics = &topics,
    };
    int rc;

    fill_topics(&topics, s->topics);
    rc = route_table_register(table, &reg, s->at_ms, outcome, why);
    proto_topic_configs_free(&topics.topics);
    return rc;
}

static const char *members_text(const struct route_table *table, const char *broker)
{
    static char text[512];
    struct proto_broker_data data;
    size_t n = 0;

    text[0] = '\0';
    if (route_table_broker(table, CLUSTER, mq_str_of(broker), &data) != 0) {
        return "gone";
    }
    for (uint32_t i = 0; i < data.addr_count; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%" PRId64 "=" MQ_STR_FMT, i == 0 ? "" : " ",
                              data.addrs[i].id, MQ_STR_ARG(data.addrs[i].addr));
    }
    return text;
}

static const char *topics_text(const struct route_table *table)
{
    static char text[512];
    struct proto_str_list names = {0};
    size_t n = 0;

    text[0] = '\0';
    assert_int_equal(route_table_topics(table, (struct mq_str){0}, &names), 0);
    for (uint32_t i = 0; i < names.count; i++) {
        struct proto_route route = {0};

        assert_int_equal(route_table_route(table, names.items[i], (struct mq_str){0}, &route), 0);
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s" MQ_STR_FMT "%d%s", i == 0 ? "" : " ",
                              MQ_STR_ARG(names.items[i]), route.queues.items[0].write_queues,
                              route.queues.items[0].perm & PROTO_PERM_WRITE ? "" : "-");
        proto_route_free(&route);
    }
    proto_str_list_free(&names);
    return text;
}

static void take_step(struct route_table *table, const struct step *s)
{
    struct route_identity who = {CLUSTER, MQ_STR("b"), mq_str_of(s->addr)};
    enum route_outcome outcome;
    struct mq_buf why = {0};

    switch (s->what) {
    case REGISTER:
    case WHOLE:
        assert_int_equal(take(table, "b", s, &outcome, &why), 0);
        assert_int_equal(outcome, s->outcome);
        break;
    case REFUSED:
        assert_true(take(table, "b", s, &outcome, &why) != 0);
        assert_true(why.len > 0);
        break;
    case UNREGISTER:
        route_table_unregister(table, &who, s->conn);
        break;
    case LOST:
        route_table_disconnected(table, s->conn, s->at_ms);
        break;
    case TOUCH:
        route_table_touch(table, &who, s->at_ms);
        break;
    case TICK:
        route_table_expire(table, s->at_ms, NULL, NULL);
        break;
    case DELETE:
        route_table_delete_topic(table, mq_str_of(s->addr), (struct mq_str){0});
        break;
    case WIPE:
    case ALLOW:
        route_table_allow_writes(table, MQ_STR("b"), s->what == ALLOW);
        break;
    case END:
        break;
    }
    mq_buf_free(&why);
}

static void run(const struct step *steps)
{
    struct route_table *table;

    assert_int_equal(route_table_new(&RULES, &table), 0);
    for (const struct step *s = steps; s->what != END; s++) {
        print_message("  %s\n", s->why);
        take_step(table, s);
        if (s->members_after != NULL) {
            assert_string_equal(members_text(table, "b"), s->members_after);
        }
        if (s->topics_after != NULL) {
            assert_string_equal(topics_text(table), s->topics_after);
        }
    }
    route_table_free(table);
}

static void a_lower_term_never_takes_id_0(void **state)
{
    static const struct step steps[] = {
        {"n1 leads in term 5", REGISTER, 0, "n1", 0, 5, 1, 1, "a4", ROUTE_LISTED, "0=n1", "a4"},
        {"n2 follows", REGISTER, 1, "n2", 2, 5, 1, 2, "a4", ROUTE_LISTED, "0=n1 2=n2", NULL},
        {"n2 leads in term 6", REGISTER, 2, "n2", 0, 6, 1, 2, "a5", ROUTE_LISTED, "0=n2", "a5"},
        {"n1 does not know yet", REGISTER, 3, "n1", 0, 5, 9, 1, "a9", ROUTE_OUTRANKED, "0=n2", "a5"},
        {"n1 has learned it", REGISTER, 4, "n1", 1, 6, 1, 1, "a5", ROUTE_LISTED, "0=n2 1=n1", "a5"},
        {"a late word of n1's old term", REGISTER, 5, "n1", 0, 5, 9, 1, "a9", ROUTE_OUTRANKED, "0=n2 1=n1", "a5"},
        {"n2 is lost: grace", LOST, 6, NULL, 0, 0, 0, 2, NULL, 0, "0=n2 1=n1", "a5"},
        {"also in the grace", REGISTER, 7, "n3", 0, 5, 9, 3, "a9", ROUTE_OUTRANKED, "0=n2 1=n1", "a5"},
        {"the grace is over", TICK, 6 + GRACE_MS, NULL, 0, 0, 0, 0, NULL, 0, "1=n1", "a5"},
        {"also when nobody is listed", REGISTER, 5100, "n3", 0, 5, 9, 3, "a9", ROUTE_OUTRANKED, "1=n1", "a5"},
        {"the same term may", REGISTER, 5200, "n3", 0, 6, 9, 3, "a8", ROUTE_LISTED, "0=n3 1=n1", "a8"},
        {0},
    };

    (void)state;
    run(steps);
}

static void id_0_stays_listed_for_a_while_after_its_connection_closed(void **state)
{
    static const struct step steps[] = {
        {"n1 leads", REGISTER, 0, "n1", 0, 5, 1, 1, "a4", ROUTE_LISTED, "0=n1", "a4"},
        {"n2 follows", REGISTER, 0, "n2", 2, 5, 1, 2, "a4", ROUTE_LISTED, NULL, NULL},
        {"n3 follows", REGISTER, 0, "n3", 3, 5, 1, 3, "a4", ROUTE_LISTED, "0=n1 2=n2 3=n3", NULL},
        {"n1 dies", LOST, 100, NULL, 0, 0, 0, 1, NULL, 0, "0=n1 2=n2 3=n3", "a4"},
        {"almost over", TICK, 5099, NULL, 0, 0, 0, 0, NULL, 0, "0=n1 2=n2 3=n3", NULL},
        {"over", TICK, 5100, NULL, 0, 0, 0, 0, NULL, 0, "2=n2 3=n3", "a4"},
        {"n2 leads", REGISTER, 5200, "n2", 0, 6, 1, 2, "a4", ROUTE_LISTED, "0=n2 3=n3", NULL},
        {"n2 dies", LOST, 6000, NULL, 0, 0, 0, 2, NULL, 0, "0=n2 3=n3", NULL},
        {"n3 leads at once", REGISTER, 6001, "n3", 0, 7, 1, 3, "a4", ROUTE_LISTED, "0=n3", NULL},
        {"the end of n2's grace is nothing", TICK, 20000, NULL, 0, 0, 0, 0, NULL, 0, "0=n3", NULL},
        {"the last one has no grace", LOST, 20001, NULL, 0, 0, 0, 3, NULL, 0, "gone", ""},
        {0},
    };
    static const struct step back[] = {
        {"n1 leads", REGISTER, 0, "n1", 0, 5, 1, 1, "a4", ROUTE_LISTED, NULL, NULL},
        {"n2 follows", REGISTER, 0, "n2", 2, 5, 1, 2, "a4", ROUTE_LISTED, NULL, NULL},
        {"n1's connection breaks", LOST, 100, NULL, 0, 0, 0, 1, NULL, 0, "0=n1 2=n2", NULL},
        {"it registers anew", REGISTER, 900, "n1", 0, 5, 1, 3, "a4", ROUTE_LISTED, "0=n1 2=n2", NULL},
        {"and is as before", TICK, 60000, NULL, 0, 0, 0, 0, NULL, 0, "0=n1 2=n2", NULL},
        {"again", LOST, 60000, NULL, 0, 0, 0, 3, NULL, 0, "0=n1 2=n2", NULL},
        {"it comes back as a follower", REGISTER, 60001, "n1", 1, 6, 1, 4, "a4", ROUTE_LISTED, "1=n1 2=n2", "a4"},
        {"a follower has no grace", LOST, 60002, NULL, 0, 0, 0, 2, NULL, 0, "1=n1", "a4"},
        {0},
    };
    static const struct step last[] = {
        {"n1 leads", REGISTER, 0, "n1", 0, 5, 1, 1, "a4", ROUTE_LISTED, NULL, NULL},
        {"n2 follows", REGISTER, 0, "n2", 2, 5, 1, 2, "a4", ROUTE_LISTED, NULL, NULL},
        {"n1 dies", LOST, 100, NULL, 0, 0, 0, 1, NULL, 0, "0=n1 2=n2", NULL},
        {"n2 dies too: nobody is left to wait for", LOST, 101, NULL, 0, 0, 0, 2, NULL, 0, "gone", ""},
        {"a group founded anew may begin at term 1", REGISTER, 200, "n1", 0, 1, 1, 3, "b4", ROUTE_LISTED, "0=n1",
         "b4"},
        {0},
    };

    (void)state;
    run(steps);
    run(back);
    run(last);
}

static void a_role_switch_moves_the_member_to_its_new_id(void **state)
{
    static const struct step steps[] = {
        {"n1 follows", REGISTER, 0, "n1", 1, 0, 1, 1, NULL, ROUTE_LISTED, "1=n1", NULL},
        {"n1 leads", REGISTER, 1, "n1", 0, 0, 1, 1, "a4", ROUTE_LISTED, "0=n1", "a4"},
        {"another takes id 0 in the same term, as stock brokers do", REGISTER, 2, "n2", 0, 0, 1, 2, "a4",
         ROUTE_LISTED, "0=n2", "a4"},
        {"n1 is its slave", REGISTER, 3, "n1", 1, 0, 1, 1, "a4", ROUTE_LISTED, "0=n2 1=n1", "a4"},
        {"a member that moved takes its id along", REGISTER, 4, "n1-new", 1, 0, 1, 3, "a4", ROUTE_LISTED,
         "0=n2 1=n1-new", "a4"},
        {0},
    };

    (void)state;
    run(steps);
}

static void an_older_data_version_does_not_undo_a_newer_one(void **state)
{
    static const struct step steps[] = {
        {"version 1", REGISTER, 0, "n1", 0, 5, 1, 10, "a4 b4", ROUTE_LISTED, "0=n1", "a4 b4"},
        {"version 3 arrives first", REGISTER, 1, "n1", 0, 5, 3, 10, "a6", ROUTE_LISTED, NULL, "a6 b4"},
        {"version 2 was overtaken", REGISTER, 2, "n1", 0, 5, 2, 10, "a5 c5", ROUTE_OVERTAKEN, "0=n1", "a6 b4"},
        {"over a former connection too", REGISTER, 3, "n1", 0, 5, 2, 9, "a5", ROUTE_OVERTAKEN, "0=n1", "a6 b4"},
        {"same version: nothing but what is missing", REGISTER, 4, "n1", 0, 5, 3, 10, "a9 d9", ROUTE_LISTED, NULL,
         "a6 b4 d9"},
        {"a broker that began anew, over a new connection", REGISTER, 5, "n1", 0, 5, 1, 11, "a7", ROUTE_LISTED, NULL,
         "a7 b4 d9"},
        {"the former connection closes", LOST, 6, NULL, 0, 0, 0, 10, NULL, 0, "0=n1", NULL},
        {"a word over the former connection does not bind to it", REGISTER, 7, "n1", 0, 5, 1, 9, "a7", ROUTE_LISTED,
         "0=n1", NULL},
        {"so its end means nothing", LOST, 8, NULL, 0, 0, 0, 9, NULL, 0, "0=n1", "a7 b4 d9"},
        {0},
    };

    (void)state;
    run(steps);
}

static void a_whole_table_takes_the_deleted_topics_with_it(void **state)
{
    static const struct step steps[] = {
        {"two topics", WHOLE, 0, "n1", 0, 5, 1, 1, "a4 b4", ROUTE_LISTED, NULL, "a4 b4"},
        {"a follower", WHOLE, 0, "n2", 2, 5, 1, 2, "", ROUTE_LISTED, NULL, "a4 b4"},
        {"b was deleted", WHOLE, 1, "n1", 0, 5, 2, 1, "a4", ROUTE_LISTED, NULL, "a4"},
        {"the older table does not bring it back", WHOLE, 2, "n1", 0, 5, 1, 1, "a4 b4", ROUTE_OVERTAKEN, NULL, "a4"},
        {"216 of a topic that still exists", DELETE, 3, "a", 0, 0, 0, 0, NULL, 0, NULL, ""},
        {"is undone by the next registration", WHOLE, 4, "n1", 0, 5, 2, 1, "a4", ROUTE_LISTED, NULL, "a4"},
        {"a part adds to what is there", REGISTER, 5, "n1", 0, 5, 3, 1, "c4", ROUTE_LISTED, NULL, "a4 c4"},
        {0},
    };

    (void)state;
    run(steps);
}

static void topics_come_from_id_0_and_stay_while_members_remain(void **state)
{
    static const struct step steps[] = {
        {"a follower is first after a restart", REGISTER, 0, "n2", 2, 5, 1, 2, "a4", ROUTE_LISTED, "2=n2", "a4"},
        {"not the lowest id", REGISTER, 0, "n3", 3, 5, 1, 3, "b4", ROUTE_LISTED, NULL, "a4"},
        {"id 0 knows better", REGISTER, 1, "n1", 0, 5, 1, 1, "a8 c8", ROUTE_LISTED, NULL, "a8 c8"},
        {"followers are not asked", REGISTER, 2, "n2", 2, 5, 2, 2, "a4 d4", ROUTE_LISTED, NULL, "a8 c8"},
        {"id 0 leaves in order", UNREGISTER, 3, "n1", 0, 0, 0, 1, NULL, 0, "2=n2 3=n3", "a8 c8"},
        {"a follower leaves", UNREGISTER, 4, "n2", 2, 0, 0, 2, NULL, 0, "3=n3", "a8 c8"},
        {"the last one takes the topics along", UNREGISTER, 5, "n3", 3, 0, 0, 3, NULL, 0, "gone", ""},
        {0},
    };

    (void)state;
    run(steps);
}

static void an_unregistration_from_before_a_restart_is_ignored(void **state)
{
    static const struct step steps[] = {
        {"n1", REGISTER, 0, "n1", 0, 0, 1, 1, "a4", ROUTE_LISTED, "0=n1", NULL},
        {"n1 restarted", REGISTER, 1, "n1", 0, 0, 1, 2, "a4", ROUTE_LISTED, "0=n1", NULL},
        {"the old process says goodbye", UNREGISTER, 2, "n1", 0, 0, 0, 1, NULL, 0, "0=n1", "a4"},
        {"somebody unknown too", UNREGISTER, 3, "n9", 0, 0, 0, 5, NULL, 0, "0=n1", "a4"},
        {"an administrator's connection is later", UNREGISTER, 3, "n1", 0, 0, 0, 5, NULL, 0, "gone", ""},
        {0},
    };

    (void)state;
    run(steps);
}

static void silence_removes_a_member_without_grace(void **state)
{
    static const struct step steps[] = {
        {"n1", REGISTER, 0, "n1", 0, 5, 1, 1, "a4", ROUTE_LISTED, NULL, NULL},
        {"n2", REGISTER, 0, "n2", 2, 5, 1, 2, "a4", ROUTE_LISTED, NULL, NULL},
        {"n2 is heard", TOUCH, 60000, "n2", 0, 0, 0, 0, NULL, 0, NULL, NULL},
        {"almost", TICK, TIMEOUT_MS - 1, NULL, 0, 0, 0, 0, NULL, 0, "0=n1 2=n2", NULL},
        {"n1 was not heard", TICK, TIMEOUT_MS, NULL, 0, 0, 0, 0, NULL, 0, "2=n2", "a4"},
        {"a heartbeat does not list", TOUCH, TIMEOUT_MS, "n1", 0, 0, 0, 0, NULL, 0, "2=n2", NULL},
        {"n2 neither", TICK, 60000 + TIMEOUT_MS, NULL, 0, 0, 0, 0, NULL, 0, "gone", ""},
        {0},
    };

    (void)state;
    run(steps);
}

static void taken_write_permission_stays_taken_until_it_is_given_back(void **state)
{
    static const struct step steps[] = {
        {"n1", REGISTER, 0, "n1", 0, 5, 1, 1, "a4 b4", ROUTE_LISTED, NULL, "a4 b4"},
        {"n2", REGISTER, 0, "n2", 2, 5, 1, 2, "a4 b4", ROUTE_LISTED, NULL, NULL},
        {"205", WIPE, 1, NULL, 0, 0, 0, 0, NULL, 0, NULL, "a4- b4-"},
        {"a changed table does not undo it", REGISTER, 2, "n1", 0, 5, 2, 1, "a5 c5", ROUTE_LISTED, NULL,
         "a5- b4- c5-"},
        {"nor does a new leader", REGISTER, 2, "n2", 0, 6, 2, 2, "a5", ROUTE_LISTED, "0=n2", "a5- b4- c5-"},
        {"327", ALLOW, 3, NULL, 0, 0, 0, 0, NULL, 0, NULL, "a5 b4 c5"},
        {0},
    };

    (void)state;
    run(steps);
}

static void what_cannot_be_listed_is_refused_with_its_reason(void **state)
{
    static char longest[ROUTE_NAME_MAX + 2];
    static const struct step steps[] = {
        {"no address", REFUSED, 0, "", 0, 0, 1, 1, "a4", 0, "gone", ""},
        {"an address too long", REFUSED, 0, longest, 0, 0, 1, 1, "a4", 0, "gone", ""},
        {"an address that Go would cut", REFUSED, 0, "n1,n2", 0, 0, 1, 1, "a4", 0, "gone", ""},
        {"a control character", REFUSED, 0, "n1\n", 0, 0, 1, 1, "a4", 0, "gone", ""},
        {"a DLedger broker before its first role", REFUSED, 0, "n1", -1, 0, 1, 1, "a4", 0, "gone", ""},
        {"an id beyond 32 bits", REFUSED, 0, "n1", 1ll << 31, 0, 1, 1, "a4", 0, "gone", ""},
        {"a topic with a bad name", REFUSED, 0, "n1", 0, 0, 1, 1, "a4 \x01", 0, "gone", ""},
        {0},
    };

    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    run(steps);
}

static void a_broker_name_has_a_limited_number_of_members(void **state)
{
    struct route_table *table;
    struct mq_buf why = {0};
    enum route_outcome outcome;
    char addr[16];

    (void)state;
    assert_int_equal(route_table_new(&RULES, &table), 0);
    for (int id = 0; id <= ROUTE_MEMBERS_MAX; id++) {
        struct step s = {.addr = addr, .id = id, .conn = 1, .counter = 1};

        snprintf(addr, sizeof(addr), "n%d", id);
        assert_int_equal(take(table, "b", &s, &outcome, &why), id < ROUTE_MEMBERS_MAX ? 0 : MQ_ETOOBIG);
    }
    assert_non_null(strstr((assert_int_equal(mq_buf_put_u8(&why, 0), 0), (const char *)why.base), "16 members"));
    mq_buf_free(&why);
    route_table_free(table);
}

static void a_broker_name_belongs_to_one_cluster(void **state)
{
    struct proto_topic_table topics = {0};
    struct route_registration reg = {
        .cluster = CLUSTER, .broker_name = MQ_STR("b"), .addr = MQ_STR("n1"), .conn = 1, .topics = &topics};
    struct route_table *table;
    struct mq_buf why = {0};
    enum route_outcome outcome;

    (void)state;
    assert_int_equal(route_table_new(&RULES, &table), 0);
    assert_int_equal(route_table_register(table, &reg, 0, &outcome, &why), 0);
    reg.cluster = MQ_STR("Other");
    reg.addr = MQ_STR("n2");
    assert_int_equal(route_table_register(table, &reg, 0, &outcome, &why), MQ_EEXIST);
    assert_string_equal(members_text(table, "b"), "0=n1");
    mq_buf_free(&why);
    route_table_free(table);
}

static void a_topic_on_two_broker_names_has_both_in_its_route(void **state)
{
    const struct step one = {.addr = "n1", .counter = 1, .conn = 1, .topics = "a4"};
    const struct step two = {.addr = "m1", .counter = 1, .conn = 2, .topics = "a8 z1"};
    struct proto_route route = {0};
    struct route_table *table;
    enum route_outcome outcome;

    (void)state;
    assert_int_equal(route_table_new(&RULES, &table), 0);
    assert_int_equal(take(table, "b", &one, &outcome, NULL), 0);
    assert_int_equal(take(table, "c", &two, &outcome, NULL), 0);
    assert_int_equal(route_table_route(table, MQ_STR("a"), (struct mq_str){0}, &route), 0);
    assert_int_equal(route.brokers.count, 2);
    assert_int_equal(route.queues.count, 2);
    assert_int_equal(route.queues.items[0].write_queues, 4);
    assert_int_equal(route.queues.items[1].write_queues, 8);
    proto_route_free(&route);

    route_table_disconnected(table, 1, 5);
    assert_int_equal(route_table_route(table, MQ_STR("a"), (struct mq_str){0}, &route), 0);
    assert_int_equal(route.brokers.count, 1);
    assert_true(mq_str_eq(route.queues.items[0].broker_name, MQ_STR("c")));
    proto_route_free(&route);
    route_table_free(table);
}

static void a_version_query_tells_who_has_to_register(void **state)
{
    const struct step step = {.addr = "n1", .term = 5, .counter = 3, .conn = 7, .topics = "a4"};
    const struct route_identity who = {CLUSTER, MQ_STR("b"), MQ_STR("n1")};
    const struct route_identity elsewhere = {MQ_STR("Other"), MQ_STR("b"), MQ_STR("n1")};
    struct proto_data_version same = {5, 1700000000000, 3}, other = {5, 1700000000000, 4}, stored;
    struct route_table *table;
    enum route_outcome outcome;
    bool has;

    (void)state;
    assert_int_equal(route_table_new(&RULES, &table), 0);
    assert_true(route_table_outdated(table, &who, 7, &same, 0, &stored, &has));
    assert_false(has);
    assert_int_equal(take(table, "b", &step, &outcome, NULL), 0);
    assert_false(route_table_outdated(table, &who, 7, &same, 0, &stored, &has));
    assert_true(has);
    assert_int_equal(stored.counter, 3);
    assert_true(route_table_outdated(table, &who, 7, &other, 0, &stored, &has));
    assert_true(route_table_outdated(table, &who, 8, &same, 0, &stored, &has)); /* not over this connection */
    assert_true(route_table_outdated(table, &elsewhere, 7, &same, 0, &stored, &has));
    route_table_free(table);
}

static void a_zone_hides_the_masters_of_other_zones(void **state)
{
    struct proto_topic_table topics = {0};
    struct route_registration reg = {.cluster = CLUSTER, .conn = 1, .topics = &topics};
    static const struct {
        struct mq_str broker, addr, zone;
        int64_t id;
    } brokers[] = {
        {MQ_STR("east"), MQ_STR("e1"), MQ_STR("East"), 0},
        {MQ_STR("west"), MQ_STR("w1"), MQ_STR("West"), 0},
        {MQ_STR("west-follower"), MQ_STR("w2"), MQ_STR("West"), 1},
    };
    struct proto_route route = {0};
    struct route_table *table;
    enum route_outcome outcome;

    (void)state;
    fill_topics(&topics, "a4");
    assert_int_equal(route_table_new(&RULES, &table), 0);
    for (size_t i = 0; i < ARRAY_SIZE(brokers); i++) {
        reg.broker_name = brokers[i].broker;
        reg.addr = brokers[i].addr;
        reg.zone = brokers[i].zone;
        reg.broker_id = brokers[i].id;
        reg.speaks_acting_master = true;
        assert_int_equal(route_table_register(table, &reg, 0, &outcome, NULL), 0);
    }
    assert_int_equal(route_table_route(table, MQ_STR("a"), MQ_STR("EAST"), &route), 0);
    assert_int_equal(route.brokers.count, 2);
    assert_int_equal(route.queues.count, 2);
    assert_true(mq_str_eq(route.brokers.items[0].name, MQ_STR("east")));
    assert_true(mq_str_eq(route.brokers.items[1].name, MQ_STR("west-follower")));
    proto_route_free(&route);
    proto_topic_configs_free(&topics.topics);
    route_table_free(table);
}

struct silent_list {
    uint64_t conns[4];
    uint32_t count;
};

static void on_silent(void *data, uint64_t conn)
{
    struct silent_list *list = data;

    list->conns[list->count++] = conn;
}

static void expiry_names_the_connections_to_close(void **state)
{
    const struct step one = {.addr = "n1", .conn = 11, .counter = 1};
    const struct step two = {.addr = "n2", .id = 1, .conn = 12, .counter = 1};
    struct silent_list list = {0};
    struct route_table *table;
    enum route_outcome outcome;

    (void)state;
    assert_int_equal(route_table_new(&RULES, &table), 0);
    assert_int_equal(take(table, "b", &one, &outcome, NULL), 0);
    assert_int_equal(take(table, "b", &two, &outcome, NULL), 0);
    route_table_disconnected(table, 11, 1); /* in its grace: nothing to close */
    route_table_expire(table, TIMEOUT_MS, on_silent, &list);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.conns[0], 12);
    assert_string_equal(members_text(table, "b"), "gone");
    route_table_free(table);
}

static void a_broker_may_name_its_own_timeout_within_limits(void **state)
{
    static const struct {
        uint64_t asked_ms, used_ms;
    } cases[] = {{0, TIMEOUT_MS}, {10000, 10000}, {1, ROUTE_TIMEOUT_MIN_MS}, {UINT64_MAX, ROUTE_TIMEOUT_MAX_MS}};
    struct proto_topic_table topics = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct route_registration reg = {.cluster = CLUSTER,
                                         .broker_name = MQ_STR("b"),
                                         .addr = MQ_STR("n1"),
                                         .timeout_ms = cases[i].asked_ms,
                                         .conn = 1,
                                         .topics = &topics};
        struct route_table *table;
        enum route_outcome outcome;

        assert_int_equal(route_table_new(&RULES, &table), 0);
        assert_int_equal(route_table_register(table, &reg, 100, &outcome, NULL), 0);
        route_table_expire(table, 100 + cases[i].used_ms - 1, NULL, NULL);
        assert_string_equal(members_text(table, "b"), "0=n1");
        route_table_expire(table, 100 + cases[i].used_ms, NULL, NULL);
        assert_string_equal(members_text(table, "b"), "gone");
        route_table_free(table);
    }
}

static void a_failed_allocation_lists_nothing(void **state)
{
    const struct step step = {.addr = "n1", .conn = 1, .counter = 1, .topics = "a4 b4"};

    (void)state;
    for (unsigned nth = 1;; nth++) {
        struct proto_topic_table topics = {0};
        struct route_registration reg = {.cluster = CLUSTER,
                                         .broker_name = MQ_STR("b"),
                                         .addr = MQ_STR("n1"),
                                         .zone = MQ_STR("z"),
                                         .conn = 1,
                                         .topics = &topics};
        struct route_table *table;
        enum route_outcome outcome;
        int rc;

        fill_topics(&topics, step.topics);
        assert_int_equal(route_table_new(&RULES, &table), 0);
        mq_heap_fail_at(nth);
        rc = route_table_register(table, &reg, 0, &outcome, NULL);
        mq_heap_fail_at(0);
        assert_string_equal(members_text(table, "b"), rc == 0 ? "0=n1" : "gone");
        assert_string_equal(topics_text(table), rc == 0 ? "a4 b4" : "");
        route_table_free(table);
        proto_topic_configs_free(&topics.topics);
        if (rc == 0) {
            assert_true(nth > 10);
            return;
        }
        assert_int_equal(rc, MQ_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lower_term_never_takes_id_0),
        cmocka_unit_test(id_0_stays_listed_for_a_while_after_its_connection_closed),
        cmocka_unit_test(a_role_switch_moves_the_member_to_its_new_id),
        cmocka_unit_test(an_older_data_version_does_not_undo_a_newer_one),
        cmocka_unit_test(a_whole_table_takes_the_deleted_topics_with_it),
        cmocka_unit_test(topics_come_from_id_0_and_stay_while_members_remain),
        cmocka_unit_test(an_unregistration_from_before_a_restart_is_ignored),
        cmocka_unit_test(silence_removes_a_member_without_grace),
        cmocka_unit_test(taken_write_permission_stays_taken_until_it_is_given_back),
        cmocka_unit_test(what_cannot_be_listed_is_refused_with_its_reason),
        cmocka_unit_test(a_broker_name_has_a_limited_number_of_members),
        cmocka_unit_test(a_broker_name_belongs_to_one_cluster),
        cmocka_unit_test(a_topic_on_two_broker_names_has_both_in_its_route),
        cmocka_unit_test(a_version_query_tells_who_has_to_register),
        cmocka_unit_test(a_zone_hides_the_masters_of_other_zones),
        cmocka_unit_test(expiry_names_the_connections_to_close),
        cmocka_unit_test(a_broker_may_name_its_own_timeout_within_limits),
        cmocka_unit_test(a_failed_allocation_lists_nothing),
    };

    mq_log_set_level(MQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
