/* Transactions on a one-member broker: half messages that nobody sees until they are committed, ends of all kinds,
 * and producers that are asked. */
#include "tests/unit/broker/rig.h"

#include "broker/flow/flows.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig;
static struct peer peer;

static const char *const quick[] = {"transactionTimeOut=1", "transactionCheckInterval=30", "transactionCheckMax=3",
                                    NULL};

static void begin(const char *const *overrides)
{
    rig_open(&rig, overrides);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
}

static void end(void)
{
    peer_hang_up(&peer);
    rig_close(&rig);
}

struct prepared {
    char pos[24], qoff[24], id[64];
};

/* A half message to queue 2. */
static void prepare(const char *body, struct prepared *out)
{
    struct answer answer = {0};
    struct proto_host host;
    int64_t pos;

    assert_int_equal(rig_send(&peer, "Orders", "2", body,
                              "TRAN_MSG\001true\002PGROUP\001PG\002UNIQ_KEY\001KEY\002TAGS\001red\002", &answer),
                     RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "queueId"), 2);
    assert_string_equal(answer_field(&answer, "transactionId"), "KEY");
    assert_int_equal(proto_offset_msg_id_parse(mq_str_of(answer_field(&answer, "msgId")), &host, &pos), 0);
    snprintf(out->pos, sizeof(out->pos), "%" PRId64, pos);
    snprintf(out->qoff, sizeof(out->qoff), "%s", answer_field(&answer, "queueOffset"));
    answer_free(&answer);
}

static int32_t finish(const struct prepared *p, const char *how, struct answer *answer)
{
    return peer_ask(&peer, REQ_END_TRANSACTION,
                    FIELDS({"producerGroup", "PG"}, {"tranStateTableOffset", p->qoff}, {"commitLogOffset", p->pos},
                           {"commitOrRollback", how}, {"msgId", "KEY"}, {"transactionId", "KEY"}),
                    MQ_STR(""), answer);
}

static uint64_t end_of_queue(void)
{
    struct topic *topic = topic_table_find(&rig.ctx->state->topics, MQ_STR("Orders"));
    struct queue *queue = topic_queues_find(topic->queues, 2);

    return queue != NULL ? queue->cq.max : 0;
}

static uint32_t open_now(void)
{
    return rig.ctx->state->halves.count;
}

static void a_half_message_is_seen_once_it_is_committed_and_as_it_was_sent(void **state)
{
    struct answer answer = {0};
    struct prepared p;
    struct proto_record rec;
    const uint8_t *at;

    (void)state;
    begin(NULL);
    prepare("money", &p);
    assert_int_equal(open_now(), 1);
    assert_int_equal(end_of_queue(), 0);
    assert_int_equal(finish(&p, "8", &answer), RESP_SUCCESS);
    assert_int_equal(open_now(), 0);
    assert_int_equal(rig_pull(&peer, "Orders", "2", "0", NULL, &answer), RESP_SUCCESS);
    at = answer.body.base;
    assert_int_equal(proto_record_decode(at, mq_be32_load(at), &rec), 0);
    assert_true(mq_str_eq(rec.body, MQ_STR("money")));
    assert_int_equal(rec.sys_flag & PROTO_SYS_TRANSACTION_MASK, 8);
    assert_int_equal(rec.prepared_pos, strtoll(p.pos, NULL, 10));
    assert_true(mq_str_eq(proto_properties_get(rec.properties, PROTO_PROP_TAGS), MQ_STR("red")));
    assert_true(mq_str_eq(proto_properties_get(rec.properties, PROTO_PROP_REAL_TOPIC), MQ_STR("Orders")));
    assert_true(mq_str_eq(proto_properties_get(rec.properties, PROTO_PROP_TRANSACTION_ID), MQ_STR("KEY")));
    answer_free(&answer);
    end();
}

static void a_transaction_ends_once(void **state)
{
    static const struct {
        const char *first, *second;
        uint64_t seen;
    } cases[] = {{"8", "8", 1}, {"8", "12", 1}, {"12", "8", 0}, {"12", "12", 0}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer one = {0}, two = {0};
        struct prepared p;

        begin(NULL);
        prepare("x", &p);
        /* Both under way at the same time, then once more when it is over. */
        peer_start(&peer, REQ_END_TRANSACTION,
                   FIELDS({"producerGroup", "PG"}, {"tranStateTableOffset", p.qoff}, {"commitLogOffset", p.pos},
                          {"commitOrRollback", cases[i].first}, {"msgId", "KEY"}),
                   MQ_STR(""), &one);
        assert_int_equal(finish(&p, cases[i].second, &two), RESP_SYSTEM_ERROR);
        rig_wait_flag(&rig, &one.done);
        assert_int_equal(one.code, RESP_SUCCESS);
        assert_int_equal(finish(&p, cases[i].second, &two), RESP_SYSTEM_ERROR);
        assert_non_null(strstr(answer_remark(&two), "no open transaction"));
        assert_int_equal(end_of_queue(), cases[i].seen);
        answer_free(&one);
        answer_free(&two);
        end();
    }
}

static void an_end_that_does_not_fit_is_refused_and_changes_nothing(void **state)
{
    struct prepared p;
    struct answer answer = {0};
    static const struct {
        const char *why, *group, *qoff, *pos, *how;
        const char *remark;
    } cases[] = {
        {"another group", "other", NULL, NULL, "8", "is of group"},
        {"another queue offset", "PG", "77", NULL, "8", "tranStateTableOffset 77"},
        {"another position", "PG", NULL, "1", "8", "no open transaction"},
        {"a negative position", "PG", NULL, "-1", "8", "no open transaction"},
        {"neither commit nor rollback", "PG", NULL, NULL, "4", "commitOrRollback 4"},
        {"no number", "PG", NULL, "x", "8", "commitLogOffset"},
        {"no decision", "PG", NULL, NULL, NULL, "commitOrRollback"},
    };

    (void)state;
    begin(NULL);
    prepare("x", &p);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct pair fields[] = {
            {"producerGroup", cases[i].group},
            {"tranStateTableOffset", cases[i].qoff != NULL ? cases[i].qoff : p.qoff},
            {"commitLogOffset", cases[i].pos != NULL ? cases[i].pos : p.pos},
            {"msgId", "KEY"},
            {cases[i].how != NULL ? "commitOrRollback" : "nothing", cases[i].how != NULL ? cases[i].how : "0"},
            {NULL, NULL}};

        print_message("%s\n", cases[i].why);
        assert_int_equal(peer_ask(&peer, REQ_END_TRANSACTION, fields, MQ_STR(""), &answer), RESP_SYSTEM_ERROR);
        assert_non_null(strstr(answer_remark(&answer), cases[i].remark));
    }
    assert_int_equal(open_now(), 1);
    assert_int_equal(finish(&p, "0", &answer), RESP_SUCCESS); /* not known yet */
    assert_int_equal(open_now(), 1);
    assert_int_equal(end_of_queue(), 0);
    answer_free(&answer);
    end();
}

static void what_cannot_be_a_transaction_is_refused_and_stored_nowhere(void **state)
{
    static const struct {
        const char *why, *properties;
        int32_t code;
    } cases[] = {
        {"without a group", "TRAN_MSG\001true\002", RESP_MESSAGE_ILLEGAL},
        {"with a delay", "TRAN_MSG\001true\002PGROUP\001PG\002DELAY\0013\002", RESP_MESSAGE_ILLEGAL},
        {"with a timer", "TRAN_MSG\001true\002PGROUP\001PG\002TIMER_DELAY_SEC\0013\002", RESP_MESSAGE_ILLEGAL},
    };
    struct answer answer = {0};

    (void)state;
    begin(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(rig_send(&peer, "Orders", "2", "x", cases[i].properties, &answer), cases[i].code);
    }
    assert_int_equal(rig.ctx->store->messages, 0);
    answer_free(&answer);
    end();
    begin((const char *const[]){"rejectTransactionMessage=true", NULL});
    assert_int_equal(rig_send(&peer, "Orders", "2", "x", "TRAN_MSG\001true\002PGROUP\001PG\002", &answer),
                     RESP_NO_PERMISSION);
    answer_free(&answer);
    end();
}

static bool was_asked(void *data)
{
    return peer.requests >= *(const uint32_t *)data && peer.last_request == REQ_CHECK_TRANSACTION_STATE;
}

static void beat(void)
{
    assert_int_equal(peer_code(&peer, REQ_HEART_BEAT, NO_FIELDS,
                               MQ_STR("{\"clientID\":\"c\",\"producerDataSet\":[{\"groupName\":\"PG\"}],"
                                      "\"consumerDataSet\":[]}")),
                     RESP_SUCCESS);
}

static void a_producer_is_asked_and_its_answer_counts(void **state)
{
    struct answer answer = {0};
    struct prepared p;
    uint32_t times = 1;

    (void)state;
    begin((const char *const[]){"transactionTimeOut=1", "transactionCheckInterval=20", "transactionCheckMax=1000",
                                NULL});
    beat();
    prepare("x", &p);
    rig_wait(&rig, was_asked, &times);
    times = peer.requests + 2;
    rig_wait(&rig, was_asked, &times); /* and again */
    assert_string_equal(peer.last_pos, p.pos);
    assert_string_equal(peer.last_half_qoff, p.qoff);
    assert_int_equal(finish(&p, "8", &answer), RESP_SUCCESS);
    assert_int_equal(end_of_queue(), 1);
    answer_free(&answer);
    end();
}

static bool nothing_is_open(void *data)
{
    (void)data;
    return open_now() == 0;
}

static uint64_t discarded_listed(void)
{
    struct topic *topic = topic_table_find(&rig.ctx->state->topics, HALF_DISCARD_TOPIC);
    struct queue *queue = topic != NULL ? topic_queues_find(topic->queues, 0) : NULL;

    return queue != NULL ? queue->cq.max : 0;
}

static void a_transaction_that_nobody_ends_is_listed_as_discarded_and_can_be_resumed(void **state)
{
    struct answer answer = {0};
    struct prepared p;
    uint64_t checks;
    const uint8_t *at;
    struct proto_record rec;
    char id[PROTO_MSG_ID_MAX];
    size_t n;

    (void)state;
    begin(quick);
    prepare("x", &p);
    rig_wait(&rig, nothing_is_open, NULL); /* no producer is connected: asking counts all the same */
    checks = rig.ctx->flows->half.checks;
    assert_int_equal(checks, 3);
    assert_int_equal(discarded_listed(), 1);
    assert_int_equal(end_of_queue(), 0);
    assert_int_equal(finish(&p, "8", &answer), RESP_SYSTEM_ERROR);

    assert_int_equal(rig_pull(&peer, "TRANS_CHECK_MAX_TIME_TOPIC", "0", "0", NULL, &answer), RESP_SUCCESS);
    at = answer.body.base;
    assert_int_equal(proto_record_decode(at, mq_be32_load(at), &rec), 0);
    n = proto_offset_msg_id(&rec.store_host, rec.pos, id);
    id[n] = '\0';
    assert_int_equal(peer_code(&peer, REQ_RESUME_CHECK_HALF_MESSAGE, FIELDS({"msgId", "nonsense"}), MQ_STR("")),
                     RESP_SYSTEM_ERROR);
    assert_int_equal(peer_code(&peer, REQ_RESUME_CHECK_HALF_MESSAGE, FIELDS({"msgId", id}), MQ_STR("")),
                     RESP_SUCCESS);
    rig_wait(&rig, nothing_is_open, NULL);
    assert_int_equal(discarded_listed(), 2); /* asked for three times more, and given up again */
    answer_free(&answer);
    end();
}

static void open_transactions_outlive_a_restart(void **state)
{
    struct answer answer = {0};
    struct prepared p, q;
    uint64_t hash;

    (void)state;
    begin(NULL);
    prepare("one", &p);
    prepare("two", &q);
    assert_int_equal(finish(&p, "8", &answer), RESP_SUCCESS);
    peer_hang_up(&peer);
    rig_reopen(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(open_now(), 1);
    hash = state_hash(rig.ctx->state);
    assert_int_equal(hash, state_recount(rig.ctx->state));
    assert_int_equal(finish(&p, "8", &answer), RESP_SYSTEM_ERROR);
    assert_int_equal(finish(&q, "8", &answer), RESP_SUCCESS);
    assert_int_equal(end_of_queue(), 2);
    answer_free(&answer);
    end();
}

static void a_half_message_moves_before_retention_drops_it(void **state)
{
    struct answer answer = {0};
    struct prepared p;
    struct half *half;
    uint64_t pos;

    (void)state;
    begin(NULL);
    prepare("kept", &p);
    pos = strtoull(p.pos, NULL, 10);
    half = half_table_find(&rig.ctx->state->halves, pos);
    assert_non_null(half);
    assert_int_equal(half_flow_release_below(&rig.ctx->flows->half, pos), 0); /* it lies at it */
    while (half_flow_release_below(&rig.ctx->flows->half, pos + 1) != 0) {
        peer_sync(&peer);
    }
    assert_true(half->record_pos > pos);
    assert_int_equal(finish(&p, "8", &answer), RESP_SUCCESS); /* by the position that the producer knows */
    assert_int_equal(end_of_queue(), 1);
    answer_free(&answer);
    end();
}

/* What waits for the disk over a change of leadership has lost its mark: it compares the number of the leadership,
 * and whoever asks now is served. */
static void a_mark_of_an_earlier_leadership_holds_nobody_off(void **state)
{
    struct answer first = {0}, second = {0};
    struct prepared p;
    struct half *half;

    (void)state;
    begin(NULL);
    prepare("x", &p);
    half = half_table_find(&rig.ctx->state->halves, strtoull(p.pos, NULL, 10));
    half_table_mark(&rig.ctx->state->halves, half, HALF_MARK_ENDING);
    assert_int_equal(finish(&p, "8", &first), RESP_SYSTEM_ERROR);
    half_flow_rest(&rig.ctx->flows->half);
    half_flow_lead(&rig.ctx->flows->half);
    assert_int_equal(half->marks, 0);
    assert_int_equal(finish(&p, "8", &second), RESP_SUCCESS);
    assert_int_equal(end_of_queue(), 1);
    answer_free(&first);
    answer_free(&second);
    end();
}

/* Rows come from a snapshot in any order. */
static void all_half_messages_move_whatever_their_order(void **state)
{
    struct half_table *halves;
    struct prepared p, q;
    struct half *half;
    uint64_t pos;

    (void)state;
    begin(NULL);
    prepare("first", &p);
    prepare("second", &q);
    halves = &rig.ctx->state->halves;
    half = half_table_find(halves, strtoull(p.pos, NULL, 10));
    HASH_DEL(halves->by_pos, half);
    HASH_ADD(hh, halves->by_pos, pos, sizeof(half->pos), half);
    pos = half->pos;
    while (half_flow_release_below(&rig.ctx->flows->half, pos + 1) != 0) {
        peer_sync(&peer);
    }
    assert_true(half->record_pos > pos);
    end();
}

static bool all_lie_at_or_above(void *data)
{
    for (const struct half *half = rig.ctx->state->halves.by_pos; half != NULL; half = half->hh.next) {
        if (half->record_pos < *(const uint64_t *)data) {
            return false;
        }
    }
    return true;
}

static void retention_asks_once_and_all_half_messages_move(void **state)
{
    struct retention *retention;
    struct prepared p;
    uint64_t pos;

    (void)state;
    begin(NULL);
    retention = &rig.ctx->flows->retention;
    for (int i = 0; i < 600; i++) { /* more than one round takes */
        prepare("x", &p);
    }
    pos = strtoull(p.pos, NULL, 10) + 1;
    assert_int_equal(retention->release_below(retention->release_data, pos), MQ_EAGAIN);
    rig_wait(&rig, all_lie_at_or_above, &pos);
    assert_int_equal(open_now(), 600);
    end();
}

static bool is_alone(void *data)
{
    (void)data;
    return open_now() <= 1;
}

static bool is_put_off(void *data)
{
    const struct half *half = data;

    return open_now() == 0 || (half->marks == 0 && half->due.at_ms > half->next_ms);
}

static void a_half_message_that_cannot_be_read_here_is_not_given_up(void **state)
{
    struct answer answer = {0};
    struct prepared p, q;
    struct half *half;
    uint64_t pos;

    (void)state;
    begin(quick);
    prepare("kept", &p);
    half = half_table_find(&rig.ctx->state->halves, strtoull(p.pos, NULL, 10));
    pos = half->record_pos;
    half->record_pos = UINT64_C(1) << 40; /* nothing lies there */
    prepare("other", &q);
    rig_wait(&rig, is_alone, NULL); /* the other is asked for, and listed: the first one holds up nobody */
    rig_wait(&rig, is_put_off, half);
    assert_int_equal(open_now(), 1);
    half->record_pos = pos;
    assert_int_equal(finish(&p, "8", &answer), RESP_SUCCESS);
    assert_int_equal(end_of_queue(), 1);
    answer_free(&answer);
    end();
}

/* The numbers behind each "commitLogOffset" of a page, and what is behind "next". */
static uint32_t list(const char *from, const char *max, const char *group, int64_t *out, int64_t *next)
{
    struct answer answer = {0};
    const char *at;
    uint32_t n = 0;

    assert_int_equal(peer_ask(&peer, REQ_RAFTMQ_TRANSACTION_LIST,
                              FIELDS({"from", from}, {"max", max}, {"producerGroup", group}), MQ_STR(""), &answer),
                     RESP_SUCCESS);
    assert_int_equal(mq_buf_put(&answer.body, "", 1), 0);
    at = (const char *)answer.body.base;
    while ((at = strstr(at, "\"commitLogOffset\":")) != NULL) {
        at += strlen("\"commitLogOffset\":");
        out[n++] = strtoll(at, NULL, 10);
    }
    at = strstr((const char *)answer.body.base, "\"next\":");
    assert_non_null(at);
    *next = strtoll(at + strlen("\"next\":"), NULL, 10);
    answer_free(&answer);
    return n;
}

static void open_transactions_are_listed_oldest_first_page_by_page(void **state)
{
    struct prepared p[5];
    struct answer answer = {0};
    char from[24];
    int64_t seen[8], next;

    (void)state;
    begin(NULL);
    assert_int_equal(list("0", "8", "", seen, &next), 0);
    assert_int_equal(next, -1);
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
        prepare("x", &p[i]);
    }
    assert_int_equal(list("0", "8", "PG", seen, &next), 5);
    assert_int_equal(next, -1);
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
        assert_int_equal(seen[i], strtoll(p[i].pos, NULL, 10));
    }
    assert_int_equal(list("0", "8", "Others", seen, &next), 0);
    assert_int_equal(list("0", "2", "", seen, &next), 2);
    assert_int_equal(next, strtoll(p[2].pos, NULL, 10));
    assert_int_equal(finish(&p[2], "12", &answer), RESP_SUCCESS); /* where the next page begins nothing is any more */
    snprintf(from, sizeof(from), "%" PRId64, next);
    assert_int_equal(list(from, "2", "", seen, &next), 2);
    assert_int_equal(seen[0], strtoll(p[3].pos, NULL, 10));
    assert_int_equal(next, -1);
    answer_free(&answer);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_half_message_is_seen_once_it_is_committed_and_as_it_was_sent),
        cmocka_unit_test(a_transaction_ends_once),
        cmocka_unit_test(an_end_that_does_not_fit_is_refused_and_changes_nothing),
        cmocka_unit_test(what_cannot_be_a_transaction_is_refused_and_stored_nowhere),
        cmocka_unit_test(a_producer_is_asked_and_its_answer_counts),
        cmocka_unit_test(a_transaction_that_nobody_ends_is_listed_as_discarded_and_can_be_resumed),
        cmocka_unit_test(open_transactions_outlive_a_restart),
        cmocka_unit_test(a_half_message_moves_before_retention_drops_it),
        cmocka_unit_test(a_mark_of_an_earlier_leadership_holds_nobody_off),
        cmocka_unit_test(all_half_messages_move_whatever_their_order),
        cmocka_unit_test(a_half_message_that_cannot_be_read_here_is_not_given_up),
        cmocka_unit_test(retention_asks_once_and_all_half_messages_move),
        cmocka_unit_test(open_transactions_are_listed_oldest_first_page_by_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
