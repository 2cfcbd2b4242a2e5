#include "broker/state/bundle.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/ensure.h"
#include "broker/store/fetch.h"
#include "remoting/base/err.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct outcome {
    int calls, status;
    uint64_t pos, qoff;
    uint32_t bytes;
} got;

static void on_done(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    got.calls++;
    got.status = outcome->status;
    got.pos = outcome->payload_pos + p->at;
    got.qoff = p->qoff;
    got.bytes = p->bytes;
}

static const struct sequencer_pending waits = {.done = on_done};

static void open_all(struct fixture *f, struct sequencer **seq)
{
    fixture_open(f, 16 << 20);
    assert_int_equal(sequencer_new(&f->loop, &f->store, seq), 0);
    sequencer_set_writable(*seq, true);
    got = (struct outcome){0};
}

static void close_all(struct fixture *f, struct sequencer *seq)
{
    sequencer_free(seq);
    fixture_close(f);
}

static struct record_source message(int32_t queue_id)
{
    return (struct record_source){.topic = FIXTURE_TOPIC,
                                  .queue_id = queue_id,
                                  .born_host = {{1, 2, 3, 4}, 4, 5},
                                  .store_host = {{1, 2, 3, 4}, 4, 6},
                                  .body = MQ_STR("body")};
}

static Raftmq__OffsetCommit offset(int64_t value)
{
    Raftmq__OffsetCommit item = RAFTMQ__OFFSET_COMMIT__INIT;

    item.group = (char *)"g";
    item.topic = (char *)"t";
    item.offset = value;
    return item;
}

static int64_t offset_now(struct fixture *f)
{
    return offset_table_get(&f->state.offsets, MQ_STR("g"), MQ_STR("t"), 0);
}

static void parts_reach_the_log_in_one_entry_in_their_order(void **state)
{
    struct fixture f;
    struct sequencer *seq;
    struct record_source first, second;
    Raftmq__OffsetCommit item = offset(42);
    struct bundle_part parts[3];

    (void)state;
    open_all(&f, &seq);
    fixture_topic(&f, "t");
    first = message(0);
    second = message(1);
    parts[0] = (struct bundle_part){.kind = BUNDLE_NEW, .queue = fixture_queue(&f, 0), .source = &first};
    parts[1] = (struct bundle_part){.kind = BUNDLE_ITEM, .type = COMMAND_OFFSET_COMMIT, .item = &item.base};
    parts[2] = (struct bundle_part){.kind = BUNDLE_NEW, .queue = fixture_queue(&f, 1), .source = &second};
    assert_int_equal(bundle_add(seq, &f.store, parts, 3, &waits, 2), 0);
    fake_turn();
    assert_int_equal(f.log->n_proposed, 1);
    assert_int_equal(f.log->proposed[0].entry.records, 2);
    assert_int_equal(f.log->proposed[0].entry.items, 1);
    assert_int_equal(offset_now(&f), -1);
    fake_log_commit(f.log);
    assert_int_equal(got.calls, 1);
    assert_int_equal(got.status, 0);
    assert_int_equal(got.qoff, 0);
    assert_int_equal(offset_now(&f), 42);
    assert_int_equal(fixture_queue(&f, 0)->cq.max, 1);
    assert_int_equal(fixture_queue(&f, 1)->cq.max, 1);
    close_all(&f, seq);
}

static void a_part_that_cannot_be_written_leaves_nothing_behind(void **state)
{
    static char too_long[PROTO_PROPERTIES_MAX + 2];
    struct fixture f;
    struct sequencer *seq;
    struct record_source first, second;
    struct record_copy none = {.record = (const uint8_t *)"none", .bytes = 4};
    struct bundle_part parts[2];

    (void)state;
    memset(too_long, 'x', sizeof(too_long));
    open_all(&f, &seq);
    first = message(0);
    second = message(0);
    second.properties = (struct mq_str){too_long, sizeof(too_long)};
    parts[0] = (struct bundle_part){.kind = BUNDLE_NEW, .queue = fixture_queue(&f, 0), .source = &first};
    parts[1] = (struct bundle_part){.kind = BUNDLE_NEW, .queue = fixture_queue(&f, 0), .source = &second};
    assert_int_equal(bundle_add(seq, &f.store, parts, 2, &waits, 0), MQ_ETOOBIG);
    parts[1] = (struct bundle_part){.kind = BUNDLE_COPY, .queue = fixture_queue(&f, 0), .copy = &none};
    assert_int_equal(bundle_add(seq, &f.store, parts, 2, &waits, 0), MQ_EBADMSG);
    f.log->space = RLOG_SPACE_LOW;
    assert_int_equal(bundle_add(seq, &f.store, parts, 1, &waits, 0), MQ_EFULL);
    f.log->space = RLOG_SPACE_ENOUGH;
    fake_turn();
    assert_int_equal(f.log->n_proposed, 0);
    assert_int_equal(got.calls, 0);
    assert_int_equal(bundle_add(seq, &f.store, parts, 1, &waits, 0), 0);
    fake_turn();
    fake_log_commit(f.log);
    assert_int_equal(got.qoff, 0);
    close_all(&f, seq);
}

static void what_is_appended_again_is_taken_from_the_reserve_of_a_low_disk(void **state)
{
    struct fixture f;
    struct sequencer *seq;
    struct record_source first, second;
    struct bundle_part again, other;

    (void)state;
    open_all(&f, &seq);
    first = message(0);
    second = message(1);
    again = (struct bundle_part){.kind = BUNDLE_NEW, .queue = fixture_queue(&f, 0), .source = &first};
    other = (struct bundle_part){.kind = BUNDLE_NEW, .queue = fixture_queue(&f, 1), .source = &second};
    f.log->space = RLOG_SPACE_LOW;
    assert_int_equal(bundle_add_again(seq, &f.store, &again, 1, &waits, 0), MQ_EFULL); /* nothing is given now */
    f.log->reserve = 10000;
    assert_int_equal(bundle_add_again(seq, &f.store, &again, 1, &waits, 0), 0);
    assert_true(f.log->reserve < 10000);
    fake_turn();
    assert_int_equal(f.log->n_proposed, 1);
    fake_log_commit(f.log);
    assert_int_equal(got.status, 0);
    assert_int_equal(got.qoff, 0);

    /* In one entry with a record that came before the disk was low: both are refused, and numbers go on. */
    f.log->space = RLOG_SPACE_ENOUGH;
    assert_int_equal(bundle_add(seq, &f.store, &other, 1, &waits, 0), 0);
    f.log->space = RLOG_SPACE_LOW;
    assert_int_equal(bundle_add_again(seq, &f.store, &again, 1, &waits, 0), 0);
    got = (struct outcome){0};
    fake_turn();
    assert_int_equal(f.log->n_proposed, 0);
    assert_int_equal(got.calls, 2);
    assert_int_equal(got.status, MQ_EFULL);
    f.log->space = RLOG_SPACE_SCARCE;
    assert_int_equal(bundle_add_again(seq, &f.store, &again, 1, &waits, 0), MQ_EFULL);
    f.log->space = RLOG_SPACE_LOW;
    assert_int_equal(bundle_add_again(seq, &f.store, &again, 1, &waits, 0), 0);
    fake_turn();
    fake_log_commit(f.log);
    assert_int_equal(got.status, 0);
    assert_int_equal(got.qoff, 1);
    assert_int_equal(fixture_queue(&f, 1)->cq.max, 0);
    close_all(&f, seq);
}

static void a_stored_record_is_fetched_and_copied_to_another_queue(void **state)
{
    struct fixture f;
    struct sequencer *seq;
    struct reader_view view;
    uint64_t pos;
    struct record_copy copy = {.queue_id = 3, .reconsume_times = 1};
    struct bundle_part part = {.kind = BUNDLE_COPY, .copy = &copy};
    struct proto_record rec;

    (void)state;
    open_all(&f, &seq);
    pos = fixture_put(&f, &(struct fixture_message){.queue_id = 1, .tags = "T", .body_bytes = 10, .store_ms = 5}, 1);
    assert_int_equal(store_fetch(&f.store, pos, &view), 0);
    assert_int_equal(store_fetch(&f.store, pos + 1, &view), MQ_ENOTFOUND);
    copy.record = view.at;
    copy.bytes = view.bytes;
    part.queue = fixture_queue(&f, 3);
    assert_int_equal(bundle_add(seq, &f.store, &part, 1, &waits, 0), 0);
    net_ref_release(view.ref);
    fake_turn();
    fake_log_commit(f.log);
    assert_int_equal(store_fetch(&f.store, got.pos, &view), 0);
    assert_int_equal(proto_record_decode(view.at, view.bytes, &rec), 0);
    assert_int_equal(rec.queue_id, 3);
    assert_int_equal(rec.reconsume_times, 1);
    assert_int_equal(rec.body.len, 10);
    net_ref_release(view.ref);
    close_all(&f, seq);
}

static void a_topic_that_is_needed_is_made_before_what_needs_it(void **state)
{
    struct fixture f;
    struct sequencer *seq;
    struct record_source source;
    struct bundle_part part = {.kind = BUNDLE_NEW, .source = &source};
    struct topic *topic;

    (void)state;
    open_all(&f, &seq);
    assert_int_equal(ensure_topic(&f.state, seq, MQ_STR(""), 1, 6, &topic), MQ_EINVAL);
    assert_int_equal(ensure_queue(&f.state, seq, MQ_STR("%RETRY%g"), 1, 6, 0, &part.queue), 0);
    assert_null(topic_table_find(&f.state.topics, MQ_STR("%RETRY%g")));
    source = message(0);
    source.topic = MQ_STR("%RETRY%g");
    assert_int_equal(bundle_add(seq, &f.store, &part, 1, &waits, 0), 0);
    fake_turn();
    assert_int_equal(f.log->n_proposed, 1);
    fake_log_commit(f.log);
    topic = topic_table_find(&f.state.topics, MQ_STR("%RETRY%g"));
    assert_non_null(topic);
    assert_int_equal(topic->perm, 6);
    assert_int_equal(got.status, 0);

    /* Lost with its entry: nobody goes on believing in it. */
    assert_int_equal(ensure_topic(&f.state, seq, MQ_STR("other"), 1, 6, &topic), 0);
    assert_true(topic->pending);
    fake_turn();
    fake_log_lose(f.log);
    assert_null(topic_table_find_for_send(&f.state.topics, MQ_STR("other")));
    close_all(&f, seq);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_reach_the_log_in_one_entry_in_their_order),
        cmocka_unit_test(a_part_that_cannot_be_written_leaves_nothing_behind),
        cmocka_unit_test(what_is_appended_again_is_taken_from_the_reserve_of_a_low_disk),
        cmocka_unit_test(a_stored_record_is_fetched_and_copied_to_another_queue),
        cmocka_unit_test(a_topic_that_is_needed_is_made_before_what_needs_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
