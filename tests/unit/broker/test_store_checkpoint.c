#include "broker/store/checkpoint.h"

#include "remoting/base/assert.h"
#include "remoting/base/buf.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct checkpoint_stamp STAMPS[CHECKPOINT_STAMPS] = {{0x0102030405060708, 0xAABBCCDD, 5}, {3, 4, 2}};

static void the_bytes_are_the_golden_ones(void **state)
{
    static const uint8_t want[CHECKPOINT_BYTES] = {'R', 'M', 'Q', 'Q', 0x23, 0x51, 0x6A, 0x63, 0,    0,    0,    2,
                                                   0,   1,   2,   3, /* CRC-32C, version, units of a file */
                                                   1,   2,   3,   4,   5,    6,    7,    8,    0xAA, 0xBB, 0xCC, 0xDD,
                                                   0,   0,   0,   0,   0,    0,    0,    0,    0,    0,    0,    5,
                                                   0,   0,   0,   0,   0,    0,    0,    3,    0,    0,    0,    4,
                                                   0,   0,   0,   0,   0,    0,    0,    0,    0,    0,    0,    2};
    struct checkpoint_stamp got[CHECKPOINT_STAMPS];
    uint8_t bytes[CHECKPOINT_BYTES];
    uint32_t file_units = 0;

    (void)state;
    checkpoint_encode(0x010203, STAMPS, bytes);
    assert_memory_equal(bytes, want, sizeof(want));
    assert_int_equal(checkpoint_decode(want, sizeof(want), &file_units, got), 0);
    assert_int_equal(file_units, 0x010203);
    for (size_t i = 0; i < ARRAY_SIZE(got); i++) {
        assert_int_equal(got[i].index, STAMPS[i].index);
        assert_int_equal(got[i].crc, STAMPS[i].crc);
        assert_int_equal(got[i].held_index, STAMPS[i].held_index);
    }
}

static void version_1_was_of_files_of_300000_units(void **state)
{
    static const uint8_t bytes[CHECKPOINT_BYTES] = {
        'R', 'M', 'Q', 'Q', 0xCF, 0xF1, 0x1D, 0x3E, 0,    0,    0,    1,    0, 0, 0, 0, /* CRC-32C, version */
        1,   2,   3,   4,   5,    6,    7,    8,    0xAA, 0xBB, 0xCC, 0xDD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5,
        0,   0,   0,   0,   0,    0,    0,    3,    0,    0,    0,    4,    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
    struct checkpoint_stamp got[CHECKPOINT_STAMPS];
    uint32_t file_units = 0;

    (void)state;
    assert_int_equal(checkpoint_decode(bytes, sizeof(bytes), &file_units, got), 0);
    assert_int_equal(file_units, 300000);
    assert_int_equal(got[0].index, STAMPS[0].index);
    assert_int_equal(got[1].held_index, STAMPS[1].held_index);
}

static void a_flipped_bit_or_another_length_is_refused(void **state)
{
    struct checkpoint_stamp got[CHECKPOINT_STAMPS];
    uint8_t bytes[CHECKPOINT_BYTES + 1] = {0};
    uint32_t file_units = 7;

    (void)state;
    checkpoint_encode(300000, STAMPS, bytes);
    for (size_t at = 0; at < CHECKPOINT_BYTES; at++) {
        bytes[at] ^= 4;
        assert_int_equal(checkpoint_decode(bytes, CHECKPOINT_BYTES, &file_units, got), MQ_ECORRUPT);
        bytes[at] ^= 4;
        assert_int_equal(checkpoint_decode(bytes, at, &file_units, got), MQ_ECORRUPT);
    }
    assert_int_equal(checkpoint_decode(bytes, CHECKPOINT_BYTES + 1, &file_units, got), MQ_ECORRUPT);
    bytes[11] = 3;
    mq_be32_store(bytes + 4, mq_crc32c(0, bytes + 8, CHECKPOINT_BYTES - 8));
    assert_int_equal(checkpoint_decode(bytes, CHECKPOINT_BYTES, &file_units, got), MQ_EVERSION);
    assert_int_equal(file_units, 7);
}

static void a_missing_or_damaged_file_is_no_stamp(void **state)
{
    struct checkpoint_stamp got[CHECKPOINT_STAMPS];
    char dir[64], path[96];

    (void)state;
    fixture_dir_make(dir);
    snprintf(path, sizeof(path), "%s/queues.checkpoint", dir);
    assert_int_equal(checkpoint_read(path, 1000, got), 0);
    assert_int_equal(got[0].index, 0);
    assert_int_equal(checkpoint_write(path, 1000, STAMPS), 0);
    assert_int_equal(checkpoint_read(path, 1000, got), 0);
    assert_int_equal(got[1].index, 3);
    assert_int_equal(checkpoint_read(path, 1001, got), 0); /* of files of another size */
    assert_int_equal(got[0].index, 0);
    assert_int_equal(got[1].index, 0);
    assert_int_equal(mq_file_replace(path, "nonsense", 8), 0);
    assert_int_equal(checkpoint_read(path, 1000, got), 0);
    assert_int_equal(got[0].index, 0);
    assert_int_equal(got[1].index, 0);
    fixture_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_the_golden_ones),
        cmocka_unit_test(version_1_was_of_files_of_300000_units),
        cmocka_unit_test(a_flipped_bit_or_another_length_is_refused),
        cmocka_unit_test(a_missing_or_damaged_file_is_no_stamp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
