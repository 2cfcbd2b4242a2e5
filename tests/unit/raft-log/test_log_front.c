/* The beginning of the log: trim, reset, back-fill. One log, the source, holds everything; what another one holds
 * must be the same bytes at every time, also after a crash at any instant. */
#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/commitlog_inside.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SEGMENT 8192u
#define ENTRIES 60u
#define CHANGES 9u /* entry 1, and every ninth: memberships */

/* ---- the source ---- */

struct source {
    struct log_fixture f;
    char *dir;
};

static uint64_t term_at(uint64_t index)
{
    return 1 + index / 13;
}

static uint32_t payload_at(uint64_t index)
{
    return index % 10 == 7 ? 6000 : (uint32_t)(index * 97 % 900);
}

static bool is_change(uint64_t index)
{
    return index % CHANGES == 1;
}

static void grow(struct log_fixture *f)
{
    uint64_t index = commitlog_last_index(f->log) + 1;
    struct rlog_header header = {.type = is_change(index) ? RLOG_CHANGE : RLOG_COMMAND,
                                 .index = index,
                                 .term = term_at(index),
                                 .store_ms = (int64_t)index * 10};
    struct rlog_blob *blob;

    assert_int_equal(blob_pool_take(&f->pool, NULL, payload_at(index), &blob), 0);
    log_fixture_payload(index, header.term, rlog_blob_payload(blob), payload_at(index));
    blob->payload_bytes = payload_at(index);
    assert_int_equal(commitlog_append(f->log, &header, blob), 0);
}

static void source_init(struct source *s)
{
    s->dir = log_temp_dir();
    log_fixture_init(&s->f, &rlog_disk_real, s->dir, SEGMENT);
    log_fixture_open(&s->f);
    for (unsigned i = 0; i < ENTRIES; i++) {
        grow(&s->f);
    }
    log_fixture_settle(&s->f);
}

static void source_fini(struct source *s)
{
    log_fixture_fini(&s->f);
    log_temp_dir_remove(s->dir);
}

/* Entries as they come from a peer. */
struct frame {
    struct net_ref ref;
    uint32_t n;
    struct rlog_base before;
    uint8_t bytes[];
};

static void on_frame_unused(struct net_ref *ref)
{
    free(ref);
}

static struct frame *frame_of(struct source *s, uint64_t first, uint64_t last)
{
    struct frame *frame = malloc(sizeof(*frame) + (size_t)(last - first + 1) * 8192);
    struct commitlog_entry entry;

    *frame = (struct frame){.ref = {1, on_frame_unused}};
    assert_int_equal(commitlog_before(s->f.log, first, &frame->before), 0);
    for (uint64_t i = first; i <= last; i++) {
        assert_int_equal(commitlog_get(s->f.log, i, &entry), 0);
        memcpy(frame->bytes + frame->n, entry.bytes, entry.n);
        frame->n += entry.n;
    }
    return frame;
}

/* The base that a snapshot of entry @index brings. */
static struct rlog_base snapshot_at(struct source *s, uint64_t index)
{
    struct rlog_base base;
    struct commitlog_entry entry;
    uint64_t change = commitlog_change_before(s->f.log, index);

    assert_int_equal(commitlog_before(s->f.log, index + 1, &base), 0);
    assert_int_equal(commitlog_get(s->f.log, change, &entry), 0);
    base.change_index = change;
    base.change = entry.bytes + RLOG_HEADER_BYTES;
    base.change_bytes = entry.header.payload_bytes;
    return base;
}

/* ---- a copy ---- */

static void copy_entry(struct source *s, struct log_fixture *f)
{
    struct frame *frame = frame_of(s, commitlog_last_index(f->log) + 1, commitlog_last_index(f->log) + 1);
    struct rlog_header header;

    assert_int_equal(rlog_header_decode(frame->bytes, frame->n, &header), 0);
    assert_int_equal(commitlog_append_copy(f->log, &header, frame->bytes, frame->n, &frame->ref), 0);
    net_ref_release(&frame->ref);
}

static void copy_up_to(struct source *s, struct log_fixture *f, uint64_t last)
{
    while (commitlog_last_index(f->log) < last) {
        copy_entry(s, f);
        log_fixture_settle(f); /* each by itself: what a crash leaves of a group is another test's business */
    }
}

struct put {
    struct commitlog_put put;
    int status;
    unsigned calls;
};

static void on_put(struct commitlog_put *put, int status)
{
    struct put *self = container_of(put, struct put, put);

    self->status = status;
    self->calls++;
}

/* The entries of @frame in up to @max pieces, newest first; damaged ones in one. Returns how many. */
static uint32_t pieces_of(struct frame *frame, uint32_t max, struct put_piece *out)
{
    uint32_t ends[PUT_PIECES_MAX], n = 0, at = 0;
    struct rlog_header header;

    while (n + 1 < max && at < frame->n && rlog_header_decode(frame->bytes + at, frame->n - at, &header) == 0 &&
           at + rlog_entry_bytes(header.payload_bytes) < frame->n) {
        at += rlog_entry_bytes(header.payload_bytes);
        ends[n++] = at;
    }
    ends[n++] = frame->n;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t from = k == n - 1 ? 0 : ends[n - 2 - k];

        out[k] = (struct put_piece){frame->bytes + from, ends[n - 1 - k] - from, &frame->ref};
    }
    return n;
}

static int start_put(struct log_fixture *f, struct put *put, struct frame *frame)
{
    struct put_piece pieces[PUT_PIECES_MAX];
    uint32_t n = pieces_of(frame, 1 + frame->n / 8 % PUT_PIECES_MAX, pieces);

    put->calls = 0;
    return commitlog_put_before(f->log, &put->put, pieces, n, &frame->before, on_put);
}

/* Back-fills one piece of at most @n entries. */
static int fill(struct source *s, struct log_fixture *f, uint64_t n)
{
    uint64_t last = commitlog_first_index(f->log) - 1;
    struct frame *frame = frame_of(s, last > n ? last - n + 1 : 1, last);
    struct put *put = malloc(sizeof(*put));
    int rc = start_put(f, put, frame);

    if (rc == 0) {
        while (put->calls == 0) {
            uv_run(&f->loop.uv, UV_RUN_ONCE);
        }
        assert_int_equal(put->calls, 1);
        rc = put->status;
    }
    assert_int_equal(frame->ref.count, 1);
    net_ref_release(&frame->ref);
    free(put);
    return rc;
}

/* Everything that @f holds is what the source holds, and its lists of terms and memberships are too. */
static void must_agree(struct source *s, struct log_fixture *f)
{
    struct rlog_base base, want;
    uint64_t first = commitlog_first_index(f->log), last = commitlog_last_index(f->log);

    commitlog_base_get(f->log, &base);
    assert_int_equal(base.index, first - 1);
    assert_int_equal(commitlog_before(s->f.log, first, &want), 0);
    assert_int_equal(base.term, want.term);
    assert_int_equal(base.crc, want.crc);
    assert_int_equal(base.end_pos, want.end_pos);
    assert_int_equal(base.store_ms, want.store_ms);
    assert_int_equal(commitlog_before(s->f.log, last + 1, &want), 0);
    assert_int_equal(commitlog_end_pos(f->log), want.end_pos);
    assert_int_equal(commitlog_last_store_ms(f->log), want.store_ms);
    assert_int_equal(commitlog_term_of(f->log, first - 1), first == 1 ? 0 : term_at(first - 1));
    for (uint64_t i = first; i <= last; i++) {
        struct commitlog_entry a, b;

        log_fixture_check(f, i, term_at(i));
        assert_int_equal(commitlog_get(f->log, i, &a), 0);
        assert_int_equal(commitlog_get(s->f.log, i, &b), 0);
        assert_int_equal(a.header.pos, b.header.pos);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.bytes, b.bytes, a.n);
        if (commitlog_change_before(s->f.log, i) >= first) {
            assert_int_equal(commitlog_change_before(f->log, i), commitlog_change_before(s->f.log, i));
        }
    }
}

/* ---- trim ---- */

static void trimmed_log_begins_with_a_segment_and_does_so_after_a_restart(void **state)
{
    struct source *s = *state;
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct commitlog_entry entry;
    struct log_fixture f;
    struct rlog_base base;
    uint64_t first;

    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(commitlog_first_index(f.log), 1);
    copy_up_to(s, &f, 40);
    assert_int_equal(commitlog_trim(f.log, SEGMENT - 1), 0); /* no whole segment */
    assert_int_equal(commitlog_first_index(f.log), 1);
    assert_int_equal(commitlog_trim(f.log, 2 * SEGMENT + 5), 0);
    first = commitlog_first_index(f.log);
    assert_true(first > 1 && first < 40);
    assert_int_equal(commitlog_start_pos(f.log), 2 * SEGMENT);
    assert_int_equal(commitlog_get(f.log, first, &entry), 0);
    assert_int_equal(entry.header.pos, 2 * SEGMENT);
    assert_int_equal(commitlog_get(f.log, first - 1, &entry), MQ_ENOTFOUND);
    assert_null(commitlog_hold(f.log, first - 1));
    commitlog_base_get(f.log, &base);
    assert_int_equal(base.change_index, commitlog_change_before(s->f.log, first - 1));
    assert_int_equal(base.change_bytes, payload_at(base.change_index));
    must_agree(s, &f);
    log_fixture_close(&f);
    log_fixture_open(&f);
    assert_int_equal(commitlog_first_index(f.log), first);
    commitlog_base_get(f.log, &base);
    assert_int_equal(base.change_bytes, payload_at(base.change_index));
    must_agree(s, &f);
    copy_up_to(s, &f, ENTRIES);
    assert_int_equal(commitlog_trim(f.log, UINT64_MAX), 0); /* the last segment with entries stays */
    first = commitlog_first_index(f.log);
    assert_true(first <= ENTRIES);
    must_agree(s, &f);
    log_fixture_close(&f);
    log_fixture_open(&f);
    assert_int_equal(commitlog_first_index(f.log), first);
    assert_int_equal(commitlog_proven_commit(f.log), first - 1);
    must_agree(s, &f);
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

/* Until the base is durable and what lies below it is given up: before that nothing may be put there. */
static void wait_given_up(struct log_fixture *f)
{
    struct rlog_base nothing = {0};
    struct commitlog_put put;
    int rc;

    while ((rc = commitlog_put_before(f->log, &put, NULL, 0, &nothing, NULL)) == MQ_EBUSY) {
        uv_run(&f->loop.uv, UV_RUN_ONCE);
    }
    assert_int_equal(rc, MQ_ECORRUPT);
}

static void dropped_segments_become_the_next_ones(void **state)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct log_fixture f;
    unsigned made = 0;

    (void)state;
    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    for (unsigned i = 0; i < 80; i++) { /* 8 to a segment: the next one is made with the fifth */
        uint64_t first = commitlog_first_index(f.log);

        assert_int_equal(log_fixture_append(&f, 1, 900), 0);
        log_fixture_settle(&f);
        assert_int_equal(commitlog_trim(f.log, UINT64_MAX), 0);
        if (commitlog_first_index(f.log) != first) {
            wait_given_up(&f);
        }
        assert_true(mem_disk_count(disk, "/m/log/", false) <= 3);
    }
    log_fixture_close(&f);
    for (size_t i = 0; i < disk->n_ops; i++) {
        made += disk->ops[i].kind == MEM_CREATE && strstr(disk->ops[i].name, ".new") != NULL;
    }
    assert_int_equal(made, 2); /* no segment but the first two was new */
    log_fixture_open(&f);
    assert_int_equal(commitlog_last_index(f.log), 80);
    for (uint64_t i = commitlog_first_index(f.log); i <= 80; i++) {
        log_fixture_check(&f, i, 1);
    }
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

static void view_taken_before_a_trim_stays_valid(void **state)
{
    struct source *s = *state;
    char *dir = log_temp_dir();
    struct log_fixture f;
    struct net_ref *ref, *none;
    const uint8_t *at, *no;
    uint8_t want[64];
    uint64_t pos;

    log_fixture_init(&f, &rlog_disk_real, dir, SEGMENT);
    log_fixture_open(&f);
    copy_up_to(s, &f, 30);
    pos = commitlog_pos_of(f.log, 2) + RLOG_HEADER_BYTES;
    log_fixture_payload(2, 1, want, sizeof(want));
    assert_int_equal(commitlog_view(f.log, pos, sizeof(want), &at, &ref), 0);
    assert_int_equal(commitlog_trim(f.log, UINT64_MAX), 0);
    assert_int_equal(commitlog_view(f.log, pos, sizeof(want), &no, &none), MQ_ENOTFOUND);
    assert_false(commitlog_is_cold(f.log, pos, sizeof(want)));
    copy_up_to(s, &f, ENTRIES); /* makes segments, out of old ones too */
    assert_memory_equal(at, want, sizeof(want));
    assert_int_equal(commitlog_trim(f.log, UINT64_MAX), 0);
    log_fixture_close(&f);
    log_fixture_open(&f);
    assert_memory_equal(at, want, sizeof(want));
    net_ref_release(ref);
    must_agree(s, &f);
    log_fixture_fini(&f);
    log_temp_dir_remove(dir);
}

static void truncation_down_to_a_trimmed_beginning_makes_room_again(void **state)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct log_fixture f;
    uint64_t end;

    (void)state;
    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(log_fixture_append(&f, 1, 5000), 0);
    end = commitlog_end_pos(f.log);
    assert_int_equal(log_fixture_append(&f, 1, 5000), 0); /* the next segment */
    log_fixture_settle(&f);
    assert_int_equal(commitlog_trim(f.log, SEGMENT), 0);
    assert_int_equal(commitlog_first_index(f.log), 2);
    commitlog_truncate(f.log, 2);
    f.durable_index = 1;
    assert_int_equal(commitlog_last_index(f.log), 1);
    assert_int_equal(commitlog_end_pos(f.log), end);
    log_fixture_close(&f);
    log_fixture_open(&f);
    assert_int_equal(log_fixture_append(&f, 2, 100), 0); /* where a member that never trimmed has it, too */
    log_fixture_settle(&f);
    assert_int_equal(commitlog_pos_of(f.log, 2), end);
    log_fixture_close(&f);
    log_fixture_open(&f);
    assert_int_equal(commitlog_first_index(f.log), 2);
    log_fixture_check(&f, 2, 2);
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

/* The dropped file and the one made in its place have the same name; only one of them may be renamed or removed. */
static void segment_made_again_outlives_the_dropped_one_of_its_name(void **state)
{
    const uint8_t *at;
    struct net_ref *ref;

    (void)state;
    for (int how = 0; how < 3; how++) { /* given up; looked at by somebody; its base is perhaps still being stored */
        struct mem_disk *disk = mem_disk_new(SEGMENT);
        struct log_fixture f;

        log_fixture_init(&f, &disk->table, "/m", SEGMENT);
        log_fixture_open(&f);
        assert_int_equal(log_fixture_append(&f, 1, 5000), 0);
        assert_int_equal(log_fixture_append(&f, 1, 5000), 0); /* the next segment */
        log_fixture_settle(&f);
        assert_int_equal(commitlog_view(f.log, 0, 64, &at, &ref), 0);
        if (how != 1) {
            net_ref_release(ref);
        }
        assert_int_equal(commitlog_trim(f.log, SEGMENT), 0);
        if (how == 0) {
            wait_given_up(&f);
        }
        commitlog_truncate(f.log, 2);
        f.durable_index = 1;
        for (unsigned i = 0; i < 40; i++) { /* many segments: what is old is used up */
            assert_int_equal(log_fixture_append(&f, 2, 1500), 0);
            log_fixture_settle(&f);
            if (how == 1 && i == 20) {
                net_ref_release(ref);
            }
        }
        log_fixture_close(&f);
        log_fixture_open(&f);
        assert_int_equal(commitlog_first_index(f.log), 2);
        assert_int_equal(commitlog_last_index(f.log), 41);
        for (uint64_t i = 2; i <= 41; i++) {
            log_fixture_check(&f, i, 2);
        }
        log_fixture_fini(&f);
        mem_disk_free(disk);
    }
}

static void start_that_loses_all_behind_a_trimmed_beginning_makes_room(void **state)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct log_fixture f;
    uint64_t end, size;

    (void)state;
    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(log_fixture_append(&f, 1, 5000), 0);
    end = commitlog_end_pos(f.log);
    assert_int_equal(log_fixture_append(&f, 1, 5000), 0); /* the next segment */
    log_fixture_settle(&f);
    assert_int_equal(commitlog_trim(f.log, SEGMENT), 0);
    log_fixture_close(&f);
    mem_disk_file(disk, "/m/log/00000000000000008192", &size)[RLOG_HEADER_BYTES] ^= 1;
    assert_int_equal(disk->table.unlink(&disk->table, "/m/log/00000000000000008192.index"), 0);
    assert_int_equal(disk->table.unlink(&disk->table, "/m/log/00000000000000000000"), 0); /* as it would go */
    log_fixture_open(&f);
    assert_int_equal(commitlog_first_index(f.log), 2);
    assert_int_equal(commitlog_last_index(f.log), 1);
    assert_int_equal(f.claim.index, 2);
    assert_int_equal(log_fixture_append(&f, 2, 100), 0);
    f.durable_index = 1;
    log_fixture_settle(&f);
    assert_int_equal(commitlog_pos_of(f.log, 2), end);
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

/* ---- reset and back-fill ---- */

static void reset_log_is_empty_behind_the_snapshot_and_goes_on_from_there(void **state)
{
    static const uint64_t indexes[] = {1, 6, 7, 8, 33, 46, ENTRIES};
    struct source *s = *state;

    for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
        struct mem_disk *disk = mem_disk_new(SEGMENT);
        struct rlog_base base = snapshot_at(s, indexes[i]), got;
        struct log_fixture f;

        log_fixture_init(&f, &disk->table, "/m", SEGMENT);
        log_fixture_open(&f);
        for (unsigned k = 0; k < 15; k++) {
            assert_int_equal(log_fixture_append(&f, 1, 900), 0); /* another history */
        }
        commitlog_kick(f.log);
        assert_int_equal(commitlog_reset(f.log, &base), 0);
        f.durable_index = indexes[i];
        assert_int_equal(commitlog_last_index(f.log), indexes[i]);
        assert_int_equal(commitlog_durable_index(f.log), indexes[i]);
        assert_int_equal(commitlog_proven_commit(f.log), indexes[i]);
        assert_int_equal(commitlog_start_pos(f.log), base.end_pos);
        assert_int_equal(commitlog_term_of(f.log, indexes[i]), base.term);
        uv_run(&f.loop.uv, UV_RUN_NOWAIT);
        assert_int_equal(f.reports, 0);
        must_agree(s, &f);
        log_fixture_close(&f);
        log_fixture_open(&f);
        must_agree(s, &f);
        commitlog_base_get(f.log, &got);
        assert_int_equal(got.change_index, base.change_index);
        assert_int_equal(got.change_bytes, base.change_bytes);
        assert_memory_equal(got.change, base.change, base.change_bytes);
        copy_up_to(s, &f, ENTRIES);
        must_agree(s, &f);
        log_fixture_close(&f);
        log_fixture_open(&f);
        assert_int_equal(commitlog_first_index(f.log), indexes[i] + 1);
        must_agree(s, &f);
        log_fixture_fini(&f);
        mem_disk_free(disk);
    }
}

static void reset_of_a_log_that_flushes_late_counts_nothing_as_synced_that_is_not(void **state)
{
    struct source *s = *state;
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct rlog_base base;
    struct log_fixture f;

    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    f.flush_ms = 60000; /* never by itself */
    log_fixture_open(&f);
    copy_up_to(s, &f, 30);
    base = snapshot_at(s, 45);
    assert_int_equal(commitlog_reset(f.log, &base), 0);
    f.durable_index = 45;
    assert_int_equal(commitlog_synced_index(f.log), 45);
    copy_up_to(s, &f, 46);
    base = snapshot_at(s, 9);
    assert_int_equal(commitlog_reset(f.log, &base), 0);
    f.durable_index = 9;
    copy_up_to(s, &f, 12);
    assert_in_range(commitlog_synced_index(f.log), 9, 11); /* only what lies in a full segment */
    log_fixture_close(&f);
    log_fixture_open(&f);
    must_agree(s, &f);
    assert_int_equal(commitlog_last_index(f.log), 12);
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

static void base_that_cannot_be_resets_nothing(void **state)
{
    struct source *s = *state;
    struct rlog_base good = snapshot_at(s, 9), bad;

    bad = good;
    bad.index = 0;
    assert_int_equal(commitlog_reset(s->f.log, &bad), MQ_EINVAL);
    bad = good;
    bad.term = 0;
    assert_int_equal(commitlog_reset(s->f.log, &bad), MQ_EINVAL);
    bad = good;
    bad.end_pos++;
    assert_int_equal(commitlog_reset(s->f.log, &bad), MQ_EINVAL);
    bad = good;
    bad.change_bytes = RLOG_BASE_CHANGE_MAX + 1;
    assert_int_equal(commitlog_reset(s->f.log, &bad), MQ_ETOOBIG);
    assert_int_equal(commitlog_last_index(s->f.log), ENTRIES);
}

/* A start believes them: it does not see that payloads have rotted. */
static void must_be_in_index_files(struct log_fixture *f, struct mem_disk *disk)
{
    uint64_t size;

    log_fixture_close(f);
    for (uint64_t pos = 0; pos < 3 * SEGMENT; pos += SEGMENT) {
        char name[64];
        uint8_t *bytes;

        (void)snprintf(name, sizeof(name), "/m/log/%020" PRIu64, pos);
        bytes = mem_disk_file(disk, name, &size);
        assert_non_null(bytes);
        bytes[RLOG_HEADER_BYTES] ^= 1;
    }
    f->verify_bytes = 1;
    log_fixture_open(f);
    assert_int_equal(commitlog_first_index(f->log), 1);
    assert_int_equal(commitlog_last_index(f->log), ENTRIES);
    f->verify_bytes = 0;
}

static void back_filled_log_is_the_same_as_one_that_was_never_reset(void **state)
{
    static const uint64_t pieces[] = {1, 2, 3, 7, 20, ENTRIES};
    struct source *s = *state;

    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct mem_disk *disk = mem_disk_new(SEGMENT);
        struct rlog_base base = snapshot_at(s, 47);
        struct log_fixture f;
        unsigned steps = 0;

        log_fixture_init(&f, &disk->table, "/m", SEGMENT);
        log_fixture_open(&f);
        assert_int_equal(commitlog_reset(f.log, &base), 0);
        f.durable_index = 47;
        copy_up_to(s, &f, 50);
        while (commitlog_first_index(f.log) != 1) {
            uint64_t first = commitlog_first_index(f.log);

            assert_int_equal(fill(s, &f, pieces[i]), 0);
            assert_int_equal(commitlog_first_index(f.log), first > pieces[i] ? first - pieces[i] : 1);
            must_agree(s, &f);
            if (steps++ % 4 == 1) {
                log_fixture_close(&f); /* which loses nothing */
                log_fixture_open(&f);
                assert_int_equal(commitlog_first_index(f.log), first > pieces[i] ? first - pieces[i] : 1);
                must_agree(s, &f);
            }
            if (steps % 8 == 0 && commitlog_last_index(f.log) < ENTRIES) {
                copy_up_to(s, &f, commitlog_last_index(f.log) + 1);
            }
        }
        copy_up_to(s, &f, ENTRIES);
        log_fixture_close(&f);
        log_fixture_open(&f);
        assert_int_equal(commitlog_first_index(f.log), 1);
        assert_int_equal(commitlog_start_pos(f.log), 0);
        must_agree(s, &f);
        must_be_in_index_files(&f, disk);
        log_fixture_fini(&f);
        mem_disk_free(disk);
    }
}

static void entries_that_do_not_belong_before_the_first_one_are_refused(void **state)
{
    static const struct {
        const char *why;
        uint64_t first, last;
        int flip_at; /* in the bytes; -1: none */
        int cut;     /* bytes left out at the end */
        int before;  /* which field of what lies before them is wrong; 0: none */
        int start;   /* what the start says */
    } cases[] = {
        {"they end below the base", 20, 28, -1, 0, 0, 0},
        {"they end above the base", 20, 31, -1, 0, 0, 0},
        {"a header is damaged", 20, 30, 16, 0, 0, 0},
        {"a payload is damaged", 20, 30, RLOG_HEADER_BYTES + 1, 0, 0, 0},
        {"the last one is cut short", 20, 30, -1, 8, 0, 0},
        {"there are more of them than said", 20, 30, -1, 0, 1, 0},
        {"there are too few bytes for them", 29, 30, -1, 0, 2, MQ_ECORRUPT},
        {"another term before them", 20, 30, -1, 0, 3, 0},
        {"another chain before them", 20, 30, -1, 0, 4, 0},
        {"another end before them", 20, 30, -1, 0, 5, 0},
        {"a later time before them", 20, 30, -1, 0, 6, 0},
        {"nothing", 20, 30, -1, 0, 7, MQ_ECORRUPT},
    };
    struct source *s = *state;
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct rlog_base base = snapshot_at(s, 30);
    struct put *put = malloc(sizeof(*put));
    struct log_fixture f;

    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(commitlog_reset(f.log, &base), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame *frame = frame_of(s, cases[i].first, cases[i].last);
        int rc;

        print_message("%s\n", cases[i].why);
        frame->n -= (uint32_t)cases[i].cut;
        if (cases[i].flip_at >= 0) {
            frame->bytes[cases[i].flip_at] ^= 1;
        }
        frame->before.index += cases[i].before == 1;
        frame->before.index = cases[i].before == 2 ? 1 : cases[i].before == 7 ? 30 : frame->before.index;
        frame->before.term += cases[i].before == 3;
        frame->before.crc ^= cases[i].before == 4;
        frame->before.end_pos -= cases[i].before == 5 ? 8 : 0;
        frame->before.store_ms += cases[i].before == 6 ? 50 : 0;
        rc = start_put(&f, put, frame);
        assert_int_equal(rc, cases[i].start);
        while (rc == 0 && put->calls == 0) {
            uv_run(&f.loop.uv, UV_RUN_ONCE);
        }
        if (rc == 0 && put->status != MQ_ECORRUPT) {
            /* A wrong term is found when the entry that has it comes. */
            assert_int_equal(cases[i].before, 3);
            assert_int_equal(put->status, 0);
            assert_int_equal(fill(s, &f, 3), MQ_ECORRUPT);
            base = snapshot_at(s, 30);
            assert_int_equal(commitlog_reset(f.log, &base), 0);
        }
        assert_int_equal(commitlog_first_index(f.log), 31);
        assert_int_equal(frame->ref.count, 1);
        net_ref_release(&frame->ref);
    }
    free(put);
    while (commitlog_first_index(f.log) != 1) { /* none of this is in the way of the right ones */
        assert_int_equal(fill(s, &f, 5), 0);
    }
    f.durable_index = 30;
    copy_up_to(s, &f, ENTRIES);
    log_fixture_close(&f);
    log_fixture_open(&f);
    must_agree(s, &f);
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

static void put_is_void_when_the_log_begins_elsewhere_meanwhile(void **state)
{
    struct source *s = *state;
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct put *put = malloc(sizeof(*put)), *other = malloc(sizeof(*other));
    struct rlog_base base;
    struct log_fixture f;

    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    for (int what = 0; what < 3; what++) { /* reset, trim, close */
        struct frame *frame = frame_of(s, 10, 20);

        base = snapshot_at(s, 20);
        assert_int_equal(commitlog_reset(f.log, &base), 0);
        f.durable_index = 20;
        copy_up_to(s, &f, 50);
        assert_int_equal(start_put(&f, put, frame), 0);
        assert_int_equal(start_put(&f, other, frame), MQ_EBUSY);
        if (what == 0) {
            base = snapshot_at(s, 33);
            assert_int_equal(commitlog_reset(f.log, &base), 0);
            f.durable_index = 33;
        } else if (what == 1) {
            assert_int_equal(commitlog_trim(f.log, UINT64_MAX), 0);
        } else {
            log_fixture_close(&f);
            assert_int_equal(put->calls, 1);
            assert_int_equal(put->status, MQ_ECLOSED);
            log_fixture_open(&f);
        }
        while (put->calls == 0) {
            uv_run(&f.loop.uv, UV_RUN_ONCE);
        }
        assert_int_equal(put->status, what == 2 ? MQ_ECLOSED : MQ_ENOTFOUND);
        assert_int_equal(frame->ref.count, 1);
        net_ref_release(&frame->ref);
        must_agree(s, &f);
        log_fixture_close(&f);
        log_fixture_open(&f);
        must_agree(s, &f);
    }
    free(put);
    free(other);
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

/* A job that keeps the spare from the next one. */
struct gate {
    struct spare_job job;
    sem_t reached, open;
};

static void gate_work(struct spare_job *job)
{
    struct gate *gate = container_of(job, struct gate, job);

    sem_post(&gate->reached);
    while (sem_wait(&gate->open) != 0) {
    }
}

static void gate_done(struct spare_job *job)
{
    struct gate *gate = container_of(job, struct gate, job);

    sem_destroy(&gate->reached);
    sem_destroy(&gate->open);
}

static void shut(struct log_fixture *f, struct gate *gate)
{
    gate->job = (struct spare_job){NULL, gate_work, gate_done};
    sem_init(&gate->reached, 0, 0);
    sem_init(&gate->open, 0, 0);
    handover_put_job(&f->log->handover, &gate->job);
}

static void put_into_a_segment_that_is_trimmed_before_its_turn_is_void(void **state)
{
    struct source *s = *state;
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct put *put = malloc(sizeof(*put));
    struct rlog_base base = snapshot_at(s, 33);
    const struct segment *unsynced;
    struct log_fixture f;
    struct frame *frame;
    struct gate gate;
    uint64_t next;

    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(commitlog_reset(f.log, &base), 0);
    f.durable_index = 33;
    copy_up_to(s, &f, 50);
    do {
        assert_int_equal(fill(s, &f, 1), 0);
        next = commitlog_first_index(f.log) - 1;
        unsynced = f.log->front.unsettled.stage.segment;
    } while (unsynced == NULL || commitlog_pos_of(s->f.log, next) < unsynced->first_pos);
    frame = frame_of(s, next, next);
    shut(&f, &gate);
    assert_int_equal(start_put(&f, put, frame), 0);
    assert_int_equal(commitlog_trim(f.log, UINT64_MAX), 0);
    sem_post(&gate.open);
    while (put->calls == 0) {
        uv_run(&f.loop.uv, UV_RUN_ONCE);
    }
    assert_int_equal(put->status, MQ_ENOTFOUND);
    assert_int_equal(frame->ref.count, 1);
    net_ref_release(&frame->ref);
    must_agree(s, &f);
    wait_given_up(&f);
    while (commitlog_first_index(f.log) != 1) {
        assert_int_equal(fill(s, &f, 3), 0);
    }
    log_fixture_close(&f);
    log_fixture_open(&f);
    assert_int_equal(commitlog_first_index(f.log), 1);
    must_agree(s, &f);
    free(put);
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

/* The durable base lies in a segment that a put made, and the one that the trim brings is not durable yet. */
static void segment_of_a_void_put_stays_until_no_base_lies_there(void **state)
{
    struct source *s = *state;
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct put *put = malloc(sizeof(*put));
    struct rlog_base base = snapshot_at(s, 33);
    struct frame *frame = frame_of(s, 10, 33);
    struct log_fixture f;
    struct gate gate;

    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(commitlog_reset(f.log, &base), 0);
    f.durable_index = 33;
    copy_up_to(s, &f, 50);
    assert_int_equal(start_put(&f, put, frame), 0);
    shut(&f, &gate);
    while (sem_wait(&gate.reached) != 0) {
    }
    assert_int_equal(commitlog_trim(f.log, UINT64_MAX), 0);
    while (put->calls == 0) {
        uv_run(&f.loop.uv, UV_RUN_ONCE);
    }
    assert_int_equal(put->status, MQ_ENOTFOUND);
    pthread_mutex_lock(&f.log->handover.lock);
    assert_int_equal(f.log->handover.n_old, 0);
    pthread_mutex_unlock(&f.log->handover.lock);
    sem_post(&gate.open);
    wait_given_up(&f);
    assert_int_equal(frame->ref.count, 1);
    net_ref_release(&frame->ref);
    log_fixture_close(&f);
    log_fixture_open(&f);
    must_agree(s, &f);
    free(put);
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

static void segment_that_cannot_be_made_ends_a_put_and_not_the_node(void **state)
{
    struct source *s = *state;
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct rlog_base base = snapshot_at(s, 47);
    struct log_fixture f;
    int rc;

    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(commitlog_reset(f.log, &base), 0);
    f.durable_index = 47;
    copy_up_to(s, &f, 48);
    mem_disk_set_space(disk, 0, -ENOSPC);
    do {
        rc = fill(s, &f, 1);
    } while (rc == 0);
    assert_int_equal(rc, -ENOSPC);
    assert_true(commitlog_first_index(f.log) > 1);
    must_agree(s, &f);
    mem_disk_set_space(disk, 0, 0);
    while (commitlog_first_index(f.log) != 1) {
        assert_int_equal(fill(s, &f, 9), 0);
    }
    copy_up_to(s, &f, ENTRIES);
    log_fixture_close(&f);
    log_fixture_open(&f);
    must_agree(s, &f);
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

/* ---- crashes ---- */

/* What must hold from a change on: a log that begins in one of two ranges and ends at or behind @least. */
struct moment {
    size_t change;
    uint64_t first_min, first_max, least;
};

struct history {
    struct log_fixture f;
    struct mem_disk *disk;
    struct moment moments[64];
    size_t n;
};

static void mark(struct history *h, uint64_t first_min, uint64_t first_max, uint64_t least)
{
    assert_true(h->n < 64);
    h->moments[h->n++] = (struct moment){mem_disk_now(h->disk), first_min, first_max, least};
}

static uint64_t min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* An earlier trim may not be durable yet when the next step begins, so the range of the moment before counts too. */
static void reset_to(struct source *s, struct history *h, uint64_t index)
{
    struct rlog_base base = snapshot_at(s, index);
    struct moment now = h->moments[h->n - 1];

    mark(h, min_of(now.first_min, index + 1), max_of(now.first_max, index + 1), min_of(now.least, index));
    assert_int_equal(commitlog_reset(h->f.log, &base), 0);
    h->f.durable_index = index;
    mark(h, index + 1, index + 1, index);
}

static void trim_to(struct history *h, uint64_t pos)
{
    struct moment now = h->moments[h->n - 1];

    now.change = mem_disk_now(h->disk);
    now.first_min = min_of(now.first_min, commitlog_first_index(h->f.log));
    assert_int_equal(commitlog_trim(h->f.log, pos), 0);
    now.first_max = max_of(now.first_max, commitlog_first_index(h->f.log));
    h->moments[h->n++] = now;
}

static void copy_to(struct source *s, struct history *h, uint64_t last)
{
    struct moment *now = &h->moments[h->n - 1];

    copy_up_to(s, &h->f, last);
    mark(h, now->first_min, now->first_max, last);
}

static void fill_to(struct source *s, struct history *h, uint64_t first, uint64_t piece)
{
    /* The base is made durable now and then only: the log may begin anywhere above. */
    mark(h, first, h->moments[h->n - 1].first_max, commitlog_last_index(h->f.log));
    while (commitlog_first_index(h->f.log) > first) {
        uint64_t left = commitlog_first_index(h->f.log) - first;

        assert_int_equal(fill(s, &h->f, left < piece ? left : piece), 0);
    }
}

static void record_history(struct source *s, struct history *h)
{
    h->disk = mem_disk_new(SEGMENT);
    log_fixture_init(&h->f, &h->disk->table, "/m", SEGMENT);
    log_fixture_open(&h->f);
    mark(h, 1, 1, 0);
    copy_to(s, h, 12);
    trim_to(h, SEGMENT);
    copy_to(s, h, 22);
    reset_to(s, h, 40);
    copy_to(s, h, 43);
    fill_to(s, h, 30, 9);
    copy_to(s, h, 45);
    fill_to(s, h, 20, 10);
    trim_to(h, UINT64_MAX);
    copy_to(s, h, 52);
    trim_to(h, UINT64_MAX);
    reset_to(s, h, 9); /* back: a snapshot of another time */
    copy_to(s, h, 14);
    fill_to(s, h, 1, 9);
    log_fixture_close(&h->f);
    mark(h, 1, 1, 14); /* a close stores it */
}

struct choice {
    uint64_t seed; /* 0: nothing unsynced is there; 1: all of it; else by change and sector */
};

static bool chosen(void *data, size_t change, size_t sector)
{
    const struct choice *choice = data;
    uint64_t state = choice->seed + change * 7919 + (choice->seed % 2 != 0 ? 0 : sector * 104729);

    if (choice->seed <= 1) {
        return choice->seed != 0;
    }
    log_random(&state);
    return (log_random(&state) & 1) != 0;
}

static void crash_and_open(struct source *s, struct history *h, size_t until, struct choice *choice, bool to_the_end)
{
    struct mem_disk *after = mem_disk_crash(h->disk, until, chosen, choice);
    const struct moment *m = h->moments;
    struct log_fixture f;
    uint64_t first, last;

    while (m + 1 < h->moments + h->n && m[1].change <= until) {
        m++;
    }
    log_fixture_init(&f, &after->table, "/m", SEGMENT);
    f.verify_bytes = until % 2; /* every other time the index files are believed to the end */
    if (log_fixture_try_open(&f) != 0) {
        fail_msg("crash before change %zu, seed %" PRIu64 ": %s", until, choice->seed, (const char *)f.problem.base);
    }
    first = commitlog_first_index(f.log);
    last = commitlog_last_index(f.log);
    if (first < m->first_min || first > m->first_max || last < m->least) {
        fail_msg("crash before change %zu, seed %" PRIu64 ": entries %" PRIu64 " to %" PRIu64 ", allowed are %" PRIu64
                 " to %" PRIu64 ", at least to %" PRIu64,
                 until, choice->seed, first, last, m->first_min, m->first_max, m->least);
    }
    must_agree(s, &f);
    copy_up_to(s, &f, last + 1); /* and it goes on, at both ends */
    while (to_the_end && commitlog_first_index(f.log) != 1) {
        assert_int_equal(fill(s, &f, 8), 0);
    }
    log_fixture_close(&f);
    if (log_fixture_try_open(&f) != 0) {
        fail_msg("crash before change %zu, seed %" PRIu64 ", and on: %s", until, choice->seed,
                 (const char *)f.problem.base);
    }
    assert_int_equal(commitlog_last_index(f.log), last + 1);
    assert_int_equal(commitlog_first_index(f.log), to_the_end ? 1 : first);
    must_agree(s, &f);
    log_fixture_fini(&f);
    mem_disk_free(after);
}

static void crash_at_any_instant_shows_a_log_that_begins_here_or_there(void **state)
{
    struct source *s = *state;
    struct history *h = calloc(1, sizeof(*h));
    uint64_t random = log_seed();
    unsigned crashes = 0;

    record_history(s, h);
    for (size_t until = 0; until <= mem_disk_now(h->disk); until++) {
        for (unsigned k = 0; k < 6; k++) {
            struct choice choice = {k < 2 ? k : 2 + log_random(&random)};

            crash_and_open(s, h, until, &choice, crashes % 8 == 0);
            crashes++;
        }
    }
    print_message("%u crash states of %zu changes, %u of them past the cache\n", crashes, mem_disk_now(h->disk),
                  h->disk->direct_writes);
    assert_true(crashes > 200 && h->disk->direct_writes >= 3);
    log_fixture_fini(&h->f);
    mem_disk_free(h->disk);
    free(h);
}

/* What was put before the one that failed is synced before a later base stands for it. */
static void put_that_fails_leaves_nothing_unsynced_behind(void **state)
{
    struct source *s = *state;
    struct mem_disk *disk = mem_disk_new(SEGMENT), *after;
    struct rlog_base base = snapshot_at(s, 47);
    struct choice nothing = {0};
    struct log_fixture f;
    int rc;

    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(commitlog_reset(f.log, &base), 0);
    f.durable_index = 47;
    copy_up_to(s, &f, 48);
    for (;;) {
        mem_disk_set_space(disk, 0, -ENOSPC);
        do {
            rc = commitlog_first_index(f.log) != 1 ? fill(s, &f, 1) : 0;
        } while (rc == 0 && commitlog_first_index(f.log) != 1);
        if (rc == 0) {
            break; /* with entry 1 the base is stored */
        }
        assert_int_equal(rc, -ENOSPC);
        mem_disk_set_space(disk, 0, 0);
        assert_int_equal(fill(s, &f, 1), 0);
    }
    after = mem_disk_crash(disk, mem_disk_now(disk), chosen, &nothing);
    log_fixture_fini(&f);
    log_fixture_init(&f, &after->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(commitlog_first_index(f.log), 1);
    assert_int_equal(commitlog_last_index(f.log), 48);
    must_agree(s, &f);
    log_fixture_fini(&f);
    mem_disk_free(after);
    mem_disk_free(disk);
}

static void on_settled(struct commitlog_settle *settle)
{
    settle->cb = NULL;
}

/* When a put fails its segment, the one before is synced already: that there is nothing to sync does not mean that
 * the base is durable. */
static void what_was_put_before_a_put_that_failed_can_be_settled(void **state)
{
    struct source *s = *state;
    struct mem_disk *disk = mem_disk_new(SEGMENT), *after;
    struct rlog_base base = snapshot_at(s, 47);
    struct commitlog_settle settle;
    struct choice nothing = {0};
    struct log_fixture f;
    uint64_t first;
    int rc;

    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(commitlog_reset(f.log, &base), 0);
    f.durable_index = 47;
    copy_up_to(s, &f, 48);
    assert_int_equal(fill(s, &f, 1), 0);
    mem_disk_set_space(disk, 0, -ENOSPC);
    do {
        rc = fill(s, &f, 1);
    } while (rc == 0);
    assert_int_equal(rc, -ENOSPC);
    first = commitlog_first_index(f.log);
    commitlog_settle_front(f.log, &settle, on_settled);
    while (settle.cb != NULL) {
        uv_run(&f.loop.uv, UV_RUN_ONCE);
    }
    after = mem_disk_crash(disk, mem_disk_now(disk), chosen, &nothing);
    log_fixture_fini(&f);
    log_fixture_init(&f, &after->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(commitlog_first_index(f.log), first);
    must_agree(s, &f);
    log_fixture_fini(&f);
    mem_disk_free(after);
    mem_disk_free(disk);
}

/* ---- a failing disk ---- */

struct failure {
    struct source *s;
    unsigned nth;
    int rc;
};

static void move_on_failing_disk(void *data)
{
    struct failure *failure = data;
    struct history *h = calloc(1, sizeof(*h));
    struct rlog_base base;
    int rc = 0;

    log_fixture_open(&failure->s->f); /* closed by the parent: threads do not come along */
    base = snapshot_at(failure->s, 40);
    h->disk = mem_disk_new(SEGMENT);
    log_fixture_init(&h->f, &h->disk->table, "/m", SEGMENT);
    log_fixture_open(&h->f);
    copy_up_to(failure->s, &h->f, 20);
    mem_disk_fail_in(h->disk, failure->nth, failure->rc);
    assert_int_equal(commitlog_trim(h->f.log, UINT64_MAX), 0);
    copy_up_to(failure->s, &h->f, 25);
    assert_int_equal(commitlog_reset(h->f.log, &base), 0);
    h->f.durable_index = 40;
    copy_up_to(failure->s, &h->f, 44);
    while (commitlog_first_index(h->f.log) != 1 && rc == 0) {
        rc = fill(failure->s, &h->f, 7);
    }
    must_agree(failure->s, &h->f);
    if (rc != 0) { /* a segment could not be made: again */
        rc = rc == failure->rc ? fill(failure->s, &h->f, 7) : 0;
        assert_int_equal(rc, 0);
    }
    log_fixture_close(&h->f);
    rc = mem_disk_has_failed(h->disk) ? 0 : 4;
    mem_disk_fail_in(h->disk, 0, 0);
    log_fixture_open(&h->f);
    must_agree(failure->s, &h->f);
    _exit(rc);
}

static void failing_disk_ends_the_process_or_does_no_harm(void **state)
{
    struct failure failure = {*state, 1, 0};
    unsigned stopped = 0;
    int rc = 0;

    log_fixture_close(&failure.s->f);
    for (; rc != 4 && failure.nth < 400; failure.nth++) {
        struct mq_buf lines = {0};

        failure.rc = failure.nth % 2 == 0 ? -EIO : -ENOSPC;
        rc = log_run_child(move_on_failing_disk, &failure, &lines);
        if (rc == 1) {
            assert_non_null(memmem(lines.base, lines.len, "the node stops\n", 15));
            stopped++;
        } else if (rc != 0 && rc != 4) {
            fail_msg("call %u: exit %d: %.*s", failure.nth, rc, (int)lines.len, (const char *)lines.base);
        }
        mq_buf_free(&lines);
    }
    log_fixture_open(&failure.s->f);
    print_message("%u calls, %u of them end the process\n", failure.nth, stopped);
    assert_true(stopped >= 20 && failure.nth < 400);
}

static int set_up(void **state)
{
    struct source *s = malloc(sizeof(*s));

    source_init(s);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    source_fini(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trimmed_log_begins_with_a_segment_and_does_so_after_a_restart),
        cmocka_unit_test(dropped_segments_become_the_next_ones),
        cmocka_unit_test(view_taken_before_a_trim_stays_valid),
        cmocka_unit_test(truncation_down_to_a_trimmed_beginning_makes_room_again),
        cmocka_unit_test(start_that_loses_all_behind_a_trimmed_beginning_makes_room),
        cmocka_unit_test(segment_made_again_outlives_the_dropped_one_of_its_name),
        cmocka_unit_test(reset_log_is_empty_behind_the_snapshot_and_goes_on_from_there),
        cmocka_unit_test(reset_of_a_log_that_flushes_late_counts_nothing_as_synced_that_is_not),
        cmocka_unit_test(base_that_cannot_be_resets_nothing),
        cmocka_unit_test(back_filled_log_is_the_same_as_one_that_was_never_reset),
        cmocka_unit_test(entries_that_do_not_belong_before_the_first_one_are_refused),
        cmocka_unit_test(put_is_void_when_the_log_begins_elsewhere_meanwhile),
        cmocka_unit_test(put_into_a_segment_that_is_trimmed_before_its_turn_is_void),
        cmocka_unit_test(segment_of_a_void_put_stays_until_no_base_lies_there),
        cmocka_unit_test(segment_that_cannot_be_made_ends_a_put_and_not_the_node),
        cmocka_unit_test(crash_at_any_instant_shows_a_log_that_begins_here_or_there),
        cmocka_unit_test(put_that_fails_leaves_nothing_unsynced_behind),
        cmocka_unit_test(what_was_put_before_a_put_that_failed_can_be_settled),
        cmocka_unit_test(failing_disk_ends_the_process_or_does_no_harm),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
