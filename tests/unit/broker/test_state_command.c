#include "broker/state/command.h"

#include "broker/state/command.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void an_item_has_a_head_of_twelve_bytes(void **state)
{
    static const uint8_t want[] = {0,    0, 0,   23,   0xDA, 0xA3, 0xC0, 0xDE, 0,    3,    0,   0,
                                   0x0A, 1, 'g', 0x12, 1,    't',  0x18, 5,    0x20, 0xAC, 0x02};
    Raftmq__OffsetCommit commit = RAFTMQ__OFFSET_COMMIT__INIT;
    uint8_t at[64] = {0};
    uint32_t bytes;

    (void)state;
    commit.group = (char *)"g";
    commit.topic = (char *)"t";
    commit.queue_id = 5;
    commit.offset = 300;
    bytes = command_bytes(&commit.base);
    assert_int_equal(bytes, sizeof(want));
    command_encode(COMMAND_OFFSET_COMMIT, &commit.base, at);
    assert_memory_equal(at, want, sizeof(want));
}

static void the_walk_meets_records_and_items_in_order(void **state)
{
    Raftmq__GroupPut group = RAFTMQ__GROUP_PUT__INIT;
    struct command_block block;
    uint8_t payload[1024];
    uint32_t n, item, offset = 0;

    (void)state;
    group.name = (char *)"g";
    n = fixture_record(&(struct fixture_message){.body_bytes = 10}, payload);
    item = n;
    command_encode(COMMAND_GROUP_PUT, &group.base, payload + n);
    n += command_bytes(&group.base);
    n += fixture_record(&(struct fixture_message){.body_bytes = 0}, payload + n);

    assert_int_equal(command_next(payload, n, &offset, &block), 1);
    assert_true(block.is_record && block.at == 0 && block.bytes == item && block.body == payload);
    assert_int_equal(command_next(payload, n, &offset, &block), 1);
    assert_true(!block.is_record && block.at == item && block.type == COMMAND_GROUP_PUT);
    assert_ptr_equal(block.body, payload + item + COMMAND_HEAD_BYTES);
    assert_int_equal(block.body_bytes, block.bytes - COMMAND_HEAD_BYTES);
    assert_int_equal(command_next(payload, n, &offset, &block), 1);
    assert_true(block.is_record && block.at + block.bytes == n);
    assert_int_equal(command_next(payload, n, &offset, &block), 0);
    assert_int_equal(offset, n);
}

static void the_feature_level_that_an_item_needs_is_told(void **state)
{
    static const uint8_t item[] = {0, 0, 0, 12, 0xDA, 0xA3, 0xC0, 0xDE, 0, 9, 0, 2};
    struct command_block block;
    uint32_t offset = 0;

    (void)state;
    assert_int_equal(command_next(item, sizeof(item), &offset, &block), 1);
    assert_int_equal(block.type, 9);
    assert_int_equal(block.level, 3);
}

static void the_walk_refuses_what_is_no_block(void **state)
{
    static const struct {
        const char *why;
        uint8_t bytes[16];
        uint32_t n;
    } cases[] = {
        {"less than a head", {0, 0, 0, 11, 0xDA, 0xA3, 0xC0, 0xDE, 0, 1, 0}, 11},
        {"an item that claims less than its head", {0, 0, 0, 11, 0xDA, 0xA3, 0xC0, 0xDE, 0, 1, 0, 0}, 12},
        {"an item that claims more than there is", {0, 0, 0, 13, 0xDA, 0xA3, 0xC0, 0xDE, 0, 1, 0, 0}, 12},
        {"a negative size", {0xFF, 0xFF, 0xFF, 0xFF, 0xDA, 0xA3, 0xC0, 0xDE, 0, 1, 0, 0}, 12},
        {"a magic that nobody knows", {0, 0, 0, 12, 0xDA, 0xA3, 0xC0, 0xDF, 0, 1, 0, 0}, 12},
        {"a record smaller than any", {0, 0, 0, 12, 0xDA, 0xA3, 0x20, 0xA7, 0, 1, 0, 0}, 12},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct command_block block = {.bytes = 77};
        uint32_t offset = 0;

        print_message("%s\n", cases[i].why);
        assert_int_equal(command_next(cases[i].bytes, cases[i].n, &offset, &block), MQ_EBADMSG);
        assert_int_equal(offset, 0);
        assert_int_equal(block.bytes, 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_has_a_head_of_twelve_bytes),
        cmocka_unit_test(the_walk_meets_records_and_items_in_order),
        cmocka_unit_test(the_feature_level_that_an_item_needs_is_told),
        cmocka_unit_test(the_walk_refuses_what_is_no_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
