/* POP on a one-member broker: messages that are handed out for a time, acknowledged, kept longer, or come again. */
#include "tests/unit/broker/lacking.h"
#include "tests/unit/broker/rig.h"

#include "broker/flow/flows.h"
#include "broker/flow/pop_hold.h"
#include "remoting/base/clock.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

#include <inttypes.h>
#include <stdio.h>

#define LONG "60000"

static struct rig rig;
static struct peer peer;

static void begin(void)
{
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "2"), RESP_SUCCESS);
}

static void end(void)
{
    peer_hang_up(&peer);
    rig_close(&rig);
}

static void put(const char *queue, const char *body, const char *properties)
{
    assert_int_equal(rig_send(&peer, "Orders", queue, body, properties, NULL), RESP_SUCCESS);
}

static void pop_start(struct peer *from, const char *queue, const char *most, const char *invisible, const char *poll,
                      const char *tags, struct answer *answer)
{
    peer_start(from, 200050,
               FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", queue}, {"maxMsgNums", most},
                      {"invisibleTime", invisible}, {"pollTime", poll}, {"bornTime", "0"}, {"initMode", "0"},
                      {"exp", tags}, {"expType", "TAG"}),
               MQ_STR(""), answer);
}

static int32_t pop(const char *queue, const char *most, const char *invisible, struct answer *answer)
{
    pop_start(&peer, queue, most, invisible, "0", "*", answer);
    rig_wait_flag(&rig, &answer->done);
    return answer->code;
}

static unsigned records_in(const struct answer *answer, struct proto_record *out, unsigned max)
{
    const uint8_t *at = answer->body.base, *stop = at + answer->body.len;
    unsigned n = 0;

    for (; at < stop; n++, at += mq_be32_load(at)) {
        assert_true(n < max);
        assert_int_equal(proto_record_decode(at, mq_be32_load(at), &out[n]), 0);
    }
    return n;
}

/* As stock clients make it from the answer; the first message of one queue. */
static void handle_of(const struct answer *answer, char out[256])
{
    unsigned flag, queue;
    uint64_t start, qoff;

    assert_int_equal(sscanf(answer_field(answer, "startOffsetInfo"), "%u %u %" SCNu64, &flag, &queue, &start), 3);
    assert_int_equal(sscanf(answer_field(answer, "msgOffsetInfo"), "%u %u %" SCNu64, &flag, &queue, &qoff), 3);
    snprintf(out, 256, "%" PRIu64 " %s %s %s %u broker-a %u %" PRIu64, start, answer_field(answer, "popTime"),
             answer_field(answer, "invisibleTime"), answer_field(answer, "reviveQid"), flag, queue, qoff);
}

static int32_t ack(const char *topic, const char *queue, const char *handle, const char *qoff)
{
    return peer_code(&peer, 200051,
                     FIELDS({"consumerGroup", "CG"}, {"topic", topic}, {"queueId", queue}, {"extraInfo", handle},
                            {"offset", qoff}),
                     MQ_STR(""));
}

static uint32_t open_checks(void)
{
    return rig.ctx->state->pops.count;
}

static void what_was_popped_is_nobodys_until_it_is_acknowledged_or_its_time_is_over(void **state)
{
    struct answer answer = {0};
    struct proto_record rec[4];
    char handle[256];

    (void)state;
    begin();
    put("0", "one", "TAGS\001red\002");
    put("0", "two", "TAGS\001blue\002");
    assert_int_equal(pop("0", "1", LONG, &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer, rec, 4), 1);
    assert_true(mq_str_eq(rec[0].body, MQ_STR("one")));
    assert_int_equal(answer_number(&answer, "restNum"), 1);
    handle_of(&answer, handle);
    assert_int_equal(pop("-1", "32", LONG, &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer, rec, 4), 1);
    assert_true(mq_str_eq(rec[0].body, MQ_STR("two")));
    assert_int_equal(pop("-1", "32", LONG, &answer), 210);
    assert_int_equal(open_checks(), 2);
    assert_int_equal(ack("Orders", "0", handle, "0"), RESP_SUCCESS);
    assert_int_equal(open_checks(), 1);
    assert_int_equal(ack("Orders", "0", handle, "0"), RESP_SUCCESS); /* twice is no error */
    assert_int_equal(state_hash(rig.ctx->state), state_recount(rig.ctx->state));
    answer_free(&answer);
    end();
}

static bool is_revived(void *data)
{
    (void)data;
    return open_checks() == 0;
}

static void what_nobody_acknowledged_comes_again_with_its_handle(void **state)
{
    struct answer answer = {0};
    struct proto_record rec[4];
    struct mq_str handle;
    char text[256], qoff[24];

    (void)state;
    begin();
    put("1", "again", "TAGS\001red\002KEYS\001k\002");
    assert_int_equal(pop("-1", "8", "20", &answer), RESP_SUCCESS);
    rig_wait(&rig, is_revived, NULL);
    assert_int_equal(pop("-1", "8", "20", &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer, rec, 4), 1);
    assert_true(mq_str_eq(rec[0].body, MQ_STR("again")));
    assert_true(mq_str_eq(rec[0].topic, MQ_STR("Orders")));
    assert_int_equal(rec[0].reconsume_times, 1);
    assert_true(proto_properties_get(rec[0].properties, PROTO_PROP_FIRST_POP_TIME).len != 0);
    assert_true(mq_str_eq(proto_properties_get(rec[0].properties, PROTO_PROP_KEYS), MQ_STR("k")));
    handle = proto_properties_get(rec[0].properties, PROTO_PROP_POP_CK);
    snprintf(text, sizeof(text), MQ_STR_FMT, MQ_STR_ARG(handle));
    print_message("%s\n", text);
    assert_non_null(strstr(text, " 1 golden-a 0 0"));
    rig_wait(&rig, is_revived, NULL);
    assert_int_equal(pop("-1", "8", LONG, &answer), RESP_SUCCESS); /* and again */
    assert_int_equal(records_in(&answer, rec, 4), 1);
    assert_int_equal(rec[0].reconsume_times, 2);
    handle = proto_properties_get(rec[0].properties, PROTO_PROP_POP_CK);
    snprintf(text, sizeof(text), MQ_STR_FMT, MQ_STR_ARG(handle));
    snprintf(qoff, sizeof(qoff), "%" PRId64, rec[0].qoff);
    assert_int_equal(ack("%RETRY%CG_Orders", "0", text, qoff), RESP_SUCCESS);
    assert_int_equal(open_checks(), 0);
    assert_int_equal(pop("-1", "8", LONG, &answer), 210);
    answer_free(&answer);
    end();
}

static void a_message_may_be_kept_longer_and_the_old_handle_is_dead(void **state)
{
    struct answer answer = {0}, changed = {0};
    char handle[256], renewed[300];

    (void)state;
    begin();
    put("0", "one", "");
    assert_int_equal(pop("0", "1", LONG, &answer), RESP_SUCCESS);
    handle_of(&answer, handle);
    assert_int_equal(peer_ask(&peer, 200053,
                              FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"},
                                     {"extraInfo", handle}, {"offset", "0"}, {"invisibleTime", "50000"}),
                              MQ_STR(""), &changed),
                     RESP_SUCCESS);
    assert_int_equal(answer_number(&changed, "invisibleTime"), 50000);
    snprintf(renewed, sizeof(renewed), "0 %s 50000 %s 0 broker-a 0 0", answer_field(&changed, "popTime"),
             answer_field(&changed, "reviveQid"));
    assert_int_equal(ack("Orders", "0", handle, "0"), RESP_SUCCESS);
    assert_int_equal(open_checks(), 1); /* the old handle says nothing any more */
    assert_int_equal(peer_ask(&peer, 200053,
                              FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"},
                                     {"extraInfo", handle}, {"offset", "0"}, {"invisibleTime", "50000"}),
                              MQ_STR(""), &changed),
                     RESP_NO_MESSAGE);
    assert_int_equal(ack("Orders", "0", renewed, "0"), RESP_SUCCESS);
    assert_int_equal(open_checks(), 0);
    answer_free(&answer);
    answer_free(&changed);
    end();
}

static void many_are_acknowledged_at_once(void **state)
{
    struct answer answer = {0};
    struct proto_record rec[8];
    char body[512];

    (void)state;
    begin();
    for (int i = 0; i < 5; i++) {
        put("0", "x", "");
    }
    assert_int_equal(pop("0", "8", LONG, &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer, rec, 8), 5);
    /* bits 0 to 3, then bit 4: Dw== and EA== */
    for (int i = 0; i < 2; i++) {
        snprintf(body, sizeof(body),
                 "{\"brokerName\":\"broker-a\",\"acks\":[{\"c\":\"CG\",\"t\":\"Orders\",\"r\":\"0\",\"so\":0,\"q\":0,"
                 "\"rq\":1,\"pt\":%s,\"it\":60000,\"b\":\"%s\"}]}",
                 answer_field(&answer, "popTime"), i == 0 ? "Dw==" : "EA==");
        assert_int_equal(peer_code(&peer, 200151, NO_FIELDS, mq_str_of(body)), RESP_SUCCESS);
        assert_int_equal(open_checks(), i == 0 ? 1 : 0);
    }
    assert_int_equal(peer_code(&peer, 200151, NO_FIELDS, MQ_STR("{\"acks\":[]}")), RESP_NO_MESSAGE);
    assert_int_equal(peer_code(&peer, 200151, NO_FIELDS, MQ_STR("{\"acks\":")), RESP_SYSTEM_ERROR);
    assert_int_equal(peer_code(&peer, 200151, NO_FIELDS, MQ_STR("")), RESP_SYSTEM_ERROR);
    answer_free(&answer);
    end();
}

static void a_pop_waits_for_a_message_and_each_gets_another_one(void **state)
{
    struct answer one = {0}, two = {0};
    struct proto_record a[2], b[2];
    struct peer other;

    (void)state;
    begin();
    peer_dial(&rig, &other, PROTO_JSON); /* the binary form has no room for such codes */
    pop_start(&peer, "-1", "1", LONG, "15000", "*", &one);
    pop_start(&other, "-1", "1", LONG, "15000", "red", &two);
    peer_sync(&peer);
    peer_sync(&other);
    assert_false(one.done);
    assert_false(two.done);
    assert_int_equal(rig_send(&peer, "Orders", "1", "blue one", "TAGS\001blue\002", NULL), RESP_SUCCESS);
    rig_wait_flag(&rig, &one.done);
    assert_int_equal(one.code, RESP_SUCCESS);
    assert_int_equal(records_in(&one, a, 2), 1);
    assert_int_equal(rig_send(&peer, "Orders", "0", "red one", "TAGS\001red\002", NULL), RESP_SUCCESS);
    rig_wait_flag(&rig, &two.done);
    assert_int_equal(two.code, RESP_SUCCESS);
    assert_int_equal(records_in(&two, b, 2), 1);
    assert_true(mq_str_eq(b[0].body, MQ_STR("red one")));
    assert_int_equal(open_checks(), 2);
    peer_hang_up(&other);
    answer_free(&one);
    answer_free(&two);
    end();
}

static void pops_at_the_same_time_share_nothing(void **state)
{
    struct answer answers[6] = {{0}};
    bool seen[24] = {false};
    unsigned total = 0;

    (void)state;
    begin();
    for (int i = 0; i < 24; i++) {
        char body[8];

        snprintf(body, sizeof(body), "%d", i);
        put(i % 2 == 0 ? "0" : "1", body, "");
    }
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        pop_start(&peer, "-1", "5", LONG, "0", "*", &answers[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        struct proto_record rec[8];
        unsigned n;

        rig_wait_flag(&rig, &answers[i].done);
        n = answers[i].code == RESP_SUCCESS ? records_in(&answers[i], rec, 8) : 0;
        for (unsigned k = 0; k < n; k++) {
            int number = atoi(rec[k].body.at);

            assert_false(seen[number]);
            seen[number] = true;
            total++;
        }
        answer_free(&answers[i]);
    }
    assert_int_equal(total, 24);
    end();
}

static void check_points_outlive_a_restart(void **state)
{
    struct answer answer = {0};
    struct proto_record rec[4];
    char handle[256];

    (void)state;
    begin();
    put("0", "one", "");
    put("0", "two", "");
    assert_int_equal(pop("0", "1", LONG, &answer), RESP_SUCCESS);
    handle_of(&answer, handle);
    peer_hang_up(&peer);
    rig_reopen(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(open_checks(), 1);
    assert_int_equal(pop("0", "8", LONG, &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer, rec, 4), 1);
    assert_true(mq_str_eq(rec[0].body, MQ_STR("two")));
    assert_int_equal(ack("Orders", "0", handle, "0"), RESP_SUCCESS);
    assert_int_equal(open_checks(), 1);
    assert_int_equal(state_hash(rig.ctx->state), state_recount(rig.ctx->state));
    answer_free(&answer);
    end();
}

static void what_does_not_match_is_passed_over_for_good(void **state)
{
    struct answer answer = {0};

    (void)state;
    begin();
    for (int i = 0; i < 10; i++) {
        put("0", "x", "TAGS\001blue\002");
    }
    pop_start(&peer, "0", "4", LONG, "0", "red", &answer);
    rig_wait_flag(&rig, &answer.done);
    assert_int_equal(answer.code, 210);
    assert_int_equal(offset_table_get(&rig.ctx->state->offsets, MQ_STR("CG"), MQ_STR("Orders"), 0), 10);
    assert_int_equal(open_checks(), 0);
    answer_free(&answer);
    end();
}

static void what_cannot_be_is_refused_and_hides_nothing(void **state)
{
    static const struct {
        const char *why, *topic, *queue, *most, *invisible, *type, *exp;
        int32_t code;
    } cases[] = {
        {"too many", "Orders", "0", "33", LONG, "TAG", "*", RESP_INVALID_PARAMETER},
        {"none", "Orders", "0", "0", LONG, "TAG", "*", RESP_INVALID_PARAMETER},
        {"a queue that is not there", "Orders", "2", "1", LONG, "TAG", "*", RESP_INVALID_PARAMETER},
        {"a negative queue", "Orders", "-2", "1", LONG, "TAG", "*", RESP_INVALID_PARAMETER},
        {"no time", "Orders", "0", "1", "0", "TAG", "*", RESP_INVALID_PARAMETER},
        {"too much time", "Orders", "0", "1", "999999999999", "TAG", "*", RESP_INVALID_PARAMETER},
        {"an unknown topic", "Nothing", "0", "1", LONG, "TAG", "*", RESP_TOPIC_NOT_EXIST},
        {"no number", "Orders", "x", "1", LONG, "TAG", "*", RESP_SYSTEM_ERROR},
        {"an expression that is none", "Orders", "0", "1", LONG, "SQL92", "a >", RESP_SUBSCRIPTION_PARSE_FAILED},
        {"another kind of expression", "Orders", "0", "1", LONG, "LUA", "a", RESP_SUBSCRIPTION_PARSE_FAILED},
    };

    (void)state;
    begin();
    put("0", "one", "");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(
            peer_code(&peer, 200050,
                      FIELDS({"consumerGroup", "CG"}, {"topic", cases[i].topic}, {"queueId", cases[i].queue},
                             {"maxMsgNums", cases[i].most}, {"invisibleTime", cases[i].invisible}, {"pollTime", "0"},
                             {"bornTime", "0"}, {"initMode", "0"}, {"exp", cases[i].exp}, {"expType", cases[i].type}),
                      MQ_STR("")),
            cases[i].code);
    }
    assert_int_equal(open_checks(), 0);
    assert_int_equal(ack("Nothing", "0", "0 1 2 3 0 b 0 0", "0"), RESP_TOPIC_NOT_EXIST);
    assert_int_equal(ack("Orders", "7", "0 1 2 3 0 b 0 0", "0"), RESP_MESSAGE_ILLEGAL);
    assert_int_equal(ack("Orders", "0", "0 1 2 3 0 b 0 0", "5"), RESP_NO_MESSAGE);
    assert_int_equal(ack("Orders", "0", "0 1 2 3 0", "0"), RESP_SYSTEM_ERROR);
    assert_int_equal(ack("Orders", "0", "a 1 2 3 0 b 0 0", "0"), RESP_SYSTEM_ERROR);
    assert_int_equal(ack("Orders", "0", "0 1 2 3 0 b 0 0", "0"), RESP_SUCCESS); /* nothing is there to acknowledge */
    end();
}

/* Their offsets lie farther apart than a check point has messages. */
static void messages_far_apart_are_acknowledged_at_once(void **state)
{
    struct answer answer = {0};
    char body[512];

    (void)state;
    begin();
    for (int i = 0; i < 42; i++) {
        put("0", "x", i == 0 || i == 41 ? "TAGS\001red\002" : "TAGS\001blue\002");
    }
    pop_start(&peer, "0", "8", LONG, "0", "red", &answer);
    rig_wait_flag(&rig, &answer.done);
    assert_string_equal(answer_field(&answer, "msgOffsetInfo"), "0 0 0,41");
    /* bits 0 and 41 */
    snprintf(body, sizeof(body),
             "{\"acks\":[{\"c\":\"CG\",\"t\":\"Orders\",\"r\":\"0\",\"so\":0,\"q\":0,\"rq\":1,\"pt\":%s,\"it\":60000,"
             "\"b\":\"AQAAAAAC\"}]}",
             answer_field(&answer, "popTime"));
    assert_int_equal(peer_code(&peer, 200151, NO_FIELDS, mq_str_of(body)), RESP_SUCCESS);
    assert_int_equal(open_checks(), 0);
    answer_free(&answer);
    end();
}

/* A pop that waits, and its client goes: the message is the next one's. */
static void nothing_is_handed_to_who_is_gone(void **state)
{
    struct answer answer = {0}, nobody = {0};
    struct peer gone;

    (void)state;
    begin();
    peer_dial(&rig, &gone, PROTO_JSON);
    pop_start(&gone, "0", "8", LONG, "60000", "*", &nobody);
    peer_sync(&gone);
    pop_start(&peer, "0", "8", LONG, "60000", "*", &answer);
    peer_sync(&peer);
    peer_hang_up(&gone);
    while (pop_hold_count(rig.ctx->pop_hold, topic_table_find(&rig.ctx->state->topics, MQ_STR("Orders"))->queues,
                          MQ_STR("CG"), 0) != 2) {
        peer_sync(&peer);
    }
    put("0", "x", "");
    rig_wait_flag(&rig, &answer.done);
    assert_int_equal(answer.code, RESP_SUCCESS);
    answer_free(&answer);
    answer_free(&nobody);
    end();
}

/* The second look begins where the first one ended, and takes nothing of what an earlier leadership left. */
static void another_leadership_forgets_who_was_taking(void **state)
{
    struct answer answer = {0};
    struct pop_table *pops;
    struct pop_queue *queue;
    int64_t far = mq_clock_wall_ms() + 3600000;

    (void)state;
    begin();
    put("0", "x", "");
    assert_int_equal(pop("0", "8", LONG, &answer), RESP_SUCCESS);
    pops = &rig.ctx->state->pops;
    queue = pop_table_queue(pops, MQ_STR("CG"), MQ_STR("Orders"), 0);
    queue->taking = 3;
    queue->taken = 100;
    pops->by_key->key.pop_ms = far; /* of a leader whose clock was ahead */
    pop_revive_lead(&rig.ctx->flows->pop_revive);
    assert_int_equal(queue->taking, 0);
    assert_true(pop_table_next_ms(pops, mq_clock_wall_ms()) == far + 1);
    pops->by_key->key.pop_ms = answer_number(&answer, "popTime");
    put("0", "y", "");
    assert_int_equal(pop("0", "8", LONG, &answer), RESP_SUCCESS);
    assert_true(pops->by_key->until_ms <= mq_clock_wall_ms() + 60000);
    answer_free(&answer);
    end();
}

/* Once it is on its way back its handle is over, and what was acknowledged before does not come. */
static void who_is_late_changes_nothing(void **state)
{
    struct answer answer = {0};
    struct proto_record rec[8];
    struct pop_check *check;
    char handle[256];

    (void)state;
    begin();
    for (int i = 0; i < 2; i++) {
        put("0", i == 0 ? "one" : "two", "");
    }
    assert_int_equal(pop("0", "8", LONG, &answer), RESP_SUCCESS);
    handle_of(&answer, handle);
    assert_int_equal(ack("Orders", "0", handle, "0"), RESP_SUCCESS);
    check = rig.ctx->state->pops.by_key;
    pop_table_set_reviving(&rig.ctx->state->pops, check, true);
    assert_int_equal(ack("Orders", "0", handle, "1"), RESP_SUCCESS);
    assert_int_equal(check->acked, 1);
    pop_table_set_reviving(&rig.ctx->state->pops, check, false);
    assert_int_equal(pop_revive_release_below(&rig.ctx->flows->pop_revive, UINT64_MAX), MQ_EAGAIN);
    rig_wait(&rig, is_revived, NULL);
    assert_int_equal(pop("-1", "8", LONG, &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer, rec, 8), 1);
    assert_true(mq_str_eq(rec[0].body, MQ_STR("two")));
    answer_free(&answer);
    end();
}

static struct queue *queue_zero(void)
{
    return topic_queues_find(topic_table_find(&rig.ctx->state->topics, MQ_STR("Orders"))->queues, 0);
}

static int64_t offset_of_group(void)
{
    return offset_table_get(&rig.ctx->state->offsets, MQ_STR("CG"), MQ_STR("Orders"), 0);
}

/* A message to queue 0 whose stored properties have so many bytes as a record can have. */
static void put_full(const char *body)
{
    char *properties = mq_malloc(PROTO_PROPERTIES_MAX + 8);
    struct answer answer = {0};
    struct proto_record rec[1];
    int n = snprintf(properties, 8, "big\001");
    size_t own, fill;

    put("1", "how much is the broker's own", "big\001x\002");
    assert_int_equal(rig_pull(&peer, "Orders", "1", "0", NULL, &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer, rec, 1), 1);
    own = rec[0].properties.len - 1;
    fill = PROTO_PROPERTIES_MAX - own;
    memset(properties + n, 'x', fill);
    memcpy(properties + n + fill, "\002", 2);
    put("0", body, properties);
    answer_free(&answer);
    mq_free(properties);
}

static void a_message_with_full_properties_comes_again_and_holds_up_nobody(void **state)
{
    struct answer answer = {0};
    struct proto_record rec[4];

    (void)state;
    begin();
    put_full("full");
    put("0", "other", "");
    assert_int_equal(pop("0", "1", "1", &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer, rec, 4), 1);
    assert_int_equal(rec[0].properties.len, PROTO_PROPERTIES_MAX);
    assert_int_equal(pop("0", "1", "20", &answer), RESP_SUCCESS);
    rig_wait(&rig, is_revived, NULL);
    assert_int_equal(pop("0", "8", LONG, &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer, rec, 4), 2);
    assert_true(mq_str_eq(rec[0].body, MQ_STR("full")));
    assert_true(mq_str_eq(rec[0].topic, MQ_STR("%RETRY%CG_Orders"))); /* no room for a handle of its own */
    assert_true(mq_str_eq(rec[1].body, MQ_STR("other")));
    assert_true(mq_str_eq(rec[1].topic, MQ_STR("Orders")));
    answer_free(&answer);
    end();
}

static void a_leader_that_lacks_older_messages_passes_over_none(void **state)
{
    struct answer answer = {0};
    struct proto_record rec[4];

    (void)state;
    begin();
    put("0", "one", "");
    put("0", "two", "");
    lacking_set(rig.ctx->log, true);
    queue_zero()->cq.min = 1;
    assert_int_equal(pop("0", "8", LONG, &answer), 210);
    assert_int_equal(offset_of_group(), -1);
    lacking_set(rig.ctx->log, false);
    queue_zero()->cq.min = 0;
    assert_int_equal(pop("0", "8", LONG, &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer, rec, 4), 2);
    answer_free(&answer);
    end();
}

static bool is_put_off(void *data)
{
    const struct pop_check *check = rig.ctx->state->pops.by_key;

    (void)data;
    lacking_set(rig.ctx->log, true); /* the log itself knows better, now and then */
    return check == NULL || (!check->reviving && check->due.at_ms > check->until_ms);
}

static void what_cannot_be_read_here_is_not_given_up(void **state)
{
    struct answer answer = {0};

    (void)state;
    begin();
    put("0", "one", "");
    put("0", "two", "");
    assert_int_equal(pop("0", "1", "1000", &answer), RESP_SUCCESS);
    lacking_set(rig.ctx->log, true);
    queue_zero()->cq.min = 1;
    rig_wait(&rig, is_put_off, NULL);
    assert_int_equal(open_checks(), 1);
    lacking_set(rig.ctx->log, false);
    queue_zero()->cq.min = 0;
    rig_wait(&rig, is_revived, NULL);
    assert_int_equal(rig.ctx->flows->pop_revive.revived, 1);
    answer_free(&answer);
    end();
}

static void a_pop_behind_a_deletion_takes_nothing_of_the_next_life(void **state)
{
    struct answer deleted = {0}, answer = {0};

    (void)state;
    begin();
    put("0", "one", "");
    peer_start(&peer, REQ_DELETE_TOPIC_IN_BROKER, FIELDS({"topic", "Orders"}), MQ_STR(""), &deleted);
    pop_start(&peer, "0", "8", LONG, "0", "*", &answer);
    rig_wait_flag(&rig, &answer.done);
    rig_wait_flag(&rig, &deleted.done);
    assert_int_equal(deleted.code, RESP_SUCCESS);
    assert_int_not_equal(answer.code, RESP_SUCCESS);
    assert_int_equal(open_checks(), 0);
    assert_int_equal(offset_of_group(), -1);
    answer_free(&deleted);
    answer_free(&answer);
    end();
}

static void names_that_a_retry_topic_has_no_room_for_are_refused(void **state)
{
    static const struct {
        size_t bytes;
        int32_t code;
    } groups[] = {{120, RESP_SUCCESS}, {121, RESP_INVALID_PARAMETER}}; /* %RETRY%, group, _ and topic: 255, 256 */
    char topic[128], group[128];

    (void)state;
    begin();
    memset(topic, 't', sizeof(topic) - 1);
    topic[sizeof(topic) - 1] = '\0';
    assert_int_equal(rig_topic(&peer, topic, "1"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, topic, "0", "one", "", NULL), RESP_SUCCESS);
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        memset(group, 'g', groups[i].bytes);
        group[groups[i].bytes] = '\0';
        assert_int_equal(peer_code(&peer, 200050,
                                   FIELDS({"consumerGroup", group}, {"topic", topic}, {"queueId", "0"},
                                          {"maxMsgNums", "1"}, {"invisibleTime", LONG}, {"pollTime", "0"},
                                          {"bornTime", "0"}, {"initMode", "0"}, {"exp", "*"}, {"expType", "TAG"}),
                                   MQ_STR("")),
                         groups[i].code);
    }
    end();
}

static void times_that_no_clock_shows_are_bounded(void **state)
{
    static const struct {
        const char *why, *born, *poll;
        int32_t code;
    } cases[] = {
        {"born before all time", "-9223372036854775808", "0", RESP_POLLING_TIMEOUT},
        {"and waits for ever", "-9223372036854775808", "9223372036854775807", RESP_POLLING_TIMEOUT},
        {"waits less than nothing", "1", "-9223372036854775808", RESP_POLLING_TIMEOUT},
        {"born behind all time", "9223372036854775807", "-9223372036854775808", RESP_SUCCESS},
    };

    (void)state;
    begin();
    put("0", "one", "");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(
            peer_code(&peer, 200050,
                      FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"}, {"maxMsgNums", "1"},
                             {"invisibleTime", LONG}, {"pollTime", cases[i].poll}, {"bornTime", cases[i].born},
                             {"initMode", "0"}, {"exp", "*"}, {"expType", "TAG"}),
                      MQ_STR("")),
            cases[i].code);
    }
    end();
}

static void pops_over_the_bound_of_check_points_are_told_of_it(void **state)
{
    static const char *const few[] = {"raftmqPopCheckPointsMax=1", NULL};
    struct answer answer = {0};

    (void)state;
    begin();
    put("0", "a", "");
    put("1", "b", "");
    peer_hang_up(&peer);
    rig_reopen(&rig, few);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(pop("0", "1", LONG, &answer), RESP_SUCCESS);
    assert_int_equal(pop("1", "1", LONG, &answer), RESP_POLLING_FULL);
    assert_non_null(strstr(answer_remark(&answer), "raftmqPopCheckPointsMax: 1 check points are open, at most 1"));
    answer_free(&answer);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_popped_is_nobodys_until_it_is_acknowledged_or_its_time_is_over),
        cmocka_unit_test(what_nobody_acknowledged_comes_again_with_its_handle),
        cmocka_unit_test(a_message_may_be_kept_longer_and_the_old_handle_is_dead),
        cmocka_unit_test(many_are_acknowledged_at_once),
        cmocka_unit_test(a_pop_waits_for_a_message_and_each_gets_another_one),
        cmocka_unit_test(pops_at_the_same_time_share_nothing),
        cmocka_unit_test(check_points_outlive_a_restart),
        cmocka_unit_test(what_does_not_match_is_passed_over_for_good),
        cmocka_unit_test(messages_far_apart_are_acknowledged_at_once),
        cmocka_unit_test(nothing_is_handed_to_who_is_gone),
        cmocka_unit_test(another_leadership_forgets_who_was_taking),
        cmocka_unit_test(who_is_late_changes_nothing),
        cmocka_unit_test(what_cannot_be_is_refused_and_hides_nothing),
        cmocka_unit_test(a_message_with_full_properties_comes_again_and_holds_up_nobody),
        cmocka_unit_test(a_leader_that_lacks_older_messages_passes_over_none),
        cmocka_unit_test(what_cannot_be_read_here_is_not_given_up),
        cmocka_unit_test(a_pop_behind_a_deletion_takes_nothing_of_the_next_life),
        cmocka_unit_test(pops_over_the_bound_of_check_points_are_told_of_it),
        cmocka_unit_test(times_that_no_clock_shows_are_bounded),
        cmocka_unit_test(names_that_a_retry_topic_has_no_room_for_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
