#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/little.h"
#include "raft-log/log/meta.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define GOLDEN_META "tests/unit/raft-log/golden/meta-v1.bin"
#define GOLDEN_IDENTITY "tests/unit/raft-log/golden/identity-v1.bin"
#define DIR_MEM "/m"
#define FILE_MAX 8192u

/* --- helpers ------------------------------------------------------------------------------------------------ */

static int try_open(struct meta *meta, const struct rlog_disk *disk, const char *group, uint32_t self, bool *empty,
                    const char *said)
{
    struct mq_buf problem = {0};
    int rc = meta_open(meta, disk, DIR_MEM, group, self, empty, &problem);

    assert_true((rc == 0) == (problem.len == 0));
    assert_int_equal(mq_buf_put_u8(&problem, 0), 0);
    if (said != NULL && strstr((const char *)problem.base, said) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", (const char *)problem.base, said);
    }
    mq_buf_free(&problem);
    return rc;
}

static void must_open(struct meta *meta, const struct rlog_disk *disk, bool want_empty)
{
    bool empty = !want_empty;

    assert_int_equal(try_open(meta, disk, "g", 1, &empty, NULL), 0);
    assert_int_equal(empty, want_empty);
}

static struct mem_disk *with_term(uint64_t term, uint32_t vote)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    struct meta meta;

    must_open(&meta, &disk->table, true);
    meta_store(&meta, term, vote);
    meta_close(&meta);
    return disk;
}

static uint8_t *file(struct mem_disk *disk, const char *name)
{
    uint64_t size;
    uint8_t *bytes = mem_disk_file(disk, name, &size);

    assert_non_null(bytes);
    return bytes;
}

static void fix_meta_crc(uint8_t *at)
{
    rlog_le32_store(at + 4, mq_crc32c(0, at + 8, 64 - 8));
}

/* --- tests -------------------------------------------------------------------------------------------------- */

static void new_directory_is_empty_once_and_remembers_what_is_stored(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    struct meta meta;
    uint64_t incarnation;

    (void)state;
    mq_log_set_level(MQ_LOG_ERROR);
    must_open(&meta, &disk->table, true);
    assert_int_equal(meta.term, 0);
    assert_int_equal(meta.vote, 0);
    assert_true(meta.incarnation != 0);
    incarnation = meta.incarnation;
    for (uint64_t term = 1; term < 50; term++) {
        meta_store(&meta, term, (uint32_t)(term % 4));
        meta_close(&meta);
        must_open(&meta, &disk->table, false);
        assert_int_equal(meta.term, term);
        assert_int_equal(meta.vote, term % 4);
        assert_true(meta.incarnation == incarnation);
    }
    meta_close(&meta);
    mem_disk_free(disk);
}

static void claim_is_kept_until_another_takes_its_place(void **state)
{
    struct mem_disk *disk = with_term(4, 1);
    struct meta meta;

    (void)state;
    must_open(&meta, &disk->table, false);
    assert_int_equal(meta.claim.index, 0);
    meta_store_claim(&meta, &(struct rlog_claim){3, 77, 70});
    meta_store(&meta, 5, 2);
    meta_close(&meta);
    file(disk, DIR_MEM "/meta-1")[50] ^= 1;
    must_open(&meta, &disk->table, false);
    assert_int_equal(meta.term, 5);
    assert_int_equal(meta.vote, 2);
    assert_int_equal(meta.claim.term, 3);
    assert_int_equal(meta.claim.index, 77);
    assert_int_equal(meta.claim.committed, 70);
    meta_store_claim(&meta, &(struct rlog_claim){0});
    meta_close(&meta);
    must_open(&meta, &disk->table, false);
    assert_int_equal(meta.claim.index, 0);
    assert_int_equal(meta.term, 5);
    meta_close(&meta);
    mem_disk_free(disk);
}

static void files_equal_the_golden_ones(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    struct meta meta;
    struct mq_buf golden = {0};
    uint64_t size;
    bool empty;

    (void)state;
    assert_int_equal(try_open(&meta, &disk->table, "RaftGroup00", 3, &empty, NULL), 0);
    if (getenv("RAFTMQ_GOLDEN_WRITE") != NULL) {
        uint8_t *identity = mem_disk_file(disk, DIR_MEM "/identity", &size);

        meta.incarnation = 0x0123456789ABCDEF;
        memcpy(identity + size - 8, &meta.incarnation, 8);
        rlog_le32_store(identity + 4, mq_crc32c(0, identity + 8, size - 8));
        log_check_golden(GOLDEN_IDENTITY, identity, size);
    }
    /* The incarnation is random: the golden one goes in, and the files made from it must be the same. */
    assert_int_equal(mq_file_read(GOLDEN_IDENTITY, 4096, &golden), 0);
    memcpy(file(disk, DIR_MEM "/identity"), golden.base, golden.len);
    assert_non_null(mem_disk_file(disk, DIR_MEM "/identity", &size));
    assert_int_equal(size, golden.len);
    meta.incarnation = 0x0123456789ABCDEF;
    meta_store(&meta, 0x1122334455667788, 3);
    meta_store_claim(&meta, &(struct rlog_claim){0x2122232425262728, 0x3132333435363738, 0x4142434445464748});
    assert_memory_equal(file(disk, DIR_MEM "/meta-0"), file(disk, DIR_MEM "/meta-1"), 64);
    log_check_golden(GOLDEN_META, file(disk, DIR_MEM "/meta-0"), 64);
    meta_close(&meta);
    assert_int_equal(try_open(&meta, &disk->table, "RaftGroup00", 3, &empty, NULL), 0);
    assert_true(meta.incarnation == 0x0123456789ABCDEF);
    assert_true(meta.term == 0x1122334455667788);
    meta_close(&meta);
    mq_buf_free(&golden);
    mem_disk_free(disk);
}

static void directory_of_somebody_else_is_refused_by_both_names(void **state)
{
    struct mem_disk *disk = with_term(4, 1);
    struct meta meta;
    bool empty;

    (void)state;
    assert_int_equal(try_open(&meta, &disk->table, "other", 1, &empty,
                              "belongs to member 1 of group g, but this node is member 1 of group other"),
                     MQ_EVERSION);
    assert_int_equal(try_open(&meta, &disk->table, "g", 2, &empty,
                              "belongs to member 1 of group g, but this node is member 2 of group g"),
                     MQ_EVERSION);
    mem_disk_free(disk);
}

static void one_bad_copy_is_written_anew_from_the_other(void **state)
{
    static const char *const names[] = {DIR_MEM "/meta-0", DIR_MEM "/meta-1"};

    (void)state;
    for (int k = 0; k < 2; k++) {
        struct mem_disk *disk = with_term(9, 2);
        struct meta meta;

        file(disk, names[k])[30] ^= 1;
        must_open(&meta, &disk->table, false);
        assert_int_equal(meta.term, 9);
        assert_int_equal(meta.vote, 2);
        assert_memory_equal(file(disk, names[0]), file(disk, names[1]), 64);
        meta_close(&meta);
        assert_int_equal(disk->table.unlink(&disk->table, names[k]), 0);
        must_open(&meta, &disk->table, false);
        assert_int_equal(meta.term, 9);
        assert_memory_equal(file(disk, names[0]), file(disk, names[1]), 64);
        meta_close(&meta);
        mem_disk_free(disk);
    }
}

static void directory_that_cannot_be_trusted_is_refused(void **state)
{
    enum { META_0 = 1, META_1 = 2, IDENTITY = 4 };
    static const struct {
        const char *why;
        int in;
        uint32_t at;
        uint8_t flip;
        bool fix;
        int want;
        const char *said;
    } cases[] = {
        {"both copies damaged", META_0 | META_1, 20, 1, false, MQ_ECORRUPT, "meta-0 and meta-1 are both bad"},
        {"a copy of another version", META_1, 8, 3, true, MQ_EVERSION,
         "meta-1: format version 2, this program knows 1"},
        {"a copy from another directory", META_0, 33, 1, true, MQ_EVERSION, "meta-0: belongs to incarnation"},
        {"identity damaged", IDENTITY, 17, 1, false, MQ_ECORRUPT, "identity: bad checksum or length"},
        {"identity of another version", IDENTITY, 8, 3, true, MQ_EVERSION, "identity: format version 2"},
        {"identity of another length", IDENTITY, 12, 1, true, MQ_ECORRUPT, "identity: bad checksum or length"},
        /* 0A becomes 0F: a wire type that does not exist, whatever the random incarnation behind it is */
        {"identity that is no protobuf", IDENTITY, 16, 0x05, true, MQ_ECORRUPT, "identity: bad checksum or length"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mem_disk *disk = with_term(9, 2);
        struct meta meta;
        bool empty = true;

        print_message("%s\n", cases[i].why);
        for (int k = 0; k < 2; k++) {
            uint8_t *at = file(disk, k == 0 ? DIR_MEM "/meta-0" : DIR_MEM "/meta-1");

            if ((cases[i].in & (1 << k)) != 0) {
                at[cases[i].at] ^= cases[i].flip;
                if (cases[i].fix) {
                    fix_meta_crc(at);
                }
            }
        }
        if ((cases[i].in & IDENTITY) != 0) {
            uint64_t size;
            uint8_t *at = mem_disk_file(disk, DIR_MEM "/identity", &size);

            at[cases[i].at] ^= cases[i].flip;
            if (cases[i].fix) {
                rlog_le32_store(at + 4, mq_crc32c(0, at + 8, size - 8));
            }
        }
        assert_int_equal(try_open(&meta, &disk->table, "g", 1, &empty, cases[i].said), cases[i].want);
        assert_true(empty);
        mem_disk_free(disk);
    }
}

static void directory_without_identity_but_with_a_past_is_refused(void **state)
{
    struct mem_disk *disk = with_term(9, 2);
    struct meta meta;
    bool empty;

    (void)state;
    assert_int_equal(disk->table.unlink(&disk->table, DIR_MEM "/identity"), 0);
    assert_int_equal(try_open(&meta, &disk->table, "g", 1, &empty, "says term 9 but no identity says whose it is"),
                     MQ_ECORRUPT);
    assert_int_equal(disk->table.unlink(&disk->table, DIR_MEM "/meta-0"), 0);
    assert_int_equal(disk->table.unlink(&disk->table, DIR_MEM "/meta-1"), 0);
    assert_true(disk->table.open(&disk->table, DIR_MEM "/log/00000000000000000000", 0100 | 2, 0644) >= 0);
    assert_int_equal(try_open(&meta, &disk->table, "g", 1, &empty, "there is a log but no identity"), MQ_ECORRUPT);
    mem_disk_free(disk);
}

static void second_process_is_refused(void **state)
{
    char *dir = log_temp_dir();
    struct meta first, second;
    struct mq_buf problem = {0};
    bool empty;

    (void)state;
    assert_int_equal(meta_open(&first, &rlog_disk_real, dir, "g", 1, &empty, &problem), 0);
    assert_true(empty);
    assert_int_equal(meta_open(&second, &rlog_disk_real, dir, "g", 1, &empty, &problem), -EWOULDBLOCK);
    assert_non_null(memmem(problem.base, problem.len, "another process uses this directory", 35));
    meta_store(&first, 3, 1);
    meta_close(&first);
    mq_buf_free(&problem);
    assert_int_equal(meta_open(&second, &rlog_disk_real, dir, "g", 1, &empty, &problem), 0);
    assert_false(empty);
    assert_int_equal(second.term, 3);
    meta_close(&second);
    log_temp_dir_remove(dir);
}

static void every_failing_call_of_an_open_is_reported_and_the_next_open_works(void **state)
{
    (void)state;
    for (unsigned nth = 1;; nth++) {
        struct mem_disk *disk = mem_disk_new(FILE_MAX);
        struct meta meta;
        bool empty;
        int rc;

        mem_disk_fail_in(disk, nth, -EIO);
        rc = try_open(&meta, &disk->table, "g", 1, &empty, NULL);
        if (rc == 0) {
            meta_close(&meta);
            mem_disk_free(disk);
            assert_true(nth > 15);
            break;
        }
        assert_int_equal(rc, -EIO);
        assert_int_equal(try_open(&meta, &disk->table, "g", 1, &empty, NULL), 0);
        meta_close(&meta);
        mem_disk_free(disk);
    }
}

struct store_case {
    struct mem_disk *disk;
    unsigned nth;
};

static void store_on_failing_disk(void *data)
{
    const struct store_case *c = data;
    struct meta meta;

    must_open(&meta, &c->disk->table, false);
    mem_disk_fail_in(c->disk, c->nth, -EIO);
    meta_store(&meta, 10, 3);
}

static void failed_store_ends_the_process_after_one_line(void **state)
{
    struct mem_disk *disk = with_term(9, 2);

    (void)state;
    for (unsigned nth = 1; nth <= 6; nth++) {
        struct store_case c = {disk, nth};
        struct mq_buf lines = {0};

        assert_int_equal(log_run_child(store_on_failing_disk, &c, &lines), 1);
        assert_non_null(memmem(lines.base, lines.len, "storing term and vote failed for meta-", 38));
        assert_non_null(memmem(lines.base, lines.len, "the node stops\n", 15));
        assert_ptr_equal(memchr(lines.base, '\n', lines.len), lines.base + lines.len - 1);
        mq_buf_free(&lines);
    }
    mem_disk_free(disk);
}

/* --- every crash -------------------------------------------------------------------------------------------- */

struct choice {
    const size_t *changes;
    size_t n;
    uint64_t mask;
};

static bool chosen(void *data, size_t change, size_t sector)
{
    struct choice *choice = data;

    (void)sector;
    for (size_t i = 0; i < choice->n; i++) {
        if (choice->changes[i] == change) {
            return (choice->mask >> i & 1) != 0;
        }
    }
    return false;
}

static void crash_at_any_instant_shows_the_stored_term_or_the_next(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    size_t stored[5] = {0}; /* changes after which this term had been stored */
    struct meta meta;
    unsigned states = 0;

    (void)state;
    must_open(&meta, &disk->table, true);
    stored[0] = mem_disk_now(disk);
    for (uint64_t term = 1; term <= 4; term++) {
        meta_store(&meta, term, (uint32_t)term);
        stored[term] = mem_disk_now(disk);
    }
    meta_close(&meta);
    for (size_t until = 0; until <= stored[4]; until++) {
        size_t changes[16];
        struct choice choice = {changes, mem_disk_unsynced(disk, until, changes, 16), 0};
        uint64_t least = 0;

        assert_true(choice.n <= 12);
        while (least < 4 && until >= stored[least + 1]) {
            least++;
        }
        for (choice.mask = 0; choice.mask < 1u << choice.n; choice.mask++) {
            struct mem_disk *after = mem_disk_crash(disk, until, chosen, &choice);
            bool empty;

            assert_int_equal(try_open(&meta, &after->table, "g", 1, &empty, NULL), 0);
            assert_true(meta.term >= least && meta.term <= least + 1);
            assert_int_equal(meta.term, meta.vote);
            assert_true(!empty || until < stored[0]);
            assert_memory_equal(file(after, DIR_MEM "/meta-0"), file(after, DIR_MEM "/meta-1"), 64);
            meta_close(&meta);
            mem_disk_free(after);
            states++;
        }
    }
    print_message("%u crash states\n", states);
    mem_disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_directory_is_empty_once_and_remembers_what_is_stored),
        cmocka_unit_test(claim_is_kept_until_another_takes_its_place),
        cmocka_unit_test(files_equal_the_golden_ones),
        cmocka_unit_test(directory_of_somebody_else_is_refused_by_both_names),
        cmocka_unit_test(one_bad_copy_is_written_anew_from_the_other),
        cmocka_unit_test(directory_that_cannot_be_trusted_is_refused),
        cmocka_unit_test(directory_without_identity_but_with_a_past_is_refused),
        cmocka_unit_test(second_process_is_refused),
        cmocka_unit_test(every_failing_call_of_an_open_is_reported_and_the_next_open_works),
        cmocka_unit_test(failed_store_ends_the_process_after_one_line),
        cmocka_unit_test(crash_at_any_instant_shows_the_stored_term_or_the_next),
    };

    mq_log_set_level(MQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
