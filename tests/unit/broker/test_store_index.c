#include "broker/store/store.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void a_record_becomes_the_next_unit_of_its_queue(void **state)
{
    const struct fixture_message messages[] = {
        {.queue_id = 2, .tags = "TagA", .body_bytes = 10}, {.queue_id = 2, .body_bytes = 20}, {.queue_id = 0}};
    struct fixture f;
    struct consume_unit unit;
    uint64_t pos;

    (void)state;
    fixture_open(&f, 1 << 20);
    pos = fixture_put(&f, messages, 3);
    assert_int_equal(fixture_queue(&f, 2)->cq.max, 2);
    assert_int_equal(fixture_queue(&f, 2)->next, 2);
    assert_int_equal(fixture_queue(&f, 0)->cq.max, 1);
    consume_queue_get(&fixture_queue(&f, 2)->cq, 0, &unit);
    assert_int_equal(unit.pos, pos);
    assert_int_equal(unit.tags_code, 2598919);
    pos += unit.bytes;
    consume_queue_get(&fixture_queue(&f, 2)->cq, 1, &unit);
    assert_int_equal(unit.pos, pos);
    assert_int_equal(unit.tags_code, 0);
    assert_int_equal(f.arrivals, 3);
    assert_int_equal(f.store.messages, 3);
    assert_int_equal(f.store.end_pos, f.log->end_pos);
    fixture_close(&f);
}

static void what_does_not_follow_is_refused_and_changes_nothing(void **state)
{
    struct fixture f;
    struct topic_queues *topic;
    uint8_t record[512], bad[512];
    uint32_t bytes;

    (void)state;
    fixture_open(&f, 1 << 20);
    topic = queue_table_topic(&f.store.queues, FIXTURE_TOPIC);
    bytes = fixture_record(&(struct fixture_message){.queue_id = 1, .body_bytes = 5}, record);
    fixture_set_pos(record, 96);

    memcpy(bad, record, bytes);
    mq_be64_store(bad + PROTO_RECORD_QOFF_AT, 1);
    assert_int_equal(store_index(&f.store, topic, bad, bytes, 96), MQ_ECORRUPT);
    assert_int_equal(store_index(&f.store, topic, record, bytes, 97), MQ_ECORRUPT);
    memcpy(bad, record, bytes);
    mq_be32_store(bad + PROTO_RECORD_QUEUE_ID_AT, 70000);
    assert_int_equal(store_index(&f.store, topic, bad, bytes, 96), MQ_EINVAL);
    memcpy(bad, record, bytes);
    mq_be32_store(bad, bytes - 1);
    assert_int_equal(store_index(&f.store, topic, bad, bytes, 96), MQ_EBADMSG);
    assert_int_equal(store_index(&f.store, topic, record, bytes - 1, 96), MQ_EBADMSG);
    memset(bad, 0, sizeof(bad));
    assert_int_equal(store_index(&f.store, topic, bad, bytes, 96), MQ_EBADMSG);

    assert_int_equal(f.store.messages, 0);
    assert_int_equal(f.arrivals, 0);
    assert_int_equal(store_index(&f.store, topic, record, bytes, 96), 0);
    assert_int_equal(store_index(&f.store, topic, record, bytes, 96), MQ_ECORRUPT);
    assert_int_equal(f.store.messages, 1);
    fixture_close(&f);
}

static void queues_of_the_process_before_are_gone_at_once_and_from_disk_soon(void **state)
{
    struct fixture f;
    char path[160];

    (void)state;
    fixture_open(&f, 1 << 20);
    fixture_put(&f, &(struct fixture_message){.queue_id = 0}, 1);
    fixture_put(&f, &(struct fixture_message){.queue_id = 3}, 1);
    state_fini(&f.state);
    store_fini(&f.store);

    assert_int_equal(store_init(&f.store, f.dir), 0);
    snprintf(path, sizeof(path), "%s/consumequeue", f.dir);
    assert_false(mq_file_exists(path));
    store_fini(&f.store); /* waits for the removal */
    snprintf(path, sizeof(path), "%s/consumequeue.old", f.dir);
    assert_false(mq_file_exists(path));

    /* What a crash left half removed goes as well. */
    assert_int_equal(mq_dir_make(path), 0);
    assert_int_equal(store_init(&f.store, f.dir), 0);
    store_fini(&f.store);
    assert_false(mq_file_exists(path));

    assert_int_equal(store_init(&f.store, f.dir), 0);
    assert_int_equal(state_init(&f.state, &f.store), 0);
    fixture_close(&f);
}

static void an_unusable_directory_is_an_error(void **state)
{
    struct store store;

    (void)state;
    assert_true(store_init(&store, "/proc/no-such-place/store") < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_becomes_the_next_unit_of_its_queue),
        cmocka_unit_test(what_does_not_follow_is_refused_and_changes_nothing),
        cmocka_unit_test(queues_of_the_process_before_are_gone_at_once_and_from_disk_soon),
        cmocka_unit_test(an_unusable_directory_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
