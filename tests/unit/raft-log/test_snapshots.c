/* Taking, keeping and loading over a disk in memory, with an owner whose state is an array of numbers. */
#include "raft-log/snapshots.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 1000u
#define SECTION 4

struct owner {
    struct rlog_fsm fsm;
    uint32_t rows[ROWS];
    bool written[ROWS];
    struct rlog_sink *sink; /* while one is being taken */
    uint32_t next;
    uint64_t index; /* applied */
    int checkpoint_rc;
    uint64_t checkpoint; /* as last asked for */
    int ended;           /* status of the last one that ended; 1: none */
    uint64_t taken;      /* index of the last one that counted */
    uint16_t version;    /* of its section */
    uint64_t unsynced;   /* so many entries of the log */
};

struct rig {
    struct mem_disk *disk;
    uv_loop_t loop;
    struct owner owner;
    struct snapshots *snapshots;
    struct mq_buf problem;
    bool closed;
};

static uint64_t hash_of(const struct owner *owner)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < ROWS; i++) {
        sum += (uint64_t)owner->rows[i] * (i + 1);
    }
    return sum;
}

static struct owner *owner_of(struct rlog_fsm *fsm)
{
    return fsm->data;
}

static uint32_t sections(struct rlog_fsm *fsm, struct rlog_section *out)
{
    struct owner *owner = owner_of(fsm);

    out[0] = (struct rlog_section){SECTION, owner->version, 1, hash_of(owner), "numbers"};
    return 1;
}

static void put_row(struct owner *owner, uint32_t i)
{
    uint32_t row[2] = {i, owner->rows[i]};

    owner->written[i] = true;
    (void)rlog_sink_put(owner->sink, SECTION, row, sizeof(row));
}

static void begin(struct rlog_fsm *fsm, struct rlog_sink *sink)
{
    struct owner *owner = owner_of(fsm);

    owner->sink = sink;
    owner->next = 0;
    memset(owner->written, 0, sizeof(owner->written));
}

static int more(struct rlog_fsm *fsm)
{
    struct owner *owner = owner_of(fsm);

    for (uint32_t n = 0; n < 10 && owner->next < ROWS; n++, owner->next++) {
        if (!owner->written[owner->next]) {
            put_row(owner, owner->next);
        }
    }
    return owner->next < ROWS;
}

static int checkpoint_work(struct rlog_fsm *fsm, uint64_t index, uint32_t crc)
{
    struct owner *owner = owner_of(fsm);

    assert_int_equal(crc, 0xABC);
    owner->checkpoint = index;
    return owner->checkpoint_rc;
}

static void end(struct rlog_fsm *fsm, int status)
{
    owner_of(fsm)->sink = NULL;
    owner_of(fsm)->ended = status;
}

static int restore_begin(struct rlog_fsm *fsm, const struct rlog_entry *entry, uint32_t crc,
                         const struct rlog_section *list, uint32_t n, struct mq_buf *problem)
{
    struct owner *owner = owner_of(fsm);

    assert_int_equal(crc, 0xABC);
    if (n != 1 || list[0].version > owner->version) {
        (void)mq_buf_printf(problem, "needs feature level %u", (unsigned)list[0].level);
        return MQ_EVERSION;
    }
    memset(owner->rows, 0, sizeof(owner->rows));
    owner->index = entry->index;
    return 0;
}

static int restore_rows(struct rlog_fsm *fsm, uint16_t section, const uint8_t *rows, size_t n, struct mq_buf *problem)
{
    struct owner *owner = owner_of(fsm);
    uint32_t row[2];

    (void)problem;
    assert_int_equal(section, SECTION);
    for (; n != 0; rows += sizeof(row), n -= sizeof(row)) {
        memcpy(row, rows, sizeof(row));
        owner->rows[row[0]] = row[1];
    }
    return 0;
}

static int restore_end(struct rlog_fsm *fsm, struct mq_buf *problem)
{
    (void)fsm;
    (void)problem;
    return 0;
}

/* Entry by entry the owner's rows change, as apply would do it. */
static void apply(struct owner *owner, uint32_t i, uint32_t value)
{
    if (owner->sink != NULL && !owner->written[i]) {
        put_row(owner, i);
    }
    owner->rows[i] = value;
    owner->index++;
}

static void as_of(void *data, struct snapshot_info *out)
{
    const struct rig *rig = data;

    *out = (struct snapshot_info){
        .index = rig->owner.index, .term = 1, .end_pos = rig->owner.index * 100, .crc = 0xABC, .change_index = 0};
}

static void on_taken(void *data, const struct snapshot_info *info)
{
    ((struct rig *)data)->owner.taken = info->index;
}

static uint64_t synced(void *data)
{
    const struct owner *owner = &((const struct rig *)data)->owner;

    return owner->index - owner->unsynced;
}

static const struct snapshots_ops ops = {.as_of = as_of, .synced = synced, .taken = on_taken};

static int try_open(struct rig *rig)
{
    struct snapshots_options options = {
        .disk = &rig->disk->table,
        .dir = "n",
        .loop = &rig->loop,
        .fsm = &rig->owner.fsm,
        .every_bytes = 5000,
        .slice_calls = 3,
        .ops = &ops,
        .data = rig,
    };

    mq_buf_free(&rig->problem);
    return snapshots_open(&options, &rig->snapshots, &rig->problem);
}

static void open_rig(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    rig->disk = mem_disk_new(1u << 16);
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    rig->owner.version = 1;
    rig->owner.ended = 1;
    rig->owner.fsm = (struct rlog_fsm){.data = &rig->owner,
                                       .sections = sections,
                                       .snapshot_begin = begin,
                                       .snapshot_more = more,
                                       .checkpoint_work = checkpoint_work,
                                       .snapshot_end = end,
                                       .restore_begin = restore_begin,
                                       .restore_rows = restore_rows,
                                       .restore_end = restore_end};
    assert_int_equal(try_open(rig), 0);
    snapshots_start(rig->snapshots);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void close_snapshots(struct rig *rig)
{
    rig->closed = false;
    snapshots_close(rig->snapshots, on_closed, &rig->closed);
    while (!rig->closed) {
        uv_run(&rig->loop, UV_RUN_ONCE);
    }
}

static void close_rig(struct rig *rig)
{
    close_snapshots(rig);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    mem_disk_free(rig->disk);
    mq_buf_free(&rig->problem);
}

static void run_until_ended(struct rig *rig)
{
    while (rig->owner.ended == 1) {
        uv_run(&rig->loop, UV_RUN_ONCE);
    }
}

/* One that counts. */
static void take(struct rig *rig)
{
    rig->owner.ended = 1;
    assert_int_equal(snapshots_take(rig->snapshots), 0);
    run_until_ended(rig);
    assert_int_equal(rig->owner.ended, 0);
    assert_int_equal(rig->owner.taken, rig->owner.index);
}

static void run_ms(struct rig *rig, uint64_t ms)
{
    uint64_t end = uv_hrtime() + ms * 1000000;

    while (uv_hrtime() < end) {
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    }
}

static size_t files(struct rig *rig)
{
    return mem_disk_count(rig->disk, "", true);
}

static void a_snapshot_holds_the_state_as_of_its_begin(void **state)
{
    struct rig rig;
    uint32_t want[ROWS];
    uint64_t random = log_seed(), index;

    (void)state;
    open_rig(&rig);
    for (uint32_t i = 0; i < ROWS; i++) {
        apply(&rig.owner, i, log_random(&random));
    }
    memcpy(want, rig.owner.rows, sizeof(want));
    index = rig.owner.index;
    assert_int_equal(snapshots_take(rig.snapshots), 0);
    while (rig.owner.ended == 1) {
        for (int k = 0; k < 5; k++) {
            apply(&rig.owner, log_random(&random) % ROWS, log_random(&random));
        }
        uv_run(&rig.loop, UV_RUN_ONCE);
    }
    assert_int_equal(rig.owner.ended, 0);
    assert_true(rig.owner.index > index);
    assert_true(memcmp(want, rig.owner.rows, sizeof(want)) != 0);
    assert_int_equal(snapshots_newest(rig.snapshots)->index, index);
    assert_int_equal(rig.owner.checkpoint, index);
    assert_int_equal(snapshots_restore(rig.snapshots, snapshots_newest(rig.snapshots), &rig.problem), 0);
    assert_memory_equal(want, rig.owner.rows, sizeof(want));
    assert_int_equal(rig.owner.index, index);
    close_rig(&rig);
}

static void one_waits_until_what_it_stands_for_is_synced(void **state)
{
    struct rig rig;

    (void)state;
    open_rig(&rig);
    apply(&rig.owner, 1, 1);
    apply(&rig.owner, 2, 2);
    rig.owner.unsynced = 1;
    assert_int_equal(snapshots_take(rig.snapshots), 0);
    run_ms(&rig, 600); /* all its rows are written long before */
    assert_int_equal(rig.owner.ended, 1);
    assert_null(snapshots_newest(rig.snapshots));
    rig.owner.unsynced = 0;
    run_until_ended(&rig);
    assert_int_equal(rig.owner.taken, 2);
    apply(&rig.owner, 3, 3);
    rig.owner.unsynced = 1;
    rig.owner.ended = 1;
    assert_int_equal(snapshots_take(rig.snapshots), 0);
    run_ms(&rig, 300);
    close_snapshots(&rig); /* it is given up */
    assert_int_equal(try_open(&rig), 0);
    assert_int_equal(snapshots_newest(rig.snapshots)->index, 2);
    close_rig(&rig);
}

static void two_are_kept_and_the_newest_is_found_at_the_next_start(void **state)
{
    struct rig rig;

    (void)state;
    open_rig(&rig);
    for (uint32_t i = 1; i <= 4; i++) {
        apply(&rig.owner, i, i);
        take(&rig);
        assert_int_equal(files(&rig), i < 2 ? i : 2);
    }
    close_snapshots(&rig);
    assert_int_equal(try_open(&rig), 0);
    assert_int_equal(snapshots_newest(rig.snapshots)->index, 4);
    close_rig(&rig);
}

static void one_that_is_held_stays(void **state)
{
    struct rig rig;

    (void)state;
    open_rig(&rig);
    apply(&rig.owner, 1, 1);
    take(&rig);
    assert_true(snapshots_acquire(rig.snapshots, 1));
    assert_false(snapshots_acquire(rig.snapshots, 2));
    for (uint32_t i = 2; i <= 4; i++) {
        apply(&rig.owner, i, i);
        take(&rig);
        assert_int_equal(files(&rig), i < 3 ? i : 3);
    }
    snapshots_release(rig.snapshots, 1);
    apply(&rig.owner, 5, 5);
    take(&rig);
    apply(&rig.owner, 5, 5);
    take(&rig);
    assert_false(snapshots_acquire(rig.snapshots, 1));
    close_rig(&rig);
}

static void a_damaged_one_is_set_aside_and_the_one_before_counts(void **state)
{
    struct rig rig;
    uint64_t size;

    (void)state;
    open_rig(&rig);
    for (uint32_t i = 1; i <= 2; i++) {
        apply(&rig.owner, i, i);
        take(&rig);
    }
    close_snapshots(&rig);
    mem_disk_file(rig.disk, "n/snapshot/00000000000000000002", &size)[200] ^= 1;
    assert_int_equal(try_open(&rig), 0);
    assert_int_equal(snapshots_newest(rig.snapshots)->index, 1);
    assert_non_null(mem_disk_file(rig.disk, "n/snapshot/00000000000000000002.bad", &size));
    close_rig(&rig);
}

/* The newest may be ahead of the log: then the older one is needed, of which the open has read the header only. */
static void an_older_one_is_read_as_a_whole_before_it_is_chosen(void **state)
{
    struct rig rig;
    uint64_t size;
    uint8_t *bytes;

    (void)state;
    open_rig(&rig);
    for (uint32_t i = 1; i <= 2; i++) {
        apply(&rig.owner, i, i);
        take(&rig);
    }
    close_snapshots(&rig);
    bytes = mem_disk_file(rig.disk, "n/snapshot/00000000000000000001", &size);
    bytes[size - 100] ^= 1;
    assert_int_equal(try_open(&rig), 0);
    assert_int_equal(snapshots_count(rig.snapshots), 2);
    assert_int_equal(snapshots_verify(rig.snapshots, 0, &rig.problem), 0);
    assert_int_equal(snapshots_verify(rig.snapshots, 1, &rig.problem), MQ_ECORRUPT);
    assert_int_equal(snapshots_count(rig.snapshots), 1);
    assert_int_equal(snapshots_newest(rig.snapshots)->index, 2);
    assert_non_null(mem_disk_file(rig.disk, "n/snapshot/00000000000000000001.bad", &size));
    close_rig(&rig);
}

static void what_an_interrupted_write_left_is_removed(void **state)
{
    struct rig rig;
    uint64_t size;
    int fd;

    (void)state;
    open_rig(&rig);
    close_snapshots(&rig);
    fd = rig.disk->table.open(&rig.disk->table, "n/snapshot/00000000000000000009.new", 0100, 0);
    rig.disk->table.close(&rig.disk->table, fd);
    assert_int_equal(try_open(&rig), 0);
    assert_null(mem_disk_file(rig.disk, "n/snapshot/00000000000000000009.new", &size));
    assert_null(snapshots_newest(rig.snapshots));
    close_rig(&rig);
}

static void a_later_version_is_refused_by_name(void **state)
{
    struct rig rig;

    (void)state;
    open_rig(&rig);
    rig.owner.version = 2;
    apply(&rig.owner, 1, 1);
    take(&rig);
    rig.owner.version = 1;
    assert_int_equal(snapshots_restore(rig.snapshots, snapshots_newest(rig.snapshots), &rig.problem), MQ_EVERSION);
    assert_memory_equal(rig.problem.base, "needs feature level 1", rig.problem.len);
    close_rig(&rig);
}

static void what_does_not_come_back_as_it_was_is_found(void **state)
{
    struct rig rig;

    (void)state;
    open_rig(&rig);
    apply(&rig.owner, 1, 1);
    assert_int_equal(snapshots_take(rig.snapshots), 0);
    rig.owner.rows[2] = 7; /* a change that forgets to put the old row */
    run_until_ended(&rig);
    assert_int_equal(snapshots_restore(rig.snapshots, snapshots_newest(rig.snapshots), &rig.problem), MQ_ECORRUPT);
    assert_non_null(memmem(rig.problem.base, rig.problem.len, "section numbers", 15));
    close_rig(&rig);
}

static void refusals_say_why(void **state)
{
    struct rig rig;

    (void)state;
    open_rig(&rig);
    assert_int_equal(snapshots_take(rig.snapshots), MQ_ENOTFOUND);
    apply(&rig.owner, 1, 1);
    assert_int_equal(snapshots_take(rig.snapshots), 0);
    assert_int_equal(snapshots_take(rig.snapshots), MQ_EBUSY);
    run_until_ended(&rig);
    assert_int_equal(snapshots_take(rig.snapshots), MQ_ENOTFOUND);
    rig.owner.fsm.snapshot_begin = NULL;
    assert_int_equal(snapshots_take(rig.snapshots), MQ_EUNSUPPORTED);
    close_rig(&rig);
}

static void every_failing_call_of_the_disk_gives_it_up_and_the_next_one_works(void **state)
{
    bool failed = true;
    unsigned n;

    (void)state;
    for (n = 1; failed; n++) {
        struct rig rig;
        unsigned before;

        open_rig(&rig);
        apply(&rig.owner, 1, 1);
        take(&rig);
        before = files(&rig);
        apply(&rig.owner, 2, 2);
        rig.owner.ended = 1;
        mem_disk_fail_in(rig.disk, n, -ENOSPC);
        assert_int_equal(snapshots_take(rig.snapshots), 0);
        run_until_ended(&rig);
        failed = mem_disk_has_failed(rig.disk);
        mem_disk_fail_in(rig.disk, 0, 0);
        if (rig.owner.ended != 0) {
            assert_int_equal(rig.owner.ended, -ENOSPC);
            assert_int_equal(snapshots_newest(rig.snapshots)->index, 1);
            assert_true(files(&rig) <= before + 1); /* the sync of the directory: the name is there */
        }
        apply(&rig.owner, 3, 3);
        take(&rig);
        close_rig(&rig);
    }
    assert_true(n > 8);
}

static void a_failing_checkpoint_or_allocation_gives_it_up(void **state)
{
    struct rig rig;

    (void)state;
    open_rig(&rig);
    apply(&rig.owner, 1, 1);
    rig.owner.checkpoint_rc = -EIO;
    assert_int_equal(snapshots_take(rig.snapshots), 0);
    run_until_ended(&rig);
    assert_int_equal(rig.owner.ended, -EIO);
    assert_int_equal(files(&rig), 0);
    rig.owner.checkpoint_rc = 0;
    rig.owner.ended = 1;
    assert_int_equal(snapshots_take(rig.snapshots), 0);
    mq_heap_fail_at(1);
    run_until_ended(&rig);
    assert_int_equal(rig.owner.ended, MQ_ENOMEM);
    assert_int_equal(files(&rig), 0);
    take(&rig);
    close_rig(&rig);
}

static void a_close_gives_up_what_is_under_way(void **state)
{
    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        struct rig rig;

        open_rig(&rig);
        apply(&rig.owner, 1, 1);
        assert_int_equal(snapshots_take(rig.snapshots), 0);
        for (int i = 0; i < turns; i++) {
            uv_run(&rig.loop, UV_RUN_ONCE);
        }
        close_snapshots(&rig);
        assert_true(rig.owner.ended == MQ_ECLOSED || rig.owner.ended == 0);
        assert_int_equal(files(&rig), rig.owner.ended == 0);
        assert_int_equal(try_open(&rig), 0);
        close_rig(&rig);
    }
}

static void one_is_taken_when_enough_was_applied(void **state)
{
    struct rig rig;

    (void)state;
    open_rig(&rig);
    for (uint32_t i = 0; i < 60; i++) {
        apply(&rig.owner, i, i + 1);
    }
    run_until_ended(&rig); /* 6,000 bytes of log, 5,000 are asked for */
    assert_int_equal(rig.owner.taken, 60);
    close_rig(&rig);
}

static void two_are_taken_when_the_log_waits_for_them(void **state)
{
    struct rig rig;

    (void)state;
    open_rig(&rig);
    rig.owner.index = 10; /* 1000 bytes: far less than what one is taken for otherwise */
    snapshots_want(rig.snapshots, 700);
    run_until_ended(&rig);
    assert_int_equal(snapshots_newest(rig.snapshots)->index, 10);
    rig.owner.ended = 1;
    rig.owner.index = 11;
    run_until_ended(&rig);
    assert_int_equal(snapshots_oldest(rig.snapshots)->index, 10);
    rig.owner.ended = 1;
    rig.owner.index = 12;
    run_ms(&rig, 1500); /* two stand for it: no more are taken */
    assert_int_equal(rig.owner.ended, 1);
    close_rig(&rig);
}

/* As if snapshot @index had been fetched. Returns what adopt said. */
static int adopt(struct rig *rig, uint64_t index)
{
    struct snapshot_info info = {.index = index, .term = 1, .end_pos = index * 100, .crc = 0xABC};
    struct snapshot_writer writer;
    uint64_t bytes;

    snapshots_part_path(rig->snapshots, index, info.path);
    assert_int_equal(snapshot_writer_open(&writer, &rig->disk->table, info.path, &info), 0);
    assert_int_equal(snapshot_writer_finish(&writer, &bytes), 0);
    assert_int_equal(snapshot_file_check(&rig->disk->table, writer.path, &info, &rig->problem), 0);
    return snapshots_adopt(rig->snapshots, &info);
}

static void any_number_can_be_fetched_in_the_life_of_a_process(void **state)
{
    struct rig rig;

    (void)state;
    open_rig(&rig);
    for (uint64_t i = 10; i < 60; i += 10) {
        assert_int_equal(adopt(&rig, i), 0);
        rig.owner.index = i + 1;
        rig.owner.ended = 1;
        run_until_ended(&rig); /* one of its own follows */
        assert_int_equal(files(&rig), 2);
    }
    for (uint64_t i = 100; i < 160; i += 10) { /* without one that was put in place */
        assert_int_equal(adopt(&rig, i), 0);
        assert_int_equal(snapshots_newest(rig.snapshots)->index, i);
        assert_true(files(&rig) <= SNAPSHOTS_MAX);
    }
    assert_int_equal(snapshots_at(rig.snapshots, SNAPSHOTS_MAX - 1)->index, 50);
    close_rig(&rig);
}

static void a_fetched_file_becomes_the_newest(void **state)
{
    struct rig from, to;
    struct snapshot_info info = {0};
    struct snapshot_writer writer;
    uint64_t bytes;

    (void)state;
    open_rig(&to);
    apply(&to.owner, 1, 1);
    take(&to);
    open_rig(&from);
    from.owner.index = 8;
    as_of(&from, &info);
    snapshots_part_path(to.snapshots, 8, info.path);
    assert_int_equal(snapshot_writer_open(&writer, &to.disk->table, info.path, &info), 0);
    assert_int_equal(snapshot_writer_finish(&writer, &bytes), 0);
    assert_int_equal(snapshot_file_check(&to.disk->table, writer.path, &info, &to.problem), 0);
    assert_int_equal(snapshots_adopt(to.snapshots, &info), 0);
    assert_int_equal(snapshots_newest(to.snapshots)->index, 8);
    assert_string_equal(snapshots_newest(to.snapshots)->path, "n/snapshot/00000000000000000008");
    assert_int_equal(snapshots_adopt(to.snapshots, &info), MQ_EEXIST);

    /* One of its own follows with the next entry, so that two stand for what lies before. */
    to.owner.index = 9;
    to.owner.ended = 1;
    run_until_ended(&to);
    assert_int_equal(snapshots_newest(to.snapshots)->index, 9);
    assert_int_equal(snapshots_at(to.snapshots, 1)->index, 8);
    close_rig(&from);
    close_rig(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_holds_the_state_as_of_its_begin),
        cmocka_unit_test(one_waits_until_what_it_stands_for_is_synced),
        cmocka_unit_test(two_are_kept_and_the_newest_is_found_at_the_next_start),
        cmocka_unit_test(one_that_is_held_stays),
        cmocka_unit_test(a_damaged_one_is_set_aside_and_the_one_before_counts),
        cmocka_unit_test(an_older_one_is_read_as_a_whole_before_it_is_chosen),
        cmocka_unit_test(what_an_interrupted_write_left_is_removed),
        cmocka_unit_test(a_later_version_is_refused_by_name),
        cmocka_unit_test(what_does_not_come_back_as_it_was_is_found),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(every_failing_call_of_the_disk_gives_it_up_and_the_next_one_works),
        cmocka_unit_test(a_failing_checkpoint_or_allocation_gives_it_up),
        cmocka_unit_test(a_close_gives_up_what_is_under_way),
        cmocka_unit_test(one_is_taken_when_enough_was_applied),
        cmocka_unit_test(two_are_taken_when_the_log_waits_for_them),
        cmocka_unit_test(any_number_can_be_fetched_in_the_life_of_a_process),
        cmocka_unit_test(a_fetched_file_becomes_the_newest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
