/* Truncation and power failure: every instant of a history with truncations, every combination of what had not been
 * synced (or a sample of them, by sectors), must show a log that is right. */
#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SEGMENT 8192u
#define UNSYNCED_ALL 6u /* up to so many unsynced changes: every combination */
#define SAMPLES 24u     /* of more, and of sectors */
#define ENTRIES_MAX 32u

/* What the log must show at an instant: entries 1 to least as given, and perhaps more, as given. */
struct moment {
    size_t change; /* from this change on */
    uint64_t least, most;
    uint64_t terms[ENTRIES_MAX]; /* of entries 1 to most */
    uint64_t or_last;            /* while a truncation runs: ends here instead */
};

struct history {
    struct log_fixture f;
    struct mem_disk *disk;
    struct moment moments[64];
    size_t n;
    uint64_t last, terms[ENTRIES_MAX];
};

static void mark(struct history *h, uint64_t least, uint64_t most, uint64_t or_last)
{
    struct moment *m = &h->moments[h->n++];

    *m = (struct moment){.change = mem_disk_now(h->disk), .least = least, .most = most, .or_last = or_last};
    memcpy(m->terms, h->terms, sizeof(m->terms));
}

/* One durable entry. */
static void grow(struct history *h, uint64_t term, uint32_t payload_bytes)
{
    h->terms[h->last] = term;
    mark(h, h->last, h->last + 1, 0);
    assert_int_equal(log_fixture_append(&h->f, term, payload_bytes), 0);
    log_fixture_settle(&h->f);
    h->last++;
    mark(h, h->last, h->last, 0);
}

static void shrink(struct history *h, uint64_t index)
{
    mark(h, h->last, h->last, index - 1);
    commitlog_truncate(h->f.log, index);
    h->f.durable_index = index - 1;
    h->last = index - 1;
    mark(h, h->last, h->last, 0);
}

static void record_history(struct history *h)
{
    h->disk = mem_disk_new(SEGMENT);
    log_fixture_init(&h->f, &h->disk->table, "/m", SEGMENT);
    log_fixture_open(&h->f);
    for (unsigned i = 0; i < 6; i++) {
        grow(h, 1, 900);
    }
    shrink(h, 4);
    grow(h, 2, 50); /* shorter: what follows it would be stale */
    grow(h, 2, 50);
    grow(h, 2, 7000); /* into the next segment */
    grow(h, 2, 3000);
    shrink(h, 5); /* over two segments */
    grow(h, 3, 10);
    shrink(h, 1);
    grow(h, 4, 2000);
    log_fixture_close(&h->f);
    mark(h, h->last, h->last, 0);
}

/* --- crashes ------------------------------------------------------------------------------------------------ */

struct choice {
    const size_t *changes;
    size_t n;
    uint64_t mask; /* by change */
    uint64_t seed; /* not 0: by sector, from this seed */
};

static bool chosen(void *data, size_t change, size_t sector)
{
    struct choice *choice = data;

    if (choice->seed != 0) {
        uint64_t state = choice->seed + change * 7919 + sector * 104729;

        log_random(&state);
        return (log_random(&state) & 1) != 0;
    }
    for (size_t i = 0; i < choice->n; i++) {
        if (choice->changes[i] == change) {
            return (choice->mask >> (i % 64) & 1) != 0;
        }
    }
    return false;
}

static void fail_crash(const struct history *h, size_t until, const struct choice *choice, const char *why)
{
    fail_msg("crash before change %zu of %zu, mask %" PRIx64 " seed %" PRIu64 ": %s", until, h->disk->n_ops,
             choice->mask, choice->seed, why);
}

/* Whether the open log is what @m allows. */
static bool is_right(struct log_fixture *f, const struct moment *m)
{
    uint64_t last = commitlog_last_index(f->log);
    bool cut = m->or_last != 0 || m->least == m->most;

    if (!(last >= m->least && last <= m->most) && !(cut && last == m->or_last)) {
        return false;
    }
    for (uint64_t i = 1; i <= last; i++) {
        if (commitlog_term_of(f->log, i) != m->terms[i - 1]) {
            return false;
        }
        log_fixture_check(f, i, m->terms[i - 1]);
    }
    return true;
}

static void crash_and_open(struct history *h, size_t until, struct choice *choice, const struct moment *m)
{
    struct mem_disk *after = mem_disk_crash(h->disk, until, chosen, choice);
    struct log_fixture f;
    uint64_t last;

    log_fixture_init(&f, &after->table, "/m", SEGMENT);
    f.verify_bytes = until % 2; /* every other time the index files are believed to the end */
    if (log_fixture_try_open(&f) != 0) {
        fail_crash(h, until, choice, (const char *)f.problem.base);
    }
    if (!is_right(&f, m)) {
        fail_crash(h, until, choice, "the log shows something else");
    }
    /* And it goes on: a short entry, after which nothing old may come to light. */
    last = commitlog_last_index(f.log);
    assert_int_equal(log_fixture_append(&f, 9, 1), 0);
    log_fixture_settle(&f);
    log_fixture_close(&f);
    if (log_fixture_try_open(&f) != 0 || commitlog_last_index(f.log) != last + 1) {
        fail_crash(h, until, choice, "it does not go on");
    }
    log_fixture_fini(&f);
    mem_disk_free(after);
}

static const struct moment *moment_at(const struct history *h, size_t until)
{
    size_t k = 0;

    while (k + 1 < h->n && h->moments[k + 1].change <= until) {
        k++;
    }
    return &h->moments[k];
}

static void crash_at_any_instant_shows_the_old_tail_or_the_new_one(void **state)
{
    struct history *h = calloc(1, sizeof(*h));
    uint64_t random = log_seed();
    unsigned crashes = 0;
    size_t ops;

    (void)state;
    record_history(h);
    ops = mem_disk_now(h->disk);
    for (size_t until = h->moments[0].change; until <= ops; until++) {
        size_t changes[64];
        struct choice choice = {changes, mem_disk_unsynced(h->disk, until, changes, 64), 0, 0};
        const struct moment *m = moment_at(h, until);
        bool all = choice.n <= UNSYNCED_ALL;

        assert_true(choice.n <= 64);
        for (uint64_t k = 0; k < (all ? 1u << choice.n : SAMPLES); k++) {
            choice.mask = all ? k : (uint64_t)log_random(&random) << 31 | log_random(&random);
            crash_and_open(h, until, &choice, m);
            crashes++;
        }
        for (unsigned k = 0; k < SAMPLES / 4 && choice.n != 0; k++) {
            choice.seed = 1 + log_random(&random);
            crash_and_open(h, until, &choice, m);
            crashes++;
        }
    }
    print_message("%u crash states of %zu changes\n", crashes, ops);
    assert_true(crashes > 200);
    log_fixture_fini(&h->f);
    mem_disk_free(h->disk);
    free(h);
}

/* --- the file ----------------------------------------------------------------------------------------------- */

static void put_cut_file(struct mem_disk *disk, uint64_t from, uint64_t to, uint16_t version, bool good)
{
    uint8_t record[64] = "RMQT";
    struct iovec vec = {record, sizeof(record)};
    int fd = disk->table.open(&disk->table, "/m/cut", 0100 | 2, 0644);

    rlog_le16_store(record + 8, version);
    rlog_le64_store(record + 16, from);
    rlog_le64_store(record + 24, to);
    rlog_le32_store(record + 4, mq_crc32c(0, record + 8, 56) ^ !good);
    assert_int_equal(rlog_disk_write_all(&disk->table, fd, &vec, 1, 0), 0);
    disk->table.close(&disk->table, fd);
}

static void record_of_an_interrupted_truncation_is_judged_before_it_is_believed(void **state)
{
    static const struct {
        const char *why;
        uint64_t from, to;
        uint16_t version;
        bool good;
        int want;
        uint64_t last;
    } cases[] = {
        {"a good record is carried out", 208, 624, 1, true, 0, 2},
        {"a torn record is none", 208, 624, 1, false, 0, 6},
        {"another format", 208, 624, 2, true, MQ_EVERSION, 0},
        {"an empty range", 208, 208, 1, true, MQ_ECORRUPT, 0},
        {"a range outside the log", 208, 1u << 20, 1, true, MQ_ECORRUPT, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mem_disk *disk = mem_disk_new(SEGMENT);
        struct log_fixture f;

        print_message("%s\n", cases[i].why);
        log_fixture_init(&f, &disk->table, "/m", SEGMENT);
        log_fixture_open(&f);
        for (unsigned k = 0; k < 6; k++) {
            assert_int_equal(log_fixture_append(&f, 1, 8), 0);
        }
        log_fixture_settle(&f);
        log_fixture_close(&f);
        put_cut_file(disk, cases[i].from, cases[i].to, cases[i].version, cases[i].good);
        assert_int_equal(log_fixture_try_open(&f), cases[i].want);
        if (cases[i].want == 0) {
            assert_int_equal(commitlog_last_index(f.log), cases[i].last);
            log_fixture_close(&f);
            log_fixture_open(&f); /* carried out once */
            assert_int_equal(commitlog_last_index(f.log), cases[i].last);
        }
        log_fixture_fini(&f);
        mem_disk_free(disk);
    }
}

/* A killed process leaves a record that nobody synced. */
static void truncation_that_a_start_finishes_is_as_safe_from_a_power_failure(void **state)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct log_fixture f;
    size_t from;

    (void)state;
    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    for (unsigned k = 0; k < 6; k++) {
        assert_int_equal(log_fixture_append(&f, 1, 900), 0);
    }
    log_fixture_settle(&f);
    log_fixture_close(&f);
    from = mem_disk_now(disk);
    put_cut_file(disk, 2000, 6000, 1, true);
    log_fixture_open(&f);
    assert_int_equal(commitlog_last_index(f.log), 2);
    log_fixture_close(&f);
    for (size_t until = from; until <= mem_disk_now(disk); until++) {
        for (uint64_t seed = 1; seed <= 2 * SAMPLES; seed++) {
            struct choice choice = {NULL, 0, 0, seed};
            struct mem_disk *after = mem_disk_crash(disk, until, chosen, &choice);
            struct log_fixture g;

            log_fixture_init(&g, &after->table, "/m", SEGMENT);
            log_fixture_open(&g);
            assert_true(commitlog_last_index(g.log) == 6 || commitlog_last_index(g.log) == 2);
            assert_int_equal(g.claim.index, 0);
            log_fixture_fini(&g);
            mem_disk_free(after);
        }
    }
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crash_at_any_instant_shows_the_old_tail_or_the_new_one),
        cmocka_unit_test(record_of_an_interrupted_truncation_is_judged_before_it_is_believed),
        cmocka_unit_test(truncation_that_a_start_finishes_is_as_safe_from_a_power_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
