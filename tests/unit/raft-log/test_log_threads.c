/* Writer, spare and loop together: how many calls a group costs, what a failing disk does, and that zeros never land
 * on entries. */
#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/handover.h"
#include "raft-log/log/spare.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define SEGMENT 8192u

/* --- calls -------------------------------------------------------------------------------------------------- */

/* Changes from @from on that write an entry's first byte, and syncs of what they wrote. */
static void count_calls(struct mem_disk *disk, size_t from, unsigned *writes, unsigned *syncs)
{
    bool unsynced = false;

    *writes = *syncs = 0;
    pthread_mutex_lock(&disk->lock);
    for (size_t i = from; i < disk->n_ops; i++) {
        const struct mem_op *op = &disk->ops[i];

        if (op->kind == MEM_WRITE && memcmp(op->bytes, "RMQE", 4) == 0) {
            (*writes)++;
            unsynced = true;
        } else if (op->kind == MEM_SYNC && unsynced) {
            (*syncs)++;
            unsynced = false;
        }
    }
    pthread_mutex_unlock(&disk->lock);
}

static void group_costs_one_write_and_one_sync_a_segment(void **state)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct log_fixture f;
    unsigned writes, syncs;
    size_t from;

    (void)state;
    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(log_fixture_append(&f, 1, 100), 0);
    }
    from = mem_disk_now(disk);
    log_fixture_settle(&f);
    assert_int_equal(f.reports, 1);
    for (unsigned i = 0; i < 20; i++) { /* over the end of the segment: 4,000 bytes are used, 8,000 more come */
        assert_int_equal(log_fixture_append(&f, 1, 304), 0);
    }
    log_fixture_settle(&f);
    log_fixture_close(&f);
    count_calls(disk, from, &writes, &syncs);
    assert_int_equal(writes, 3);
    assert_int_equal(syncs, 3);
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

static void short_writes_are_continued(void **state)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct log_fixture f;

    (void)state;
    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    disk->write_max = 37;
    log_fixture_open(&f);
    for (unsigned i = 0; i < 30; i++) {
        assert_int_equal(log_fixture_append(&f, 1, 10 * i), 0);
    }
    log_fixture_settle(&f);
    log_fixture_close(&f);
    log_fixture_open(&f);
    assert_int_equal(commitlog_last_index(f.log), 30);
    for (uint64_t i = 1; i <= 30; i++) {
        log_fixture_check(&f, i, 1);
    }
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

/* --- a failing disk ----------------------------------------------------------------------------------------- */

struct failure {
    unsigned nth;
    int rc;
    bool truncate;
};

static void append_on_failing_disk(void *data)
{
    const struct failure *failure = data;
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct log_fixture f;

    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(log_fixture_append(&f, 1, 3000), 0);
    log_fixture_settle(&f);
    mem_disk_fail_in(disk, failure->nth, failure->rc);
    if (failure->truncate) {
        commitlog_truncate(f.log, 1);
        f.durable_index = 0;
    }
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(log_fixture_append(&f, 1, 3000), 0);
        log_fixture_settle(&f); /* never comes back when the disk failed */
    }
    _exit(mem_disk_has_failed(disk) ? 0 : 4);
}

static void failed_write_or_sync_ends_the_process_after_one_line(void **state)
{
    (void)state;
    for (int truncate = 0; truncate < 2; truncate++) {
        unsigned stopped = 0;
        int rc = 0;

        for (unsigned nth = 1; rc != 4 && nth < 200; nth++) {
            struct failure failure = {nth, nth % 2 == 0 ? -EIO : -ENOSPC, truncate != 0};
            struct mq_buf lines = {0};

            rc = log_run_child(append_on_failing_disk, &failure, &lines);
            if (rc == 1) {
                assert_non_null(memmem(lines.base, lines.len, "; the node stops\n", 17));
                assert_ptr_equal(memmem(lines.base, lines.len, "the node stops", 14),
                                 lines.base + lines.len - 15); /* once, and last */
                stopped++;
            } else {
                assert_true(rc == 0 || rc == 4); /* 0: a segment could not be made ahead, and was made later */
            }
            mq_buf_free(&lines);
        }
        assert_true(stopped >= 15);
    }
}

/* --- zeros and entries -------------------------------------------------------------------------------------- */

static void zeros_never_land_on_entries(void **state)
{
    char *dir = log_temp_dir();
    struct log_fixture f;
    uint64_t random = log_seed();
    uint64_t checked = 0;

    (void)state;
    log_fixture_init(&f, &rlog_disk_real, dir, 4 * HANDOVER_ZERO_PIECE);
    log_fixture_open(&f);
    for (unsigned i = 0; i < 3000; i++) {
        assert_int_equal(log_fixture_append(&f, 1, log_random(&random) % 5000), 0);
        if (log_random(&random) % 4 == 0) {
            commitlog_kick(f.log);
        }
        if (log_random(&random) % 64 == 0) {
            log_fixture_settle(&f);
        }
        if (log_random(&random) % 512 == 0) {
            uint64_t last = commitlog_last_index(f.log) - log_random(&random) % 20;

            commitlog_truncate(f.log, last);
            f.durable_index = f.durable_index < last - 1 ? f.durable_index : last - 1;
        }
        uv_run(&f.loop.uv, UV_RUN_NOWAIT);
        if (f.durable_index != 0) {
            log_fixture_check(&f, 1 + log_random(&random) % f.durable_index, 1);
            checked++;
        }
    }
    log_fixture_settle(&f);
    assert_true(checked > 1000);
    log_fixture_close(&f);
    log_fixture_open(&f); /* recovery walks every byte, and finds nothing to cut */
    for (uint64_t i = 1; i <= commitlog_last_index(f.log); i++) {
        log_fixture_check(&f, i, 1);
    }
    log_fixture_fini(&f);
    log_temp_dir_remove(dir);
}

/* --- the claims, without threads ---------------------------------------------------------------------------- */

static void on_wake(void *data)
{
    (void)data;
}

/* A hand-over with one segment of 4 pieces, half of which are zeroed ahead. */
static void claims_of_the_spare_stay_above_the_tail(void **state)
{
    struct mem_disk *disk = mem_disk_new(4 * HANDOVER_ZERO_PIECE);
    struct segment *segment;
    struct spare_task task;
    struct handover h;

    (void)state;
    disk->table.space = NULL; /* one task less */
    assert_int_equal(handover_init(&h, &disk->table, "/m", 4 * HANDOVER_ZERO_PIECE, on_wake, NULL), 0);
    assert_int_equal(handover_need_segment(&h, 0, &segment), 0);
    handover_set_tail(&h, 0);
    handover_next_task(&h, false, &task);
    assert_int_equal(task.work, SPARE_ZERO);
    assert_int_equal(task.from, 0);
    assert_int_equal(task.to, HANDOVER_ZERO_PIECE);
    handover_zero_written(&h, task.to);
    handover_claim(&h, 0, HANDOVER_ZERO_PIECE + 5); /* the tail overtakes what is zeroed */
    handover_next_task(&h, false, &task);
    assert_int_equal(task.work, SPARE_ZERO);
    assert_int_equal(task.from, HANDOVER_ZERO_PIECE + SEGMENT_ALIGN);
    handover_zero_written(&h, task.to);
    handover_claim(&h, HANDOVER_ZERO_PIECE + 8, 3 * HANDOVER_ZERO_PIECE);
    handover_next_task(&h, false, &task); /* less than half a segment is left */
    assert_int_equal(task.work, SPARE_MAKE);
    assert_int_equal(task.from, 4 * HANDOVER_ZERO_PIECE);
    handover_made(&h, NULL, -ENOSPC);
    handover_next_task(&h, false, &task); /* not again at once */
    assert_int_equal(task.work, SPARE_ZERO);
    assert_int_equal(task.from, 3 * HANDOVER_ZERO_PIECE);
    handover_zero_written(&h, task.to);
    assert_true(h.space.stuck);
    h.make_at_ms = 0; /* a second later */
    handover_next_task(&h, false, &task);
    assert_int_equal(task.work, SPARE_MAKE);
    handover_made(&h, NULL, -ENOSPC);
    assert_int_equal(handover_need_segment(&h, 4 * HANDOVER_ZERO_PIECE, &segment), 0); /* the writer makes it */
    assert_int_equal(segment->first_pos, 4 * HANDOVER_ZERO_PIECE);
    handover_stop(&h);
    handover_next_task(&h, false, &task);
    assert_int_equal(task.work, SPARE_STOP);
    handover_fini(&h);
    mem_disk_free(disk);
}

static void zeroing_is_put_off_while_large_writes_stream(void **state)
{
    const uint64_t segment_bytes = 64u << 20;
    struct mem_disk *disk = mem_disk_new(segment_bytes);
    struct segment *segment;
    struct spare_task task;
    struct handover h;

    (void)state;
    disk->table.space = NULL; /* one task less */
    assert_int_equal(handover_init(&h, &disk->table, "/m", segment_bytes, on_wake, NULL), 0);
    assert_int_equal(handover_need_segment(&h, 0, &segment), 0);
    handover_claim(&h, 0, HANDOVER_BUSY_BYTES);
    handover_next_task(&h, true, &task); /* not too much: zeros come before their sync */
    assert_int_equal(task.work, SPARE_ZERO);
    assert_int_equal(task.from, HANDOVER_BUSY_BYTES);
    handover_zero_written(&h, task.to);
    handover_claim(&h, HANDOVER_BUSY_BYTES, 2 * HANDOVER_BUSY_BYTES);
    handover_next_task(&h, true, &task);
    assert_int_equal(task.work, SPARE_SYNC);
    handover_next_task(&h, false, &task); /* waits until the stream has ended */
    assert_int_equal(task.work, SPARE_ZERO);
    assert_int_equal(task.from, 2 * HANDOVER_BUSY_BYTES);
    handover_zero_written(&h, task.to);
    handover_fini(&h);
    mem_disk_free(disk);
}

struct claim {
    struct handover *h;
    uint64_t from, to;
    atomic_bool zeros_written; /* set by the spare's side before it ends its claim */
    bool came_after;
};

static void *claim_as_writer(void *data)
{
    struct claim *claim = data;

    handover_claim(claim->h, claim->from, claim->to);
    claim->came_after = atomic_load(&claim->zeros_written);
    return NULL;
}

static uint64_t tail_of(struct handover *h)
{
    uint64_t tail;

    pthread_mutex_lock(&h->lock);
    tail = h->tail;
    pthread_mutex_unlock(&h->lock);
    return tail;
}

static void writer_waits_for_zeros_that_are_on_their_way_to_its_place(void **state)
{
    struct mem_disk *disk = mem_disk_new(4 * HANDOVER_ZERO_PIECE);
    struct segment *segment;
    struct spare_task task;
    struct handover h;
    struct claim claim = {.h = &h, .from = 0, .to = 100};
    pthread_t writer;

    (void)state;
    disk->table.space = NULL; /* one task less */
    assert_int_equal(handover_init(&h, &disk->table, "/m", 4 * HANDOVER_ZERO_PIECE, on_wake, NULL), 0);
    assert_int_equal(handover_need_segment(&h, 0, &segment), 0);
    handover_next_task(&h, false, &task);
    assert_int_equal(task.work, SPARE_ZERO);
    assert_int_equal(task.from, 0);
    assert_int_equal(pthread_create(&writer, NULL, claim_as_writer, &claim), 0);
    while (tail_of(&h) != 100) { /* it has asked */
        sched_yield();
    }
    for (int i = 0; i < 1000; i++) {
        sched_yield(); /* time for a wrong answer */
    }
    atomic_store(&claim.zeros_written, true);
    handover_zero_written(&h, task.to);
    pthread_join(writer, NULL);
    assert_true(claim.came_after);
    handover_fini(&h);
    mem_disk_free(disk);
}

static ssize_t (*write_at_once)(const struct rlog_disk *disk, int fd, const struct iovec *vec, int n, uint64_t at);
static atomic_bool hold, held; /* the spare in the middle of a piece */

static ssize_t write_when_let(const struct rlog_disk *disk, int fd, const struct iovec *vec, int n, uint64_t at)
{
    atomic_store(&held, true);
    while (atomic_load(&hold)) {
        sched_yield();
    }
    return write_at_once(disk, fd, vec, n, at);
}

struct look {
    struct spare_job job;
    struct mem_disk *disk;
    size_t unsynced;
};

static void look_for_unsynced(struct spare_job *job)
{
    struct look *look = container_of(job, struct look, job);

    look->unsynced = mem_disk_unsynced(look->disk, mem_disk_now(look->disk), NULL, 0);
}

/* A job may be the one after which the segment with the zeros goes. */
static void zeros_are_synced_before_a_job_is_carried_out(void **state)
{
    struct mem_disk *disk = mem_disk_new(4 * HANDOVER_ZERO_PIECE);
    struct look look = {.job = {.work = look_for_unsynced}, .disk = disk, .unsynced = 99};
    struct segment *segment;
    struct handover h;
    pthread_t spare;

    (void)state;
    disk->table.space = NULL; /* one task less */
    assert_int_equal(handover_init(&h, &disk->table, "/m", 4 * HANDOVER_ZERO_PIECE, on_wake, NULL), 0);
    assert_int_equal(handover_need_segment(&h, 0, &segment), 0);
    write_at_once = disk->table.pwritev;
    disk->table.pwritev = write_when_let;
    atomic_store(&hold, true);
    assert_int_equal(spare_start(&h, &spare), 0);
    while (!atomic_load(&held)) {
        sched_yield();
    }
    handover_put_job(&h, &look.job);
    atomic_store(&hold, false);
    while (handover_take_job(&h) == NULL) {
        sched_yield();
    }
    assert_int_equal(look.unsynced, 0);
    handover_stop(&h);
    pthread_join(spare, NULL);
    handover_fini(&h);
    mem_disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group_costs_one_write_and_one_sync_a_segment),
        cmocka_unit_test(short_writes_are_continued),
        cmocka_unit_test(failed_write_or_sync_ends_the_process_after_one_line),
        cmocka_unit_test(zeros_never_land_on_entries),
        cmocka_unit_test(claims_of_the_spare_stay_above_the_tail),
        cmocka_unit_test(zeroing_is_put_off_while_large_writes_stream),
        cmocka_unit_test(writer_waits_for_zeros_that_are_on_their_way_to_its_place),
        cmocka_unit_test(zeros_are_synced_before_a_job_is_carried_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
