/* A file of the key index against any bytes: reading it ends, stays inside, and finds only positions of its part of
 * the log, descending, below what was asked for. The first byte of the input says which checksums are made to fit, so
 * that the fuzzer gets past them. */
#include "tests/fuzz/fuzz.h"

#include "broker/store/key_file.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum fit { FIT_HEADER = 1, FIT_MARKS = 2, FIT_BUCKETS = 4 };

static char dir[] = "/tmp/raftmq-fuzz-XXXXXX";

static void remove_dir(void)
{
    (void)rmdir(dir);
}

static void fit_header(uint8_t *bytes)
{
    mq_be32_store(bytes + 4, mq_crc32c(0, bytes + 8, KEY_FILE_HEADER_BYTES - 8));
}

/* @file says where things are; what lies outside the input is left alone. */
static void fit_rest(uint8_t *bytes, size_t n, const struct key_file *file, unsigned fit)
{
    uint64_t buckets = (uint64_t)1 << file->bucket_bits;
    uint64_t marks_at = KEY_FILE_HEADER_BYTES + buckets * 8, keys_at = marks_at + (uint64_t)file->range.marks * 8;

    if (n != key_file_bytes(file)) {
        return;
    }
    for (uint64_t b = 0; (fit & FIT_BUCKETS) != 0 && b < buckets; b++) {
        uint8_t *slot = bytes + KEY_FILE_HEADER_BYTES + b * 8, head[12];
        uint32_t first = mq_be32_load(slot);
        uint32_t end = b + 1 == buckets ? file->range.keys : mq_be32_load(slot + 8);

        if (first <= end && end <= file->range.keys) {
            mq_be32_store(head, (uint32_t)b);
            mq_be32_store(head + 4, first);
            mq_be32_store(head + 8, end - first);
            mq_be32_store(slot + 4, mq_crc32c(mq_crc32c(0, head, sizeof(head)), bytes + keys_at + (size_t)first * 8,
                                              (size_t)(end - first) * 8));
        }
    }
    if ((fit & FIT_MARKS) != 0) {
        mq_be32_store(bytes + 96, mq_crc32c(0, bytes + marks_at, (size_t)(keys_at - marks_at)));
        fit_header(bytes);
    }
}

static void write_file(uint64_t begin, const uint8_t *bytes, size_t n)
{
    char *path = key_file_path(dir, begin, "");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    MQ_ASSERT(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
    mq_free(path);
}

static void look(const struct key_file *file, const struct key_want *want)
{
    struct key_found found = {0};
    int rc = key_file_find(dir, file, want, &found);

    MQ_ASSERT(rc == 0 || rc == 1 || rc == MQ_ECORRUPT);
    MQ_ASSERT(rc != MQ_ECORRUPT || found.n == 0);
    for (uint32_t i = 0; i < found.n; i++) {
        MQ_ASSERT(found.pos[i] >= file->range.begin && found.pos[i] < want->below);
    }
}

static void read_all(const struct key_file *file)
{
    const struct key_want wants[] = {
        {0, INT64_MIN, INT64_MAX, UINT64_MAX},
        {0x80000001, 0, INT64_MAX, UINT64_MAX},
        {0xFFFFFFFF, file->range.first_ms + 1, file->range.last_ms, file->range.end},
        {7, file->range.first_ms, file->range.last_ms - 1, file->range.begin + 1},
    };
    struct key_run run = {0};
    int rc;

    for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
        look(file, &wants[i]);
    }
    key_run_begin(&run, file->range.begin);
    rc = key_file_load(dir, file, &run);
    MQ_ASSERT(rc == MQ_ECORRUPT || (rc == 0 && run.range.keys == file->range.keys));
    key_run_free(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    struct key_file file, opened;
    uint8_t *bytes;
    uint64_t begin = 0;
    int rc;

    if (dir[sizeof(dir) - 2] == 'X') {
        MQ_ASSERT(mkdtemp(dir) != NULL);
        atexit(remove_dir);
    }
    if (n == 0) {
        return 0;
    }
    bytes = mq_malloc(n);
    MQ_ASSERT(bytes != NULL);
    memcpy(bytes, input + 1, n - 1);
    n--;
    if (n >= KEY_FILE_HEADER_BYTES) {
        if ((input[0] & FIT_HEADER) != 0) {
            fit_header(bytes);
        }
        begin = mq_be64_load(bytes + 16);
    }
    rc = key_file_header_decode(bytes, n, &file);
    MQ_ASSERT(rc == 0 || rc == MQ_ECORRUPT || rc == MQ_EVERSION);
    if (rc == 0) {
        fit_rest(bytes, n, &file, input[0]);
    }
    write_file(begin, bytes, n);
    rc = key_file_open(dir, begin, &opened);
    MQ_ASSERT(rc == 0 || rc == MQ_ECORRUPT || rc == MQ_EVERSION);
    if (rc == 0) {
        read_all(&opened);
    }
    {
        char *path = key_file_path(dir, begin, "");

        (void)unlink(path);
        mq_free(path);
    }
    mq_free(bytes);
    return 0;
}
