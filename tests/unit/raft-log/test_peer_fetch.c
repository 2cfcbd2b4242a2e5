/* Asking another member's log over loopback sockets. Both ends share one log: what end 0 asks, end 1 reads from it.
 */
#include "peer_world.h"
#include "raft-log/log/disk.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct ask {
    struct fetch fetch;
    struct world *w;
    unsigned called;
    int status;
    struct fetched got;
};

static void on_fetched(struct fetch *fetch, int status, const struct fetched *got)
{
    struct ask *ask = container_of(fetch, struct ask, fetch);

    ask->called++;
    ask->status = status;
    ask->got = *got;
    if (status == 0) {
        assert_int_equal(peer_range_check(got->raw, got->bytes, got->first, got->n), 0);
        assert_non_null(got->ref);
    }
}

static int start(struct world *w, struct ask *ask, uint64_t first, uint64_t last, enum fetch_from from, uint32_t max)
{
    *ask = (struct ask){.w = w};
    return fetch_entries(w->ends[0].peers, 2, &ask->fetch, first, last, from, max, on_fetched);
}

static struct ask fetch_now(struct world *w, uint64_t first, uint64_t last, enum fetch_from from, uint32_t max)
{
    struct ask ask;

    assert_int_equal(start(w, &ask, first, last, from, max), 0);
    assert_int_equal(ask.called, 0);
    RUN_UNTIL(w, ask.called > 0);
    assert_int_equal(ask.called, 1);
    return ask;
}

static void fill(struct world *w, uint32_t n, uint32_t bytes)
{
    put(w, RLOG_COMMAND, n, bytes);
    RUN_UNTIL(w, commitlog_durable_index(w->log) == commitlog_last_index(w->log));
    w->ends[1].commit = commitlog_last_index(w->log);
}

static void init(struct world *w)
{
    world_init(w, NEVER_MS);
    RUN_UNTIL(w, peer_is_up(far(w), PEER_RANGE));
}

static void a_range_comes_from_the_end_that_was_asked_for(void **state)
{
    /* Entries 1 to 30 of 1096 bytes each. */
    static const struct {
        const char *why;
        uint64_t first, last;
        enum fetch_from from;
        uint32_t max;
        uint64_t want_first;
        uint32_t want_n;
    } cases[] = {
        {"all of it", 1, 30, FETCH_FROM_FIRST, PEER_RANGE_BYTES, 1, 30},
        {"all of it, from behind", 1, 30, FETCH_FROM_LAST, PEER_RANGE_BYTES, 1, 30},
        {"what fits, from the first on", 5, 30, FETCH_FROM_FIRST, 4000, 5, 3},
        {"what fits, up to the last", 5, 20, FETCH_FROM_LAST, 4000, 18, 3},
        {"exactly what fits", 5, 20, FETCH_FROM_LAST, 3 * 1096, 18, 3},
        {"one byte less than that", 5, 20, FETCH_FROM_LAST, 3 * 1096 - 1, 19, 2},
        {"one entry, though it does not fit", 7, 9, FETCH_FROM_FIRST, 1, 7, 1},
        {"the same from behind", 7, 9, FETCH_FROM_LAST, 1, 9, 1},
        {"a single one", 12, 12, FETCH_FROM_FIRST, 5000, 12, 1},
        {"more than there is", 28, 99, FETCH_FROM_FIRST, 500000, 28, 3},
    };
    struct world w;

    (void)state;
    init(&w);
    fill(&w, 30, 1000);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ask ask = fetch_now(&w, cases[i].first, cases[i].last, cases[i].from, cases[i].max);

        print_message("%s\n", cases[i].why);
        assert_int_equal(ask.status, 0);
        assert_int_equal(ask.got.first, cases[i].want_first);
        assert_int_equal(ask.got.n, cases[i].want_n);
        assert_int_equal(ask.got.bytes, cases[i].want_n * 1096);
        assert_int_equal(ask.got.commit, 30);
        assert_int_equal(ask.got.held_first, 1);
        assert_int_equal(ask.got.held_pos, 0);
        assert_int_equal(ask.got.before.term, ask.got.first > 1 ? 3 : 0);
        assert_int_equal(ask.got.before.end_pos, (ask.got.first - 1) * 1096);
        assert_int_equal(ask.got.before.store_ms, (ask.got.first - 1) * 10);
    }
    world_fini(&w);
}

static void a_range_ends_where_its_segment_does(void **state)
{
    struct world w;
    struct ask ask;
    uint64_t last_of_first;

    (void)state;
    init(&w);
    fill(&w, 9, 15u << 20); /* four fit a segment of 64 MiB */
    last_of_first = 4;
    ask = fetch_now(&w, last_of_first, last_of_first + 1, FETCH_FROM_FIRST, PEER_RANGE_BYTES);
    assert_int_equal(ask.got.n, 1);
    assert_int_equal(ask.got.first, last_of_first);
    fill(&w, 8, 100); /* 10 ... 17 lie in the third segment, behind 9 */
    ask = fetch_now(&w, 1, 17, FETCH_FROM_LAST, PEER_RANGE_BYTES);
    assert_int_equal(ask.got.first, 10); /* 9 has 15 MiB */
    ask = fetch_now(&w, 1, 9, FETCH_FROM_LAST, PEER_RANGE_BYTES);
    assert_int_equal(ask.got.first, 9);
    assert_int_equal(ask.got.bytes, rlog_entry_bytes(15u << 20));
    assert_int_equal(ask.got.before.end_pos, SEGMENT_BYTES + 4u * rlog_entry_bytes(15u << 20)); /* before the gap */
    world_fini(&w);
}

static void only_what_is_committed_is_given(void **state)
{
    struct world w;
    struct ask ask;

    (void)state;
    init(&w);
    fill(&w, 30, 100);
    w.ends[1].commit = 20;
    ask = fetch_now(&w, 15, 30, FETCH_FROM_FIRST, PEER_RANGE_BYTES);
    assert_int_equal(ask.got.n, 6);
    ask = fetch_now(&w, 21, 30, FETCH_FROM_FIRST, PEER_RANGE_BYTES);
    assert_int_equal(ask.status, MQ_ENOTFOUND);
    assert_int_equal(ask.got.commit, 20);
    assert_int_equal(ask.got.held_first, 1);
    ask = fetch_now(&w, 15, 21, FETCH_FROM_LAST, PEER_RANGE_BYTES);
    assert_int_equal(ask.status, MQ_ENOTFOUND);
    world_fini(&w);
}

static void many_questions_are_answered_in_order(void **state)
{
    struct ask asks[FETCH_OPEN_MAX + 1];
    struct world w;

    (void)state;
    init(&w);
    fill(&w, 200, 100000);
    for (unsigned i = 0; i < FETCH_OPEN_MAX; i++) {
        assert_int_equal(start(&w, &asks[i], 1 + 10 * i, 200, FETCH_FROM_FIRST, PEER_RANGE_BYTES), 0);
    }
    assert_int_equal(start(&w, &asks[FETCH_OPEN_MAX], 1, 2, FETCH_FROM_FIRST, 1000), MQ_EBUSY);
    for (unsigned i = 0; i < FETCH_OPEN_MAX; i++) {
        RUN_UNTIL(&w, asks[i].called > 0);
        assert_int_equal(asks[i].got.first, 1 + 10 * i);
        assert_int_equal(asks[i].got.n, 10);
        for (unsigned k = i + 1; k < FETCH_OPEN_MAX; k++) {
            assert_true(asks[k].called == 0 || asks[i].called == 1);
        }
    }
    assert_int_equal(start(&w, &asks[FETCH_OPEN_MAX], 1, 2, FETCH_FROM_FIRST, 1000), 0);
    RUN_UNTIL(&w, asks[FETCH_OPEN_MAX].called > 0);
    world_fini(&w);
}

static int start_before(struct world *w, struct ask *ask, const struct ask *before, uint32_t max)
{
    *ask = (struct ask){.w = w};
    return fetch_entries_before(w->ends[0].peers, 2, &ask->fetch, &before->fetch, max, on_fetched);
}

static void a_question_goes_on_in_front_of_an_answer_that_is_on_its_way(void **state)
{
    struct ask asks[FETCH_OPEN_MAX];
    struct world w;

    (void)state;
    init(&w);
    fill(&w, 30, 1000);
    assert_int_equal(start(&w, &asks[0], 1, 20, FETCH_FROM_LAST, 4 * 1096), 0);
    for (unsigned i = 1; i < FETCH_OPEN_MAX; i++) {
        assert_int_equal(start_before(&w, &asks[i], &asks[i - 1], 4 * 1096), 0);
        assert_int_equal(asks[i - 1].called, 0);
    }
    RUN_UNTIL(&w, asks[FETCH_OPEN_MAX - 1].called > 0);
    for (unsigned i = 0; i < FETCH_OPEN_MAX; i++) {
        assert_int_equal(asks[i].called, 1);
        if (i < 5) {
            assert_int_equal(asks[i].status, 0);
            assert_int_equal(asks[i].got.first, 20 - 4 * (i + 1) + 1);
            assert_int_equal(asks[i].got.n, 4);
        } else {
            assert_int_equal(asks[i].status, MQ_ENOTFOUND); /* the log begins behind it */
        }
    }
    world_fini(&w);
}

static void a_question_does_not_go_on_from_just_any(void **state)
{
    struct ask answered, up, down, other, lacking, next;
    struct world w;

    (void)state;
    init(&w);
    fill(&w, 30, 1000);
    answered = fetch_now(&w, 1, 20, FETCH_FROM_LAST, 4 * 1096);
    assert_int_equal(start_before(&w, &next, &answered, 100), MQ_EINVAL);
    assert_int_equal(start(&w, &up, 1, 20, FETCH_FROM_FIRST, 4 * 1096), 0);
    assert_int_equal(start_before(&w, &next, &up, 100), MQ_EINVAL); /* it goes the other way */
    assert_int_equal(start(&w, &down, 1, 20, FETCH_FROM_LAST, 4 * 1096), 0);
    assert_int_equal(start_before(&w, &next, &down, PEER_RANGE_BYTES + 1), MQ_EINVAL);
    assert_int_equal(start(&w, &other, 1, 5, FETCH_FROM_LAST, 4 * 1096), 0);
    assert_int_equal(start_before(&w, &next, &down, 100), MQ_EINVAL); /* another one came between */
    RUN_UNTIL(&w, other.called > 0);
    assert_int_equal(other.got.first, 2);
    assert_int_equal(start(&w, &lacking, 1, 40, FETCH_FROM_LAST, 4 * 1096), 0); /* which is not there */
    assert_int_equal(start_before(&w, &next, &lacking, 100), 0);
    RUN_UNTIL(&w, next.called > 0);
    assert_int_equal(lacking.status, MQ_ENOTFOUND);
    assert_int_equal(next.status, MQ_ENOTFOUND);
    world_fini(&w);
}

static void what_cannot_be_asked_is_refused(void **state)
{
    struct world w;
    struct ask ask;

    (void)state;
    init(&w);
    fill(&w, 3, 100);
    assert_int_equal(start(&w, &ask, 0, 3, FETCH_FROM_FIRST, 100), MQ_EINVAL);
    assert_int_equal(start(&w, &ask, 3, 2, FETCH_FROM_FIRST, 100), MQ_EINVAL);
    assert_int_equal(start(&w, &ask, 1, 2, FETCH_FROM_FIRST, 0), MQ_EINVAL);
    assert_int_equal(start(&w, &ask, 1, 2, FETCH_FROM_FIRST, PEER_RANGE_BYTES + 1), MQ_EINVAL);
    assert_int_equal(fetch_entries(w.ends[0].peers, 7, &ask.fetch, 1, 2, FETCH_FROM_LAST, 100, on_fetched),
                     MQ_ENOTFOUND);
    peer_conn_close(&far(&w)->out[PEER_RANGE], 0);
    assert_int_equal(start(&w, &ask, 1, 2, FETCH_FROM_FIRST, 100), MQ_ECLOSED);
    world_fini(&w);
}

static void a_lost_connection_is_told_to_all_who_wait(void **state)
{
    struct ask asks[3];
    struct world w;

    (void)state;
    init(&w);
    fill(&w, 30, 100);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(start(&w, &asks[i], 1, 30, FETCH_FROM_FIRST, PEER_RANGE_BYTES), 0);
    }
    peer_conn_close(&far(&w)->out[PEER_RANGE], 0);
    RUN_UNTIL(&w, asks[2].called > 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(asks[i].called, 1);
        assert_int_equal(asks[i].status, MQ_ECLOSED);
    }
    RUN_UNTIL(&w, peer_is_up(far(&w), PEER_RANGE)); /* and it comes back */
    assert_int_equal(fetch_now(&w, 1, 30, FETCH_FROM_FIRST, PEER_RANGE_BYTES).got.n, 30);
    world_fini(&w);
}

static void a_question_without_an_answer_ends_in_time(void **state)
{
    struct ask asks[2];
    struct world w;

    (void)state;
    init(&w);
    fill(&w, 30, 100);
    assert_int_equal(start(&w, &asks[0], 1, 30, FETCH_FROM_FIRST, PEER_RANGE_BYTES), 0);
    assert_int_equal(start(&w, &asks[1], 1, 30, FETCH_FROM_FIRST, PEER_RANGE_BYTES), 0);
    fetch_tick(far(&w), mq_clock_mono_ms());
    assert_true(peer_is_up(far(&w), PEER_RANGE)); /* it is not late yet */
    fetch_tick(far(&w), mq_clock_mono_ms() + FETCH_TIMEOUT_MS);
    RUN_UNTIL(&w, asks[1].called > 0);
    assert_int_equal(asks[0].status, MQ_ETIMEDOUT);
    assert_int_equal(asks[1].status, MQ_ECLOSED);
    world_fini(&w);
}

static void nothing_is_given_to_a_directory_that_is_no_member(void **state)
{
    struct peers_options options;
    struct world w;
    struct ask ask;

    (void)state;
    world_open(&w);
    options = options_of(&w, 1, NEVER_MS);
    start_end(&w, 1, &options);
    options = options_of(&w, 0, NEVER_MS);
    options.incarnation = 4711;
    start_end(&w, 0, &options);
    RUN_UNTIL(&w, peer_is_up(far(&w), PEER_RANGE));
    fill(&w, 3, 100);
    ask = fetch_now(&w, 1, 3, FETCH_FROM_FIRST, 1000);
    assert_int_equal(ask.status, MQ_EVERSION);
    world_fini(&w);
}

/* Changes a byte of entry @index in its file, behind the log's back. */
static void damage(struct world *w, uint64_t index)
{
    char path[128];
    uint64_t pos = commitlog_pos_of(w->log, index);
    uint8_t byte;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/log/%020u", w->dir, 0);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)pos + RLOG_HEADER_BYTES), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)pos + RLOG_HEADER_BYTES), 1);
    close(fd);
}

static void a_damaged_entry_is_not_given_away(void **state)
{
    struct world w;

    (void)state;
    init(&w);
    fill(&w, 9, 1000);
    damage(&w, 5);
    assert_int_equal(fetch_now(&w, 5, 9, FETCH_FROM_FIRST, PEER_RANGE_BYTES).status, MQ_ECORRUPT);
    assert_int_equal(fetch_now(&w, 1, 9, FETCH_FROM_LAST, PEER_RANGE_BYTES).status, MQ_ECORRUPT);
    assert_int_equal(fetch_now(&w, 1, 9, FETCH_FROM_FIRST, PEER_RANGE_BYTES).got.n, 4); /* what comes before it */
    assert_int_equal(fetch_now(&w, 1, 9, FETCH_FROM_LAST, 4 * 1096).got.first, 6);
    world_fini(&w);
}

/* ---- snapshots ---- */

#define ROWS ((2u << 20) + 12345u)

struct part_ask {
    struct fetch fetch;
    char path[SERVE_PATH_MAX]; /* of the file that is expected */
    unsigned called;
    int status;
    struct fetched_part got;
};

static void on_part(struct fetch *fetch, int status, const struct fetched_part *got)
{
    struct part_ask *ask = container_of(fetch, struct part_ask, fetch);

    ask->called++;
    ask->status = status;
    ask->got = *got;
    if (status == 0) {
        static uint8_t want[PEER_RANGE_BYTES];
        int fd = open(ask->path, O_RDONLY);

        assert_true(fd >= 0);
        assert_int_equal(pread(fd, want, got->bytes, (off_t)got->offset), got->bytes);
        assert_memory_equal(got->raw, want, got->bytes);
        close(fd);
    }
}

static struct part_ask fetch_part_now(struct world *w, const struct shelf *shelf, uint64_t index, uint64_t offset,
                                      uint32_t bytes_max)
{
    struct part_ask ask = {.called = 0};

    shelf_path(shelf, index != 0 ? index : shelf->newest, ask.path);
    assert_int_equal(fetch_snapshot(w->ends[0].peers, 2, &ask.fetch, index, offset, bytes_max, on_part), 0);
    RUN_UNTIL(w, ask.called > 0);
    assert_int_equal(ask.called, 1);
    return ask;
}

static void a_snapshot_comes_in_parts_that_can_be_taken_up_again(void **state)
{
    struct part_ask ask;
    struct shelf shelf;
    struct world w;
    uint64_t offset = 0;
    uint64_t file_bytes;

    (void)state;
    world_init_with_shelf(&w, &shelf);
    assert_int_equal(fetch_part_now(&w, &shelf, 0, 0, 1000).status, MQ_ENOTFOUND);
    file_bytes = shelf_put(&shelf, 40, ROWS);
    ask = fetch_part_now(&w, &shelf, 0, 0, 1);
    assert_int_equal(ask.status, 0);
    assert_int_equal(ask.got.index, 40);
    assert_int_equal(ask.got.term, 3);
    assert_int_equal(ask.got.file_bytes, file_bytes);
    assert_int_equal(shelf.held, 40);
    (void)shelf_put(&shelf, 50, ROWS); /* the older one goes on */
    while (offset < file_bytes) {
        uint32_t want = file_bytes - offset < PEER_RANGE_BYTES ? (uint32_t)(file_bytes - offset) : PEER_RANGE_BYTES;

        ask = fetch_part_now(&w, &shelf, 40, offset, PEER_RANGE_BYTES);
        assert_int_equal(ask.got.bytes, want);
        offset += want;
    }
    assert_int_equal(shelf.held, 40);
    assert_int_equal(fetch_part_now(&w, &shelf, 40, file_bytes, 1).status, MQ_EINVAL);
    ask = fetch_part_now(&w, &shelf, 0, 5, 10); /* the newest is another one by now */
    assert_int_equal(ask.got.index, 50);
    assert_int_equal(shelf.held, 50);
    assert_int_equal(fetch_part_now(&w, &shelf, 40, 5, 10).status, MQ_ENOTFOUND);
    world_fini(&w);
    assert_int_equal(shelf.held, 0);
}

static void a_file_is_not_kept_for_ever(void **state)
{
    struct peer_conn *served;
    struct shelf shelf;
    struct world w;

    (void)state;
    world_init_with_shelf(&w, &shelf);
    (void)shelf_put(&shelf, 40, ROWS);
    assert_int_equal(fetch_part_now(&w, &shelf, 0, 0, 1000).status, 0);
    served = w.ends[1].peers->list[0].in[PEER_RANGE];
    serve_tick(served, served->serve.file_ms + SERVE_SNAPSHOT_MS - 1);
    assert_int_equal(shelf.held, 40);
    serve_tick(served, served->serve.file_ms + SERVE_SNAPSHOT_MS);
    assert_int_equal(shelf.held, 0);
    assert_int_equal(fetch_part_now(&w, &shelf, 40, 1000, 1000).status, 0); /* it is still the newest */
    assert_int_equal(shelf.held, 40);
    peer_conn_close(&far(&w)->out[PEER_RANGE], 0);
    RUN_UNTIL(&w, shelf.held == 0);
    world_fini(&w);
}

static void a_file_that_cannot_be_read_is_said_to_be_damaged(void **state)
{
    char path[SERVE_PATH_MAX];
    struct shelf shelf;
    struct world w;

    (void)state;
    world_init_with_shelf(&w, &shelf);
    (void)shelf_put(&shelf, 40, ROWS);
    shelf_path(&shelf, 40, path);
    assert_int_equal(truncate(path, 1000), 0);
    assert_int_equal(fetch_part_now(&w, &shelf, 0, 0, 1000).status, 0);
    assert_int_equal(fetch_part_now(&w, &shelf, 0, 0, 1001).status, MQ_ECORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fetch_part_now(&w, &shelf, 0, 0, 1000).status, MQ_ECORRUPT);
    world_fini(&w);
}

/* One who asks for much and does not read holds up nobody, and what waits for it is bounded. */
static void a_reader_that_rests_delays_neither_control_nor_bulk(void **state)
{
    struct core_message vote = {.type = CORE_VOTE, .peer = 2, .term = 9};
    struct ask asks[FETCH_OPEN_MAX];
    struct peer_conn *served;
    struct world w;

    (void)state;
    init(&w);
    fill(&w, 120, 1000000);
    assert_int_equal(uv_read_stop((uv_stream_t *)&far(&w)->out[PEER_RANGE].conn.tcp), 0);
    served = w.ends[1].peers->list[0].in[PEER_RANGE];
    assert_non_null(served);
    for (unsigned i = 0; i < FETCH_OPEN_MAX; i++) {
        assert_int_equal(start(&w, &asks[i], 1, 9, FETCH_FROM_FIRST, PEER_RANGE_BYTES), 0);
    }
    for (unsigned i = 0; i < 20; i++) {
        w.ends[1].n_got = 0;
        peer_out_send(far(&w), &vote);
        RUN_UNTIL(&w, w.ends[1].n_got > 0);
        assert_true(served->conn.out_bytes <= SERVE_QUEUE_BYTES + PEER_RANGE_BYTES + 4096);
    }
    far(&w)->out[PEER_RANGE].conn.started = false; /* so that it starts to read again */
    assert_int_equal(net_conn_start(&far(&w)->out[PEER_RANGE].conn), 0);
    RUN_UNTIL(&w, asks[FETCH_OPEN_MAX - 1].called > 0);
    for (unsigned i = 0; i < FETCH_OPEN_MAX; i++) {
        assert_int_equal(asks[i].status, 0);
    }
    world_fini(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_comes_from_the_end_that_was_asked_for),
        cmocka_unit_test(a_range_ends_where_its_segment_does),
        cmocka_unit_test(only_what_is_committed_is_given),
        cmocka_unit_test(many_questions_are_answered_in_order),
        cmocka_unit_test(a_question_goes_on_in_front_of_an_answer_that_is_on_its_way),
        cmocka_unit_test(a_question_does_not_go_on_from_just_any),
        cmocka_unit_test(what_cannot_be_asked_is_refused),
        cmocka_unit_test(a_lost_connection_is_told_to_all_who_wait),
        cmocka_unit_test(a_question_without_an_answer_ends_in_time),
        cmocka_unit_test(nothing_is_given_to_a_directory_that_is_no_member),
        cmocka_unit_test(a_damaged_entry_is_not_given_away),
        cmocka_unit_test(a_snapshot_comes_in_parts_that_can_be_taken_up_again),
        cmocka_unit_test(a_file_is_not_kept_for_ever),
        cmocka_unit_test(a_file_that_cannot_be_read_is_said_to_be_damaged),
        cmocka_unit_test(a_reader_that_rests_delays_neither_control_nor_bulk),
    };

    mq_log_set_level(MQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
