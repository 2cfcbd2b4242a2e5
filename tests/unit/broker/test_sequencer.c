#include "broker/store/sequencer.h"

#include "broker/state/command.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define DONE_MAX 4096

static struct done {
    int status;
    uint64_t qoff, pos;
    int64_t store_ms;
    uintptr_t tag;
    uint32_t bytes;
    int64_t record_qoff, record_pos, record_store_ms;
} done[DONE_MAX];
static uint32_t n_done;

struct sequencer_fixture {
    struct fixture base;
    struct sequencer *seq;
};

static void open_sequencer(struct sequencer_fixture *f)
{
    fixture_open(&f->base, 64 << 20);
    assert_int_equal(sequencer_new(&f->base.loop, &f->base.store, &f->seq), 0);
    sequencer_set_writable(f->seq, true);
    n_done = 0;
    fake_channel_refs = 0;
}

static void close_sequencer(struct sequencer_fixture *f)
{
    sequencer_free(f->seq);
    assert_int_equal(fake_channel_refs, 0);
    fixture_close(&f->base);
}

static void on_done(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct done *d = &done[n_done++];

    MQ_ASSERT(n_done < DONE_MAX);
    *d = (struct done){.status = outcome->status, .qoff = p->qoff, .tag = (uintptr_t)p->data, .bytes = p->bytes};
    assert_int_equal(outcome->status == 0, outcome->payload != NULL);
    if (outcome->status == 0) {
        const uint8_t *block = outcome->payload + p->at;
        struct proto_record record;

        d->pos = outcome->payload_pos + p->at;
        d->store_ms = outcome->store_ms;
        if (p->records != 0) {
            assert_int_equal(proto_record_decode(block, p->bytes, &record), 0);
            d->record_qoff = record.qoff;
            d->record_pos = record.pos;
            d->record_store_ms = record.store_ms;
        }
    }
}

/* Sends @n records with bodies of @body_bytes as one operation. Returns what reserve says. */
static int send_records(struct sequencer_fixture *f, int32_t queue_id, uint32_t n, uint32_t body_bytes, uintptr_t tag)
{
    struct fixture_message m = {.queue_id = queue_id, .body_bytes = body_bytes};
    struct sequencer_pending p = {.done = on_done, .data = (void *)tag, .records = (uint16_t)n, .queue_id = queue_id};
    uint32_t used = 0;
    uint8_t *at;
    int rc = sequencer_reserve(f->seq, n * (body_bytes + 200), &at);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < n; i++) {
        used += fixture_record(&m, at + used);
    }
    sequencer_add(f->seq, used, fixture_queue(&f->base, queue_id), n, 0, &p);
    return 0;
}

static int send_one(struct sequencer_fixture *f, int32_t queue_id, uintptr_t tag)
{
    return send_records(f, queue_id, 1, 100, tag);
}

static void expect_done(uint32_t first, uint32_t n, int status)
{
    assert_int_equal(n_done, first + n);
    for (uint32_t i = first; i < n_done; i++) {
        assert_int_equal(done[i].status, status);
    }
}

static void a_turn_makes_one_entry_of_what_it_brought(void **state)
{
    struct sequencer_fixture f;
    struct sequencer_stats stats;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(send_one(&f, 0, 10), 0);
    assert_int_equal(send_one(&f, 1, 11), 0);
    assert_int_equal(send_records(&f, 0, 3, 50, 12), 0);
    assert_int_equal(send_one(&f, 0, 13), 0);
    assert_int_equal(f.base.log->n_proposed, 0);
    fake_turn();
    assert_int_equal(f.base.log->n_proposed, 1);
    assert_int_equal(f.base.log->proposed[0].entry.records, 6);
    assert_int_equal(n_done, 0);
    fake_log_commit(f.base.log); /* applies: numbers and positions are checked there */
    expect_done(0, 4, 0);
    for (uint32_t i = 0; i < 4; i++) {
        static const uint64_t qoffs[] = {0, 0, 1, 4};

        assert_int_equal(done[i].tag, 10 + i);
        assert_int_equal(done[i].qoff, qoffs[i]);
        assert_int_equal(done[i].record_qoff, qoffs[i]);
        assert_int_equal(done[i].record_pos, done[i].pos);
        assert_int_equal(done[i].record_store_ms, done[i].store_ms);
    }
    assert_int_equal(fixture_queue(&f.base, 0)->cq.max, 5);
    sequencer_stats_get(f.seq, &stats);
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.records, 6);
    assert_int_equal(stats.waiting_bytes, 0);
    close_sequencer(&f);
}

static void while_the_disk_writes_the_next_entry_gathers(void **state)
{
    struct sequencer_fixture f;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(send_one(&f, 0, 1), 0);
    fake_turn();
    assert_true(f.base.log->writing);
    assert_int_equal(send_one(&f, 0, 2), 0);
    fake_turn();
    assert_int_equal(send_one(&f, 0, 3), 0);
    fake_turn();
    assert_int_equal(f.base.log->n_proposed, 1);
    f.base.log->writing = false;
    sequencer_room(f.seq);
    assert_int_equal(f.base.log->n_proposed, 1); /* the turn may bring more */
    assert_int_equal(send_one(&f, 0, 4), 0);
    fake_turn();
    assert_int_equal(f.base.log->n_proposed, 2);
    assert_int_equal(f.base.log->proposed[1].entry.records, 3);
    fake_log_commit_all(f.base.log);
    expect_done(0, 4, 0);
    assert_int_equal(done[3].qoff, 3);
    close_sequencer(&f);
}

static void a_full_entry_goes_even_while_the_disk_writes(void **state)
{
    const uint32_t body_bytes = RLOG_GATHER_BYTES / 10 - 600;
    struct sequencer_fixture f;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(send_one(&f, 0, 1), 0);
    fake_turn();
    for (uint32_t i = 0; i < 12; i++) {
        assert_int_equal(send_records(&f, 0, 1, body_bytes, 2 + i), 0);
    }
    /* Ten fit into an entry; the eleventh closed it in the middle of the turn. */
    assert_int_equal(f.base.log->n_proposed, 2);
    assert_int_equal(f.base.log->proposed[1].entry.records, 10);
    fake_turn();
    assert_int_equal(f.base.log->n_proposed, 2);
    fake_log_commit_all(f.base.log);
    fake_turn();
    fake_log_commit_all(f.base.log);
    expect_done(0, 13, 0);
    close_sequencer(&f);
}

static void an_entry_holds_at_least_one_whole_request(void **state)
{
    struct sequencer_fixture f;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(send_one(&f, 0, 1), 0);
    assert_int_equal(send_records(&f, 0, 3, 1000000, 2), 0);
    assert_int_equal(send_one(&f, 0, 3), 0);
    fake_turn();
    f.base.log->writing = false;
    fake_turn();
    assert_int_equal(f.base.log->n_proposed, 3);
    assert_int_equal(f.base.log->proposed[1].entry.records, 3);
    fake_log_commit_all(f.base.log);
    expect_done(0, 3, 0);
    assert_int_equal(done[2].qoff, 4);
    close_sequencer(&f);
}

static void what_waits_is_bounded_and_refused_as_busy(void **state)
{
    struct sequencer_fixture f;
    const uint32_t body_bytes = RLOG_GATHER_BYTES / 2 - 12288; /* two to an entry */
    struct sequencer_stats stats;
    uint32_t taken = 0;

    (void)state;
    open_sequencer(&f);
    f.base.log->can_propose = MQ_EBUSY;
    while (send_records(&f, 0, 1, body_bytes, taken) == 0) {
        taken++;
        if (taken % 3 == 0) {
            fake_turn();
        }
    }
    assert_in_range(taken, SEQUENCER_WAITING_BYTES_MAX / (body_bytes + 300),
                    SEQUENCER_WAITING_BYTES_MAX / body_bytes);
    assert_int_equal(send_records(&f, 0, 1, body_bytes, 0), MQ_EBUSY);
    sequencer_stats_get(f.seq, &stats);
    assert_int_equal(stats.busy, 2);
    assert_true(stats.waiting_bytes <= SEQUENCER_WAITING_BYTES_MAX);
    assert_int_equal(f.base.log->n_proposed, 0);

    f.base.log->can_propose = 0;
    sequencer_room(f.seq);
    assert_int_equal(f.base.log->n_proposed, (taken - 1) / 2); /* all full ones; the last one gathers on */
    fake_log_commit_all(f.base.log);
    fake_turn();
    fake_log_commit_all(f.base.log);
    expect_done(0, taken, 0);
    assert_int_equal(done[taken - 1].qoff, taken - 1);
    close_sequencer(&f);
}

static void who_does_not_lead_takes_nothing(void **state)
{
    struct sequencer_fixture f;

    (void)state;
    open_sequencer(&f);
    sequencer_set_writable(f.seq, false);
    assert_int_equal(send_one(&f, 0, 1), MQ_ENOTLEADER);
    fake_turn();
    assert_int_equal(n_done, 0);
    close_sequencer(&f);
}

static void lost_leadership_is_told_apart_by_what_was_proposed(void **state)
{
    struct sequencer_fixture f;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(send_one(&f, 0, 1), 0);
    fake_turn();
    fake_log_commit(f.base.log);
    assert_int_equal(send_one(&f, 0, 2), 0);
    fake_turn();
    assert_int_equal(send_one(&f, 0, 3), 0); /* gathers: the disk is busy */
    fake_log_lose(f.base.log);
    sequencer_set_writable(f.seq, false);
    assert_int_equal(n_done, 3);
    assert_int_equal(done[1].status, MQ_EUNSURE);
    assert_int_equal(done[2].status, MQ_ENOTLEADER);
    /* Numbers go on behind what was applied. */
    sequencer_set_writable(f.seq, true);
    assert_int_equal(send_one(&f, 0, 4), 0);
    fake_turn();
    fake_log_commit(f.base.log);
    assert_int_equal(done[3].status, 0);
    assert_int_equal(done[3].qoff, 1);
    close_sequencer(&f);
}

static void a_proposal_that_meets_the_end_of_leadership_was_not_made(void **state)
{
    struct sequencer_fixture f;

    (void)state;
    open_sequencer(&f);
    f.base.log->can_propose = MQ_ENOTLEADER; /* the role has not said so yet */
    assert_int_equal(send_one(&f, 0, 1), 0);
    assert_int_equal(send_records(&f, 0, 2, 600000, 2), 0);
    assert_int_equal(n_done, 0);
    fake_turn();
    expect_done(0, 2, MQ_ENOTLEADER);
    assert_int_equal(send_one(&f, 0, 3), 0); /* until the role says otherwise */
    fake_turn();
    assert_int_equal(n_done, 3);
    assert_int_equal(done[2].status, MQ_ENOTLEADER);
    assert_int_equal(fixture_queue(&f.base, 0)->next, 0);
    close_sequencer(&f);
}

static void a_hand_over_that_fails_leaves_the_numbers_of_what_is_in_flight(void **state)
{
    struct sequencer_fixture f;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(send_one(&f, 0, 1), 0);
    fake_turn();
    assert_int_equal(f.base.log->n_proposed, 1);
    f.base.log->can_propose = MQ_ENOTLEADER; /* the role stays what it is */
    f.base.log->writing = false;
    assert_int_equal(send_one(&f, 0, 2), 0);
    fake_turn();
    expect_done(0, 1, MQ_ENOTLEADER);
    assert_int_equal(fixture_queue(&f.base, 0)->next, 1);
    f.base.log->can_propose = 0;
    assert_int_equal(send_one(&f, 0, 3), 0);
    fake_turn();
    fake_log_commit_all(f.base.log);
    assert_int_equal(n_done, 3);
    assert_int_equal(done[1].qoff, 0);
    assert_int_equal(done[2].status, 0);
    assert_int_equal(done[2].qoff, 1);
    close_sequencer(&f);
}

static void an_entry_that_the_log_cannot_take_leaves_no_hole(void **state)
{
    struct sequencer_fixture f;

    (void)state;
    open_sequencer(&f);
    f.base.log->entry_bytes_max = 2 << 20;
    assert_int_equal(send_one(&f, 0, 1), 0);
    assert_int_equal(send_one(&f, 1, 2), 0);
    assert_int_equal(send_records(&f, 0, 3, 1000000, 3), 0);
    assert_int_equal(send_one(&f, 0, 4), 0);
    assert_int_equal(send_one(&f, 1, 5), 0);
    fake_turn(); /* the first is full and goes, then the large one is refused */
    assert_int_equal(f.base.log->n_proposed, 1);
    expect_done(0, 1, MQ_ETOOBIG);
    assert_int_equal(done[0].tag, 3);
    assert_int_equal(fixture_queue(&f.base, 0)->next, 2);
    assert_int_equal(fixture_queue(&f.base, 1)->next, 2);
    assert_int_equal(send_one(&f, 0, 6), 0);
    f.base.log->writing = false;
    fake_turn();
    fake_log_commit_all(f.base.log); /* apply would stop at a hole */
    assert_int_equal(n_done, 6);
    for (uint32_t i = 1; i < 6; i++) {
        static const uint64_t qoffs[] = {0, 0, 1, 1, 2};

        assert_int_equal(done[i].status, 0);
        assert_int_equal(done[i].qoff, qoffs[i - 1]);
        assert_int_equal(done[i].record_qoff, qoffs[i - 1]);
    }
    close_sequencer(&f);
}

static void what_was_gathered_for_a_disk_that_filled_up_is_answered_as_not_stored(void **state)
{
    struct sequencer_fixture f;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(send_one(&f, 0, 1), 0);
    f.base.log->refuse = MQ_EFULL;
    fake_turn();
    assert_int_equal(f.base.log->n_proposed, 0);
    expect_done(0, 1, MQ_EFULL);
    assert_int_equal(fixture_queue(&f.base, 0)->next, 0); /* its number is given again */
    assert_int_equal(send_one(&f, 0, 2), 0);
    fake_turn();
    fake_log_commit(f.base.log);
    expect_done(1, 1, 0);
    close_sequencer(&f);
}

static void what_lies_behind_an_entry_that_a_full_disk_refuses_goes_with_it(void **state)
{
    struct sequencer_fixture f;

    (void)state;
    open_sequencer(&f);
    f.base.log->can_propose = MQ_EBUSY;
    for (uintptr_t i = 0; i < 5; i++) { /* three entries */
        assert_int_equal(send_records(&f, 0, 1, RLOG_GATHER_BYTES / 2 - 12288, i), 0);
    }
    f.base.log->can_propose = 0;
    f.base.log->refuse = MQ_EFULL;
    fake_turn();
    assert_int_equal(f.base.log->n_proposed, 0);
    expect_done(0, 5, MQ_EFULL);
    assert_int_equal(fixture_queue(&f.base, 0)->next, 0);
    close_sequencer(&f);
}

static void a_reservation_without_an_addition_leaves_nothing_behind(void **state)
{
    struct sequencer_fixture f;
    uint8_t *at;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(sequencer_reserve(f.seq, 1000, &at), 0);
    memset(at, 0xEE, 1000);
    fake_turn();
    assert_int_equal(f.base.log->n_proposed, 0);
    assert_int_equal(f.base.log->blobs, 0);
    assert_int_equal(sequencer_reserve(f.seq, 1000, &at), 0);
    assert_int_equal(send_one(&f, 0, 1), 0);
    fake_turn();
    fake_log_commit(f.base.log);
    expect_done(0, 1, 0);
    close_sequencer(&f);
}

static void a_records_store_time_is_its_entrys(void **state)
{
    struct sequencer_fixture f;
    int64_t first_ms;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(send_one(&f, 0, 1), 0);
    first_ms = sequencer_store_ms(f.seq);
    f.base.log->last_store_ms = first_ms + 5000; /* the log's time passed the wall clock meanwhile */
    fake_turn();
    assert_int_equal(f.base.log->proposed[0].entry.store_ms, first_ms + 5000);
    fake_log_commit(f.base.log);
    assert_int_equal(done[0].store_ms, first_ms + 5000);
    assert_int_equal(done[0].record_store_ms, first_ms + 5000);
    assert_int_equal(sequencer_store_ms(f.seq), first_ms + 5000);
    close_sequencer(&f);
}

static void an_item_travels_in_order_with_records(void **state)
{
    Raftmq__OffsetCommit commit = RAFTMQ__OFFSET_COMMIT__INIT;
    struct sequencer_pending p = {.done = on_done, .data = (void *)2};
    struct sequencer_fixture f;
    uint32_t bytes;
    uint8_t *at;

    (void)state;
    open_sequencer(&f);
    fixture_topic(&f.base, "t");
    commit.group = (char *)"g";
    commit.topic = (char *)"t";
    commit.offset = 77;
    assert_int_equal(send_one(&f, 0, 1), 0);
    bytes = command_bytes(&commit.base);
    assert_int_equal(sequencer_reserve(f.seq, bytes, &at), 0);
    command_encode(COMMAND_OFFSET_COMMIT, &commit.base, at);
    sequencer_add(f.seq, bytes, NULL, 0, 1, &p);
    assert_int_equal(send_one(&f, 0, 3), 0);
    fake_turn();
    assert_int_equal(f.base.log->proposed[0].entry.items, 1);
    fake_log_commit(f.base.log);
    expect_done(0, 3, 0);
    assert_int_equal(done[1].bytes, bytes);
    assert_int_equal(offset_table_get(&f.base.state.offsets, MQ_STR("g"), MQ_STR("t"), 0), 77);
    close_sequencer(&f);
}

static struct net_channel *channel_of(uint64_t *memory)
{
    return (struct net_channel *)(void *)memory; /* only counted here */
}

static void a_channel_is_held_until_its_answer(void **state)
{
    struct sequencer_fixture f;
    struct fixture_message m = {.queue_id = 0};
    uint64_t memory;
    struct sequencer_pending p = {.done = on_done, .ch = channel_of(&memory), .records = 1};
    struct sequencer_pending one_way = {.ch = channel_of(&memory), .records = 1};
    uint8_t *at;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(sequencer_reserve(f.seq, 500, &at), 0);
    sequencer_add(f.seq, fixture_record(&m, at), fixture_queue(&f.base, 0), 1, 0, &p);
    assert_int_equal(sequencer_reserve(f.seq, 500, &at), 0);
    sequencer_add(f.seq, fixture_record(&m, at), fixture_queue(&f.base, 0), 1, 0, &one_way);
    assert_int_equal(fake_channel_refs, 1);
    fake_turn();
    assert_int_equal(fake_channel_refs, 1);
    fake_log_commit(f.base.log);
    assert_int_equal(fake_channel_refs, 0);
    expect_done(0, 1, 0);
    assert_int_equal(fixture_queue(&f.base, 0)->cq.max, 2);
    close_sequencer(&f);
}

static struct sequencer_fixture *resending;

static void on_done_send_again(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    on_done(p, outcome);
    assert_int_equal(send_one(resending, 0, 9), outcome->status == MQ_ENOTLEADER ? MQ_ENOTLEADER : 0);
}

static void an_answer_may_send_again(void **state)
{
    struct sequencer_fixture f;
    struct fixture_message m = {.queue_id = 0};
    struct sequencer_pending p = {.done = on_done_send_again, .records = 1};
    uint8_t *at;

    (void)state;
    open_sequencer(&f);
    resending = &f;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(sequencer_reserve(f.seq, 500, &at), 0);
        sequencer_add(f.seq, fixture_record(&m, at), fixture_queue(&f.base, 0), 1, 0, &p);
        if (round == 0) {
            fake_turn();
            fake_log_commit_all(f.base.log);
            fake_turn();
            fake_log_commit_all(f.base.log);
        }
    }
    sequencer_set_writable(f.seq, false);
    assert_int_equal(n_done, 3);
    assert_int_equal(done[1].tag, 9);
    assert_int_equal(done[2].status, MQ_ENOTLEADER);
    close_sequencer(&f);
}

static void too_large_or_without_memory_nothing_is_taken(void **state)
{
    struct sequencer_fixture f;
    uint8_t *at;
    unsigned failures = 0;
    int rc = MQ_ENOMEM;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(sequencer_reserve(f.seq, RLOG_ENTRY_BYTES_MAX + 1, &at), MQ_ETOOBIG);
    assert_int_equal(sequencer_reserve(f.seq, RLOG_ENTRY_BYTES_MAX, &at), MQ_ETOOBIG);
    for (unsigned n = 1; rc == MQ_ENOMEM; n++) {
        mq_heap_fail_at(n);
        rc = sequencer_reserve(f.seq, 200000, &at);
        mq_heap_fail_at(0);
        failures += rc != 0;
    }
    assert_int_equal(rc, 0);
    assert_in_range(failures, 3, 6);
    assert_int_equal(send_one(&f, 0, 1), 0);
    f.base.log->refuse = MQ_ENOMEM;
    fake_turn();
    assert_int_equal(f.base.log->n_proposed, 0);
    fake_turn();
    fake_log_commit(f.base.log);
    expect_done(0, 1, 0);
    close_sequencer(&f);
}

static void what_is_gathered_at_the_end_is_answered(void **state)
{
    struct sequencer_fixture f;

    (void)state;
    open_sequencer(&f);
    assert_int_equal(send_one(&f, 0, 1), 0);
    close_sequencer(&f);
    expect_done(0, 1, MQ_ENOTLEADER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_makes_one_entry_of_what_it_brought),
        cmocka_unit_test(while_the_disk_writes_the_next_entry_gathers),
        cmocka_unit_test(a_full_entry_goes_even_while_the_disk_writes),
        cmocka_unit_test(an_entry_holds_at_least_one_whole_request),
        cmocka_unit_test(what_waits_is_bounded_and_refused_as_busy),
        cmocka_unit_test(who_does_not_lead_takes_nothing),
        cmocka_unit_test(lost_leadership_is_told_apart_by_what_was_proposed),
        cmocka_unit_test(a_proposal_that_meets_the_end_of_leadership_was_not_made),
        cmocka_unit_test(a_hand_over_that_fails_leaves_the_numbers_of_what_is_in_flight),
        cmocka_unit_test(an_entry_that_the_log_cannot_take_leaves_no_hole),
        cmocka_unit_test(what_was_gathered_for_a_disk_that_filled_up_is_answered_as_not_stored),
        cmocka_unit_test(what_lies_behind_an_entry_that_a_full_disk_refuses_goes_with_it),
        cmocka_unit_test(a_reservation_without_an_addition_leaves_nothing_behind),
        cmocka_unit_test(a_records_store_time_is_its_entrys),
        cmocka_unit_test(an_item_travels_in_order_with_records),
        cmocka_unit_test(a_channel_is_held_until_its_answer),
        cmocka_unit_test(an_answer_may_send_again),
        cmocka_unit_test(too_large_or_without_memory_nothing_is_taken),
        cmocka_unit_test(what_is_gathered_at_the_end_is_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
