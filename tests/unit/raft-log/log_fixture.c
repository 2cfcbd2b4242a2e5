#include "tests/unit/raft-log/log_fixture.h"

#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_durable(void *data, uint64_t index, uint64_t term)
{
    struct log_fixture *f = data;

    assert_true(index > f->durable_index);
    f->durable_index = index;
    f->durable_term = term;
    f->reports++;
}

static int on_claim(void *data, const struct rlog_claim *claim, const uint8_t *change, uint32_t n, struct mq_buf *why)
{
    struct log_fixture *f = data;

    (void)change;
    (void)n;

    assert_true(claim->index != 0);
    f->claim = *claim;
    if (f->refuse_claims) {
        assert_int_equal(mq_buf_printf(why, "claims are refused here"), 0);
        return MQ_ECORRUPT;
    }
    return 0;
}

void log_fixture_init(struct log_fixture *f, const struct rlog_disk *disk, const char *dir, uint64_t segment_bytes)
{
    *f = (struct log_fixture){.disk = disk, .dir = dir, .segment_bytes = segment_bytes};
    mq_log_set_level(MQ_LOG_ERROR);
    assert_int_equal(uv_loop_init(&f->loop.uv), 0);
    blob_pool_init(&f->pool);
}

void log_fixture_fini(struct log_fixture *f)
{
    if (f->log != NULL) {
        log_fixture_close(f);
    }
    uv_run(&f->loop.uv, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop.uv), 0);
    blob_pool_fini(&f->pool);
    mq_buf_free(&f->problem);
}

int log_fixture_try_open(struct log_fixture *f)
{
    struct commitlog_options options = {.disk = f->disk,
                                        .dir = f->dir,
                                        .segment_bytes = f->segment_bytes,
                                        .flush_ms = f->flush_ms,
                                        .durable = on_durable,
                                        .data = f,
                                        .reserve_bytes = f->reserve_bytes,
                                        .space_period_ms = f->space_period_ms,
                                        .verify_bytes = f->verify_bytes,
                                        .term = f->term,
                                        .committed = f->committed,
                                        .was_late = f->was_late,
                                        .keep_claim = on_claim};
    int rc;

    f->claim = (struct rlog_claim){0};

    mq_buf_free(&f->problem);
    rc = commitlog_open(&f->loop, &options, &f->log, &f->problem);
    if (rc != 0) {
        f->log = NULL;
        assert_true(f->problem.len != 0);
        assert_null(memchr(f->problem.base, '\n', f->problem.len));
        uv_run(&f->loop.uv, UV_RUN_DEFAULT);
    } else {
        f->durable_index = commitlog_durable_index(f->log);
    }
    return rc;
}

void log_fixture_open(struct log_fixture *f)
{
    int rc = log_fixture_try_open(f);

    if (rc != 0) {
        print_message("open: %s: %.*s\n", mq_strerror(rc), (int)f->problem.len, (const char *)f->problem.base);
    }
    assert_int_equal(rc, 0);
}

void log_fixture_close(struct log_fixture *f)
{
    commitlog_close(f->log);
    f->log = NULL;
    uv_run(&f->loop.uv, UV_RUN_DEFAULT);
}

void log_fixture_payload(uint64_t index, uint64_t term, uint8_t *to, uint32_t n)
{
    uint64_t state = index * 1000003 + term;

    for (uint32_t i = 0; i < n; i++) {
        to[i] = (uint8_t)log_random(&state);
    }
}

int log_fixture_append(struct log_fixture *f, uint64_t term, uint32_t payload_bytes)
{
    uint64_t index = commitlog_last_index(f->log) + 1;
    struct rlog_header header = {.type = RLOG_COMMAND,
                                 .index = index,
                                 .term = term,
                                 .clock_ms = (int64_t)index * 10,
                                 .store_ms = (int64_t)index * 10 + 1,
                                 .records = 1};
    struct rlog_blob *blob;
    int rc;

    assert_int_equal(blob_pool_take(&f->pool, NULL, payload_bytes, &blob), 0);
    log_fixture_payload(index, term, rlog_blob_payload(blob), payload_bytes);
    blob->payload_bytes = payload_bytes;
    rc = commitlog_append(f->log, &header, blob);
    if (rc != 0) {
        net_ref_release(&blob->ref);
    }
    return rc;
}

void log_fixture_settle(struct log_fixture *f)
{
    commitlog_kick(f->log);
    while (f->durable_index != commitlog_last_index(f->log)) {
        uv_run(&f->loop.uv, UV_RUN_ONCE);
    }
    assert_false(commitlog_writing(f->log));
}

void log_fixture_check(struct log_fixture *f, uint64_t index, uint64_t term)
{
    struct commitlog_entry entry;
    uint8_t *want;

    assert_int_equal(commitlog_get(f->log, index, &entry), 0);
    assert_int_equal(entry.header.index, index);
    assert_int_equal(entry.header.term, term);
    assert_int_equal(commitlog_term_of(f->log, index), term);
    assert_int_equal(entry.n, rlog_entry_bytes(entry.header.payload_bytes));
    want = malloc(entry.header.payload_bytes + 1);
    log_fixture_payload(index, term, want, entry.header.payload_bytes);
    assert_memory_equal(entry.bytes + RLOG_HEADER_BYTES, want, entry.header.payload_bytes);
    free(want);
}

char *log_temp_dir(void)
{
    const char *base = getenv("TMPDIR");
    char *path = malloc(512);

    assert_true(snprintf(path, 512, "%s/raftmq-log-XXXXXX", base != NULL ? base : "/tmp") < 512);
    assert_non_null(mkdtemp(path));
    return path;
}

void log_temp_dir_remove(char *dir)
{
    assert_int_equal(mq_dir_remove(dir), 0);
    free(dir);
}

uint64_t log_seed(void)
{
    const char *text = getenv("RAFTMQ_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 20240131;

    print_message("RAFTMQ_SEED=%" PRIu64 "\n", seed);
    return seed;
}

int log_run_child(void (*body)(void *data), void *data, struct mq_buf *lines)
{
    char path[] = "/tmp/raftmq-child-XXXXXX";
    int fd = mkstemp(path);
    int status;
    pid_t pid;

    assert_true(fd >= 0);
    close(fd);
    pid = fork();
    if (pid == 0) {
        mq_log_open(path);
        body(data);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(mq_file_read(path, 1 << 16, lines), 0);
    unlink(path);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void log_check_golden(const char *path, const void *bytes, size_t n)
{
    struct mq_buf golden = {0};

    if (getenv("RAFTMQ_GOLDEN_WRITE") != NULL) {
        assert_int_equal(mq_file_replace(path, bytes, n), 0);
    }
    assert_int_equal(mq_file_read(path, 1 << 20, &golden), 0);
    assert_int_equal(golden.len, n);
    assert_memory_equal(golden.base, bytes, n);
    mq_buf_free(&golden);
}
