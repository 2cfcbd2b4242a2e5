/* Queue locks of orderly consumers: 41, 42, leases. */
#include "tests/unit/broker/rig.h"

#include "broker/processor/processors.h"
#include "remoting/base/clock.h"

#include <stdio.h>

static struct rig rig;
static struct peer peer;
static struct answer answer;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    answer_free(&answer);
    peer_hang_up(&peer);
    rig_close(&rig);
    return 0;
}

static void start(int32_t code, const char *group, const char *client, const char *queues, struct answer *to)
{
    char body[1024];
    int n = snprintf(body, sizeof(body),
                     "{\"consumerGroup\":\"%s\",\"clientId\":\"%s\",\"onlyThisBroker\":false,\"mqSet\":[%s]}", group,
                     client, queues);

    peer_start(&peer, code, NO_FIELDS, (struct mq_str){body, (uint32_t)n}, to);
}

#define QUEUE_0 "{\"topic\":\"T\",\"brokerName\":\"golden-a\",\"queueId\":0}"
#define QUEUE_1 "{\"topic\":\"T\",\"brokerName\":\"golden-a\",\"queueId\":1}"

/* Which of queue 0 and 1 the client holds now, as bits; asks for both. */
static unsigned lock(const char *client)
{
    unsigned held = 0;

    start(REQ_LOCK_BATCH_MQ, "CG", client, QUEUE_0 "," QUEUE_1, &answer);
    rig_wait_flag(&rig, &answer.done);
    assert_int_equal(answer.code, RESP_SUCCESS);
    held |= strstr(answer_body(&answer), "\"queueId\":0") != NULL ? 1 : 0;
    held |= strstr(answer_body(&answer), "\"queueId\":1") != NULL ? 2 : 0;
    return held;
}

static void unlock(const char *client, const char *queues)
{
    start(REQ_UNLOCK_BATCH_MQ, "CG", client, queues, &answer);
    rig_wait_flag(&rig, &answer.done);
    assert_int_equal(answer.code, RESP_SUCCESS);
}

static void a_queue_belongs_to_one_client_at_a_time(void **state)
{
    (void)state;
    assert_int_equal(lock("a"), 3);
    assert_int_equal(lock("b"), 0);
    assert_int_equal(lock("a"), 3); /* renewed */
    unlock("b", QUEUE_0);           /* not its own: nothing happens */
    assert_int_equal(lock("b"), 0);
    unlock("a", QUEUE_0);
    assert_int_equal(lock("b"), 1);
    assert_int_equal(lock("a"), 2);
    unlock("a", QUEUE_0 "," QUEUE_1);
    unlock("b", QUEUE_0 "," QUEUE_1);
    assert_int_equal(rig.ctx->state->locks.count, 0);
}

static void two_that_ask_together_do_not_both_get_it(void **state)
{
    struct answer a = {0}, b = {0};

    (void)state;
    start(REQ_LOCK_BATCH_MQ, "CG", "a", QUEUE_0, &a);
    start(REQ_LOCK_BATCH_MQ, "CG", "b", QUEUE_0, &b);
    rig_wait_flag(&rig, &b.done);
    rig_wait_flag(&rig, &a.done);
    assert_non_null(strstr(answer_body(&a), "\"queueId\":0"));
    assert_string_equal(answer_body(&b), "{\"lockOKMQSet\":[]}");
    unlock("a", QUEUE_0);
    answer_free(&a);
    answer_free(&b);
}

static void an_unlock_right_behind_a_lock_ends_it(void **state)
{
    struct answer locked = {0}, unlocked = {0};

    (void)state;
    start(REQ_LOCK_BATCH_MQ, "CG", "a", QUEUE_0, &locked);
    start(REQ_UNLOCK_BATCH_MQ, "CG", "a", QUEUE_0, &unlocked);
    rig_wait_flag(&rig, &unlocked.done);
    assert_int_equal(unlocked.code, RESP_SUCCESS);
    assert_int_equal(rig.ctx->state->locks.count, 0);
    answer_free(&locked);
    answer_free(&unlocked);
}

static void a_renewal_that_meets_its_release_does_not_lie(void **state)
{
    struct answer unlocked = {0}, renewed = {0}, other = {0};

    (void)state;
    assert_int_equal(lock("a"), 3);
    start(REQ_UNLOCK_BATCH_MQ, "CG", "a", QUEUE_0 "," QUEUE_1, &unlocked);
    start(REQ_LOCK_BATCH_MQ, "CG", "a", QUEUE_0, &renewed);
    start(REQ_LOCK_BATCH_MQ, "CG", "b", QUEUE_1, &other);
    rig_wait_flag(&rig, &other.done);
    rig_wait_flag(&rig, &renewed.done);
    /* In the order of the log: both released, then granted anew. */
    assert_non_null(strstr(answer_body(&renewed), "\"queueId\":0"));
    assert_non_null(strstr(answer_body(&other), "\"queueId\":1"));
    assert_int_equal(rig.ctx->state->locks.count, 2);
    assert_int_equal(lock("a"), 1);
    assert_int_equal(lock("b"), 2);
    unlock("a", QUEUE_0);
    unlock("b", QUEUE_1);
    answer_free(&unlocked);
    answer_free(&renewed);
    answer_free(&other);
}

/* A connection that asks without waiting, and what it was told last. */
struct racer {
    struct peer peer;
    struct answer answers[4];
    const char *client;
    bool held;
};

static void race_start(struct racer *r, uint32_t at, int32_t code)
{
    char body[256];
    int n = snprintf(body, sizeof(body), "{\"consumerGroup\":\"CG\",\"clientId\":\"%s\",\"mqSet\":[" QUEUE_0 "]}",
                     r->client);

    peer_start(&r->peer, code, NO_FIELDS, (struct mq_str){body, (uint32_t)n}, &r->answers[at]);
}

/* So many turns of the loop that something may have been proposed, or applied, or nothing of it. */
static void turn(unsigned turns)
{
    while (turns-- != 0) {
        uv_run(&rig.loop.uv, UV_RUN_NOWAIT);
    }
}

static const char *owner(void)
{
    struct lock_key key = {MQ_STR("CG"), MQ_STR("T"), MQ_STR("golden-a"), 0};
    const struct lock *lock = lock_table_find(&rig.ctx->state->locks, &key);

    return lock != NULL ? lock->client_id : "";
}

static void who_is_told_last_that_it_holds_a_queue_holds_it(void **state)
{
    struct racer a = {.client = "a"}, b = {.client = "b"};

    (void)state;
    peer_dial(&rig, &a.peer, PROTO_JSON);
    peer_dial(&rig, &b.peer, PROTO_JSON);
    for (unsigned round = 0; round < 512; round++) {
        race_start(&a, 0, REQ_LOCK_BATCH_MQ);
        turn(round & 7);
        race_start(&a, 1, REQ_UNLOCK_BATCH_MQ);
        turn(round >> 3 & 3);
        if ((round >> 5 & 1) != 0) {
            rig_wait_flag(&rig, &a.answers[0].done); /* granted; the release may still be under way */
        }
        race_start(&a, 2, REQ_LOCK_BATCH_MQ);
        turn(round >> 6 & 7);
        race_start(&b, 0, REQ_LOCK_BATCH_MQ);
        rig_wait_flag(&rig, &a.answers[0].done);
        rig_wait_flag(&rig, &a.answers[1].done);
        rig_wait_flag(&rig, &a.answers[2].done);
        rig_wait_flag(&rig, &b.answers[0].done);
        a.held = strstr(answer_body(&a.answers[2]), "queueId") != NULL;
        b.held = strstr(answer_body(&b.answers[0]), "queueId") != NULL;
        assert_false(a.held && b.held);
        assert_string_equal(owner(), a.held ? "a" : b.held ? "b" : "");
        assert_true(a.held || b.held);
        assert_int_equal(rig.ctx->state->locks.blind_releases, 0);
        race_start(a.held ? &a : &b, 3, REQ_UNLOCK_BATCH_MQ);
        rig_wait_flag(&rig, a.held ? &a.answers[3].done : &b.answers[3].done);
        assert_string_equal(owner(), "");
    }
    for (size_t i = 0; i < ARRAY_SIZE(a.answers); i++) {
        answer_free(&a.answers[i]);
        answer_free(&b.answers[i]);
    }
    peer_hang_up(&a.peer);
    peer_hang_up(&b.peer);
}

static void unlocks_that_cross_grants_leave_nothing_locked(void **state)
{
    struct racer a = {.client = "a"}, b = {.client = "b"};

    (void)state;
    peer_dial(&rig, &a.peer, PROTO_JSON);
    peer_dial(&rig, &b.peer, PROTO_JSON);
    for (unsigned round = 0; round < 64; round++) {
        race_start(&b, 0, REQ_LOCK_BATCH_MQ);
        rig_wait_flag(&rig, &b.answers[0].done);
        race_start(&b, 1, REQ_UNLOCK_BATCH_MQ);
        turn(round & 7);
        race_start(&a, 0, REQ_LOCK_BATCH_MQ); /* behind b's release */
        turn(round >> 3 & 7);
        race_start(&a, 1, REQ_UNLOCK_BATCH_MQ); /* the queue may still be b's */
        race_start(&a, 2, REQ_UNLOCK_BATCH_MQ);
        rig_wait_flag(&rig, &b.answers[1].done);
        rig_wait_flag(&rig, &a.answers[0].done);
        rig_wait_flag(&rig, &a.answers[1].done);
        rig_wait_flag(&rig, &a.answers[2].done);
        assert_string_equal(owner(), "");
        assert_int_equal(rig.ctx->state->locks.blind_releases, 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(a.answers); i++) {
        answer_free(&a.answers[i]);
        answer_free(&b.answers[i]);
    }
    peer_hang_up(&a.peer);
    peer_hang_up(&b.peer);
}

static bool has_no_locks(void *data)
{
    (void)data;
    return rig.ctx->state->locks.count == 0;
}

static void a_lease_that_is_not_renewed_ends(void **state)
{
    struct answer late = {0};

    (void)state;
    assert_int_equal(lock("a"), 3);
    lock_expire(rig.ctx, mq_clock_mono_ms() + LOCK_LEASE_MS / 2);
    assert_int_equal(lock("a"), 3);
    lock_expire(rig.ctx, mq_clock_mono_ms() + LOCK_LEASE_MS + 1000);
    /* The release is in the log, not yet applied: the owner comes too late to renew, and gets a new grant behind it.
     */
    start(REQ_LOCK_BATCH_MQ, "CG", "a", QUEUE_0, &late);
    rig_wait_flag(&rig, &late.done);
    assert_non_null(strstr(answer_body(&late), "\"queueId\":0"));
    assert_int_equal(rig.ctx->state->locks.count, 1);
    lock_expire(rig.ctx, mq_clock_mono_ms() + LOCK_LEASE_MS + 1000);
    rig_wait(&rig, has_no_locks, NULL);
    answer_free(&late);
}

static void bad_lock_requests_are_refused_by_field(void **state)
{
    static const struct {
        const char *why, *group, *client, *queues, *remark;
    } cases[] = {
        {"an illegal group", "a b", "a", QUEUE_0, "consumerGroup"},
        {"no client", "CG", "", QUEUE_0, "clientId"},
        {"a client with a NUL", "CG", "a\\u0000b", QUEUE_0, "clientId"},
        {"an illegal topic", "CG", "a", "{\"topic\":\"../x\",\"brokerName\":\"b\",\"queueId\":0}", "topic"},
        {"a negative queue", "CG", "a", "{\"topic\":\"T\",\"brokerName\":\"b\",\"queueId\":-1}", "queueId"},
        {"a queue that no topic has", "CG", "a", "{\"topic\":\"T\",\"brokerName\":\"b\",\"queueId\":65535}",
         "queueId"},
        {"a NUL in the broker's name", "CG", "a", "{\"topic\":\"T\",\"brokerName\":\"b\\u0000\",\"queueId\":1}",
         "brokerName"},
        {"not JSON", "\"", "a", QUEUE_0, "body"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        start(REQ_LOCK_BATCH_MQ, cases[i].group, cases[i].client, cases[i].queues, &answer);
        rig_wait_flag(&rig, &answer.done);
        assert_int_equal(answer.code, RESP_SYSTEM_ERROR);
        assert_non_null(strstr(answer_remark(&answer), cases[i].remark));
    }
    assert_int_equal(rig.ctx->state->locks.count, 0);
    /* Nothing asked is nothing locked. */
    start(REQ_LOCK_BATCH_MQ, "CG", "a", "", &answer);
    rig_wait_flag(&rig, &answer.done);
    assert_string_equal(answer_body(&answer), "{\"lockOKMQSet\":[]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_belongs_to_one_client_at_a_time),
        cmocka_unit_test(two_that_ask_together_do_not_both_get_it),
        cmocka_unit_test(an_unlock_right_behind_a_lock_ends_it),
        cmocka_unit_test(a_renewal_that_meets_its_release_does_not_lie),
        cmocka_unit_test(who_is_told_last_that_it_holds_a_queue_holds_it),
        cmocka_unit_test(unlocks_that_cross_grants_leave_nothing_locked),
        cmocka_unit_test(a_lease_that_is_not_renewed_ends),
        cmocka_unit_test(bad_lock_requests_are_refused_by_field),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
