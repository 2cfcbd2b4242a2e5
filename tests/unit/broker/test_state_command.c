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

static void check_item(enum command_type type, const ProtobufCMessage *message, const char *body, size_t n)
{
    uint8_t at[256] = {0};

    assert_int_equal(command_bytes(message), COMMAND_HEAD_BYTES + n);
    command_encode(type, message, at);
    assert_int_equal(mq_be16_load(at + 8), type);
    assert_memory_equal(at + COMMAND_HEAD_BYTES, body, n);
}

static void items_of_administration_are_these_bytes(void **state)
{
    Raftmq__TopicDelete topic = RAFTMQ__TOPIC_DELETE__INIT;
    Raftmq__GroupDelete group = RAFTMQ__GROUP_DELETE__INIT;
    Raftmq__OffsetsReset reset = RAFTMQ__OFFSETS_RESET__INIT;
    Raftmq__ResetTaken taken = RAFTMQ__RESET_TAKEN__INIT;
    Raftmq__OffsetsClone clone = RAFTMQ__OFFSETS_CLONE__INIT;
    Raftmq__RequestModePut mode = RAFTMQ__REQUEST_MODE_PUT__INIT;
    Raftmq__GroupForbidden forbidden = RAFTMQ__GROUP_FORBIDDEN__INIT;
    int32_t ids[] = {1};
    int64_t offsets[] = {300};

    (void)state;
    topic.name = reset.topic = taken.topic = mode.topic = forbidden.topic = (char *)"t";
    group.name = reset.group = taken.group = mode.group = forbidden.group = clone.source = (char *)"g";
    group.clean_offsets = mode.pop = forbidden.read_forbidden = true;
    reset.queue_ids = ids;
    reset.offsets = offsets;
    reset.n_queue_ids = reset.n_offsets = 1;
    taken.queue_id = 1;
    taken.offset = 300;
    clone.target = (char *)"h";
    clone.topics = (char *[]){(char *)"t"};
    clone.n_topics = 1;
    mode.pop_share_queues = 2;
    check_item(COMMAND_TOPIC_DELETE, &topic.base, "\x0A\x01t", 3);
    check_item(COMMAND_GROUP_DELETE, &group.base, "\x0A\x01g\x10\x01", 5);
    check_item(COMMAND_OFFSETS_RESET, &reset.base, "\x0A\x01g\x12\x01t\x1A\x01\x01\x22\x02\xAC\x02", 13);
    check_item(COMMAND_RESET_TAKEN, &taken.base, "\x0A\x01g\x12\x01t\x18\x01\x20\xAC\x02", 11);
    check_item(COMMAND_OFFSETS_CLONE, &clone.base, "\x0A\x01g\x12\x01h\x1A\x01t", 9);
    check_item(COMMAND_REQUEST_MODE_PUT, &mode.base, "\x0A\x01g\x12\x01t\x18\x01\x20\x02", 10);
    check_item(COMMAND_GROUP_FORBIDDEN, &forbidden.base, "\x0A\x01g\x12\x01t\x18\x01", 8);
}

static void items_of_transactions_and_pops_are_these_bytes(void **state)
{
    Raftmq__HalfPut put = RAFTMQ__HALF_PUT__INIT;
    Raftmq__HalfEnd end = RAFTMQ__HALF_END__INIT;
    Raftmq__HalfChecked checked = RAFTMQ__HALF_CHECKED__INIT;
    Raftmq__HalfMove move = RAFTMQ__HALF_MOVE__INIT;
    Raftmq__PopTake take = RAFTMQ__POP_TAKE__INIT;
    Raftmq__PopAck ack = RAFTMQ__POP_ACK__INIT;
    Raftmq__PopChange change = RAFTMQ__POP_CHANGE__INIT;
    Raftmq__PopRevive revive = RAFTMQ__POP_REVIVE__INIT;
    uint64_t positions[] = {7, 300};
    uint32_t offsets[] = {0, 300};

    (void)state;
    put.producer_group = (char *)"g";
    put.born_ms = 1;
    put.check_ms = 300;
    put.immunity_s = 2;
    end.pos = move.pos = 7;
    end.cause = RAFTMQ__HALF_CAUSE__HALF_ROLLED_BACK;
    checked.pos = positions;
    checked.n_pos = 2;
    checked.next_ms = 5;
    take.group = ack.group = change.group = revive.group = (char *)"g";
    take.topic = ack.topic = change.topic = revive.topic = (char *)"t";
    take.queue_id = ack.queue_id = change.queue_id = revive.queue_id = 1;
    take.start = ack.start = change.start = revive.start = 2;
    take.pop_ms = ack.pop_ms = change.pop_ms = revive.pop_ms = 3;
    take.offsets = ack.offsets = offsets;
    take.n_offsets = ack.n_offsets = 2;
    take.until_ms = change.until_ms = 4;
    take.next = 303;
    change.offset = 6;
    change.new_pop_ms = 8;
    check_item(COMMAND_HALF_PUT, &put.base, "\x0A\x01g\x10\x01\x18\xAC\x02\x20\x02", 10);
    check_item(COMMAND_HALF_END, &end.base, "\x08\x07\x10\x02", 4);
    check_item(COMMAND_HALF_CHECKED, &checked.base, "\x0A\x03\x07\xAC\x02\x10\x05", 7);
    check_item(COMMAND_HALF_MOVE, &move.base, "\x08\x07", 2);
    check_item(COMMAND_POP_TAKE, &take.base,
               "\x0A\x01g\x12\x01t\x18\x01\x20\x02\x2A\x03\x00\xAC\x02\x30\x03\x38\x04\x40\xAF\x02", 22);
    check_item(COMMAND_POP_ACK, &ack.base, "\x0A\x01g\x12\x01t\x18\x01\x20\x02\x28\x03\x32\x03\x00\xAC\x02", 17);
    check_item(COMMAND_POP_CHANGE, &change.base, "\x0A\x01g\x12\x01t\x18\x01\x20\x02\x28\x03\x30\x06\x38\x08\x40\x04",
               18);
    check_item(COMMAND_POP_REVIVE, &revive.base, "\x0A\x01g\x12\x01t\x18\x01\x20\x02\x28\x03", 12);
}

static void items_of_ordered_pops_are_these_bytes(void **state)
{
    Raftmq__OrderTake take = RAFTMQ__ORDER_TAKE__INIT;
    Raftmq__OrderAck ack = RAFTMQ__ORDER_ACK__INIT;
    Raftmq__OrderChange change = RAFTMQ__ORDER_CHANGE__INIT;
    uint32_t offsets[] = {0, 300};
    uint64_t qoffs[] = {2, 302};

    (void)state;
    take.group = ack.group = change.group = (char *)"g";
    take.topic = ack.topic = change.topic = (char *)"t";
    take.queue_id = ack.queue_id = change.queue_id = 1;
    take.pop_ms = ack.pop_ms = change.pop_ms = 3;
    take.start = 2;
    take.offsets = offsets;
    take.n_offsets = 2;
    take.next = 303;
    take.until_ms = change.until_ms = 4;
    take.attempt = 5;
    take.again = true;
    take.seen_offset = -1;
    take.seen_pop_ms = 6;
    take.seen_steps = 7;
    ack.offsets = qoffs;
    ack.n_offsets = 2;
    change.offset = 302;
    check_item(
        COMMAND_ORDER_TAKE, &take.base,
        "\x0A\x01g\x12\x01t\x18\x01\x20\x02\x2A\x03\x00\xAC\x02\x30\xAF\x02\x38\x03\x40\x04\x49\x05\x00\x00\x00"
        "\x00\x00\x00\x00\x50\x01\x58\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x60\x06\x68\x07",
        48);
    check_item(COMMAND_ORDER_ACK, &ack.base, "\x0A\x01g\x12\x01t\x18\x01\x20\x03\x2A\x03\x02\xAE\x02", 15);
    check_item(COMMAND_ORDER_CHANGE, &change.base, "\x0A\x01g\x12\x01t\x18\x01\x20\x03\x28\xAE\x02\x30\x04", 15);
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
        cmocka_unit_test(items_of_administration_are_these_bytes),
        cmocka_unit_test(items_of_transactions_and_pops_are_these_bytes),
        cmocka_unit_test(items_of_ordered_pops_are_these_bytes),
        cmocka_unit_test(the_walk_meets_records_and_items_in_order),
        cmocka_unit_test(the_feature_level_that_an_item_needs_is_told),
        cmocka_unit_test(the_walk_refuses_what_is_no_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
