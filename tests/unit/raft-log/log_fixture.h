/* A commit log with everything a test needs around it. */
#ifndef TESTS_LOG_FIXTURE_H
#define TESTS_LOG_FIXTURE_H

#include "raft-log/log/blob.h"
#include "raft-log/log/commitlog.h"
#include "raft-log/log/disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct log_fixture {
    struct net_loop loop; /* only its uv loop is used */
    struct blob_pool pool;
    struct commitlog *log; /* NULL while closed */
    const struct rlog_disk *disk;
    const char *dir;
    uint64_t segment_bytes;
    uint64_t reserve_bytes; /* these three: 0 unless the test says so */
    uint32_t space_period_ms;
    uint32_t flush_ms;
    uint64_t verify_bytes;
    uint64_t durable_index, durable_term; /* as last reported */
    unsigned reports;
    uint64_t term, committed; /* what the member knows when the log is opened */
    bool refuse_claims;
    bool was_late;           /* as in struct commitlog_options */
    struct rlog_claim claim; /* asked for by the last open; index 0: none */
    struct mq_buf problem;
};

/* Nothing is open yet. */
void log_fixture_init(struct log_fixture *f, const struct rlog_disk *disk, const char *dir, uint64_t segment_bytes);
void log_fixture_fini(struct log_fixture *f); /* closes too */

int log_fixture_try_open(struct log_fixture *f);
void log_fixture_open(struct log_fixture *f); /* must work */
void log_fixture_close(struct log_fixture *f);

/* Appends an entry whose payload follows from its index, term and length; not yet kicked. Returns the code. */
int log_fixture_append(struct log_fixture *f, uint64_t term, uint32_t payload_bytes);
/* Kicks and runs the loop until everything is reported durable. */
void log_fixture_settle(struct log_fixture *f);

/* Whether entry @index is there, undamaged, with the payload that log_fixture_append makes for @term. */
void log_fixture_check(struct log_fixture *f, uint64_t index, uint64_t term);

void log_fixture_payload(uint64_t index, uint64_t term, uint8_t *to, uint32_t n);

/* A directory under $TMPDIR or /tmp that did not exist; free with log_temp_dir_remove. */
char *log_temp_dir(void);
void log_temp_dir_remove(char *dir);

/* A small generator for repeatable tests. */
static inline uint32_t log_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* The seed of a randomised test: $RAFTMQ_SEED or a fixed one; printed. */
uint64_t log_seed(void);

/* Runs @body in a child process whose log lines go to a file. Returns its exit code (-1: killed) and the lines in
 * @lines. */
int log_run_child(void (*body)(void *data), void *data, struct mq_buf *lines);

/* Golden bytes: writes @path instead when $RAFTMQ_GOLDEN_WRITE is set. */
void log_check_golden(const char *path, const void *bytes, size_t n);

#endif
