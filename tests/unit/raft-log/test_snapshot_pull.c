/* A snapshot on its way from one member to another, over loopback sockets. End 0 pulls what is on end 1's shelf. */
#include "raft-log/snapshot_pull.h"

#include "peer_world.h"
#include "raft-log/log/disk.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS ((9u << 20) + 4321u)

static const struct rlog_disk *real = &rlog_disk_real;

/* Counts what is written, and fails it when told to. */
struct watched {
    struct rlog_disk disk;
    uint64_t written;
    int fail_writes; /* with this code, while it is not zero */
};

struct test {
    struct world w;
    struct shelf shelf;
    struct snapshot_pull pull;
    struct watched watched;
    unsigned got;
    uint64_t got_index;
    bool closed;
};

static ssize_t watched_pwritev(const struct rlog_disk *disk, int fd, const struct iovec *vec, int n, uint64_t at)
{
    struct watched *watched = container_of((struct rlog_disk *)disk, struct watched, disk);
    ssize_t done = watched->fail_writes != 0 ? watched->fail_writes : real->pwritev(real, fd, vec, n, at);

    if (done > 0) {
        watched->written += (uint64_t)done;
    }
    return done;
}

static void part_path(void *data, uint64_t index, char *path)
{
    const struct test *t = data;

    (void)snprintf(path, SNAPSHOT_PATH_MAX, "%s/%u.part", t->w.dir, (unsigned)index);
}

/* The two files are the same bytes. */
static void assert_same_file(const char *a, const char *b)
{
    struct mq_buf of_a = {0}, of_b = {0};

    assert_int_equal(mq_file_read(a, 64u << 20, &of_a), 0);
    assert_int_equal(mq_file_read(b, 64u << 20, &of_b), 0);
    assert_int_equal(of_a.len, of_b.len);
    assert_memory_equal(of_a.base, of_b.base, of_a.len);
    mq_buf_free(&of_a);
    mq_buf_free(&of_b);
}

static void on_got(void *data, const struct snapshot_info *info)
{
    struct test *t = data;
    char path[SERVE_PATH_MAX];

    t->got++;
    t->got_index = info->index;
    shelf_path(&t->shelf, info->index, path);
    assert_same_file(path, info->path);
}

static void start_pull(struct test *t)
{
    struct snapshot_pull_options options = {
        .loop = &t->w.loop.uv,
        .peers = t->w.ends[0].peers,
        .disk = &t->watched.disk,
        .part_path = part_path,
        .got = on_got,
        .data = t,
    };

    assert_int_equal(snapshot_pull_init(&t->pull, &options), 0);
}

static void on_closed(void *data)
{
    ((struct test *)data)->closed = true;
}

static void stop_pull(struct test *t)
{
    t->closed = false;
    snapshot_pull_close(&t->pull, on_closed, t);
    RUN_UNTIL(&t->w, t->closed);
}

static struct test *new_test(void)
{
    struct test *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    t->watched.disk = rlog_disk_real;
    t->watched.disk.pwritev = watched_pwritev;
    world_init_with_shelf(&t->w, &t->shelf);
    start_pull(t);
    return t;
}

static void end_test(struct test *t)
{
    stop_pull(t);
    world_fini(&t->w);
    free(t);
}

static void a_snapshot_arrives_whole(void **state)
{
    struct test *t = new_test();

    (void)state;
    (void)shelf_put(&t->shelf, 40, ROWS);
    snapshot_pull_start(&t->pull, 2, 30);
    RUN_UNTIL(&t->w, t->got > 0);
    assert_int_equal(t->got_index, 40);
    assert_int_equal(t->pull.state, PULL_IDLE);
    (void)shelf_put(&t->shelf, 50, 10); /* a small one, and the next time */
    snapshot_pull_start(&t->pull, 2, 50);
    RUN_UNTIL(&t->w, t->got > 1);
    assert_int_equal(t->got_index, 50);
    end_test(t);
}

static void a_snapshot_that_is_too_old_is_not_taken(void **state)
{
    struct test *t = new_test();

    (void)state;
    (void)shelf_put(&t->shelf, 40, ROWS);
    snapshot_pull_start(&t->pull, 2, 41);
    RUN_UNTIL(&t->w, t->pull.state == PULL_RESTING);
    (void)shelf_put(&t->shelf, 50, 100);
    RUN_UNTIL(&t->w, t->got > 0);
    assert_int_equal(t->got_index, 50);
    end_test(t);
}

static void what_is_there_is_not_fetched_again_after_a_restart(void **state)
{
    struct test *t = new_test();
    uint64_t file_bytes = shelf_put(&t->shelf, 40, ROWS);
    uint64_t before;

    (void)state;
    snapshot_pull_start(&t->pull, 2, 40);
    RUN_UNTIL(&t->w, t->pull.written > (2u << 20));
    stop_pull(t);
    before = t->watched.written;
    assert_true(before < file_bytes);
    start_pull(t);
    snapshot_pull_start(&t->pull, 2, 40);
    RUN_UNTIL(&t->w, t->got > 0);
    assert_int_equal(t->watched.written, file_bytes);
    end_test(t);
}

static void a_lost_connection_delays_and_no_more(void **state)
{
    struct test *t = new_test();
    uint64_t file_bytes = shelf_put(&t->shelf, 40, ROWS);

    (void)state;
    snapshot_pull_start(&t->pull, 2, 40);
    RUN_UNTIL(&t->w, t->pull.written > (2u << 20));
    peer_conn_close(&far(&t->w)->out[PEER_RANGE], 0);
    RUN_UNTIL(&t->w, t->got > 0);
    assert_int_equal(t->watched.written, file_bytes);
    end_test(t);
}

static void another_snapshot_takes_the_place_of_one_that_was_begun(void **state)
{
    char path[SNAPSHOT_PATH_MAX];
    struct test *t = new_test();

    (void)state;
    (void)shelf_put(&t->shelf, 40, ROWS);
    snapshot_pull_start(&t->pull, 2, 40);
    RUN_UNTIL(&t->w, t->pull.written > (2u << 20));
    (void)shelf_put(&t->shelf, 50, ROWS);
    peer_conn_close(&far(&t->w)->out[PEER_RANGE], 0); /* and with it what kept the older one there */
    RUN_UNTIL(&t->w, t->got > 0);
    assert_int_equal(t->got_index, 50);
    part_path(t, 40, path);
    assert_int_equal(access(path, F_OK), -1);
    end_test(t);
}

static void the_group_may_go_on_without_the_snapshot_that_was_begun(void **state)
{
    struct test *t = new_test();

    (void)state;
    (void)shelf_put(&t->shelf, 40, ROWS);
    snapshot_pull_start(&t->pull, 2, 40);
    RUN_UNTIL(&t->w, t->pull.written > (2u << 20));
    (void)shelf_put(&t->shelf, 50, ROWS);
    snapshot_pull_start(&t->pull, 2, 45);
    RUN_UNTIL(&t->w, t->got > 0);
    assert_int_equal(t->got_index, 50);
    end_test(t);
}

static void a_damaged_file_is_dropped_and_fetched_again(void **state)
{
    char path[SERVE_PATH_MAX];
    struct test *t = new_test();
    uint8_t byte = 0;
    int fd;

    (void)state;
    (void)shelf_put(&t->shelf, 40, ROWS);
    shelf_path(&t->shelf, 40, path);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 5u << 20), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 5u << 20), 1);
    snapshot_pull_start(&t->pull, 2, 40);
    RUN_UNTIL(&t->w, t->pull.state == PULL_CHECKING);
    RUN_UNTIL(&t->w, t->pull.state == PULL_RESTING);
    assert_int_equal(t->got, 0);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 5u << 20), 1);
    close(fd);
    RUN_UNTIL(&t->w, t->got > 0);
    end_test(t);
}

static void a_full_disk_is_waited_out(void **state)
{
    struct test *t = new_test();

    (void)state;
    (void)shelf_put(&t->shelf, 40, ROWS);
    t->watched.fail_writes = -ENOSPC;
    snapshot_pull_start(&t->pull, 2, 40);
    RUN_UNTIL(&t->w, t->pull.state == PULL_RESTING);
    t->watched.fail_writes = 0;
    RUN_UNTIL(&t->w, t->got > 0);
    end_test(t);
}

static void it_can_be_stopped_and_closed_at_any_moment(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 60; turns += 3) {
        struct test *t = new_test();

        (void)shelf_put(&t->shelf, 40, ROWS);
        snapshot_pull_start(&t->pull, 2, 40);
        for (unsigned i = 0; i < turns; i++) {
            (void)uv_run(&t->w.loop.uv, UV_RUN_NOWAIT);
        }
        if (turns % 2 == 0) {
            snapshot_pull_stop(&t->pull);
            snapshot_pull_start(&t->pull, 2, 40);
            RUN_UNTIL(&t->w, t->got > 0);
        }
        end_test(t);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_arrives_whole),
        cmocka_unit_test(a_snapshot_that_is_too_old_is_not_taken),
        cmocka_unit_test(what_is_there_is_not_fetched_again_after_a_restart),
        cmocka_unit_test(a_lost_connection_delays_and_no_more),
        cmocka_unit_test(another_snapshot_takes_the_place_of_one_that_was_begun),
        cmocka_unit_test(the_group_may_go_on_without_the_snapshot_that_was_begun),
        cmocka_unit_test(a_damaged_file_is_dropped_and_fetched_again),
        cmocka_unit_test(a_full_disk_is_waited_out),
        cmocka_unit_test(it_can_be_stopped_and_closed_at_any_moment),
    };

    mq_log_set_level(MQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
