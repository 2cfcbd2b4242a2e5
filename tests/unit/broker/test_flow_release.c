/* The way of retention through what is pending: so many rows in a turn, and all of them in the end. */
#include "broker/flow/half.h"
#include "broker/flow/pop_revive.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/items.h"
#include "remoting/base/err.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ROWS 2500u /* more than two turns look at */
#define ROUNDS 3   /* that many turns */
#define FAR UINT64_C(1000000)

static uint64_t suspected;

void rlog_suspect(struct rlog *log, uint64_t pos)
{
    (void)log;
    suspected = pos;
}

bool rlog_is_whole(const struct rlog *log)
{
    (void)log;
    return true;
}

void flow_wake_at(const struct flow_env *env, uint64_t at_ms)
{
    (void)env;
    (void)at_ms;
}

struct world {
    struct fixture f;
    struct sequencer *seq;
    struct flow_env env;
};

static void open_world(struct world *w)
{
    fixture_open(&w->f, 16 << 20);
    assert_int_equal(sequencer_new(&w->f.loop, &w->f.store, &w->seq), 0);
    sequencer_set_writable(w->seq, true);
    w->env = (struct flow_env){&w->f.loop, &w->f.state, &w->f.store, w->seq, NULL};
    suspected = 0;
}

static void close_world(struct world *w)
{
    sequencer_free(w->seq);
    fixture_close(&w->f);
}

static void settle(struct world *w)
{
    fake_turn();
    fake_log_commit_all(w->f.log);
}

/* ---- halves ---- */

static void put_half(struct world *w, uint64_t pos, const uint8_t *record, uint32_t bytes)
{
    const struct applied_record applied = {.pos = pos, .at = record, .bytes = bytes};
    const struct apply_scope scope = {.record = &applied};
    Raftmq__HalfPut item = RAFTMQ__HALF_PUT__INIT;

    item.producer_group = (char *)"g";
    item.check_ms = INT64_MAX - 1;
    assert_int_equal(half_apply_put(&w->f.state, &item.base, &scope), 0);
}

static int release_halves(struct half_flow *flow, uint64_t pos, int rounds)
{
    int rc = MQ_EAGAIN;

    for (int i = 0; i < rounds; i++) {
        assert_int_equal(rc, MQ_EAGAIN);
        rc = half_flow_release_below(flow, pos);
    }
    return rc;
}

static void halves_are_looked_at_a_part_in_each_turn(void **state)
{
    uint8_t record[512];
    uint32_t bytes = fixture_record(&(struct fixture_message){.body_bytes = 10}, record);
    struct half_flow flow;
    struct world w;

    (void)state;
    open_world(&w);
    half_flow_init(&flow, &w.env, &(struct half_rules){.times_max = 1});
    half_flow_lead(&flow);
    for (uint32_t i = 0; i < ROWS; i++) {
        put_half(&w, FAR + i, record, bytes);
    }
    assert_int_equal(release_halves(&flow, FAR, ROUNDS), 0);
    assert_int_equal(half_flow_release_below(&flow, FAR), 0);    /* nothing came since */
    assert_int_equal(release_halves(&flow, FAR - 1, ROUNDS), 0); /* another question begins anew */
    put_half(&w, 8, record, bytes);                              /* and what comes is looked at, too */
    assert_int_equal(half_flow_release_below(&flow, FAR - 1), MQ_EAGAIN);
    assert_int_equal(suspected, 8); /* its record is not there */
    assert_int_equal(release_halves(&flow, FAR - 1, ROUNDS), MQ_EAGAIN);
    close_world(&w);
}

static void halves_are_moved_and_then_nothing_lies_below(void **state)
{
    struct fixture_message m = {.topic = HALF_TOPIC, .body_bytes = 10, .store_ms = 1};
    struct half_flow flow;
    struct world w;
    uint64_t pos[3];

    (void)state;
    open_world(&w);
    half_flow_init(&flow, &w.env, &(struct half_rules){.times_max = 1});
    half_flow_lead(&flow);
    for (uint32_t i = 0; i < 3; i++) {
        m.queue_id = (int32_t)i; /* each is the first in its queue */
        pos[i] = fixture_put(&w.f, &m, 1);
        put_half(&w, pos[i], w.f.log->bytes + pos[i], mq_be32_load(w.f.log->bytes + pos[i]));
    }
    sequencer_set_writable(w.seq, true);
    w.f.log->space = RLOG_SPACE_LOW;
    w.f.log->reserve = 1000;
    assert_int_equal(half_flow_release_below(&flow, pos[2]), MQ_EAGAIN);
    settle(&w);
    assert_int_equal(half_flow_release_below(&flow, pos[2]), 0);
    assert_true(half_table_find(&w.f.state.halves, pos[0])->record_pos > pos[2]);
    assert_true(half_table_find(&w.f.state.halves, pos[1])->record_pos > pos[2]);
    assert_int_equal(half_table_find(&w.f.state.halves, pos[2])->record_pos, pos[2]);
    close_world(&w);
}

/* ---- check points ---- */

static void take(struct world *w, uint64_t start, int64_t pop_ms)
{
    const struct apply_scope scope = {0};
    Raftmq__PopTake item = RAFTMQ__POP_TAKE__INIT;
    uint32_t offset = 0;

    item.group = (char *)"g";
    item.topic = (char *)FIXTURE_TOPIC.at;
    item.start = (int64_t)start;
    item.pop_ms = pop_ms;
    item.until_ms = INT64_MAX - 1;
    item.next = (int64_t)start + 1;
    item.offsets = &offset;
    item.n_offsets = 1;
    assert_int_equal(pop_apply_take(&w->f.state, &item.base, &scope), 0);
}

static void end(struct world *w, uint64_t start, int64_t pop_ms)
{
    const struct apply_scope scope = {0};
    Raftmq__PopRevive item = RAFTMQ__POP_REVIVE__INIT;

    item.group = (char *)"g";
    item.topic = (char *)FIXTURE_TOPIC.at;
    item.start = (int64_t)start;
    item.pop_ms = pop_ms;
    assert_int_equal(pop_apply_revive(&w->f.state, &item.base, &scope), 0);
}

static void make_topic_and_group(struct world *w)
{
    Raftmq__GroupPut group = RAFTMQ__GROUP_PUT__INIT;

    fixture_topic(&w->f, FIXTURE_TOPIC.at);
    group.name = (char *)"g";
    group.consume_enable = true;
    group.retry_queues = 1;
    assert_int_equal(group_table_put(&w->f.state.groups, &group, 1), 0);
}

static void check_points_are_looked_at_a_part_in_each_turn_and_end(void **state)
{
    struct fixture_message m = {.body_bytes = 10, .store_ms = 1};
    struct pop_revive revive;
    struct world w;
    uint64_t pos;
    int rounds = 0;

    (void)state;
    open_world(&w);
    make_topic_and_group(&w);
    fixture_put(&w.f, &m, 1);
    pos = fixture_put(&w.f, &m, 1);
    sequencer_set_writable(w.seq, true);
    pop_revive_init(&revive, &w.env);
    pop_revive_lead(&revive);
    for (uint32_t i = 0; i < ROWS; i++) {
        take(&w, 1, 1 + i);
    }
    take(&w, 0, 1);
    while (pop_revive_release_below(&revive, pos) != 0) {
        settle(&w);
        assert_true(++rounds < 2 * ROUNDS);
    }
    assert_true(rounds >= ROUNDS); /* the one that was met makes a second pass */
    assert_int_equal(w.f.state.pops.count, ROWS);
    assert_int_equal(revive.revived, 1);
    take(&w, 0, 2);
    w.f.log->space = RLOG_SPACE_LOW; /* and nothing is given: it stays, and is not passed over */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pop_revive_release_below(&revive, pos), MQ_EAGAIN);
        settle(&w);
        pop_revive_turn(&revive);
    }
    assert_int_equal(w.f.state.pops.count, ROWS + 1);
    close_world(&w);
}

static void the_way_goes_on_where_it_was_when_rows_go(void **state)
{
    struct pop_table *pops;
    struct world w;

    (void)state;
    open_world(&w);
    make_topic_and_group(&w);
    pops = &w.f.state.pops;
    assert_null(pop_table_next(pops));
    for (uint64_t i = 0; i < 5; i++) {
        take(&w, i, 1);
    }
    pop_table_pass(pops, pop_table_next(pops));
    pop_table_pass(pops, pop_table_next(pops));
    end(&w, 1, 1); /* the one that was passed last */
    assert_int_equal(pop_table_next(pops)->key.start, 2);
    end(&w, 0, 1);
    assert_int_equal(pop_table_next(pops)->key.start, 2);
    end(&w, 2, 1); /* the one that is next */
    assert_int_equal(pop_table_next(pops)->key.start, 3);
    pop_table_pass(pops, pop_table_next(pops));
    pop_table_pass(pops, pop_table_next(pops));
    assert_null(pop_table_next(pops));
    take(&w, 9, 1);
    assert_int_equal(pop_table_next(pops)->key.start, 9);
    pop_table_rewind(pops);
    assert_int_equal(pop_table_next(pops)->key.start, 3);
    close_world(&w);
}

/* What pop_apply_take relies on: a key that is there stops the member. */
static void no_leader_gives_a_pop_time_twice(void **state)
{
    struct pop_table *pops;
    struct world w;
    int64_t first, second;

    (void)state;
    open_world(&w);
    make_topic_and_group(&w);
    pops = &w.f.state.pops;
    take(&w, 0, 5000); /* of a leader whose clock was ahead */
    pop_table_forget_leading(pops);
    first = pop_table_next_ms(pops, 7);
    assert_true(first > 5000);
    take(&w, 0, first);
    end(&w, 0, first);
    second = pop_table_next_ms(pops, 7); /* the clock stands still, and that one is over */
    assert_true(second > first);
    pop_table_forget_leading(pops); /* leads again, and remembers */
    assert_true(pop_table_next_ms(pops, 7) > second);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_are_looked_at_a_part_in_each_turn),
        cmocka_unit_test(halves_are_moved_and_then_nothing_lies_below),
        cmocka_unit_test(check_points_are_looked_at_a_part_in_each_turn_and_end),
        cmocka_unit_test(no_leader_gives_a_pop_time_twice),
        cmocka_unit_test(the_way_goes_on_where_it_was_when_rows_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
