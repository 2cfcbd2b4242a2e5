#include "tests/unit/raft-log/log_fixture.h"

#include "remoting/base/err.h"
#include "remoting/base/heap.h"

static void blob_has_the_room_asked_for(void **state)
{
    static const uint32_t caps[] = {0, 1, 3993, 3994, 65536, 1 << 20, (16u << 20) - RLOG_HEADER_BYTES};
    struct blob_pool pool;

    (void)state;
    blob_pool_init(&pool);
    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        struct rlog_blob *blob;

        assert_int_equal(blob_pool_take(&pool, NULL, caps[i], &blob), 0);
        assert_true(blob->cap >= caps[i]);
        assert_int_equal(blob->payload_bytes, 0);
        assert_ptr_equal(rlog_blob_payload(blob), blob->base + RLOG_HEADER_BYTES);
        memset(blob->base, 0xEE, RLOG_HEADER_BYTES + blob->cap + 7); /* header, payload and padding are ours */
        net_ref_release(&blob->ref);
    }
    blob_pool_fini(&pool);
}

static void blob_grows_and_keeps_its_payload(void **state)
{
    struct blob_pool pool;
    struct rlog_blob *blob;

    (void)state;
    blob_pool_init(&pool);
    assert_int_equal(blob_pool_take(&pool, NULL, 10, &blob), 0);
    for (uint32_t n = 0; n < 300000; n += 1000) {
        assert_int_equal(rlog_blob_reserve(blob, 1000), 0);
        log_fixture_payload(n, 1, rlog_blob_payload(blob) + n, 1000);
        blob->payload_bytes += 1000;
    }
    for (uint32_t n = 0; n < 300000; n += 1000) {
        uint8_t want[1000];

        log_fixture_payload(n, 1, want, sizeof(want));
        assert_memory_equal(rlog_blob_payload(blob) + n, want, sizeof(want));
    }
    net_ref_release(&blob->ref);
    blob_pool_fini(&pool);
}

static void more_than_an_entry_can_hold_is_refused(void **state)
{
    struct blob_pool pool;
    struct rlog_blob *blob;

    (void)state;
    blob_pool_init(&pool);
    assert_int_equal(blob_pool_take(&pool, NULL, RLOG_ENTRY_BYTES_MAX - RLOG_HEADER_BYTES + 1, &blob), MQ_ENOMEM);
    assert_int_equal(blob_pool_take(&pool, NULL, 100, &blob), 0);
    blob->payload_bytes = 100;
    assert_int_equal(rlog_blob_reserve(blob, RLOG_ENTRY_BYTES_MAX - RLOG_HEADER_BYTES - 99), MQ_ETOOBIG);
    assert_int_equal(rlog_blob_reserve(blob, UINT32_MAX), MQ_ETOOBIG);
    mq_heap_fail_at(1);
    assert_int_equal(rlog_blob_reserve(blob, 1 << 20), MQ_ENOMEM);
    mq_heap_fail_at(0);
    assert_int_equal(blob->payload_bytes, 100);
    net_ref_release(&blob->ref);
    blob_pool_fini(&pool);
}

static void memory_is_used_again_up_to_a_bound(void **state)
{
    struct blob_pool pool;
    struct rlog_blob *blobs[20];
    uint8_t *base;

    (void)state;
    blob_pool_init(&pool);
    assert_int_equal(blob_pool_take(&pool, NULL, 100000, &blobs[0]), 0);
    base = blobs[0]->base;
    net_ref_release(&blobs[0]->ref);
    assert_int_equal(blob_pool_take(&pool, NULL, 70000, &blobs[0]), 0);
    assert_ptr_equal(blobs[0]->base, base);
    net_ref_release(&blobs[0]->ref);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(blob_pool_take(&pool, NULL, 1 << 20, &blobs[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        net_ref_release(&blobs[i]->ref);
    }
    assert_true(pool.kept_bytes <= BLOB_KEPT_BYTES_MAX);
    assert_int_equal(pool.taken, 0);
    for (unsigned nth = 1; nth <= 2; nth++) {
        mq_heap_fail_at(nth);
        assert_int_equal(blob_pool_take(&pool, NULL, 8 << 20, &blobs[0]), MQ_ENOMEM);
        mq_heap_fail_at(0);
    }
    blob_pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blob_has_the_room_asked_for),
        cmocka_unit_test(blob_grows_and_keeps_its_payload),
        cmocka_unit_test(more_than_an_entry_can_hold_is_refused),
        cmocka_unit_test(memory_is_used_again_up_to_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
