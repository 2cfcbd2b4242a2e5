/* Older entries on their way into a log that begins late, over loopback sockets. End 1 has the whole log, end 0 its
 * end. */
#include "raft-log/backfill.h"

#include "peer_world.h"
#include "raft-log/log/disk.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 800u
#define SMALL 10000u  /* bytes of an entry */
#define LARGE 100000u /* so that they reach into a second segment */
#define KEPT 20u      /* of them are at end 0 already */

struct test {
    struct world w;
    char dir[80];
    struct commitlog *late; /* of end 0 */
    struct backfill fill;
    struct rlog_fsm fsm;
    uint64_t bytes_per_s, log_start_pos;
    uint64_t told_next; /* the index that the owner is to be told of next */
    unsigned told, done;
    bool closed;
};

static void on_durable(void *data, uint64_t index, uint64_t term)
{
    (void)data;
    (void)index;
    (void)term;
}

static void on_apply_before(struct rlog_fsm *fsm, const struct rlog_entry *entry)
{
    struct test *t = fsm->data;
    struct commitlog_entry want;

    assert_int_equal(entry->index, t->told_next);
    t->told_next--;
    t->told++;
    assert_int_equal(commitlog_get(t->w.log, entry->index, &want), 0);
    assert_int_equal(entry->pos, want.header.pos + RLOG_HEADER_BYTES);
    assert_int_equal(entry->store_ms, want.header.store_ms);
    if (want.header.type == RLOG_COMMAND) {
        assert_int_equal(entry->payload_bytes, want.header.payload_bytes);
        assert_memory_equal(entry->payload, want.bytes + RLOG_HEADER_BYTES, entry->payload_bytes);
    } else {
        assert_int_equal(entry->payload_bytes, 0);
    }
}

static uint64_t held_from(struct rlog_fsm *fsm)
{
    return ((const struct test *)fsm->data)->told_next + 1;
}

static uint64_t log_start_pos(void *data)
{
    return ((const struct test *)data)->log_start_pos;
}

static void on_done(void *data)
{
    ((struct test *)data)->done++;
}

static void open_late(struct test *t)
{
    struct commitlog_options options = {
        .disk = &rlog_disk_real, .dir = t->dir, .segment_bytes = SEGMENT_BYTES, .durable = on_durable, .data = t};
    struct mq_buf problem = {0};

    assert_int_equal(commitlog_open(&t->w.loop, &options, &t->late, &problem), 0);
}

/* End 0 has only what lies behind entry @index. */
static void begin_late_behind(struct test *t, uint64_t index)
{
    struct rlog_base base;

    assert_int_equal(commitlog_before(t->w.log, index + 1, &base), 0);
    assert_int_equal(commitlog_reset(t->late, &base), 0);
    for (uint64_t i = index + 1; i <= commitlog_last_index(t->w.log); i++) {
        struct commitlog_entry entry;
        struct net_ref *ref = commitlog_hold(t->w.log, i);

        assert_int_equal(commitlog_get(t->w.log, i, &entry), 0);
        assert_int_equal(commitlog_append_copy(t->late, &entry.header, entry.bytes, entry.n, ref), 0);
        net_ref_release(ref);
    }
    commitlog_kick(t->late);
    RUN_UNTIL(&t->w, commitlog_durable_index(t->late) == commitlog_last_index(t->w.log));
    t->told_next = index;
}

static void init_fill(struct test *t)
{
    struct backfill_options options = {
        .loop = &t->w.loop.uv,
        .peers = t->w.ends[0].peers,
        .log = t->late,
        .fsm = &t->fsm,
        .bytes_per_s = t->bytes_per_s,
        .log_start_pos = log_start_pos,
        .done = on_done,
        .data = t,
    };

    backfill_init(&t->fill, &options);
}

static void on_closed(void *data)
{
    ((struct test *)data)->closed = true;
}

static void close_fill(struct test *t)
{
    t->closed = false;
    backfill_close(&t->fill, on_closed, t);
    RUN_UNTIL(&t->w, t->closed);
}

static struct test *new_test(uint64_t bytes_per_s, uint32_t entry_bytes)
{
    struct test *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    world_open(&t->w);
    (void)snprintf(t->dir, sizeof(t->dir), "%s/late", t->w.dir);
    assert_int_equal(mq_dir_make(t->dir), 0);
    open_late(t);
    for (unsigned i = 0; i < 2; i++) {
        struct peers_options options = options_of(&t->w, i, NEVER_MS);

        options.log = i == 0 ? t->late : t->w.log;
        start_end(&t->w, i, &options);
    }
    RUN_UNTIL(&t->w, peer_is_up(far(&t->w), PEER_RANGE));
    for (unsigned i = 0; i < ENTRIES; i++) {
        put(&t->w, i % 100 == 7 ? RLOG_BARRIER : RLOG_COMMAND, 1, entry_bytes + i);
    }
    RUN_UNTIL(&t->w, commitlog_durable_index(t->w.log) == ENTRIES);
    t->w.ends[1].commit = ENTRIES;
    t->fsm = (struct rlog_fsm){.data = t, .apply_before = on_apply_before, .held_from = held_from};
    t->bytes_per_s = bytes_per_s;
    init_fill(t);
    return t;
}

static void end_test(struct test *t)
{
    close_fill(t);
    commitlog_close(t->late);
    world_fini(&t->w);
    free(t);
}

/* Entry @index ... are the same in both logs. */
static void assert_same_from(const struct test *t, uint64_t index)
{
    for (uint64_t i = index; i <= ENTRIES; i++) {
        struct commitlog_entry a, b;

        assert_int_equal(commitlog_get(t->w.log, i, &a), 0);
        assert_int_equal(commitlog_get(t->late, i, &b), 0);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.bytes, b.bytes, a.n);
    }
}

static void a_log_is_filled_down_to_entry_1(void **state)
{
    struct test *t = new_test(0, LARGE);

    (void)state;
    begin_late_behind(t, ENTRIES - KEPT);
    assert_false(backfill_is_complete(&t->fill));
    assert_int_equal(backfill_left(&t->fill), commitlog_pos_of(t->w.log, ENTRIES - KEPT + 1));
    backfill_start(&t->fill);
    RUN_UNTIL(&t->w, t->done > 0);
    assert_int_equal(t->done, 1);
    assert_int_equal(commitlog_first_index(t->late), 1);
    assert_same_from(t, 1);
    assert_int_equal(t->told, ENTRIES - KEPT);
    assert_int_equal(t->told_next, 0);
    assert_true(backfill_is_complete(&t->fill));
    assert_int_equal(backfill_left(&t->fill), 0);
    backfill_start(&t->fill); /* there is nothing to do */
    assert_int_equal(t->fill.state, BACKFILL_IDLE);
    end_test(t);
}

static void it_ends_where_the_groups_log_begins(void **state)
{
    struct test *t = new_test(0, LARGE);

    (void)state;
    t->log_start_pos = SEGMENT_BYTES;
    begin_late_behind(t, ENTRIES - KEPT);
    backfill_start(&t->fill);
    RUN_UNTIL(&t->w, t->done > 0);
    assert_true(commitlog_first_index(t->late) > 600);
    assert_true(commitlog_start_pos(t->late) <= SEGMENT_BYTES);
    assert_same_from(t, commitlog_first_index(t->late));
    end_test(t);
}

static void it_goes_on_after_a_restart(void **state)
{
    struct test *t = new_test(0, LARGE);
    uint64_t done;

    (void)state;
    begin_late_behind(t, ENTRIES - KEPT);
    backfill_start(&t->fill);
    RUN_UNTIL(&t->w, t->fill.entries_done > ENTRIES / 3);
    done = t->fill.entries_done;
    close_fill(t);
    commitlog_close(t->late);
    (void)uv_run(&t->w.loop.uv, UV_RUN_NOWAIT);
    open_late(t);
    t->w.ends[0].peers->options.log = t->late;
    assert_true(commitlog_first_index(t->late) <= ENTRIES - KEPT - done + 1);
    init_fill(t);
    t->told_next = commitlog_first_index(t->late) - 1; /* what it missed it takes from the log at a start */
    backfill_start(&t->fill);
    RUN_UNTIL(&t->w, t->done > 0);
    assert_true(t->fill.entries_done <= ENTRIES - KEPT - done);
    assert_same_from(t, 1);
    end_test(t);
}

static void a_lost_connection_delays_and_no_more(void **state)
{
    struct test *t = new_test(0, LARGE);

    (void)state;
    begin_late_behind(t, ENTRIES - KEPT);
    backfill_start(&t->fill);
    RUN_UNTIL(&t->w, t->fill.entries_done > ENTRIES / 4);
    peer_conn_close(&far(&t->w)->out[PEER_RANGE], 0);
    RUN_UNTIL(&t->w, t->done > 0);
    assert_int_equal(t->told_next, 0);
    end_test(t);
}

static void it_waits_while_nobody_has_the_entries(void **state)
{
    struct test *t = new_test(0, SMALL);

    (void)state;
    begin_late_behind(t, ENTRIES - KEPT);
    t->w.ends[1].commit = 5; /* it does not know yet that the others are committed */
    backfill_start(&t->fill);
    RUN_UNTIL(&t->w, t->fill.state == BACKFILL_RESTING);
    assert_int_equal(t->fill.bytes_done, 0);
    assert_string_equal(t->fill.cause, "no member that can be reached has the entries");
    t->w.ends[1].commit = ENTRIES;
    RUN_UNTIL(&t->w, t->done > 0);
    end_test(t);
}

/* Segments are let go while older ones are being put before them, and somebody looks at one of those. */
static void it_waits_while_the_logs_beginning_moves(void **state)
{
    struct test *t = new_test(0, LARGE);
    struct net_ref *ref;
    const uint8_t *at;

    (void)state;
    begin_late_behind(t, ENTRIES - KEPT);
    backfill_start(&t->fill);
    RUN_UNTIL(&t->w, commitlog_start_pos(t->late) < SEGMENT_BYTES / 2);
    assert_int_equal(commitlog_view(t->late, commitlog_pos_of(t->late, commitlog_first_index(t->late)), 8, &at, &ref),
                     0);
    assert_int_equal(commitlog_trim(t->late, SEGMENT_BYTES), 0);
    RUN_UNTIL(&t->w, strcmp(t->fill.cause, "the log's beginning moves") == 0);
    net_ref_release(ref);
    RUN_UNTIL(&t->w, t->done > 0);
    assert_int_equal(commitlog_first_index(t->late), 1);
    assert_same_from(t, 1);
    end_test(t);
}

static void it_keeps_to_its_rate(void **state)
{
    uint64_t rate = 4u << 20;
    struct test *t = new_test(rate, SMALL);
    uint64_t began_ms;

    (void)state;
    begin_late_behind(t, ENTRIES - KEPT);
    began_ms = mq_clock_mono_ms();
    backfill_start(&t->fill);
    assert_int_equal(backfill_limit(&t->fill), rate);
    while (t->fill.bytes_done < rate * 3 / 4) { /* never more than was due, whatever the machine does */
        (void)uv_run(&t->w.loop.uv, UV_RUN_ONCE);
        assert_true(t->fill.bytes_done <=
                    rate * (mq_clock_mono_ms() + 1 - began_ms) / 1000 + rate / 4 + PEER_RANGE_BYTES);
    }
    end_test(t);
}

static void it_can_be_stopped_and_closed_at_any_moment(void **state)
{
    struct test *t = new_test(0, SMALL);

    (void)state;
    for (unsigned turns = 0; turns < 20; turns++) {
        begin_late_behind(t, ENTRIES - KEPT);
        backfill_start(&t->fill);
        for (unsigned i = 0; i < turns; i++) {
            (void)uv_run(&t->w.loop.uv, UV_RUN_NOWAIT);
        }
        backfill_stop(&t->fill);
        if (turns % 3 == 0) { /* the log gets another beginning meanwhile */
            begin_late_behind(t, ENTRIES - KEPT / 2);
        }
        backfill_start(&t->fill);
        RUN_UNTIL(&t->w, t->fill.entries_done > 100);
        if (turns % 3 == 1) {
            close_fill(t);
            init_fill(t);
        }
        backfill_stop(&t->fill);
    }
    end_test(t);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_is_filled_down_to_entry_1),
        cmocka_unit_test(it_ends_where_the_groups_log_begins),
        cmocka_unit_test(it_goes_on_after_a_restart),
        cmocka_unit_test(a_lost_connection_delays_and_no_more),
        cmocka_unit_test(it_waits_while_nobody_has_the_entries),
        cmocka_unit_test(it_waits_while_the_logs_beginning_moves),
        cmocka_unit_test(it_keeps_to_its_rate),
        cmocka_unit_test(it_can_be_stopped_and_closed_at_any_moment),
    };

    mq_log_set_level(MQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
